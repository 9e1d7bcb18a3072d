"""The sharp per-activation constant κ = inf_{0<|ρ|<1} r(ρ), r(ρ) = (ρ² − K²)/(ρ²(1 − ρ²))   [gap-sharp].

On [0, 1]:  r(ρ) = N(ρ)/(1 + ρ),  N = S·F,  S(ρ) = Σ_j T_{j+2} ρ^j,  F(ρ) = 1 + K(ρ)/ρ,

where S and F have non-negative coefficients. So S, F, N and their derivatives increase, a truncated series is a lower
bound, and a cell [u, v] needs one evaluation: r ≥ N(u)/(1 + v). Negative ρ never lie lower  [gap-parity]. Three ways
to close the enclosure:

- φ̄ odd or even: κ = λ(1 + c), approached at ρ → 0 (exact);
- the infimum is at ρ → 1: κ = r(1⁻) = K′(1) − 1, with r decreasing on [p, 1] certified cell by cell;
- it is inside: r″ > 0 on [p, q] certified, then κ ∈ [r(m) − r′(m)²/(2 min r″), r(m)] for the best m found.

Where none closes, κ is enclosed by cells alone, which gives fewer digits but is as rigorous.
"""

from heapq import heapify, heappop, heappush
from itertools import count, pairwise
from typing import Literal, NamedTuple

from lop_theory.balls import arb, arb_poly, hull, ipow, precision
from lop_theory.gap.kernel import Kernel, derivative_at_one, from_expansion
from lop_theory.hermite.expansion import expand

_ORDERS = {
    "integration by parts": (48, 192, 768, 3072),
    "trapezoid rule": (48, 192, 512),
    "Gauss–Legendre panels": (48, 192),
}
_MAX_CELLS = 4000
_CELL_BUDGET = 300
_CELL_BITS = 64


class Kappa(NamedTuple):
    """``value`` encloses κ; the infimum is approached in the ball ``at`` (0 and 1 stand for ρ → 0 and ρ → 1)."""

    value: arb
    at: arb
    method: Literal["parity", "linear", "end", "interior", "cells"]


class Series(NamedTuple):
    """Truncated S and F (coefficients ≥ 0) with what bounds their tails: T_n, and the totals S(1), F′(1), S′(1)
    where these are finite.
    """

    s: arb_poly
    f: arb_poly
    size: int
    tail: arb
    s_left: arb
    f_slope_left: arb
    s_slope_left: arb


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
    expansion, best, wider, series = kern.expansion, None, kern, _series(kern)
    for order in _ORDERS[expansion.method]:
        wider = from_expansion(expand(expansion.expr, order, expansion.digits))
        series = _series(wider)
        best = _at_end(wider, series) or _inside(series, expansion.bits) or best
        if best is not None and best.value.rad() < arb(10) ** -expansion.digits:
            return best
    return best or _by_cells(wider, series)


# ---- enclosures of S, F and N with their tails ----


def _series(kern: Kernel) -> Series:
    n = kern.order
    s = arb_poly(list(kern.tails[2 : n + 1]))
    f = arb_poly([1 + kern.c, *kern.squares[2:]])
    first, second = derivative_at_one(kern, 1), derivative_at_one(kern, 2)
    s_left = _remaining(first - 1, s(arb(1)))
    f_slope_left = _remaining(first - 1, f.derivative()(arb(1)))
    s_slope_left = _remaining((second - 2 * first + 2) / 2, s.derivative()(arb(1)))
    return Series(s, f, n - 1, kern.tails[n].abs_upper(), s_left, f_slope_left, s_slope_left)


def _remaining(total: arb, partial: arb) -> arb:
    left = total - partial
    return left.abs_upper() if left.is_finite() else arb.pos_inf()


def _geometric(m: int, rho: arb, order: int) -> arb:
    """The order-th derivative of ρ^m/(1 − ρ) = Σ_{j≥m} ρ^j, +inf at ρ = 1 (order ≤ 2)."""
    if not rho < 1:
        return arb.pos_inf()
    if rho.is_zero():
        return arb(0)
    q = rho / (1 - rho)
    factor = (arb(1), m + q, m * (m - 1) + 2 * m * q + 2 * q * q)[order]
    return ipow(rho, m - order) * factor / (1 - rho)


def _enclose(poly: arb_poly, tail: arb, rho: arb) -> arb:
    """poly(ρ) + [0, tail]."""
    return poly(rho) + arb(0.5, 0.5) * tail.abs_upper()


def _derivatives(series: Series, rho: arb, order: int) -> list[arb]:
    """[N, N′, N″][: order + 1] at ρ ∈ [0, 1]."""
    s, f = series.s, series.f
    s_values: list[arb] = []
    f_values: list[arb] = []
    for i in range(order + 1):
        geometric = series.tail * _geometric(series.size, rho, i)
        left = (series.s_left, series.s_slope_left, arb.pos_inf())[i]
        s_values.append(_enclose(s, geometric.min(left), rho))
        f_left = (series.tail, series.f_slope_left, arb.pos_inf())[i]
        f_values.append(_enclose(f, geometric.min(f_left), rho))
        s, f = s.derivative(), f.derivative()
    values = [s_values[0] * f_values[0]]
    if order >= 1:
        values.append(s_values[1] * f_values[0] + s_values[0] * f_values[1])
    if order >= 2:
        values.append(s_values[2] * f_values[0] + 2 * s_values[1] * f_values[1] + s_values[0] * f_values[2])
    return values


def ratio(series: Series, rho: arb) -> arb:
    """r(ρ) on [0, 1]."""
    return _derivatives(series, rho, 0)[0] / (1 + rho)


def _below(series: Series, u: arb, v: arb) -> arb:
    """A lower bound of r on the cell [u, v], from the truncated series alone."""
    return (series.s(u) * series.f(u) / (1 + v)).lower()


# ---- the three cases ----


def _at_end(kern: Kernel, series: Series) -> Kappa | None:
    """The infimum at ρ → 1: r′ ≤ 0 on [p, 1] and r ≥ r(1⁻) on [0, p]."""
    end = derivative_at_one(kern) - 1
    if not end.is_finite():
        return None
    for start in (0.5, 0.75, 0.875, 0.9375, 0.96875):
        if _decreasing(series, arb(start)) and _above(series, arb(0), arb(start), end.upper()):
            return Kappa(end, arb(1), "end")
    return None


def _decreasing(series: Series, start: arb, cells: int = 32) -> bool:
    """N′(v)(1 + v) ≤ N(u) on every cell of [start, 1], which is (1 + ρ)²r′ ≤ 0 there."""
    points = [start + (1 - start) * i / cells for i in range(cells + 1)]
    points.reverse()  # from the end, where an infinite K″(1) fails at once
    return all(_derivatives(series, v, 1)[1] * (1 + v) <= _derivatives(series, u, 0)[0] for v, u in pairwise(points))


def _above(series: Series, lo: arb, hi: arb, level: arb) -> bool:
    """Whether r > level on [lo, hi], by bisection."""
    stack, used = [(lo, hi)], 0
    while stack:
        u, v = stack.pop()
        used += 1
        if _below(series, u, v) > level:
            continue
        if used > _MAX_CELLS or v - u < arb(2) ** -40:
            return False
        middle = ((u + v) / 2).mid()
        stack += [(u, middle), (middle, v)]
    return True


def _inside(series: Series, bits: int) -> Kappa | None:
    """The infimum at an interior point."""
    start = _coarse_minimum(series)
    if start is None:
        return None
    m = _newton(series, start, bits)
    for width in (0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.002):
        p, q = (m - width).mid(), (m + width).mid()
        if not (p > 0 and q < 1):
            continue
        curvature = _least_curvature(series, p, q)
        if curvature > 0:
            return _closed(series, m, p, q, curvature)
    return None


def _closed(series: Series, m: arb, p: arb, q: arb, curvature: arb) -> Kappa | None:
    """Strong convexity on [p, q] and r > r(m) outside."""
    top = ratio(series, m)
    tilt = _first(series, m)
    drop = tilt * tilt / (2 * curvature)
    shift = (abs(tilt) / curvature).abs_upper()
    if (
        shift < m - p
        and shift < q - m
        and _above(series, arb(0), p, top.upper())
        and _above(series, q, arb(1), top.upper())
    ):
        return Kappa(hull((top - drop).lower(), top.upper()), m + arb(0, shift), "interior")
    return None


def _coarse_minimum(series: Series, cells: int = 64) -> arb | None:
    """The grid point of least r, if it is an inner one."""
    points = [arb(i) / cells for i in range(cells + 1)]
    values = [float((series.s(x) * series.f(x) / (1 + x)).mid()) for x in points]
    best = min(range(cells + 1), key=values.__getitem__)
    if best == 0:
        return None
    return points[best] if best < cells else points[cells] - arb(1) / (4 * cells)


def _newton(series: Series, start: arb, bits: int) -> arb:
    """A critical point of r to about half the working accuracy, found on midpoints; its quality is certified later."""
    m = start
    for _ in range(60):
        n0, n1, n2 = (v.mid() for v in _derivatives(series._replace(tail=arb(0)), m, 2))
        g = 1 + m
        first, second = (n1 - n0 / g) / g, (n2 - 2 * n1 / g + 2 * n0 / (g * g)) / g
        step = first / second if second > 0 else first.sgn() / 256
        step = step.max(-m / 4).min(m / 4).max((m - 1) / 2)
        m = (m - step).mid()
        if abs(step) < arb(2) ** -(bits // 2 + 8):
            break
    return m


def _first(series: Series, rho: arb) -> arb:
    """r′(ρ) = (N′(1 + ρ) − N)/(1 + ρ)²."""
    n0, n1 = _derivatives(series, rho, 1)
    return (n1 - n0 / (1 + rho)) / (1 + rho)


def _least_curvature(series: Series, p: arb, q: arb, cells: int = 12) -> arb:
    """A lower bound of r″ = (N″(1 + ρ)² − 2N′(1 + ρ) + 2N)/(1 + ρ)³ on [p, q], each term at the end that makes it
    least.
    """
    points = [(p + (q - p) * i / cells).mid() for i in range(cells + 1)]
    values = [_derivatives(series, x, 2) for x in points]
    least = arb.pos_inf()
    for u, v, at_u, at_v in zip(points, points[1:], values, values[1:], strict=False):
        top = at_u[2] * (1 + u) ** 2 - 2 * at_v[1] * (1 + v) + 2 * at_u[0]
        least = least.min((top.lower() / (1 + v) ** 3) if top > 0 else arb(-1))
    return least


def _by_cells(kern: Kernel, series: Series) -> Kappa:
    """Branch and bound on [0, 1]: the least upper value found above, the least cell bound below."""
    with precision(_CELL_BITS):
        points = [arb(i) / 64 for i in range(1, 64)] + [1 - ipow(arb(0.5), k) for k in range(7, 24)]
        uppers = [(ratio(series, x).upper(), x) for x in points]
        uppers.append(((derivative_at_one(kern) - 1).upper(), arb(1)))
        top, place = min((pair for pair in uppers if pair[0].is_finite()), key=lambda pair: float(pair[0]))
        lower, where = _lower_cells(series, top)
        return Kappa(hull(lower.min(top), top), hull(place, where), "cells")


def _lower_cells(series: Series, upper: arb) -> tuple[arb, arb]:
    """(lower bound of inf r, hull of the cells that could hold it): the weakest cell is halved until the budget is
    spent.
    """
    serial = count()  # breaks ties between equal float keys; the bound itself is the exact third entry

    def cell(u: arb, v: arb) -> tuple[float, int, arb, arb, arb]:
        bound = _below(series, u, v)
        return float(bound), next(serial), bound, u, v

    heap = [cell(arb(i) / 64, arb(i + 1) / 64) for i in range(64)]
    heapify(heap)
    for _ in range(_CELL_BUDGET):
        *_, u, v = heappop(heap)
        middle = ((u + v) / 2).mid()
        heappush(heap, cell(u, middle))
        heappush(heap, cell(middle, v))
    lower = heap[0][2]
    for item in heap:
        lower = lower.min(item[2])
    candidates = [end for item in heap if not item[2] > upper for end in item[3:]]
    return lower, hull(*(candidates or heap[0][3:]))
