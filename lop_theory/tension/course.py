"""The course of λ(a, b) = λ(φ(ax + b)) as the scale a or the bias b varies: where it certainly rises, where it
certainly falls   [tension-monotone].

Around one place, λ is a quotient of power series in the Hermite coefficients c_m of φ(ax + b) and d_m of its square:

    bias,  t = h/a:             c_k(b + h) = Σ_j t^j √((k+j)!/k!)/j!·c_{k+j},
    scale, t = (s² − 1)/2:      c_k(sa) = s^k Σ_j t^j √((k+2j)!/k!)/j!·c_{k+2j}       (heat flow),

and so for d_k. λ = 1 − q/V with q = c_1², V = d_0 − c_0², so λ′ has the sign of qV′ − q′V. What N coefficients leave is
bounded by Parseval: |c_m| ≤ √(Eφ² − Σ_{i<N} c_i²), |d_m| likewise from Eφ⁴. A cell is cut until the sign is decided.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

from lop_theory.activations.expression import Expr, X, add, compose, mul, num
from lop_theory.activations.piecewise import exact_parity, pieces
from lop_theory.activations.symbolic import polynomial
from lop_theory.balls import arb, arb_poly, fmpq, ipow, precision, within
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import raw_moments

Direction = Literal["scale", "bias"]

_BITS = 128
_TERMS = {"bias": 40, "scale": 64}
_WIDEST = {"bias": fmpq(2), "scale": fmpq(3, 2)}
_DEPTH = 24
_BROAD = 256
_FINER = 3

Tendency = Callable[[fmpq, fmpq], arb]


class Segment(NamedTuple):
    """λ strictly rises (sign 1) or falls (−1) on [lo, hi]; 0: not decided there."""

    lo: fmpq
    hi: fmpq
    sign: int


class Series(NamedTuple):
    """Σ_j a_j t^j for |t| ≤ reach with its first two derivatives, and what the terms left out change them by at
    most."""

    polys: tuple[arb_poly, arb_poly, arb_poly]
    errors: tuple[arb, arb, arb]

    def at(self, t: arb) -> list[arb]:
        """[value, slope, curvature] over the ball t."""
        return [poly(t) + within(error) for poly, error in zip(self.polys, self.errors, strict=True)]


def modulated(expr: Expr, scale: fmpq, bias: fmpq) -> Expr:
    """φ(scale·x + bias)."""
    return compose(expr, add(mul(num(scale), X), num(bias)))


def rises_and_falls(
    expr: Expr, direction: Direction, interval: tuple[fmpq, fmpq], *, fixed: fmpq, cells: int = 300
) -> list[Segment]:
    """Where λ rises and falls as the parameter runs through the interval (of positive numbers for the scale), the
    other one being ``fixed``; on each part at most ``cells`` cells are looked at. Raises ``InvalidInput`` for an
    empty interval, a scale that is not positive (as the parameter) or 0 (as ``fixed``), and as ``expand`` does.
    """
    _require(direction, interval, fixed)
    found: list[Segment] = []
    for part in _parts(direction, interval, fixed):
        found += _on_part(expr, direction, part, fixed, (cells, _FINER))
    return _merged(found)


def _require(direction: Direction, interval: tuple[fmpq, fmpq], fixed: fmpq) -> None:
    lo, hi = interval
    if direction not in ("scale", "bias"):
        raise InvalidInput("direction", direction, "must be 'scale' or 'bias'", "name what varies")
    if not lo < hi:
        raise InvalidInput("interval", f"[{lo}, {hi}]", "holds no more than one point", "give it as (lo, hi), lo < hi")
    if direction == "scale" and not lo > 0:
        raise InvalidInput("interval", f"[{lo}, {hi}]", "must hold positive scales only", "start it above 0")
    if direction == "bias" and fixed == 0:
        raise InvalidInput("fixed", str(fixed), "the scale must not be 0", "phi(0 x + b) is constant")


def _on_part(
    expr: Expr, direction: Direction, part: tuple[fmpq, fmpq], fixed: fmpq, limits: tuple[int, int]
) -> list[Segment]:
    """The segments of one part; where they stay open over some width, series around nearer places are tried."""
    cells, finer = limits
    found = list(_signs(_local(expr, direction, part, fixed), *part, cells))
    middle, broad = (part[0] + part[1]) / 2, (part[1] - part[0]) / _BROAD
    if not finer or len(found) == 1 == abs(found[0].sign):
        return found
    refined: list[Segment] = []
    for half in ((part[0], middle), (middle, part[1])):
        inside = [s for s in _merged(found) if s.lo < half[1] and half[0] < s.hi]
        if any(s.sign == 0 and min(s.hi, half[1]) - max(s.lo, half[0]) > broad for s in inside):
            refined += _on_part(expr, direction, half, fixed, (cells, finer - 1))
        else:
            refined += [s._replace(lo=max(s.lo, half[0]), hi=min(s.hi, half[1])) for s in inside]
    return refined


def _parts(direction: Direction, interval: tuple[fmpq, fmpq], fixed: fmpq) -> list[tuple[fmpq, fmpq]]:
    """The interval in parts on each of which one pair of series is good."""
    ends, last = [interval[0]], interval[1]
    while ends[-1] < last:
        step = ends[-1] * _WIDEST["scale"] if direction == "scale" else ends[-1] + abs(fixed) * _WIDEST["bias"]
        ends.append(min(step, last))
    return list(pairwise(ends))


def constant_in_scale(expr: Expr) -> bool:
    """Whether λ(φ(ax)) is the same for every a > 0, by the look of φ: φ(ax) = a^p·φ(x) up to a constant, or φ even (a_1
    = 0, λ = 1)."""
    if exact_parity(expr) == "even":
        return True
    parts = pieces(expr)
    polys = [polynomial(part.expr) for part in parts]
    if any(part.hi not in (None, 0) for part in parts):
        return False
    degrees = {k for poly in polys if poly is not None for k in range(1, poly.degree() + 1) if poly[k] != 0}
    constants = {str(poly[0]) for poly in polys if poly is not None}
    return None not in polys and len(degrees) + (len(constants) > 1) == 1


# ---- λ around one place ----


def _local(expr: Expr, direction: Direction, part: tuple[fmpq, fmpq], fixed: fmpq) -> Tendency:
    """What over a cell of parameters in the part encloses a number of the sign of λ′."""
    centre = (part[0] + part[1]) / 2
    scale, bias = (centre, fixed) if direction == "scale" else (fixed, centre)
    with precision(_BITS + 32):
        to_t = _parameter(direction, centre, fixed)
        reach = max((abs(to_t(arb(end))).upper() for end in part), key=float)
        series = _three_series(modulated(expr, scale, bias), direction, reach)
    growing, upwards = (2 if direction == "scale" else 0), (1 if direction == "scale" or fixed > 0 else -1)

    def tendency(u: fmpq, v: fmpq) -> arb:
        """By the mean value theorem: the value in the middle and the slope over the cell."""
        middle, cell = to_t(arb((u + v) / 2)), to_t(arb((u + v) / 2) + within(arb((v - u) / 2)))
        return upwards * (_tendency(series, growing, middle)[0] + _tendency(series, growing, cell)[1] * (cell - middle))

    return tendency


def _tendency(series: tuple[Series, Series, Series], growing: int, t: arb) -> tuple[arb, arb]:
    """(qV′ − q′V)/2 and its slope, for q = s·C², s = 1 + growing·t."""
    (m, m1, m2), (c, c1, c2), (d, d1, d2) = (x.at(t) for x in series)
    v, v1, v2 = d - m * m, d1 - 2 * m * m1, d2 - 2 * (m1 * m1 + m * m2)
    s, s1 = 1 + growing * t, growing
    factor = s * c * v1 / 2 - (s1 * c / 2 + s * c1) * v
    slope = (s1 * c * v1 + s * c1 * v1 + s * c * v2) / 2 - (3 * s1 * c1 / 2 + s * c2) * v - (s1 * c / 2 + s * c1) * v1
    return c * factor, c1 * factor + c * slope


def _parameter(direction: Direction, centre: fmpq, fixed: fmpq) -> Callable[[arb], arb]:
    """The series' variable t as a function of the parameter."""
    if direction == "bias":
        return lambda b: (b - arb(centre)) / arb(fixed)
    return lambda a: (a * a / arb(centre * centre) - 1) / 2


def _three_series(expr: Expr, direction: Direction, reach: arb) -> tuple[Series, Series, Series]:
    """c_0, c_1 (without its factor s) and d_0 as series in t."""
    n = _TERMS[direction]
    c, second, _ = raw_moments(expr, n, _BITS)
    d, fourth, _ = raw_moments(mul(expr, expr), n, _BITS)
    left_c, left_d = _left(c, second), _left(d, fourth)
    step = 2 if direction == "scale" else 1
    return (
        _series(c[0::step], 0, step, left_c, reach),
        _series(c[1::step], 1, step, left_c, reach),
        _series(d[0::step], 0, step, left_d, reach),
    )


def _left(coefficients: list[arb], square: arb) -> arb:
    """A bound of every |c_m| with m ≥ N, by Parseval."""
    rest = square - sum((c * c for c in coefficients), arb(0))
    return rest.nonnegative_part().sqrt().abs_upper()


def _series(coefficients: list[arb], k: int, step: int, left: arb, reach: arb) -> Series:
    """Σ_j t^j w_j c_{k+j·step}, w_j = √((k + j·step)!/k!)/j!. Beyond J terms w_{j+1}/w_j is at most ``growth``."""
    weights, count = [arb(1)], len(coefficients)
    for j in range(count):
        weights.append(weights[-1] * _factor(k, j, step))
    poly = arb_poly([w * c for w, c in zip(weights, coefficients, strict=False)])
    largest = _factor(k, count, step).max(arb(2 if step == 2 else 0))
    growth = reach * largest * (arb(count + 1) / count) ** 2
    size = (left * weights[count] / (1 - growth)).abs_upper() if growth < 1 else arb.pos_inf()
    e0, e1, e2 = ((size * count**i * ipow(reach, count - i)).abs_upper() for i in range(3))
    first = poly.derivative()
    return Series((poly, first, first.derivative()), (e0, e1, e2))


def _factor(k: int, j: int, step: int) -> arb:
    """w_{j+1}/w_j: √(k + j + 1)/(j + 1), or √((k + 2j + 1)(k + 2j + 2))/(j + 1), which tends to 0 or to 2."""
    product = arb(1)
    for i in range(1, step + 1):
        product *= k + j * step + i
    return product.sqrt() / (j + 1)


# ---- signs ----


def _signs(tendency: Tendency, lo: fmpq, hi: fmpq, cells: int) -> Iterable[Segment]:
    """Segments from left to right: cells are halved until the sign is decided or they are tiny."""
    stack, narrowest, used = [(lo, hi)], (hi - lo) / 2**_DEPTH, 0
    with precision(_BITS + 32):
        while stack:
            u, v = stack.pop()
            used += 1
            value = tendency(u, v)
            sign = 1 if value > 0 else -1 if value < 0 else 0
            if sign or v - u <= narrowest or used > cells:
                yield Segment(u, v, sign)
            else:
                stack += [((u + v) / 2, v), (u, (u + v) / 2)]


def _merged(segments: list[Segment]) -> list[Segment]:
    merged: list[Segment] = []
    for found in segments:
        if merged and merged[-1].sign == found.sign:
            merged[-1] = merged[-1]._replace(hi=found.hi)
        else:
            merged.append(found)
    return merged
