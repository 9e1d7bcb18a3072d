"""Spectra against dense matrices; steps to leave: predictions against descent; what is flat, and why."""

import contextlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.modules import expand
from lop_theory.stability import (
    analyse,
    dense,
    extreme_spectrum,
    normal,
)
from lop_theory.stability.analysis import Settings, _sharpness, _starts, _step_size
from lop_theory.stability.departure import (
    Descent,
    _check,
    _constant,
    _descend,
    _on_the_manifold,
    _quadrature,
    departures,
)
from lop_theory.stability.inertia import flatness, inertia_of, no_curvature, whole
from lop_theory.stability.krylov import random_start
from lop_theory.stability.layout import Coordinates
from lop_theory.stability.objective import Curvature, Objective, objective_of
from lop_theory.stability.printout import as_json, printed
from lop_theory.stability.subspace import Subspace
from tests.stability.nets import cloned, dense_hessian, mlp


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
        settings=Settings(start=1e-6, radius=2e-5, steps=2000, seeds=(0, 1), step_size=0.15),
    )
    assert found.on_manifold
    assert found.kind == "saddle"
    assert found.inertia.exact
    for one in found.departures:
        assert math.isfinite(one.measured)
        assert abs(one.along - one.measured) <= 1
        assert one.predictable is None
        assert one.measured >= 0.5 * one.at_least
        half = len(one.distances) // 2
        assert one.linear[:half] == pytest.approx(one.distances[:half], rel=1e-4)


def test_nothing_is_predicted_after_rounding_decides() -> None:
    """At twice the step descent of the base leaves its valley at step 221: what comes after depends on the CPU."""
    case = cloned()
    settings = Settings(start=1e-6, radius=1e-4, steps=2000, seeds=(0, 1))
    found = analyse(case.model, case.inputs, case.loss, case.clones, settings=settings)
    late, soon = found.departures
    assert late.predictable is not None
    assert 213 <= late.predictable <= 221
    assert len(late.linear) == late.predictable + 1
    assert late.linear == pytest.approx(late.distances[: late.predictable + 1], rel=1e-2)
    assert math.isnan(late.along)
    assert late.measured > late.predictable
    assert (soon.predictable, soon.along) == (None, soon.measured)
    assert f"not predicted: after step {late.predictable} rounding decides" in printed(found)
    assert "nan" not in printed(found)
    rows = as_json(found)["departures"]
    assert [(row["along"], row["predictable_until"]) for row in rows] == [(None, late.predictable), (soon.along, None)]


class Form(nn.Module):
    """A function of its weights, times its input."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], weights: tuple[float, ...]) -> None:
        super().__init__()
        self.function, self.x = function, nn.Parameter(torch.tensor(weights).double())

    def forward(self, factor: torch.Tensor) -> torch.Tensor:
        return factor * self.function(self.x)


def form(function: Callable[[torch.Tensor], torch.Tensor], *weights: float) -> Objective:
    return objective_of(Form(function, weights), torch.ones(()).double(), lambda y: y)


class Along(nn.Module):
    """A loss of the base's two numbers a and b, and −(ac)² times a small number."""

    def __init__(self, base: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([start, 0.5, 0.0]).double())
        self.base = base

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        a, b, c = self.x
        return self.base(a, b) - small * (a * c) ** 2


@pytest.mark.parametrize(
    ("base", "start", "step_size", "rises", "decides"),
    [
        (lambda a, b: (a * b - 1) ** 2 / 2, 3.0, 0.05, False, False),
        (lambda a, b: (a * b - 1) ** 2 / 2, 3.0, 0.3, True, False),  # out of a sharp valley into a flat one
        (lambda a, _: (a**2 - 1) ** 2 / 4, 0.75, 0.5, False, False),
        (lambda a, _: (a**2 - 1) ** 2 / 4, 0.75, 1.75, True, True),  # a -> a − 1.75 a (a² − 1), chaotic
    ],
)
def test_a_loss_that_rises_is_predicted_and_chaos_is_not(base, start, step_size, rises, decides) -> None:
    at = objective_of(Along(base, start), torch.tensor(0.002 if decides else 0.05).double(), lambda y: y)
    away = torch.tensor([0.0, 0.0, 1.0]).double()
    space = Subspace(lambda v: v * away, 1, 3)
    (one,) = departures(at, space, [away], (-0.3, -0.3), Descent(step_size, 1e-9, 1e-4, 3000))
    values, point = list[float](), at.start
    for _ in range(12):
        values.append(at.curvature(point).value)
        point = point - step_size * at.gradient(point)
    assert (max(values) > values[0]) == rises
    if decides:
        assert one.predictable is not None
        assert 30 < one.predictable < 150  # 30 = ln(1e-3 / 2e-16), a few tenths of which are won a step
    else:
        assert one.predictable is None
        assert one.along == one.measured


def test_descent_that_becomes_no_number_on_the_way_is_said_so() -> None:
    """L = √(1 − x₁²) − x₁²: past 1 there is none."""

    at = form(lambda x: torch.sqrt(1 - x[1] ** 2) - x[1] ** 2, 1.0, 0.0)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0]).to(v), 1, 2)
    point = torch.tensor([1.0, 1e-3]).double()
    with pytest.raises(InvalidInput, match=r"step size=0\.5: makes descent diverge|is not finite"):
        _descend(at, space, point, Descent(0.5, 1e-3, 100.0, 500))


def test_a_departure_is_measured_on_the_side_of_its_direction() -> None:
    """L = −x₁²/2 + x₁³: downhill along −1 it goes faster than along 1, where it is caught."""

    at = form(lambda x: -(x[1] ** 2) / 2 + x[1] ** 3, 1.0, 0.0)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0]).to(v), 1, 2)
    away = torch.tensor([0.0, 1.0]).double()
    found = departures(at, space, [away, -away], (-1.0, -1.0), Descent(0.1, 1e-2, 0.4, 300))
    assert found[0].measured == math.inf
    assert found[1].measured < found[1].along


def test_the_last_step_counts() -> None:
    """Distance 2ᵗ from 1: 32 is reached at the fifth step, and not within four."""
    values, weights = torch.tensor([-1.0]).double(), torch.ones(1).double()
    assert _constant(values, weights, Descent(1.0, 1.0, 32.0, 5)) == 5
    assert _constant(values, weights, Descent(1.0, 1.0, 32.0, 4)) == math.inf
    _check(Descent(1.0, 1.0, 32.0, limit=1, products=1))


@pytest.mark.parametrize(("limit", "reached"), [(5, True), (4, False)])
def test_all_four_count_steps_up_to_the_limit(limit, reached) -> None:
    """L = −x₁²/2 at step 1: distances double, and 1/2 is reached from 1/64 at the fifth step."""

    at = form(lambda x: -(x[1] ** 2) / 2, 1.0, 0.0)
    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0]).to(v), 1, 2)
    (one,) = departures(
        at, space, [torch.tensor([0.0, 1.0]).double()], (-1.0, -1.0), Descent(1.0, 1 / 64, 1 / 2, limit)
    )
    assert one.steps == (5, 5, 5, 5) if reached else one.steps == (5, math.inf, math.inf, math.inf)
    assert one.distances == one.linear == tuple(2.0**t / 64 for t in range(limit + 1))
    assert one.predictable is None


@pytest.mark.parametrize(("start", "lost"), [(2.4e-16, False), (2.6e-16, True)])
def test_a_start_of_which_rounding_takes_a_tenth_is_too_near(start, lost) -> None:
    """Beside 1 there are only multiples of 2.2e-16."""
    at = objective_of(Along(lambda a, _: a**2, 0.0), torch.tensor(0.0).double(), lambda y: y)
    at = at._replace(start=torch.tensor([1.0, 0.0, 0.0]).double())
    point, how = at.start + torch.tensor([start, 0.0, 0.0]).double(), Descent(0.1, start, 1e-3, 1)
    space = Subspace(lambda v: v * torch.tensor([1.0, 0.0, 0.0]).to(v), 1, 3)
    with pytest.raises(InvalidInput, match="lost in the rounding") if lost else contextlib.nullcontext():
        _descend(at, space, point, how)


def test_all_outer_eigenvalues_converge_before_it_is_enough() -> None:
    """Steep ones first: of 60, the lowest five lie close together."""
    steep = torch.cat([torch.arange(0, 55).double() / 1e4, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double()])
    everything = Subspace(lambda v: v, 60, 60)
    draw = torch.randn(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = extreme_spectrum(lambda v: steep * v, everything, draw, count=3, tolerance=1e-5)
    assert found.converged
    assert found.products < 60
    assert max(pair.residual for pair in (*found.lowest, *found.highest)) <= 1e-5 * found.largest


def test_when_rounding_is_visible_does_not_depend_on_the_scale_of_the_weights() -> None:
    """L = −a x₀²/2: each step of size 1 multiplies rounding by 1 + a = 3, from 2e-16 of x₀ to 1e-3 of it."""

    space = Subspace(lambda v: v * torch.tensor([0.0, 1.0]).to(v), 1, 2)
    steps = []
    for scale in (1.0, 1e-3, 1e3):
        at = form(lambda x: (0.01 * x[1] ** 2 - 2 * x[0] ** 2) / 2, scale, 0.0)
        away = torch.tensor([0.0, 1e-5]).double()
        steps.append(len(_on_the_manifold(at, space, [away], Descent(1.0, limit=60))[0]) - 1)
    assert steps[0] == steps[1] == steps[2] == pytest.approx(math.log(1e-3 / 2.2e-16) / math.log(3), abs=2)


def test_the_recursion_stays_on_the_manifold_however_unstable_that_is() -> None:
    case = cloned()
    space, points = normal(case.clones, case.where), list[torch.Tensor]()

    class Noted(Objective):
        def curvature(self, point: torch.Tensor) -> Curvature:
            points.append(point)
            return super().curvature(point)

    at = Noted(*objective_of(case.model, case.inputs, case.loss))
    shift = space.project(random_start(space, at.start))
    _on_the_manifold(at, space, [1e-30 * shift], Descent(0.15, limit=400))
    assert len(points) == 400
    assert float(space.project(points[-1] - at.start).norm()) < 5e-15  # 4e-13 by the gradient as it comes


@pytest.mark.parametrize(
    ("error", "precision", "counts"),
    [
        (1e-2, torch.float64, (14, 6, 15)),
        (1e-11, torch.float64, (14, 6, 15)),
        (1e-12, torch.float64, (13, 7, 15)),  # one is 2e-16; the rounding of the weights makes 1e-16 of 0
        (0.0, torch.float64, (0, 35, 0)),
        (1e-5, torch.float32, None),  # as float64 says, or less
        (0.0, torch.float32, (0, 35, 0)),
    ],
)
def test_curvature_is_told_from_rounding_however_near_to_a_minimum(error, precision, counts) -> None:
    """The curvature normal to the manifold is as large as the error; that along it stays."""
    case = cloned()
    draw = torch.randn(7, 2, generator=torch.Generator().manual_seed(1)).double()
    targets = case.model(case.inputs).detach().to(precision).double() + error * draw
    if not error:
        targets = case.model.to(precision)(case.inputs.to(precision)).detach().double()
    settings = Settings(seeds=(), precision=precision)
    found = analyse(
        case.model.double(), case.inputs, lambda y: (y - targets.to(y)).square().mean(), case.clones, settings=settings
    )
    assert found.kind == ("saddle" if error else "flat")
    assert found.flat.inactive == 0
    if counts is None:
        assert found.inertia.negative <= 14
        assert found.inertia.positive <= 15
    else:
        assert found.inertia[:3] == counts


def test_what_is_flat_elsewhere_is_sharp_all_the_same() -> None:
    """The largest |curvature| in any direction, normal or not: of two, the second."""
    at = Curvature(Coordinates(("w",), ((2,),)), 0.0, torch.ones(2).double(), lambda v: v * torch.tensor([1.0, 5.0]))
    level = extreme_spectrum(torch.zeros_like, Subspace(lambda v: v, 2, 2), torch.ones(2).double())
    assert _sharpness(at, level) == pytest.approx(5)


def test_what_is_steep_elsewhere_hides_no_curvature() -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clone, self.scale = case.model, nn.Parameter(torch.ones(1).double())

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.clone(x), 1e7 * self.scale * x[:, :1]

    case = cloned()
    alone = analyse(case.model, case.inputs, case.loss, case.clones, settings=Settings(seeds=()))
    found = analyse(Steep(), case.inputs, lambda y: case.loss(y[0]) + y[1].square().mean(), settings=Settings(seeds=()))
    assert (found.kind, found.inertia) == (alone.kind, alone.inertia) == ("saddle", (14, 6, 15, True))
    assert found.zero == pytest.approx(alone.zero)


def test_where_the_base_rests_the_curvature_here_predicts_too() -> None:
    """L = ½ xᵀAx from 0: the manifold is the first axis, the base does not move."""

    at = form(lambda x: (2 * x[2] ** 2 - 0.5 * x[1] ** 2) / 2, 1.0, 0.0, 0.0)
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


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (Descent(0.0), "step size"),
        (Descent(math.inf), "step size"),
        (Descent(-0.1), "step size"),
        (Descent(0.1, 0.0), "start, radius"),
        (Descent(0.1, 1e-3, 1e-3), "start, radius"),
        (Descent(0.1, 1e-3, math.inf), "start, radius"),
        (Descent(0.1, limit=0), "steps, products"),
        (Descent(0.1, products=0), "steps, products"),
    ],
)
def test_descents_that_are_none(how: Descent, what: str) -> None:
    model = nn.Linear(2, 1).double()
    at = objective_of(model, torch.ones(3, 2).double(), lambda y: y.square().mean())
    with pytest.raises(InvalidInput, match=what):
        departures(at, Subspace(lambda v: v, 3, 3), [torch.ones(3).double()], (-1.0, 1.0), how)


def test_the_quadrature_is_exact_while_twice_the_steps_are_less_than_its_degree() -> None:
    """‖δ_t‖ from Ritz values of k products is that of the whole spectrum for t < k."""
    draw = torch.randn(9, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix, start = draw + draw.T, torch.ones(9).double() / 3
    values, weights = _quadrature(lambda v: matrix @ v, Subspace(lambda v: v, 9, 9), start, 4)
    assert len(values) == 4
    assert float(weights.sum()) == pytest.approx(1)
    moved = start
    for t in range(4):
        assert float((weights * (1 - 0.1 * values) ** (2 * t)).sum()) == pytest.approx(float(moved @ moved))
        moved = moved - 0.1 * matrix @ moved


def test_the_flat_directions_of_a_form_are_told_apart() -> None:
    """H = diag(0, 0, 0, 3, −1) in a turned basis of which coordinate 1 is no part: of the kernel one direction is a
    redistribution, one a coordinate on which nothing depends, one neither."""
    turned = torch.eye(5).double()
    block = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    turned[1:, 1:] = block
    matrix = turned @ torch.diag(torch.tensor([0.0, 0.0, 0.0, 3.0, -1.0]).double()) @ turned.T
    at = Curvature(Coordinates(("w",), ((5,),)), 0.0, torch.ones(5).double(), lambda v: matrix @ v)
    everything = Subspace(lambda v: v, 5, 5)
    moved = turned[:, 1]
    flat = Subspace(lambda v: (moved @ v) * moved, 1, 5)
    found = whole(at, everything)
    spectrum = extreme_spectrum(at.product, everything, torch.ones(5).double())
    assert found.values.tolist() == pytest.approx([-1, 0, 0, 0, 3], abs=1e-12)
    result = flatness(at, flat, 3.0, 1e-9, found)
    assert result[2:] == (3, 1, 1, 1)
    assert result.redistributions == 1
    assert no_curvature(spectrum, 1e-16, 3.0) == pytest.approx(3e-9)
    assert no_curvature(spectrum, 1e-3, 3.0) == pytest.approx(3e-3)  # all of it is rounding
    assert no_curvature(spectrum, 1e-16, 1e24) == pytest.approx(1e24 * 2.0**-104)  # what is steep elsewhere, twice so
    single = extreme_spectrum(lambda v: 3 * v, everything, torch.ones(5))
    assert no_curvature(single, 0.0, 3.0) == pytest.approx(3e-4)  # in float32
    level = extreme_spectrum(torch.zeros_like, everything, torch.ones(5))
    assert no_curvature(level, 0.0, 0.0) == pytest.approx(2.0**-126)
    assert inertia_of(torch.tensor([-1.0, -0.5, 0.0, 0.5]), 0.5, exact=True)[:3] == (1, 3, 0)
    assert result.form < 1e-12
    assert flatness(at, flat, 3.0, 1e-9, None)[2:] == (None,) * 4
    steep = turned[:, 4]
    both = turned[:, [1, 4]]
    assert flatness(at, Subspace(lambda v: both @ (both.T @ v), 2, 5), 3.0, 1e-9, found).form == pytest.approx(1 / 3)
    other = flatness(at, Subspace(lambda v: (steep @ v) * steep, 1, 5), 3.0, 1e-9, found)
    assert other[2:] == (3, 0, 1, 2)
    assert other.form == pytest.approx(1 / 3)
    none = flatness(at, Subspace(torch.zeros_like, 0, 5), 3.0, 1e-9, found)
    assert none[:2] == (0, 0.0)
    for off, inside in ((0.7e-6, 1), (1.5e-6, 0)):  # a projection of length 1 − off
        bent = (1 - off) * moved + math.sqrt(2 * off - off**2) * steep
        leaning = Subspace(lambda v, bent=bent: (bent @ v) * bent, 1, 5)
        assert flatness(at, leaning, 3.0, 1e-9, found).redistributed == inside
    regular = torch.diag(torch.tensor([1.0, -2.0, 3.0, 4.0, 5.0]).double())
    bent = at._replace(product=lambda v: regular @ v)
    assert flatness(bent, flat, 5.0, 1e-9, whole(bent, everything))[2:] == (0, 0, 0, 0)
    level = at._replace(product=torch.zeros_like)  # no curvature at all: all of it is kernel
    assert flatness(level, flat, 0.0, 0.0, whole(level, everything))[2:] == (5, 1, 5, 0)


@pytest.mark.parametrize(
    ("curved", "given", "step"), [(0.0, None, 1.0), (4.0, None, 0.125), (4.0, 0.5, 0.5), (0.0, 7.0, 7.0)]
)
def test_the_step_of_a_form(curved, given, step) -> None:
    at = Curvature(Coordinates(("w",), ((5,),)), 0.0, torch.ones(5).double(), lambda v: curved * v)
    everything = Subspace(lambda v: v, 5, 5)
    spectrum = extreme_spectrum(at.product, everything, torch.ones(5).double())
    assert _sharpness(at, spectrum) == pytest.approx(curved)
    assert _step_size(curved, given) == pytest.approx(step)
    assert _step_size(math.inf, None) == 1.0
    if curved:
        with pytest.raises(InvalidInput, match=r"step size=0\.51: is above 2/4"):
            _step_size(curved, 0.51)


def test_the_default_step_is_half_of_one_over_the_largest_curvature() -> None:
    case = cloned()
    H = dense_hessian(case)
    largest = float(torch.linalg.eigvalsh(H).abs().max())
    settings = Settings(seeds=(0, 1, 2), steps=3, along="noise")
    found = analyse(case.model, case.inputs, case.loss, case.clones, settings=settings)
    assert found.step_size == pytest.approx(0.5 / largest, rel=1e-3)
    assert found.seeds == (0, 1, 2)
    starts = [one.distances[0] for one in found.departures]
    assert starts == pytest.approx([1e-5] * 3, rel=1e-3)
    assert len({one.distances[1] for one in found.departures}) == 3
    stable = settings._replace(step_size=1.9 / largest, seeds=())
    assert analyse(case.model, case.inputs, case.loss, case.clones, settings=stable).step_size == 1.9 / largest
    with pytest.raises(InvalidInput, match="descent diverges"):
        analyse(case.model, case.inputs, case.loss, case.clones, settings=settings._replace(step_size=2.1 / largest))


def test_departures_along_noise_begin_along_noise() -> None:
    case = cloned()
    at, space = case.at, normal(case.clones, case.where)
    found = _starts(at, case.clones, space, Settings(seeds=(3, 4), along="noise"))
    for seed, start in zip((3, 4), found, strict=True):
        draw = space.project(random_start(space, at.gradient, seed))
        assert torch.allclose(start, draw / draw.norm())
    along = _starts(at, case.clones, space, Settings(seeds=(3, 4)))
    assert all(abs(float(a @ b)) < 0.9 for a, b in zip(found, along, strict=True))


def test_without_redistributions_nothing_departs() -> None:
    case = cloned()
    found = analyse(case.model, case.inputs, case.loss, case.clones._replace(summed={}))
    assert (found.escape, found.departures, found.seeds, found.flat.redistributions) == (None, (), (), 0)
    assert "escape" in printed(found)


def test_inactive_units_are_recognised_as_flat() -> None:
    base, x = mlp(nn.ReLU)
    with torch.no_grad():
        base[0].bias[0] = -100.0
    clone = expand(base, 2, example_input=x)
    found = analyse(clone, x, lambda y: (y - 1).square().mean(), settings=Settings(seeds=()))
    assert found.flat.inactive >= 8  # the incoming weights and the bias of two clones: 4 differences at least
    assert found.inertia.zero == found.flat.kernel
    assert found.flat.unexplained <= found.flat.kernel - found.flat.inactive
