"""Curvature on N that rounding alone makes is none: at exact minima, and where outputs are large beside errors."""

import pytest
import torch
from torch import Tensor, nn

from lop_theory.stability import analyse, normal
from lop_theory.stability.analysis import Settings
from lop_theory.stability.objective import objective_of
from lop_theory.stability.rounding import rounded, rounding_of
from lop_theory.stability.subspace import Subspace, complement
from tests.stability.nets import cloned


def copies(width: int, times: int, seed: int, *, offset: float = 0.0) -> tuple[nn.Module, nn.Module, Tensor]:
    """3 → width → 1, the same with every unit ``times`` times, and inputs."""
    draw = torch.Generator().manual_seed(seed)
    small, large = (
        nn.Sequential(nn.Linear(3, units), nn.Tanh(), nn.Linear(units, 1)).double() for units in (width, width * times)
    )
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        small[2].bias += offset
        large[0].weight.copy_(small[0].weight.repeat(times, 1))
        large[0].bias.copy_(small[0].bias.repeat(times))
        large[2].weight.copy_(small[2].weight.repeat(1, times) / times)
        large[2].bias.copy_(small[2].bias)
    return small, large, torch.randn(20, 3, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 10.0, 1e5])
@pytest.mark.parametrize(("width", "times"), [(1, 2), (1, 8), (1, 16), (2, 5), (3, 3)])
def test_an_exact_minimum_is_flat(width, times, offset, precision) -> None:
    for seed in range(3):
        small, large, inputs = copies(width, times, seed, offset=offset)
        target = small.to(precision)(inputs.to(precision)).detach()
        found = analyse(
            large,
            inputs,
            lambda y, t=target: (y - t.to(y)).square().mean(),
            settings=Settings(seeds=(), precision=precision),
        )
        assert found.kind == "flat"
        assert found.inertia[:3] == (0, found.normal, 0)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e3, 1e5])
def test_float32_counts_no_curvature_that_is_not_there(offset) -> None:
    small, large, inputs = copies(2, 3, 0, offset=offset)
    target = small(inputs).detach() + 1e-3 * torch.randn(20, 1, generator=torch.Generator().manual_seed(5)).double()
    there, seen = (
        analyse(
            large,
            inputs,
            lambda y: (y - target.to(y)).square().mean(),
            settings=Settings(seeds=(), precision=precision),
        )
        for precision in (torch.float64, torch.float32)
    )
    assert there.inertia.negative > 0 < there.inertia.positive
    assert seen.inertia.negative <= there.inertia.negative
    assert seen.inertia.positive <= there.inertia.positive
    assert seen.kind == ("saddle" if offset <= 10 else "flat")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_are_rounded_along_the_manifold_each_in_proportion(dtype) -> None:
    case = cloned()
    space = normal(case.clones, case.where)
    weights = complement(space).project(objective_of(case.model, case.inputs, case.loss, dtype=dtype).start)
    weights[:3] = 0.0
    one, other = (rounded(weights, space, seed) for seed in (0, 1))
    unit = torch.finfo(dtype).eps * float(weights.norm())
    assert one.dtype == dtype
    for change in (one, other):
        assert float(change.norm()) == pytest.approx(unit)
        assert float(space.project(change).norm()) < 1e-6 * unit
    assert float((one - other).norm()) > 0.1 * unit
    everywhere = Subspace(torch.zeros_like, 0, len(weights))
    assert not rounded(weights, everywhere, 0)[:3].any()
    assert not rounded(torch.zeros_like(weights), space, 0).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_change_of_a_form_is_its_largest(dtype) -> None:
    """L = ½ x₀ (a x₁² + b x₂²) at x = (c, 0, 0): H|_N = c diag(a, b), and ε moves c by u |c|."""

    class Form(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.5, 0.0, 0.0]).double())

        def forward(self, values: Tensor) -> Tensor:
            return self.x[0] * (values * self.x**2).sum() / 2

    values = torch.tensor([0.0, -4.0, 2.0]).double()
    at = objective_of(Form(), values, lambda y: y, dtype=dtype)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0, 1.0]).to(v), 2, 3)
    found = rounding_of(at, at.curvature(at.start).product, space)
    assert found == pytest.approx(4 * 1.5 * torch.finfo(dtype).eps, rel=0.4)  # 1.5 moves by one or two units


def test_the_largest_change_of_some_draws_counts() -> None:
    case = cloned()
    space = normal(case.clones, case.where)
    at = objective_of(case.model, case.inputs, case.loss)
    here = at.curvature(at.start).product
    sizes = []
    for seed in range(3):
        there = at.curvature(at.start + rounded(at.start, space, seed)).product
        basis = torch.eye(space.ambient).double()
        change = torch.stack([space.project(there(space.project(v)) - here(space.project(v))) for v in basis])
        sizes.append(float(torch.linalg.matrix_norm(change, 2)))
    assert 0.5 * max(sizes) < rounding_of(at, here, space) < 1.2 * max(sizes)
