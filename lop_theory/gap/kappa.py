"""The sharp per-activation constant κ = inf_{0<|ρ|<1} r(ρ), r(ρ) = (ρ² − K²)/(ρ²(1 − ρ²))   [gap-sharp].

Negative ρ never lie lower  [gap-parity]. On [0, 1] (``ratio``) three ways close the enclosure:

- φ̄ odd or even: κ = λ(1 + c), approached at ρ → 0 (exact);
- the infimum is at ρ → 1: κ = r(1⁻) = K′(1) − 1, with r decreasing on [p, 1] certified cell by cell;
- it is inside: r″ > 0 on [p, q] certified, then κ ∈ [r(m) − r′(m)²/(2 min r″), r(m)] for the best m found. It may lie
  next to 0, where r′(0) = −2c·a_2² ≤ 0.

Where none closes, κ is enclosed by cells alone, which gives fewer digits but is as rigorous.
"""

from heapq import heapify, heappop, heappush
from itertools import count, pairwise
from typing import Literal, NamedTuple

from lop_theory.balls import arb, arb_poly, hull, ipow, precision
from lop_theory.gap.kernel import Kernel, derivative_at_one, from_expansion
from lop_theory.gap.ratio import (
    Ratio,
    derivatives,
    floor_by_tangents,
    floor_on,
    least_curvature,
    ratio_of,
    slope,
    value,
)
from lop_theory.hermite.expansion import expand

_ORDERS = {
    "integration by parts": (48, 192, 768, 3072, 24576),
    "trapezoid rule": (48, 192, 768),
    "Gauss–Legendre panels": (48, 192, 768),
}
_MAX_CELLS = 4000
_CELL_BUDGET = 200
_CELL_BITS = 64
_GRID = 64
_FEW = 512
_WIDTHS = tuple(0.5**k for k in range(2, 15))


class Kappa(NamedTuple):
    """``value`` encloses κ; the infimum is approached in the ball ``at`` (0 and 1 stand for ρ → 0 and ρ → 1)."""

    value: arb
    at: arb
    method: Literal["parity", "linear", "end", "interior", "cells"]


def sharp_constant(kern: Kernel) -> Kappa:
    """κ of the kernel's activation; more coefficients are computed as the place of the infimum needs them."""
    expansion = kern.expansion
    with precision(expansion.bits + 32):
        if expansion.linear:
            return Kappa(arb(0), arb(0.5, 0.5), "linear")
        if expansion.parity != "mixed":
            return Kappa(kern.strength * (1 + kern.c), arb(0), "parity")
        return _search(kern)


def _search(kern: Kernel) -> Kappa:
    """Try the end, then the inside, with more and more coefficients; fall back on cells."""
    expansion, best, wider, ratio = kern.expansion, None, kern, ratio_of(kern)
    more = [order for order in _ORDERS[expansion.method] if order > kern.order]
    for order in more if more and not _suffices(ratio) else [kern.order, *more]:
        if order > kern.order:
            wider = from_expansion(expand(expansion.expr, order, expansion.digits))
            ratio = ratio_of(wider)
        best = _at_end(wider, ratio) or _inside(ratio, expansion.bits) or best
        if best is not None and best.value.rad() < arb(10) ** -expansion.digits:
            return best
    return best or _by_cells(wider, ratio)


def _suffices(ratio: Ratio) -> bool:
    """Whether the infimum lies so near 0, by the look of it, that the tail is negligible there."""
    place = _coarse_minimum(ratio) + arb(1) / _GRID
    return bool(ratio.tail * ipow(place, ratio.size) < arb(2) ** -64)


# ---- the end ----


def _at_end(kern: Kernel, ratio: Ratio) -> Kappa | None:
    """The infimum at ρ → 1: r′ ≤ 0 on [p, 1] and r ≥ r(1⁻) on [0, p]."""
    end = derivative_at_one(kern) - 1
    if not end.is_finite():
        return None
    for start in (0.5, 0.75, 0.875, 0.9375, 0.96875):
        if _decreasing(ratio, arb(start)) and _above(ratio, arb(0), arb(start), end.upper()):
            return Kappa(end, arb(1), "end")
    return None


def _decreasing(ratio: Ratio, start: arb, cells: int = 32) -> bool:
    """N′(v)(1 + v) ≤ N(u) on every cell of [start, 1], which is (1 + ρ)²r′ ≤ 0 there."""
    points = [start + (1 - start) * i / cells for i in range(cells + 1)]
    points.reverse()  # from the end, where an infinite K″(1) fails at once
    return all(derivatives(ratio, v, 1)[1] * (1 + v) <= derivatives(ratio, u, 0)[0] for v, u in pairwise(points))


def _above(ratio: Ratio, lo: arb, hi: arb, level: arb) -> bool:
    """Whether r > level on [lo, hi], by bisection."""
    stack, used = [(lo, hi)], 0
    while stack:
        u, v = stack.pop()
        used += 1
        if floor_on(ratio, u, v) > level:
            continue
        if used > _MAX_CELLS or v - u < arb(2) ** -40:
            return False
        middle = ((u + v) / 2).mid()
        stack += [(u, middle), (middle, v)]
    return True


# ---- the inside ----


def _inside(ratio: Ratio, bits: int) -> Kappa | None:
    """The infimum at an interior point, possibly next to 0."""
    start = _coarse_minimum(ratio)
    m = _newton(ratio, start - arb(1) / (4 * _GRID) if start == 1 else start, bits)
    for width in _WIDTHS:
        p, q = (m - width).mid().max(arb(0)), (m + width).mid()
        if not q < 1:
            continue
        curvature = least_curvature(ratio, p, q)
        if curvature > 0:
            return _closed(ratio, m, (p, q), curvature)
    return None


def _closed(ratio: Ratio, m: arb, ends: tuple[arb, arb], curvature: arb) -> Kappa | None:
    """By strong convexity on [p, q], r ≥ r(m) − r′(m)²/(2 min r″) there, least within |r′(m)|/min r″ of m; r > r(m)
    outside."""
    p, q = ends
    top, tilt = value(ratio, m), slope(ratio, m)
    drop = tilt * tilt / (2 * curvature)
    shift = (abs(tilt) / curvature).abs_upper()
    below = p.is_zero() or _above(ratio, arb(0), p, top.upper())
    if not (below and _above(ratio, q, arb(1), top.upper())):
        return None
    at = hull((m - shift).lower().max(p), (m + shift).upper().min(q))
    return Kappa(hull((top - drop).lower(), top.upper()), at, "interior")


def _coarse_minimum(ratio: Ratio) -> arb:
    """The grid point at which r seems to be least, by its first terms."""
    points = [arb(i) / _GRID for i in range(_GRID + 1)]
    s, f = (arb_poly([poly[j] for j in range(min(poly.length(), _FEW))]) for poly in (ratio.s[0], ratio.f[0]))
    return min(points, key=lambda x: float((s(x) * f(x) / (1 + x)).mid()))


def _newton(ratio: Ratio, start: arb, bits: int) -> arb:
    """The critical point of r to about half the working accuracy, found on midpoints; its quality is certified later.

    (1 + ρ)²r′ = N′(1 + ρ) − N increases and is convex, so that after one step all come from the right.
    """
    m, exact = start, ratio._replace(tail=arb(0))
    for _ in range(60):
        n0, n1, n2 = (v.mid() for v in derivatives(exact, m, 2))
        step = (n1 * (1 + m) - n0) / (n2 * (1 + m))
        m = (m - step).max(arb(0)).min((1 + m) / 2).mid()
        if abs(step) < arb(2) ** -(bits // 2 + 8):
            break
    return m


# ---- cells alone ----


def _by_cells(kern: Kernel, ratio: Ratio) -> Kappa:
    """Branch and bound on [0, 1]: the least upper value found above, the least cell bound below."""
    with precision(max(_CELL_BITS, kern.expansion.bits)):
        points = [arb(i) / _GRID for i in range(_GRID)] + [1 - ipow(arb(0.5), k) for k in range(7, 24)] + [arb(1)]
        heap, top, place = _halved(ratio, points)
        lower, candidates = top, [place]
        for item in heap:
            lower = lower.min(item[2])
            if not item[2] > top:
                candidates += item[3][:1] + item[4][:1]
        return Kappa(hull(lower, top), hull(*candidates), "cells")


Point = tuple[arb, list[arb]]
"""A place ρ with [N, N′] there."""


Cell = tuple[float, int, arb, Point, Point]
"""The key of its bound, its number, the bound, and both ends."""


def _halved(ratio: Ratio, points: list[arb]) -> tuple[list[Cell], arb, arb]:
    """(cells with their bounds, least upper value, its place): the weakest cell is halved until the budget is spent."""
    serial = count()  # breaks ties between equal float keys; the bound itself is the exact third entry
    top, place = arb.pos_inf(), points[0]

    def at(rho: arb) -> Point:
        nonlocal top, place
        found = derivatives(ratio, rho, 1)
        upper = (found[0] / (1 + rho)).upper()
        if upper < top:
            top, place = upper, rho
        return rho, found

    def cell(a: Point, b: Point) -> Cell:
        bound = floor_by_tangents(a[1], b[1], a[0], b[0]).max(floor_on(ratio, a[0], b[0]))
        return float(bound), next(serial), bound, a, b

    heap = [cell(a, b) for a, b in pairwise(map(at, points))]
    heapify(heap)
    for _ in range(_CELL_BUDGET):
        *_, a, b = heappop(heap)
        middle = at(((a[0] + b[0]) / 2).mid())
        heappush(heap, cell(a, middle))
        heappush(heap, cell(middle, b))
    return heap, top, place
