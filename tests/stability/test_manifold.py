"""Tangent space, normal space and redistributions against bases built by enumeration."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.stability import clones_of_layers, coordinates, normal, redistributions, spanned, tangent
from lop_theory.stability.layout import Coordinates
from lop_theory.stability.manifold import clones_of_structure
from lop_theory.stability.subspace import Subspace
from tests.stability.nets import cloned, indicator_basis, profile_labels


def test_tangent_is_the_span_of_the_block_indicators() -> None:
    case = cloned()
    oracle = indicator_basis(case.where, profile_labels(case))
    space = tangent(case.clones, case.where)
    assert space.dimension == oracle.shape[1]
    vector = torch.randn(space.ambient, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(space.project(vector), oracle @ (oracle.T @ vector), atol=1e-14)
    assert torch.allclose(normal(case.clones, case.where).project(vector), vector - oracle @ (oracle.T @ vector))


blocks = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@given(blocks, st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_dimensions_and_orthogonality_for_any_blocks(first: list[int], second: list[int]) -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    where = coordinates(model)
    clones = clones_of_layers(model, {"0": first, "2": second})
    flat, space = redistributions(clones, where), normal(clones, where)
    a, b = len(set(first)), len(set(second))
    assert tangent(clones, where).dimension == (2 + 1) * a + (a + 1) * b + 2 * b + 2
    assert flat.dimension == 3 * (4 - a) + 2 * (3 - b)
    basis = spanned(flat)
    assert basis.shape[1] == flat.dimension
    for column in basis.T:
        assert torch.allclose(space.project(column), column, atol=1e-12)
        moved = where.unflatten(column)
        for name, block in (("2.weight", first), ("4.weight", second)):
            sums = torch.zeros(moved[name].shape[0], 3).double().index_add_(1, torch.tensor(block), moved[name])
            assert sums.abs().max() < 1e-12
        assert all(not moved[name].any() for name in where.names if name not in ("2.weight", "4.weight"))


@pytest.mark.parametrize(("along", "summed"), [({0, 1}, 1), ({0}, 0), ({0, 2}, 0), ({1, 2}, 1)])
def test_of_two_dimensions_the_second_is_summed_over_by_custom(along, summed) -> None:
    roles = SimpleNamespace(owner={"w": "o", "b": "p"}, along={"o": along})
    found = SimpleNamespace(blocks={"w": [[0, 0], [0, 1]], "b": [[0, 0]]}, roles=roles)
    where = Coordinates(("w", "b"), ((2, 2), (2,)))
    clones = clones_of_structure(found, where)  # type: ignore[arg-type]
    assert clones.summed == {"w": summed}
    assert clones.labels["w"][1] is None


def test_where_nothing_is_cloned_nothing_spans() -> None:
    assert spanned(Subspace(torch.zeros_like, 0, 4)).shape == (4, 0)


def test_convolutions_flatten_and_normalisation_carry_the_blocks() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    clones = clones_of_layers(model, {"0": [0, 0, 1, 2]})
    assert {name for name, labels in clones.labels.items() if labels[0] is not None} == {
        "0.weight", "0.bias", "1.weight", "1.bias"
    }  # fmt: skip
    columns = clones.labels["4.weight"][1]
    assert columns is not None
    assert columns.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert redistributions(clones, coordinates(model)).dimension == 3 * 4


@pytest.mark.parametrize("wrong", [{"1": [0, 0]}, {"0": [0, 0, 0]}])
def test_wrong_blocks_are_refused_by_name(wrong: dict[str, list[int]]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with pytest.raises(InvalidInput, match="one block a unit"):
        clones_of_layers(model, wrong)
