"""Distances without cancellation, and the nearest pair of units is really the nearest."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.graph import nearest
from lop_theory.graph.dag import Node, build_network
from lop_theory.graph.dimensions import bases
from lop_theory.graph.error_free import deviations
from lop_theory.graph.io import network_from_json
from lop_theory.graph.manifold import distance
from lop_theory.graph.nearest import merge_cost, nearest_pair
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.refinement import refine
from lop_theory.graph.scalars import exact, floats
from tests.graph.nets import star


def test_distances_do_not_cancel():
    network = star(1e8, 1e8 + 0.5, 1.0, 1.001)
    found = nearest_pair(network)
    assert found.units == ("c", "d")
    assert found.apart == pytest.approx(1e-3, rel=1e-9)
    assert found.distance == pytest.approx(1e-3 / 2**0.5, rel=1e-9)
    merged = partition_from_blocks(network.dag, [["x"], ["a", "b"], ["c"], ["d"], ["y"]])
    assert distance(network, merged) == pytest.approx(0.5 / 2**0.5, rel=1e-14)
    for manifold in ("in", "constant"):
        assert distance(network, merged, manifold) == pytest.approx(0.5 / 2**0.5, rel=1e-14)
    noisy = star(1.5, 1.500000000001, -0.7)
    assert nearest_pair(noisy).distance == pytest.approx((1.500000000001 - 1.5) / 2**0.5, rel=1e-3, abs=0)


def test_the_nearest_pair_is_nearest_among_pairs_that_the_screen_cannot_tell_apart():
    rng = np.random.default_rng(0)
    into = 1e6 + 1e-7 * rng.permutation(60).cumsum() * rng.uniform(0.5, 1.5, 60)
    nodes = [Node(f"n{k}", activation("tanh"), 0.0) for k in range(60)] + [Node("y", activation("identity"), 0.0)]
    edges = [("x", f"n{k}", w) for k, w in enumerate(into)] + [(f"n{k}", "y", 1.0) for k in range(60)]
    found = nearest_pair(build_network(["x"], nodes, edges, ["y"]))
    ordered = np.sort(into)
    assert found.apart == np.diff(ordered).min()
    assert found.apart == abs(into[int(found.units[0][1:])] - into[int(found.units[1][1:])])


def test_the_nearest_pair_of_rationals_is_exact():
    big = fmpq(10) ** 30
    edges = [("x", "a", big), ("x", "b", big + 1), ("x", "c", "1/3"), ("x", "d", "1/3")]
    nodes = [Node(n, activation("tanh")) for n in "abcd"] + [Node("y", activation("identity"))]
    edges += [("a", "y", 1), ("b", "y", 1), ("c", "y", 1), ("d", "y", fmpq(1) + fmpq(1, 10**40))]
    found = nearest_pair(build_network(["x"], nodes, edges, ["y"], rationals=True))
    assert found.units == ("c", "d")
    assert found.apart == pytest.approx(1e-40, rel=1e-12, abs=0)


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 5)), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=2, max_size=2),
)
def test_deviations_are_the_rational_ones(entries, whole):
    values = np.array([v for v, _ in entries])
    cells, cell = np.unique([c for _, c in entries], return_inverse=True)
    group, whole = cells % 2, np.array(whole)
    groups, group = np.unique(group, return_inverse=True)
    sizes, whole = np.bincount(group) + 1, whole[: len(groups)]
    found = deviations(values, cell, group, sizes, whole)
    right = deviations(exact(values), cell, group, sizes, whole)
    assert np.allclose(found, floats(right), rtol=1e-14, atol=1e9 * 2.0**-90)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, -0.3, 1e9, -1e9, 1e-7, 2.0]), st.integers(0, 4)), max_size=12),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=3, max_size=3),
)
def test_deviations_by_their_definition_where_cells_and_groups_may_be_empty(entries, group, groups):
    """s_c − T_g/n_g in plain fractions; without the T_g of a group that is not whole."""
    sums = [sum((Fraction(v) for v, c in entries if c == cell), Fraction(0)) for cell in range(5)]
    totals = [sum((s for s, g in zip(sums, group, strict=True) if g == k), Fraction(0)) for k in range(3)]
    right = [s - (totals[g] / groups[g][0] if groups[g][1] else 0) for s, g in zip(sums, group, strict=True)]
    sizes, whole = (np.array(column) for column in zip(*groups, strict=True))
    values, cell = np.array([v for v, _ in entries]), np.array([c for _, c in entries], dtype=int)
    found = deviations(values, cell, np.array(group), sizes, whole)
    assert found.shape == (5,)
    assert np.allclose(found, [float(x) for x in right], rtol=1e-14, atol=1e9 * 2.0**-90)
    rational = deviations(exact(values), cell, np.array(group), sizes, whole)
    assert [Fraction(int(x.p), int(x.q)) for x in rational] == right


def test_a_network_of_one_node_has_dimension_zero():
    network = network_from_json({"inputs": ["x"], "outputs": ["x"], "nodes": [], "edges": []})
    partition = refine(network)
    for manifold in ("in", "out", "both", "constant"):
        assert [b.shape for b in bases(network.dag, partition, manifold)] == [(0, 0)] * 2


def test_units_at_distance_zero_end_the_search(monkeypatch):
    """Of 300 equal units there are 44,850 pairs, and as many of 300 others; one is measured."""
    nodes = [Node(f"{kind}{k}", activation(kind), 0.0) for kind in ("tanh", "relu") for k in range(300)]
    edges = [edge for node in nodes for edge in (("x", node.id, 1.0), (node.id, "y", 1.0))]
    measured = []
    monkeypatch.setattr(nearest, "merge_cost", lambda *pair: measured.append(pair) or merge_cost(*pair))
    found = nearest_pair(build_network(["x"], [*nodes, Node("y", activation("identity"), 0.0)], edges, ["y"]))
    assert found.distance == 0
    assert len(measured) == 1
