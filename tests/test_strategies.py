"""The public Hypothesis strategies draw what they promise."""

import numpy as np
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from lop_theory.graph.equitable import biregular_support, in_equitable, out_equitable
from lop_theory.strategies import (
    biregular_masks,
    correlation_matrices,
    equitable_blocks,
    equitable_networks,
    partitions,
)


@given(correlation_matrices())
def test_correlation_matrices_are_correlation_matrices(matrix):
    assert (np.diag(matrix) == 1).all()
    assert (matrix == matrix.T).all()
    assert (np.abs(matrix) <= 1).all()
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


def test_degenerate_correlations_are_drawn():
    for value in (-1, 0, 1):
        found = find(correlation_matrices(min_size=2), lambda m, v=value: np.isclose(m[0, 1], v))
        assert found.shape[0] >= 2


@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_biregular_masks(data, rows, columns):
    mask = data.draw(biregular_masks(rows, columns))
    assert len(set(mask.sum(axis=0))) == len(set(mask.sum(axis=1))) == 1
    assert mask.any()


@given(st.data(), st.integers(1, 3), st.integers(1, 3))
def test_equitable_blocks_have_equal_sums(data, rows, columns):
    weights, mask = data.draw(equitable_blocks(rows, columns))
    assert len({str(s) for s in weights.sum(axis=0)}) == len({str(s) for s in weights.sum(axis=1)}) == 1
    assert all(w == 0 for w in weights[~mask])


@given(equitable_networks())
def test_equitable_networks_are_equitable(cloned):
    assert in_equitable(*cloned)
    assert out_equitable(*cloned)


FIRST = settings(phases=[Phase.generate], max_examples=2000)  # whichever is found, not the smallest


def test_supports_and_zero_sums_are_as_asked():
    irregular = find(
        equitable_networks(support="irregular"),
        lambda c: not biregular_support(c.network.dag, c.partition),
        settings=FIRST,
    )
    assert in_equitable(*irregular)
    zero = find(
        equitable_networks(support="dense"),
        lambda c: any(c.partition.sizes > 1) and c.network.dag.edges > 3 and all(c.network.weight == 0),
        settings=FIRST,
    )
    assert out_equitable(*zero)


def _structure(cloned):
    return cloned.network.dag, cloned.partition


@given(partitions(6))
def test_partitions_cover_their_nodes(partition):
    assert len(partition.block_of) == 6
    assert sum(partition.sizes) == 6
    assert sorted(v for block in partition.members for v in block) == list(range(6))
