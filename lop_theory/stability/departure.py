"""Leaving a clone manifold by gradient descent: the steps it takes, predicted and measured.  [persistence] [saddle]

From θ₀ + δ₀, θ₀ on the manifold, δ₀ normal to it, steps of size η lead to the distance ‖δ_t‖ = ‖P(θ_t − θ₀)‖ (the
manifold's own trajectory stays on it, so P sees the departure only). To first order in the distance

    δ_{t+1} = (I − η H|_N(θ*_t)) δ_t,    θ*_{t+1} = θ*_t − η ∇L(θ*_t) on the manifold.

Three predictions of the first t with ‖δ_t‖ ≥ r, and the truth:

* *at least*: each step multiplies by g = max |1 − ηλ| over the spectrum at θ₀, should that stay as it is;
* *curvature here*: H|_N(θ₀) throughout, ‖δ_t‖² = ‖δ₀‖² Σ w_i (1 − ηθ_i)^{2t} by Gauss quadrature, (θ_i, w_i) the Ritz
  values of the Krylov space of δ₀ and its squared components along them;
* *along the manifold*: the recursion itself, one Hessian product a step;
* *measured*: descent.

For smooth activations the recursion counts to the step; with kinks (ReLU) it holds until units cross theirs. Where η is
above 2/λ descent multiplies its rounding, by the same recursion within the manifold: once that has grown to a visible
part of the weights, nothing that comes after is predicted.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.errors import InvalidInput
from lop_theory.stability.krylov import Operator, krylov_space
from lop_theory.stability.objective import Objective
from lop_theory.stability.persistence import growth_factor, steps_to_escape
from lop_theory.stability.rounding import rounded
from lop_theory.stability.subspace import Subspace, complement

VISIBLE = 1e-3
"""The part of ‖θ₀‖ to which rounding may grow along the manifold while steps are still predicted."""
LOST = 0.1
"""A start is too near if rounding changes its distance by more than this part of it."""


class Descent(NamedTuple):
    """Step size η; distances ``start`` and ``radius`` in units of ‖θ₀‖; steps after which to give up; Hessian products
    for the quadrature."""

    step_size: float
    start: float = 1e-5
    radius: float = 1e-3
    limit: int = 500
    products: int = 40


class Departure(NamedTuple):
    """Steps to the radius from one start: three predictions and the measurement (``inf``: not within the limit;
    ``nan``: not predicted, rounding decides before). ``distances``: measured, step by step, in units of ‖θ₀‖;
    ``linear``: the same by the recursion on the manifold, until rounding decides."""

    at_least: float
    here: float
    along: float
    measured: float
    distances: tuple[float, ...]
    linear: tuple[float, ...]

    @property
    def predictable(self) -> int | None:
        """The last step before rounding decides, where that is why nothing is predicted."""
        return len(self.linear) - 1 if math.isnan(self.along) else None

    @property
    def steps(self) -> tuple[float, float, float, float]:
        """At least, with the curvature here, along the manifold, measured."""
        return self.at_least, self.here, self.along, self.measured


def departures(
    at: Objective, space: Subspace, starts: Sequence[Tensor], ends: tuple[float, float], how: Descent
) -> list[Departure]:
    """From each unit direction of ``starts`` in N: predicted and measured steps; ``ends``: lowest and highest curvature
    on N at θ₀. Raises ``InvalidInput``."""
    _check(how)
    norm = float(at.start.norm())
    if starts and not norm:
        raise InvalidInput(
            "model", 0.0, "is the norm of its weights, the unit of distances", "give --seeds 0 (seeds=())"
        )
    first = at.curvature(at.start)
    linear = _on_the_manifold(at, space, [how.start * d for d in starts], how)
    found = []
    for direction, distances in zip(starts, linear, strict=True):
        values, weights = _quadrature(first.product, space, direction, how.products)
        measured = _descend(at, space, at.start + how.start * norm * direction, how)
        factor = growth_factor(*ends, how.step_size)
        found.append(
            Departure(
                steps_to_escape(how.start, how.radius, factor),
                _constant(values, weights, how),
                _first(distances, how.radius, math.inf if len(distances) > how.limit else math.nan),
                _first(measured, how.radius),
                tuple(measured),
                tuple(distances),
            )
        )
    return found


def _quadrature(operator: Operator, space: Subspace, direction: Tensor, products: int) -> tuple[Tensor, Tensor]:
    """Ritz values from the direction, and its squared components along their vectors."""
    found = krylov_space(operator, space, direction, products)
    return found.values, found.vectors[0] ** 2


def _constant(values: Tensor, weights: Tensor, how: Descent) -> float:
    """The first t ≤ limit with start² Σ w (1 − ηθ)^{2t} ≥ radius²."""
    steps = torch.arange(how.limit + 1, dtype=torch.float64)
    powers = (1 - how.step_size * values).abs()[:, None] ** (2 * steps)
    return _first((how.start * (weights @ powers).sqrt()).tolist(), how.radius)


def _first(distances: Sequence[float], radius: float, otherwise: float = math.inf) -> float:
    """The first step at which the radius is reached, or ``otherwise``."""
    return next((float(t) for t, distance in enumerate(distances) if distance >= radius), otherwise)


def _on_the_manifold(at: Objective, space: Subspace, shifts: Sequence[Tensor], how: Descent) -> list[list[float]]:
    """Distances by the recursion, until all shifts are at the radius or rounding is visible. The normal part of the
    gradient is rounding, which descent would multiply: the point is moved along the manifold alone."""
    along = complement(space).project
    point, found = at.start, [[float(shift.norm())] for shift in shifts]
    current, rounding = list(shifts), torch.zeros_like(point)
    for step in range(how.limit):
        if all(distances[-1] >= how.radius for distances in found):
            break
        here = at.curvature(point)
        current = [shift - how.step_size * space.project(here.product(shift)) for shift in current]
        rounding = rounding - how.step_size * along(here.product(rounding)) + rounded(at.start, space, step)
        if not float(rounding.norm()) <= VISIBLE * float(at.start.norm()):
            break
        for distances, shift in zip(found, current, strict=True):
            distances.append(float(shift.norm()))
        point = point - how.step_size * along(here.gradient)
    return found


def _descend(at: Objective, space: Subspace, point: Tensor, how: Descent) -> list[float]:
    """Measured distances in units of ‖θ₀‖, until the radius or the limit."""
    norm, origin = float(at.start.norm()), space.project(at.start)
    distances = [float((space.project(point) - origin).norm()) / norm]
    if not abs(distances[0] - how.start) <= LOST * how.start:
        raise InvalidInput("start", how.start, "is lost in the rounding of the weights", "give a larger --start")
    while distances[-1] < how.radius and len(distances) <= how.limit:
        point = point - how.step_size * at.gradient(point)
        distances.append(float((space.project(point) - origin).norm()) / norm)
        if not math.isfinite(distances[-1]):
            raise InvalidInput("step size", how.step_size, "makes descent diverge", "give a smaller --step-size")
    return distances


def _check(how: Descent) -> None:
    if not 0 < how.step_size < math.inf:
        raise InvalidInput("step size", how.step_size, "must be positive and finite")
    if not 0 < how.start < how.radius < math.inf:
        raise InvalidInput("start, radius", (how.start, how.radius), "must satisfy 0 < start < radius")
    if how.limit < 1 or how.products < 1:
        raise InvalidInput("steps, products", (how.limit, how.products), "must be at least 1")
