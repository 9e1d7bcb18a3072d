"""Is λ(a, b) = λ(φ(ax + b)) monotone in the scale a or the bias b?   [tension-monotone]

With c_k = E[φ(aZ + b)he_k] and d_k = E[φ(aZ + b)²he_k], integration by parts gives exact derivatives

    ∂_b c_k = √(k+1) c_{k+1}/a,            a ∂_a c_k = k c_k + √((k+1)(k+2)) c_{k+2}       (and so for d_k).

c = c_1²/V with V = d_0 − c_0², so λ′ has the sign of −c_1·E, E = 2ċ_1V − c_1V̇. On a cell |u − u_0| ≤ δ (u = log a,
or u = b/a with a fixed) E differs from E(u_0) by at most δ·sup|Ė|, where |c_k| ≤ M = √(E φ²) and |d_k| ≤ √(E φ⁴),
each bounded over the cell by a change of density. A cell where the sign of E and of c_1 is decided is certified;
others are bisected.
"""

from typing import Literal, NamedTuple

from lop_theory.activations.catalogue import activation
from lop_theory.activations.expression import Expr, mul
from lop_theory.balls import arb, fmpq, precision, within
from lop_theory.hermite.expansion import expand, raw_moments
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

Direction = Literal["scale", "bias"]
Sense = Literal["increasing", "decreasing"]

_BITS = 64


class Turn(NamedTuple):
    """Three places at which λ certainly goes up and down again (or down and up): it is not monotone."""

    places: tuple[fmpq, fmpq, fmpq]
    strengths: tuple[arb, arb, arb]


def strength_at(name: str, scale: fmpq, bias: fmpq) -> arb:
    """λ(φ(scale·x + bias)) to 15 digits."""
    found = expand(activation(name, scale=scale, bias=bias).expr, 2)
    with precision(found.bits):
        return 1 - found.coefficients[1] * found.coefficients[1]


def turn(name: str, direction: Direction, places: list[fmpq], fixed: fmpq) -> Verdict:
    """``Fails(Turn)`` if the certified values on ``places`` rise and fall; else ``Undecided`` (a grid proves no
    monotonicity).

    ``fixed`` is the bias while the scale varies, and the scale while the bias varies.
    """
    points = [(x, strength_at(name, *((x, fixed) if direction == "scale" else (fixed, x)))) for x in places]
    for sign in (1, -1):
        found = _rise_and_fall(points, sign)
        if found is not None:
            return Fails(found)
    return Undecided(f"λ is monotone on {len(places)} grid points; a grid is no proof")


def _rise_and_fall(points: list[tuple[fmpq, arb]], sign: int) -> Turn | None:
    """The turn of largest height among triples whose middle value certainly lies above (sign 1) or below (−1) the
    outer ones.
    """
    best: tuple[float, Turn] | None = None
    for j in range(1, len(points) - 1):
        middle = sign * points[j][1]
        left = min(points[:j], key=lambda p: float(sign * p[1]))
        right = min(points[j + 1 :], key=lambda p: float(sign * p[1]))
        if middle > sign * left[1] and middle > sign * right[1]:
            height = float(middle - (sign * left[1]).max(sign * right[1]))
            if best is None or height > best[0]:
                places = (left[0], points[j][0], right[0])
                best = (height, Turn(places, (left[1], points[j][1], right[1])))
    return best[1] if best else None


def certify_monotone(
    name: str,
    direction: Direction,
    interval: tuple[fmpq, fmpq],
    *,
    fixed: fmpq,
    sense: Sense,
    cells: int = 4000,
) -> Verdict:
    """Whether λ is strictly monotone in the given sense for every parameter in the interval, certified by balls."""
    wanted = 1 if sense == "increasing" else -1
    stack = [interval]
    used = 0
    while stack:
        u, v = stack.pop()
        used += 1
        sign = _sign(name, direction, u, v, fixed)
        if sign == -wanted:
            return Fails(f"λ moves the other way on [{u}, {v}]")
        if sign == wanted:
            continue
        if used > cells:
            return Undecided(f"[{u}, {v}] is not decided after {cells} cells")
        middle = (u + v) / 2
        stack += [(middle, v), (u, middle)]
    return Holds(f"certified by balls on {used} cells")


def _sign(name: str, direction: Direction, u: fmpq, v: fmpq, fixed: fmpq) -> int:
    """The certain sign of dλ on the whole cell [u, v], 0 if it is not decided."""
    middle = (u + v) / 2
    if direction == "scale" and v > 2 * u:
        return 0
    scale, bias = (middle, fixed) if direction == "scale" else (fixed, middle)
    widest = v if direction == "scale" else fixed
    expr = activation(name, scale=scale, bias=bias).expr
    with precision(_BITS):
        centre, slope_of_c = _centre(expr, direction)
        size = _sizes(name, direction, u, v, fixed)
        if size is None:
            return 0
        half = arb((v - u) / 2) / (arb(u) if direction == "scale" else arb(abs(widest)))
        reach = centre + within(half * _lipschitz(direction, *size))
        c1 = slope_of_c + within(half * 4 * size[0])
        if c1 > 0 or c1 < 0:
            product = reach if c1 > 0 else -reach
            return -1 if product > 0 else 1 if product < 0 else 0
        return 0


def _centre(expr: Expr, direction: Direction) -> tuple[arb, arb]:
    """(E, c_1) at the middle of the cell, derivatives taken along log a or b/a."""
    c, d0, _ = raw_moments(expr, 4, _BITS)
    d, _, _ = raw_moments(mul(expr, expr), 3, _BITS)
    root = [arb(k).sqrt() for k in range(7)]
    variance = d0 - c[0] * c[0]
    if direction == "scale":
        c1_dot = c[1] + root[6] * c[3]
        v_dot = root[2] * d[2] - 2 * c[0] * root[2] * c[2]
    else:
        c1_dot = root[2] * c[2]
        v_dot = d[1] - 2 * c[0] * c[1]
    return 2 * c1_dot * variance - c[1] * v_dot, c[1]


def _sizes(name: str, direction: Direction, u: fmpq, v: fmpq, fixed: fmpq) -> tuple[arb, arb] | None:
    """(M, M₂) with |c_k| ≤ M and |d_k| ≤ M₂ on the cell.

    Scale: the N(b, a²) density is at most v/u times the N(b, v²) density for a ∈ [u, v]. Bias: with s² = 2a² the N(b,
    a²) density is at most √2·exp(h²/(2a²)) times the N(m, s²) density for |b − m| ≤ h.
    """
    middle = (u + v) / 2
    if direction == "scale":
        factor = arb(v) / arb(u)
        expr = activation(name, scale=v, bias=fixed).expr
    else:
        half = (v - u) / 2
        if half > abs(fixed):
            return None
        factor = arb(2).sqrt() * (arb(half / fixed) ** 2 / 2).exp()
        # a rational just above √2·a: a wider Gaussian only enlarges the bound by less than 1.001
        expr = activation(name, scale=abs(fixed) * fmpq(1415, 1000), bias=middle).expr
        factor = factor * arb(fmpq(1001, 1000))
    square = mul(expr, expr)
    fourth = raw_moments(square, 2, _BITS)[1]
    second = raw_moments(expr, 2, _BITS)[1]
    return (factor * second).sqrt().upper(), (factor * fourth).sqrt().upper()


def _lipschitz(direction: Direction, m: arb, m2: arb) -> arb:
    """sup|Ė| from |c_k| ≤ M, V ≤ M², |d_k| ≤ M₂, with Ė = 2c̈_1V + ċ_1V̇ − c_1V̈.

    Scale: ċ_1 = c_1 + √6c_3, c̈_1 = ċ_1 + √6(3c_3 + √20c_5), V̇ = √2d_2 − 2√2c_0c_2, V̈ = √2(2d_2 + √12d_4) − 4c_2² −
    2√2c_0(2c_2 + √12c_4). Bias:  ċ_1 = √2c_2, c̈_1 = √6c_3, V̇ = d_1 − 2c_0c_1, V̈ = √2d_2 − 2c_1² − 2√2c_0c_2.
    """
    if direction == "scale":
        c_dot, c_ddot = fmpq(345, 100), fmpq(2176, 100)
        v_dot = fmpq(1415, 1000) * m2 + fmpq(283, 100) * m * m
        v_ddot = fmpq(773, 100) * m2 + fmpq(1947, 100) * m * m
    else:
        c_dot, c_ddot = fmpq(1415, 1000), fmpq(245, 100)
        v_dot = m2 + 2 * m * m
        v_ddot = fmpq(1415, 1000) * m2 + fmpq(483, 100) * m * m
    return (2 * c_ddot * m * m * m + c_dot * m * v_dot + m * v_ddot).upper()
