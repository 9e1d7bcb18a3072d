"""Growth of a formula in a complex strip, for the trapezoid rule: derived from the structure of the formula."""

from collections.abc import Callable
from typing import NamedTuple

from lop_theory.activations.ball_table import ball_polynomial
from lop_theory.activations.expression import Expr, is_constant
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import arb, arb_poly


class StripBound(NamedTuple):
    """|φ(z)| ≤ factor·(1 + |z|)^degree for |Im z| ≤ half_width, where φ is analytic."""

    factor: arb
    degree: int

    def second_moment(self, half_width: arb) -> arb:
        """Upper bound of E|φ(Z + iy)|² for every |y| ≤ half_width, by Minkowski in L^{2p} and E Z^{2p} = (2p − 1)!!."""
        p = self.degree
        if p == 0:
            return self.factor**2
        double_factorial = arb(1)
        for odd in range(1, 2 * p, 2):
            double_factorial *= odd
        norm = 1 + half_width + double_factorial.root(2 * p)
        return (self.factor * norm**p) ** 2


def strip_bound(expr: Expr, half_width: arb) -> StripBound | None:
    """A growth bound of φ in the strip |Im z| ≤ half_width, or ``None`` where the rules do not show one.

    Rules: constants, x, sums, products, whole positive powers; exp of a real polynomial of degree ≤ 2 that is bounded
    above; sin, cos, tanh, sigmoid, softplus, erf, atan of a real affine function; tanh of the softplus of one.
    """
    if is_constant(expr):
        value = real_function(expr)(arb(0))
        return StripBound(value.abs_upper(), 0) if value.is_finite() else None
    match expr.op:
        case "x":
            return StripBound(arb(1), 1)
        case "add" | "mul" | "div":
            return _combine(expr, half_width)
        case "pow" if expr.number.q == 1 and expr.number > 0:
            base = strip_bound(expr.args[0], half_width)
            n = int(expr.number.p)
            return base and StripBound(base.factor**n, base.degree * n)
        case "exp":
            return _exponential(ball_polynomial(expr.args[0]), half_width)
        case "tanh" if expr.args[0].op == "softplus":
            return _of_affine(_tanh_softplus, expr.args[0].args[0], half_width)
        case op if op in _AFFINE_RULES:
            return _of_affine(_AFFINE_RULES[op], expr.args[0], half_width)
        case _:
            return None


def _of_affine(rule: Callable[[arb, arb], StripBound | None], inner: Expr, half_width: arb) -> StripBound | None:
    """Apply a rule for f(αz + β): it gets the strip's image |α|·half_width and |α| + |β|, which bounds |αz + β|/(1 +
    |z|).
    """
    line = ball_polynomial(inner)
    if line is None or line.length() > 2:
        return None
    slope, constant = abs(line[1]), abs(line[0])
    return rule(slope * half_width, slope + constant)


def _combine(expr: Expr, half_width: arb) -> StripBound | None:
    a = strip_bound(expr.args[0], half_width)
    b = _reciprocal(expr.args[1]) if expr.op == "div" else strip_bound(expr.args[1], half_width)
    if a is None or b is None:
        return None
    if expr.op != "add":
        return StripBound(a.factor * b.factor, a.degree + b.degree)
    return StripBound(a.factor + b.factor, max(a.degree, b.degree))


def _reciprocal(divisor: Expr) -> StripBound | None:
    """1/divisor for a constant divisor that is certainly not 0."""
    if not is_constant(divisor):
        return None
    value = 1 / real_function(divisor)(arb(0))
    return StripBound(value.abs_upper(), 0) if value.is_finite() else None


def _exponential(poly: arb_poly | None, d: arb) -> StripBound | None:
    """exp q, q = −αx² + βx + γ, α > 0: Re q(x + iy) = q(x) + αy² ≤ γ + β²/(4α) + αd²."""
    if poly is None or poly.length() != 3 or not poly[2] < 0:
        return None
    alpha = -poly[2]
    return StripBound((poly[0] + poly[1] * poly[1] / (4 * alpha) + alpha * d**2).exp(), 0)


def _tanh(d: arb, _size: arb) -> StripBound | None:
    """|tanh(x + iy)|² = (sinh²x + sin²y)/(sinh²x + cos²y) ≤ max(1, tan²y) for |y| < π/2."""
    return StripBound(d.tan().max(arb(1)), 0) if d < arb.pi() / 2 else None


def _sigmoid(d: arb, size: arb) -> StripBound | None:
    inner = _tanh(d / 2, size)
    return inner and StripBound((1 + inner.factor) / 2, 0)


def _softplus(d: arb, size: arb) -> StripBound | None:
    """log|1 + e^u| ≤ log 2 + |u|; below, |1 + e^u| ≥ sin d if d > π/2 and ≥ 1 otherwise; the argument is at most π."""
    if not d < arb.pi():
        return None
    below = arb(0) if d < arb.pi() / 2 else -d.sin().log()
    return StripBound(arb(2).log() + size + below + arb.pi(), 1)


def _tanh_softplus(d: arb, _size: arb) -> StripBound | None:
    """With v = e^u, |arg v| ≤ π/2: tanh(softplus u) = 1 − 2/((v + 1)² + 1) and |v + 1 ± i| ≥ 1, so the modulus is ≤
    3.
    """
    return StripBound(arb(3), 0) if d < arb.pi() / 2 else None


def _erf(d: arb, _size: arb) -> StripBound | None:
    """|erf(x + iy) − erf(x)| ≤ (2/√π) d exp(d²), by integrating exp(−z²) up the vertical segment."""
    return StripBound(1 + 2 / arb.pi().sqrt() * d * (d * d).exp(), 0)


def _atan(d: arb, _size: arb) -> StripBound | None:
    """|Re atan| ≤ π/2 and |Im atan| = ¼ log((x² + (1+y)²)/(x² + (1−y)²)) ≤ ½ log((1+d)/(1−d)) for |y| ≤ d < 1."""
    return StripBound(arb.pi() / 2 + ((1 + d) / (1 - d)).log() / 2, 0) if d < 1 else None


def _circular(d: arb, _size: arb) -> StripBound | None:
    return StripBound(d.cosh(), 0)


_AFFINE_RULES = {
    "sin": _circular,
    "cos": _circular,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "erf": _erf,
    "atan": _atan,
}


def analytic_half_width(expr: Expr) -> arb | None:
    """The half-width of a strip |Im z| < d in which φ is analytic, as far as the structure shows it (+inf: entire).

    Poles of tanh(αz): π/(2|α|); of sigmoid and branch points of softplus: π/|α|; branch points of atan: 1/|α|; poles of
    tanh(softplus(αz)): 3π/(4|α|), from (1 + e^u)² = −1. ``None`` where no rule applies (a kink, a quotient).
    """
    if is_constant(expr) or expr.op == "x":
        return arb.pos_inf()
    if expr.op == "tanh" and expr.args[0].op == "softplus":
        return _scaled_width(expr.args[0].args[0], 3 * arb.pi() / 4)
    if expr.op in _WIDTHS:
        return _scaled_width(expr.args[0], _WIDTHS[expr.op]())
    whole_power = expr.op == "pow" and expr.number.q == 1 and expr.number > 0
    if expr.op not in _ENTIRE and not whole_power and not (expr.op == "div" and is_constant(expr.args[1])):
        return None
    widths = [analytic_half_width(arg) for arg in expr.args]
    known = [width for width in widths if width is not None]
    return min(known, key=float) if len(known) == len(widths) else None


def _scaled_width(inner: Expr, width: arb) -> arb | None:
    line = ball_polynomial(inner)
    return None if line is None or line.length() > 2 else width / abs(line[1])


_ENTIRE = ("add", "mul", "exp", "sin", "cos", "sinh", "cosh", "erf")
_WIDTHS = {
    "tanh": lambda: arb.pi() / 2,
    "sigmoid": arb.pi,
    "softplus": arb.pi,
    "atan": lambda: arb(1),
    "asinh": lambda: arb(1),
}
