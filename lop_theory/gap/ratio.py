"""The ratio r(ρ) = (ρ² − K²)/(ρ²(1 − ρ²)) on [0, 1], whose infimum is κ   [gap-sharp].

    r(ρ) = N(ρ)/(1 + ρ),  N = S·F,  S(ρ) = Σ_j T_{j+2} ρ^j,  F(ρ) = 1 + K(ρ)/ρ,

where S and F have non-negative coefficients. So S, F, N and their derivatives increase, N is convex, and a truncated
series is a lower bound.
"""

from typing import NamedTuple

from lop_theory.balls import arb, arb_poly, ipow
from lop_theory.gap.kernel import Kernel, derivative_at_one


class Ratio(NamedTuple):
    """Truncated S and F with their first two derivatives (coefficients ≥ 0), and what bounds their tails: T_n, and
    what S(1), S′(1), F′(1) leave, +inf where these are infinite.
    """

    s: tuple[arb_poly, arb_poly, arb_poly]
    f: tuple[arb_poly, arb_poly, arb_poly]
    size: int
    tail: arb
    s_left: tuple[arb, arb, arb]
    f_left: tuple[arb, arb, arb]


def ratio_of(kern: Kernel) -> Ratio:
    n, one, unknown = kern.order, arb(1), arb.pos_inf()
    s = _with_derivatives(arb_poly(list(kern.tails[2 : n + 1])))
    f = _with_derivatives(arb_poly([1 + kern.c, *kern.squares[2:]]))
    first, second = derivative_at_one(kern, 1), derivative_at_one(kern, 2)
    s_left = _remaining(first - 1, s[0](one)), _remaining((second - 2 * first + 2) / 2, s[1](one)), unknown
    tail = kern.tails[n].abs_upper()
    return Ratio(s, f, n - 1, tail, s_left, (tail, _remaining(first - 1, f[1](one)), unknown))


def _with_derivatives(poly: arb_poly) -> tuple[arb_poly, arb_poly, arb_poly]:
    slope = poly.derivative()
    return poly, slope, slope.derivative()


def _remaining(total: arb, partial: arb) -> arb:
    left = total - partial
    return left.abs_upper() if left.is_finite() else arb.pos_inf()


def derivatives(ratio: Ratio, rho: arb, order: int) -> list[arb]:
    """[N, N′, N″][: order + 1] at ρ ∈ [0, 1]."""
    s: list[arb] = []
    f: list[arb] = []
    for i in range(order + 1):
        geometric = ratio.tail * _geometric(ratio.size, rho, i)
        s.append(_enclose(ratio.s[i], geometric.min(ratio.s_left[i]), rho))
        f.append(_enclose(ratio.f[i], geometric.min(ratio.f_left[i]), rho))
    values = [s[0] * f[0]]
    if order >= 1:
        values.append(s[1] * f[0] + s[0] * f[1])
    if order >= 2:
        values.append(s[2] * f[0] + 2 * s[1] * f[1] + s[0] * f[2])
    return values


def _geometric(m: int, rho: arb, order: int) -> arb:
    """The order-th derivative of ρ^m/(1 − ρ) = Σ_{j≥m} ρ^j, +inf at ρ = 1 (order ≤ 2)."""
    if not rho < 1:
        return arb.pos_inf()
    if m <= order:
        return arb((1, 1, 2)[order]) / ipow(1 - rho, order + 1)
    q = rho / (1 - rho)
    factor = (arb(1), m + q, m * (m - 1) + 2 * m * q + 2 * q * q)[order]
    return ipow(rho, m - order) * factor / (1 - rho)


def _enclose(poly: arb_poly, tail: arb, rho: arb) -> arb:
    """poly(ρ) + [0, tail]."""
    return poly(rho) + arb(0.5, 0.5) * tail.abs_upper()


def value(ratio: Ratio, rho: arb) -> arb:
    """r(ρ) on [0, 1]."""
    return derivatives(ratio, rho, 0)[0] / (1 + rho)


def slope(ratio: Ratio, rho: arb) -> arb:
    """r′(ρ) = (N′(1 + ρ) − N)/(1 + ρ)²."""
    n0, n1 = derivatives(ratio, rho, 1)
    return (n1 - n0 / (1 + rho)) / (1 + rho)


def floor_on(ratio: Ratio, u: arb, v: arb) -> arb:
    """A lower bound of r on the cell [u, v], from the truncated series alone: N(u)/(1 + v)."""
    return (ratio.s[0](u) * ratio.f[0](u) / (1 + v)).lower()


def floor_by_tangents(at_u: list[arb], at_v: list[arb], u: arb, v: arb) -> arb:
    """A lower bound of r on [u, v] from [N, N′] at both ends: convex N lies above its tangents, and a tangent over
    1 + ρ is monotone, so its least value is at an end."""
    step = v - u
    left = (at_u[0] / (1 + u)).min((at_u[0] + at_u[1].lower() * step) / (1 + v)).lower()
    if not at_v[1].is_finite():
        return left
    right = (at_v[0] / (1 + v)).min((at_v[0] - at_v[1].upper() * step) / (1 + u)).lower()
    return left.max(right)


def least_curvature(ratio: Ratio, p: arb, q: arb, cells: int = 12) -> arb:
    """A lower bound of r″ = (N″(1 + ρ)² − 2N′(1 + ρ) + 2N)/(1 + ρ)³ on [p, q], each term at the end that makes it
    least.
    """
    points = [(p + (q - p) * i / cells).mid() for i in range(cells + 1)]
    values = [derivatives(ratio, x, 2) for x in points]
    least = arb.pos_inf()
    for u, v, at_u, at_v in zip(points, points[1:], values, values[1:], strict=False):
        top = at_u[2] * (1 + u) ** 2 - 2 * at_v[1] * (1 + v) + 2 * at_u[0]
        least = least.min((top.lower() / (1 + v) ** 3) if top > 0 else arb(-1))
    return least
