"""Pre-activations of a whole level in floats: which intervals lie in a flat region, or do not, without exact sums.

For weights w = w⁺ + w⁻ and sources in [l, h] the exact corners are b + w⁺l + w⁻h and b + w⁺h + w⁻l. A certificate asks
for a corner moved outwards by the rounding of the arithmetic that it speaks of. The float sum of a corner, in whatever
order, is off by at most ``sum_error`` in float64; hence an inner and an outer float interval around the one asked for.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.balls import fmpq
from lop_theory.graph.scalars import FloatArray, IntArray, to_float

Mask = NDArray[np.bool_]
EXTRA = 4  # roundings of a term beyond those of a sum of products: its end as a float, the two halves of its weight
LOOSE = 1 + 2.0**-20  # a bound of an error computed in floats is off by less


class Level(NamedTuple):
    """The nodes of a slice, the slice of their sources, and the matrix (nodes × sources) of weights, dense or CSR."""

    nodes: slice
    sources: slice
    matrix: Any

    @property
    def terms(self) -> IntArray:
        """How many edges go into each node."""
        if isinstance(self.matrix, np.ndarray):
            return np.full(*self.matrix.shape)
        return self.matrix.getnnz(axis=1)


class Roundoff(NamedTuple):
    """Unit roundoff, and the size below which numbers may underflow (or be flushed) to zero."""

    unit: float
    tiny: float


DOUBLE = Roundoff(2.0**-53, 2.0**-1022)


class Enclosures(NamedTuple):
    """For each node of a level an interval inside the one asked for, and one around it: arrays (low, high). What
    overflows is NaN.
    """

    inner: tuple[FloatArray, FloatArray]
    outer: tuple[FloatArray, FloatArray]

    def outside(self, flat: tuple[fmpq | float, fmpq | float]) -> Mask:
        """Where the interval asked for is certainly not strictly inside ``flat``, of which infinite ends are floats."""
        (low, high), (below, above) = self.inner, flat
        left = np.False_ if isinstance(below, float) else low <= math.nextafter(to_float(below), -math.inf)
        right = np.False_ if isinstance(above, float) else high >= math.nextafter(to_float(above), math.inf)
        return np.broadcast_to(left | right, low.shape)


def of_level(level: Level, bias: FloatArray, ends: tuple[FloatArray, FloatArray], spoken: Roundoff) -> Enclosures:
    """Of z for sources between the ``ends``, as computed in the arithmetic spoken of."""
    with np.errstate(over="ignore", invalid="ignore"):
        size = abs(level.matrix)
        halves = (level.matrix + size) / 2, (level.matrix - size) / 2
        inner, outer = _upper(level.terms, bias, halves, ends, spoken)
        low_inner, low_outer = _upper(level.terms, -bias, (-halves[1], -halves[0]), ends, spoken)
    return Enclosures((-low_inner, inner), (-low_outer, outer))


def _upper(
    terms: IntArray, bias: FloatArray, halves: tuple[Any, Any], ends: tuple[FloatArray, FloatArray], spoken: Roundoff
) -> tuple[FloatArray, FloatArray]:
    """Below and above the upper corner b + w⁺h + w⁻l with its rounding."""
    parts = [_sums(half, end) for half, end in zip(halves, ends[::-1], strict=True)]
    total, size, factors, endless = (a + b for a, b in zip(*parts, strict=True))
    size = size + abs(bias)
    asked = _sum_error(terms, size, spoken.unit), _underflow(terms, factors, spoken.tiny)
    off = LOOSE * (_sum_error(terms + EXTRA, size, DOUBLE.unit) + _underflow(terms, factors, DOUBLE.tiny))
    near = bias + total
    inner, outer = near + asked[0] / LOOSE - off, np.nextafter(near + LOOSE * sum(asked) + off, math.inf)
    return np.where(endless > 0, math.inf, inner), np.where(endless > 0, math.inf, outer)


def _sums(half: Any, end: FloatArray) -> tuple[FloatArray, ...]:
    """Σ w r, Σ |w r|, Σ |w| + Σ |r| and the weight on infinite ends r, for weights w of one sign."""
    endless = np.isinf(end)
    finite = np.where(endless, 0.0, end)
    columns = half @ np.column_stack([finite, abs(finite), np.ones(len(end)), endless])
    total, size, weights, open_weights = columns.T
    return total, abs(size), abs(weights) + abs(finite).sum(), abs(open_weights)


def _sum_error(terms: IntArray, size: FloatArray, unit: float) -> FloatArray:
    """γ Σ |w r| for each sum, of which ``certificate`` tells."""
    share = (terms + 4) * unit
    return np.where(2 * share < 1, share / (1 - share) * size, math.inf)


def _underflow(terms: IntArray, factors: FloatArray, tiny: float) -> FloatArray:
    """At most what underflows; ``factors`` may be too large."""
    return 2 * (terms + 1 + factors) * tiny
