"""The stability figure: curvature normal to a clone manifold, on it and beside it, and the steps it takes to leave."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.modules import expand
from lop_theory.stability import Analysis, Clones, Settings, analyse, clones_of
from lop_theory.stability.krylov import random_start
from lop_theory.stability.manifold import normal
from lop_theory.stability.objective import objective_of
from lop_theory.stability.plot import draw_departures, draw_spectrum
from paper_figs.style import panels, save

BESIDE = 0.03
"""How far beside the manifold, in units of ‖weights‖."""
SETTINGS = Settings(start=1e-5, radius=1e-3, steps=400)
CLASSES = 3


class Case(NamedTuple):
    """A clone, its data, and its manifold."""

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    clones: Clones

    def loss(self, output: Tensor) -> Tensor:
        return (output - self.targets).square().mean()


def draw(stem: Path) -> str:
    torch.set_num_threads(1)
    cases = [_case("MLP", _mlp(), (8,)), _case("CNN", _cnn(), (2, 6, 6))]
    figure, axes = panels(2, 3, size=(3.4, 2.7))
    for row, case in zip(axes, cases, strict=True):
        on = analyse(case.model, case.inputs, case.loss, case.clones, settings=SETTINGS)
        off = _beside(case)
        _draw_spectra(row[0], case, on, off)
        _draw_departures(row[1], on)
        _draw_times(row[2], on)
    save(figure, stem)
    return (
        "Clone manifolds of an MLP (GELU, two hidden layers of 6 units, cloned and redistributed) and of a CNN (GELU, "
        "two convolutions), squared error, random weights. Left: all curvatures on the normal space, by "
        f"rank, on the manifold and {BESIDE:g} ‖weights‖ beside it. On it a share of them is 0 to rounding, beside it "
        "nearly none: the flat directions belong to the manifold. Middle: distance over steps of gradient descent from "
        f"{SETTINGS.start:g} along the escape direction of each seed, measured (lines), predicted by the recursion on "
        "the manifold's own trajectory (dots), and the bound with the curvature at the start (dashed). Right: steps to "
        f"the distance {SETTINGS.radius:g}, predicted against measured, one point a seed."
    )


def _case(name: str, base: nn.Module, shape: tuple[int, ...]) -> Case:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(48, *shape, generator=draw, dtype=torch.float64)
    y = torch.randn(48, CLASSES, generator=draw, dtype=torch.float64)
    clone = expand(base.double().eval(), 2, example_input=x, redistribute=1)
    return Case(name, clone, x, y, clones_of(clone, x))


def _mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 6), nn.GELU(), nn.Linear(6, CLASSES))


def _cnn() -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(2, 3, 3), nn.GELU(), nn.Conv2d(3, 4, 3), nn.GELU()]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))


def _beside(case: Case) -> Analysis:
    """The same at a point beside the manifold."""
    at = objective_of(case.model, case.inputs, case.loss)
    space = normal(case.clones, at.coordinates)
    shift = space.project(random_start(space, at.start, 1))
    moved = at.coordinates.unflatten(at.start + BESIDE * at.start.norm() / shift.norm() * shift)
    before = {name: p.detach().clone() for name, p in case.model.named_parameters()}
    _set(case.model, moved)
    found = analyse(case.model, case.inputs, case.loss, case.clones, settings=SETTINGS._replace(seeds=()))
    _set(case.model, before)
    return found


@torch.no_grad()
def _set(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])


def _draw_spectra(ax: Any, case: Case, on: Analysis, off: Analysis) -> None:
    for found, label, marker in ((off, "beside it", "+"), (on, "on the manifold", ".")):
        counts = found.inertia
        name = f"{label}: {counts.negative} −, {counts.zero} zero, {counts.positive} +"
        draw_spectrum(ax, found.spectrum.values, label=name, marker=marker)
    ax.legend(fontsize=6.5, frameon=False, loc="upper left")
    ax.set(
        xlabel="rank, lowest to highest", ylabel="curvature", title=f"{case.name}: {on.kind}, {on.normal} dimensions"
    )


def _draw_departures(ax: Any, found: Analysis) -> None:
    draw_departures(ax, found)
    ax.set(xlabel="step", ylabel="distance / ‖weights‖", title="leaving the manifold")


def _draw_times(ax: Any, found: Analysis) -> None:
    points = [one for one in found.departures if math.isfinite(one.measured)]
    measured = [one.measured for one in points]
    for name, values, marker in (
        ("along the manifold", [one.along for one in points], "o"),
        ("with the curvature at the start", [one.here for one in points], "^"),
        ("at least", [one.at_least for one in points], "_"),
    ):
        ax.plot(measured, values, marker, markersize=5, label=name)
    if measured:
        ax.axline((measured[0], measured[0]), slope=1, color="gray", linewidth=0.6)
    ax.set(xlabel="steps measured", ylabel="steps predicted", title=f"{len(points)} of {len(found.seeds)} seeds left")
    ax.legend(fontsize=6.5, frameon=False)
