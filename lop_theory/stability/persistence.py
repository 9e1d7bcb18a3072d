"""How long it takes to leave the neighbourhood of a manifold.  [persistence]

Flow: d/dt dist² ≤ 2 μ dist² gives dist(t) ≤ dist(0) e^{μt} (Grönwall, ``Persistence.v``), μ = −λ_min(H|_N) to first
order in the distance. Gradient descent with step η: each step multiplies the distance by at most
g = max(|1 − η λ_min|, |1 − η λ_max|), again to first order.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from lop_theory.errors import InvalidInput
from lop_theory.verdict import Fails, Holds, Verdict


class TooFast(NamedTuple):
    """Between these steps the distance grew by ``factor``, more than ``bound`` allows."""

    steps: tuple[int, int]
    factor: float
    bound: float


def escape_time(start: float, radius: float, rate: float) -> float:
    """Least time to get from distance ``start`` to ``radius`` at growth rate μ: log(radius/start)/μ; ∞ if μ ≤ 0."""
    _check_distances(start, radius)
    if start >= radius:
        return 0.0
    return math.inf if rate <= 0 or start == 0 else math.log(radius / start) / rate


def growth_factor(lowest: float, highest: float, step_size: float) -> float:
    """g = max(|1 − η λ_min|, |1 − η λ_max|): a step of gradient descent multiplies normal distances by at most this."""
    return max(abs(1 - step_size * lowest), abs(1 - step_size * highest))


def steps_to_escape(start: float, radius: float, factor: float) -> float:
    """Least number of steps from distance ``start`` to ``radius`` when each multiplies it by at most ``factor``."""
    _check_distances(start, radius)
    if start >= radius:
        return 0.0
    return math.inf if factor <= 1 or start == 0 else math.ceil(math.log(radius / start) / math.log(factor))


def check_growth(
    steps: Sequence[int],
    distances: Sequence[float],
    factors: Sequence[float],
    *,
    slack: float = 0.0,
    floor: float = 0.0,
) -> Verdict:
    """Whether distances measured along a run grew no faster than predicted.

    Between measurements k and k + 1 the bound is max(factors[k], factors[k+1])^(steps between), times 1 + ``slack`` for
    the curvature's change and the second-order terms. Distances up to ``floor`` (rounding) are not judged.
    """
    for k in range(len(steps) - 1):
        bound = max(factors[k], factors[k + 1]) ** (steps[k + 1] - steps[k]) * (1 + slack)
        if distances[k + 1] > max(bound * distances[k], floor):
            grown = distances[k + 1] / distances[k] if distances[k] else math.inf
            return Fails(TooFast((steps[k], steps[k + 1]), grown, bound))
    return Holds("measured")


def _check_distances(start: float, radius: float) -> None:
    if not (start >= 0 and radius > 0):
        raise InvalidInput("start, radius", (start, radius), "must be a distance and a positive distance")
