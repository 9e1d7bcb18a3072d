"""κ from both sides by one tangent, in whole numbers, from a gap certificate   [gap-kappa].

With r(ρ)(1 + ρ) = S·F, S = Σ_j T_{j+2} ρ^j and F = 1 + K/ρ (``ratio``), the truncated series with coefficients rounded
down have non-negative coefficients, so N = S·F is convex and, for every place m,

    r(ρ) ≥ (N(m) + N′(m)(ρ − m))/(1 + ρ) ≥ min(N(m) − N′(m)m, (N(m) + N′(m)(1 − m))/2).

At the m where N′(m)(1 + m) = N(m) both are N′(m) = min r, whether the infimum lies inside, at 0 or at 1. From above,
κ ≤ r(w) ≤ (1 − k²)/(1 − w²) for a witness w and the truncated series k ≤ K(w)/w. Coq checks both (proofs/Kappa.v).
"""

from functools import partial
from typing import NamedTuple

from lop_theory.gap.certificate import Certificate, squares, tails_low


class Tangent(NamedTuple):
    """place/grid is m, witness/grid is w; ``low`` ≤ κ ≤ ``high`` in units of 10^−decimals."""

    grid: int
    place: int
    witness: int
    low: int
    high: int


def tangent(found: Certificate) -> Tangent:
    """The best tangent and witness on a grid so fine that its step, squared, is below the certificate's unit."""
    unit = 10**found.decimals
    bits = unit.bit_length() // 2 + 8
    grid = 1 << bits
    (_, *low), high = squares(found.coefficients, unit)
    s = tails_low(high, unit)[2:]
    at = partial(_at, s, [unit + low[0], *low[1:]], grid)
    place = _least(at, grid)
    n, slope, scale = at(place)
    whole = scale * grid * unit
    below = min((n * grid - slope * place) // whole, (n * grid + slope * (grid - place)) // (2 * whole))
    from_above = partial(_from_above, low, unit, grid)
    witness = min({min(max(place, 1), grid - 1), *(grid - (1 << j) for j in range(bits))}, key=from_above)
    return Tangent(grid, place, witness, below, from_above(witness))


def _at(s: list[int], f: list[int], grid: int, p: int) -> tuple[int, int, int]:
    """N and N′ at p/grid as (n, n′, scale): whole numbers over scale."""
    (s0, s1), (f0, f1) = _value_and_slope(s, p, grid), _value_and_slope(f, p, grid)
    return s0 * f0, s1 * f0 + s0 * f1, grid ** (len(s) + len(f))


def _value_and_slope(coefficients: list[int], p: int, grid: int) -> tuple[int, int]:
    """The polynomial and its derivative at p/grid, times grid^len(coefficients) (Horner's rule)."""
    value, slope, scale = 0, 0, grid
    for x in reversed(coefficients):
        slope = slope * p + value * grid
        value = value * p + x * scale
        scale *= grid
    return value, slope


def _least(at: partial[tuple[int, int, int]], grid: int) -> int:
    """The grid point next to which N′(m)(1 + m) − N(m), which increases, changes its sign."""
    lo, hi = 0, grid
    while lo < hi:
        middle = (lo + hi) // 2
        n, slope, _ = at(middle)
        if slope * (grid + middle) < n * grid:
            lo = middle + 1
        else:
            hi = middle
    return lo


def _from_above(low: list[int], unit: int, grid: int, w: int) -> int:
    """(1 − k²)/(1 − w²) in units, rounded up."""
    k, _ = _value_and_slope(low, w, grid)
    one = unit * grid ** len(low)
    numerator, denominator = (one * one - k * k) * grid * grid * unit, one * one * (grid * grid - w * w)
    return max(0, -(-numerator // denominator))
