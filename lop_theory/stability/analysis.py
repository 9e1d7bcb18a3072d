"""Which way out of a clone manifold, how fast: everything that ``python -m lop_theory.stability`` says of a model.
[normal-splitting] [flat-directions] [saddle] [persistence]
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.stability.departure import Departure, Descent, departures
from lop_theory.stability.escape import Escape, escape_direction
from lop_theory.stability.found import clones_of
from lop_theory.stability.inertia import ZERO, Flat, Inertia, Whole, flatness, inertia_of, no_curvature, whole
from lop_theory.stability.krylov import Ritz, Spectrum, extreme_spectrum, lanczos, random_start
from lop_theory.stability.manifold import Clones, normal, redistributions
from lop_theory.stability.normal_hessian import Kind, kind_of
from lop_theory.stability.objective import Curvature, Loss, Objective, objective_of
from lop_theory.stability.rounding import rounding_of
from lop_theory.stability.subspace import Subspace, complement

TANGENT = 1e-6
"""θ counts as on the manifold if the gradient's normal part is at most this times the gradient (float32: 1e-3)."""
Start = Literal["escape", "noise"]


class Settings(NamedTuple):
    """``outer`` eigenvalues at each end, to residuals of ``tolerance`` × the largest, with at most ``products`` Hessian
    products; all eigenvalues where N has at most ``dense`` dimensions. ``step_size`` (none: half of 1/λ, λ the largest
    |curvature|) and the rest: see :class:`~lop_theory.stability.departure.Descent`. Departures begin along the escape
    direction of each of ``seeds``, or along ``noise`` in N."""

    outer: int = 5
    tolerance: float = 1e-3
    products: int = 200
    dense: int = 600
    step_size: float | None = None
    start: float = 1e-5
    radius: float = 1e-3
    steps: int = 500
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    along: Start = "escape"
    precision: torch.dtype = torch.float64


DEFAULT = Settings()


class Analysis(NamedTuple):
    """What was found. ``tangent`` is ‖P∇L‖/‖∇L‖, 0 on the manifold; curvatures up to ``zero`` (rounding, or hardly
    anything beside the largest) count as none; ``kind`` is ``None`` where the eigenvalues that were computed do not
    decide."""

    parameters: int
    normal: int
    loss: float
    gradient: float
    tangent: float
    on_manifold: bool
    spectrum: Spectrum
    zero: float
    inertia: Inertia
    flat: Flat
    kind: Kind | None
    escape: Escape | None
    step_size: float
    seeds: tuple[int, ...]
    departures: tuple[Departure, ...]
    settings: Settings


def analyse(model: nn.Module, inputs: Any, loss: Loss, clones: Any = None, *, settings: Settings = DEFAULT) -> Analysis:
    """Spectrum on the normal space, inertia, flat directions, classification, escape, predicted and measured steps.

    ``clones``: what :func:`~lop_theory.stability.found.clones_of` takes (a ``Detection``, a ``Profile``, ``Clones``, or
    nothing: they are looked for). ``loss(output)`` is a scalar. The model is not touched.

    Raises ``InvalidInput``: no clones, a loss that is no scalar, random numbers (dropout), a kink at the point, an
    operator without second derivative, another precision than float64 and float32.
    """
    if settings.precision not in ZERO:
        raise InvalidInput("precision", settings.precision, "must be torch.float64 or torch.float32")
    objective = objective_of(model, inputs, loss, dtype=settings.precision)
    at = objective.curvature(objective.start)
    found = clones_of(model, inputs, clones)
    _require_smooth(objective_of(model, inputs, loss, dtype=torch.float64))
    space = normal(found, at.coordinates)
    spectrum, all_of_it = _spectrum(at, space, settings)
    sharpness = _sharpness(at, spectrum)
    slope = float(at.gradient.norm())
    tangent = float(space.project(at.gradient).norm()) / slope if slope else 0.0
    limit = TANGENT if settings.precision == torch.float64 else 1e3 * TANGENT
    zero = no_curvature(spectrum, rounding_of(objective, at.product, space), sharpness)
    escape = escape_direction(at, found)
    step_size = _step_size(sharpness, settings.step_size)
    starts = _starts(at, found, space, settings) if tangent <= limit else []
    how = Descent(step_size, settings.start, settings.radius, settings.steps)
    ends = (spectrum.lowest[0].value, spectrum.highest[0].value)
    return Analysis(
        parameters=at.coordinates.dimension,
        normal=space.dimension,
        loss=at.value,
        gradient=slope,
        tangent=tangent,
        on_manifold=tangent <= limit,
        spectrum=spectrum,
        zero=zero,
        inertia=inertia_of(spectrum.values, zero, exact=spectrum.complete),
        flat=flatness(at, redistributions(found, at.coordinates), sharpness, zero, all_of_it),
        kind=_kind(spectrum, zero),
        escape=escape,
        step_size=step_size,
        seeds=settings.seeds[: len(starts)],
        departures=tuple(departures(objective, space, starts, ends, how)),
        settings=settings,
    )


def _require_smooth(at: Objective) -> None:
    kinks = at.kinks()
    if kinks:
        names = ", ".join(kinks)
        raise InvalidInput("model", names, "has a kink at these weights and data: no Hessian", "move them a little")
    at.check_second_order()


def _spectrum(at: Curvature, space: Subspace, settings: Settings) -> tuple[Spectrum, Whole | None]:
    if space.dimension > settings.dense:
        start = random_start(space, at.gradient)
        found = extreme_spectrum(
            at.product, space, start, count=settings.outer, tolerance=settings.tolerance, products=settings.products
        )
        return found, None
    found = whole(at, space)
    half = min(settings.outer, (space.dimension + 1) // 2)
    lowest, highest = ([_pair(found, space, k if low else -1 - k) for k in range(half)] for low in (True, False))
    return Spectrum(tuple(lowest), tuple(highest), found.values, True, True, space.dimension), found


def _pair(found: Whole, space: Subspace, which: int) -> Ritz:
    value, vector = found.values[which], found.vectors[:, which]
    rest = space.project(found.images @ vector) - value * (found.basis @ vector)
    return Ritz(float(value), found.basis @ vector, float(rest.norm()))


def _kind(spectrum: Spectrum, zero: float) -> Kind | None:
    """From all eigenvalues; from Ritz values, which bound λ_min from above and λ_max from below, only a saddle."""
    low, high = spectrum.lowest[0].value, spectrum.highest[0].value
    found = kind_of(low, high, zero)
    return found if spectrum.complete or found == "saddle" else None


def _sharpness(at: Curvature, spectrum: Spectrum) -> float:
    """The largest |curvature| in any direction, normal or not."""
    everything = complement(Subspace(torch.zeros_like, 0, at.coordinates.dimension))
    found = lanczos(at.product, everything, random_start(everything, at.gradient), 20)
    return max(abs(found.lowest.value), abs(found.highest.value), spectrum.largest)


def _step_size(sharpness: float, given: float | None) -> float:
    """The one given, which must be stable, or half of 1/λ, λ the largest |curvature| in any direction."""
    if given is not None and given * sharpness > 2:
        remedy = f"the default is {0.5 / sharpness:.3g}"
        raise InvalidInput("step size", given, f"is above 2/{sharpness:.3g}: descent diverges", remedy)
    return given or (0.5 / sharpness if sharpness > 0 and math.isfinite(sharpness) else 1.0)


def _starts(at: Curvature, clones: Clones, space: Subspace, settings: Settings) -> list[Tensor]:
    if settings.along == "noise":
        draws = [space.project(random_start(space, at.gradient, seed)) for seed in settings.seeds]
        return [draw / draw.norm() for draw in draws]
    found = [escape_direction(at, clones, seed=seed) for seed in settings.seeds]
    return [escape.direction for escape in found if escape is not None]
