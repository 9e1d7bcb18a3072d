"""Spectra against dense matrices; steps to leave: predictions against descent; what is flat, and why."""

import math

import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.modules import detect, expand
from lop_theory.stability import analyse, clones_of, coordinates, dense, extreme_spectrum, normal, redistributions
from lop_theory.stability.analysis import Settings
from lop_theory.stability.departure import Descent, departures
from lop_theory.stability.krylov import random_start
from lop_theory.stability.objective import objective_of
from lop_theory.stability.subspace import Subspace
from tests.stability.nets import cloned


def test_the_outer_spectrum_is_that_of_the_dense_matrix() -> None:
    case = cloned()
    at, space = case.at, normal(case.clones, case.where)
    values = torch.linalg.eigvalsh(dense(at.product, space))
    found = extreme_spectrum(at.product, space, random_start(space, at.gradient), count=4, tolerance=1e-8)
    assert found.converged
    assert [p.value for p in found.lowest] == pytest.approx(values[:4].tolist(), abs=1e-8)
    assert [p.value for p in found.highest] == pytest.approx(values[-4:].flip(0).tolist(), abs=1e-8)
    for pair in (*found.lowest, *found.highest):
        true = float((space.project(at.product(pair.vector)) - pair.value * pair.vector).norm())
        assert true == pytest.approx(pair.residual, abs=1e-12)
    hasty = extreme_spectrum(at.product, space, random_start(space, at.gradient), count=4, products=6)
    assert not hasty.converged
    assert hasty.products == 6


def test_steps_along_the_manifold_are_those_of_descent() -> None:
    case = cloned()
    found = analyse(
        case.model,
        case.inputs,
        case.loss,
        case.clones,
        settings=Settings(start=1e-6, radius=1e-4, steps=2000, seeds=(0, 1)),
    )
    assert found.on_manifold
    assert found.kind == "saddle"
    assert found.inertia.exact
    for one in found.departures:
        assert math.isfinite(one.measured)
        assert abs(one.along - one.measured) <= 1
        assert one.measured >= 0.5 * one.at_least
        half = len(one.distances) // 2
        assert one.linear[:half] == pytest.approx(one.distances[:half], rel=1e-4)


def test_where_the_base_rests_the_curvature_here_predicts_too() -> None:
    """L = ½ xᵀAx from 0: the manifold is the first axis, the base does not move."""

    class Form(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]).double())

        def forward(self, values):
            return (values * self.x**2).sum() / 2

    at = objective_of(Form(), torch.tensor([0.0, -0.5, 2.0]).double(), lambda y: y)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0, 1.0]).to(v), 2, 3)
    start = torch.tensor([0.0, 3.0, 4.0]).double() / 5
    (one,) = departures(at, space, [start], (-0.5, 2.0), Descent(0.1, 1e-3, 1e-1, 200))
    steps = next(t for t in range(300) if math.hypot(0.6 * 1.05**t, 0.8 * 0.8**t) >= 100)
    assert one.here == one.along == one.measured == steps
    assert one.at_least == math.ceil(math.log(100) / math.log(1.05))
    slow = departures(at, space, [start], (-0.5, 2.0), Descent(0.1, 1e-3, 1e-1, 20))[0]
    assert slow.steps[1:] == (math.inf,) * 3
    with pytest.raises(InvalidInput, match="diverge"):
        departures(at, space, [start], (-0.5, 2.0), Descent(1e200, 1e-3, 1e-1, 20))
    with pytest.raises(InvalidInput, match="0 < start < radius"):
        departures(at, space, [start], (-0.5, 2.0), Descent(0.1, 1e-1, 1e-3, 20))


def mlp(activation: type[nn.Module]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 3), activation(), nn.Linear(3, 2))
    return model, torch.randn(20, 3)


def test_from_a_detection_a_profile_or_nothing_it_is_one_manifold() -> None:
    base, x = mlp(nn.Tanh)
    clone = expand(base, 2, example_input=x, traced=True)
    where = coordinates(clone)
    found = [clones_of(clone, x, given) for given in (None, detect(clone, x), clone.profile)]
    draw = torch.randn(where.dimension)
    images = [(normal(c, where).project(draw), redistributions(c, where).project(draw)) for c in found]
    for image in images[1:]:
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(image, images[0], strict=True))
    assert redistributions(found[0], where).dimension > 0
    with pytest.raises(InvalidInput, match="no units that compute the same"):
        clones_of(base, x)


class Stored(nn.Module):
    """Weights stored (sources, targets) as in GPT-2, and an embedding that is read twice."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4 * times)
        self.up, self.down = (nn.Parameter(torch.randn(4 * times, 4 * times) / 3) for _ in range(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.embed(ids)
        return (h + torch.tanh(h @ self.up) @ self.down) @ self.embed.weight.T


def test_redistributions_are_tested_not_guessed() -> None:
    """Square weights stored the other way, and tied embeddings: what remains changes no output."""
    torch.manual_seed(0)
    base, ids = Stored(1), torch.arange(7).reshape(1, 7)
    clone = expand(base, 2, example_input=ids, traced=True)
    found = clones_of(clone, ids)
    assert "embed.weight" not in found.summed
    assert found.summed["up"] == found.summed["down"] == 0
    analysis = analyse(clone, ids, lambda y: y.square().mean(), found, settings=Settings(seeds=()))
    assert analysis.flat.redistributions > 0
    assert analysis.flat.form < 1e-9


def test_inactive_units_are_recognised_as_flat() -> None:
    base, x = mlp(nn.ReLU)
    with torch.no_grad():
        base[0].bias[0] = -100.0
    clone = expand(base, 2, example_input=x)
    found = analyse(clone, x, lambda y: (y - 1).square().mean(), settings=Settings(seeds=()))
    assert found.flat.inactive >= 8  # the incoming weights and the bias of two clones: 4 differences at least
    assert found.inertia.zero == found.flat.kernel
    assert found.flat.unexplained <= found.flat.kernel - found.flat.inactive
