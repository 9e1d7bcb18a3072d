"""Rigorous range of a formula on an interval with finite or infinite ends (interval arithmetic with ends)."""

from functools import lru_cache

from lop_theory.activations.ball_table import ball_polynomial
from lop_theory.activations.expression import Expr, is_constant
from lop_theory.activations.polynomial_range import Range, enclose_polynomial, is_nonnegative
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import affine, polynomial
from lop_theory.balls import arb, arb_poly, fmpq, hull, working_bits

_INF = arb.pos_inf()


UNKNOWN = Range(-_INF, _INF)


def extended_range(expr: Expr, lo: fmpq | float, hi: fmpq | float) -> Range | None:
    """An enclosure of φ([lo, hi]); ends may be ±inf. ``None`` if some point of the interval may lie outside φ's
    domain.
    """
    return _range(expr, lo, hi)


def _line(expr: Expr, lo: fmpq | float, hi: fmpq | float) -> Range | None:
    """The range of an affine expression with rational coefficients, or ``None`` for any other."""
    line = _affine(expr)
    if line is None:
        return None
    ends = [_affine_at(line, end) for end in ((lo, hi) if line[0] >= 0 else (hi, lo))]
    return Range(ends[0].lower(), ends[1].upper())


_affine = lru_cache(maxsize=4096)(affine)


def _affine_at(line: tuple[fmpq, fmpq], end: fmpq | float) -> arb:
    """αx + β at a rational or infinite end, evaluated exactly before rounding."""
    slope, constant = line
    if isinstance(end, fmpq) or slope == 0:
        return arb(slope * end + constant if isinstance(end, fmpq) else constant)
    return arb(end) if slope > 0 else -arb(end)


def _range(expr: Expr, lo: fmpq | float, hi: fmpq | float) -> Range | None:
    line = _line(expr, lo, hi)
    if line is not None:
        return line
    if is_constant(expr):
        value = real_function(expr)(arb(0))
        return Range(value.lower(), value.upper()) if value.is_finite() else None
    poly = _polynomial(expr, working_bits())
    if poly is not None:
        found = enclose_polynomial(poly, lo, hi)
        return Range(found.lo.max(arb(0)), found.hi) if _is_square(expr) else found
    args = [_range(arg, lo, hi) for arg in expr.args]
    known = [arg for arg in args if arg is not None]
    if len(known) < len(args):
        return None
    return _RULES[expr.op](expr, *known)


@lru_cache(maxsize=4096)
def _polynomial(expr: Expr, bits: int) -> arb_poly | None:
    del bits  # part of the cache key: constants are embedded at the precision in force
    poly = ball_polynomial(expr)
    return poly if poly is not None and poly.length() > 2 else None


@lru_cache(maxsize=4096)
def _is_square(expr: Expr) -> bool:
    """Whether the expression spells out a rational polynomial without negative values."""
    poly = polynomial(expr)
    return poly is not None and is_nonnegative(poly)


def _span(*ends: arb) -> Range | None:
    """The hull of end values; an end that is not a number makes the range unknown."""
    if any(end.is_nan() for end in ends):
        return UNKNOWN
    lows, highs = [e.lower() for e in ends], [e.upper() for e in ends]
    lo, hi = lows[0], highs[0]
    for e in lows[1:]:
        lo = lo.min(e)
    for e in highs[1:]:
        hi = hi.max(e)
    return Range(lo.lower(), hi.upper())


def _product(a: arb, b: arb) -> arb:
    """a·b with 0·∞ = 0, the right convention for interval ends."""
    return arb(0) if a.is_zero() or b.is_zero() else a * b


def _add(_: Expr, a: Range, b: Range) -> Range | None:
    return Range((a.lo + b.lo).lower(), (a.hi + b.hi).upper())


def _mul(_: Expr, a: Range, b: Range) -> Range | None:
    return _span(*(_product(p, q) for p in a for q in b))


def _div(_: Expr, a: Range, b: Range) -> Range | None:
    if b.contains_zero():
        return None
    inverse = Range(_reciprocal(b.hi).lower(), _reciprocal(b.lo).upper())
    return _span(*(_product(p, q) for p in a for q in inverse))


def _reciprocal(end: arb) -> arb:
    return 1 / end if end.is_finite() else arb(0)


def _pow(expr: Expr, a: Range) -> Range | None:
    exponent = expr.number
    if exponent.q != 1 and bool(a.lo < 0):
        return None
    if exponent < 0:
        if a.contains_zero():
            return None
        positive = _pow(Expr("pow", expr.args, -exponent), a)
        return None if positive is None else Range(_reciprocal(positive.hi).lower(), _reciprocal(positive.lo).upper())
    if exponent.q == 1 and int(exponent.p) % 2 == 0 and a.contains_zero():
        top = (-a.lo).max(a.hi)
        return Range(arb(0), _rise(top, exponent).upper())
    return _span(_rise(a.lo, exponent), _rise(a.hi, exponent))


def _rise(end: arb, exponent: fmpq) -> arb:
    """end ** exponent for exponent > 0, infinite ends included."""
    if end.is_zero():
        return end
    if end.is_finite():
        root = end if exponent.q == 1 else end.root(int(exponent.q))
        return root ** int(exponent.p)
    return -_INF if end < 0 and int(exponent.p) % 2 else _INF


def _abs(_: Expr, a: Range) -> Range | None:
    if a.contains_zero():
        return Range(arb(0), (-a.lo).max(a.hi))
    return a if a.lo > 0 else Range(-a.hi, -a.lo)


def _max(_: Expr, a: Range, b: Range) -> Range | None:
    return Range(a.lo.max(b.lo), a.hi.max(b.hi))


def _min(_: Expr, a: Range, b: Range) -> Range | None:
    return Range(a.lo.min(b.lo), a.hi.min(b.hi))


def _log(expr: Expr, a: Range) -> Range | None:
    return _increasing(expr, a) if a.lo > 0 else None


def _sqrt(expr: Expr, a: Range) -> Range | None:
    return _increasing(expr, a) if a.lo >= 0 else None


def _cosh(expr: Expr, a: Range) -> Range | None:
    magnitude = _abs(expr, a)
    return magnitude and _increasing(expr, magnitude)


def _tan(_: Expr, a: Range) -> Range | None:
    value = hull(a.lo, a.hi).tan()  # not finite where an end is not, nor over a pole
    return Range(value.lower(), value.upper()) if value.is_finite() else None


def _increasing(expr: Expr, a: Range) -> Range | None:
    """A nondecreasing function: its values at the two ends, limits included."""
    return Range(_at_end(expr.op, a.lo).lower(), _at_end(expr.op, a.hi).upper())


def _at_end(op: str, end: arb) -> arb:
    if end.is_finite():
        return real_function(Expr(op, (Expr("x"),)))(end)
    low, high = _LIMITS[op]()
    return low if end < 0 else high


def _circular(expr: Expr, a: Range) -> Range | None:
    """sin and cos."""
    if not (a.lo.is_finite() and a.hi.is_finite()):
        return Range(arb(-1), arb(1))
    value = hull(a.lo, a.hi).sin() if expr.op == "sin" else hull(a.lo, a.hi).cos()
    return Range(value.lower().max(arb(-1)), value.upper().min(arb(1)))


_LIMITS = {
    "exp": lambda: (arb(0), _INF),
    "log": lambda: (-_INF, _INF),
    "sqrt": lambda: (arb(0), _INF),
    "sinh": lambda: (-_INF, _INF),
    "cosh": lambda: (_INF, _INF),
    "tanh": lambda: (arb(-1), arb(1)),
    "atan": lambda: (-arb.pi() / 2, arb.pi() / 2),
    "erf": lambda: (arb(-1), arb(1)),
    "asinh": lambda: (-_INF, _INF),
    "sign": lambda: (arb(-1), arb(1)),
    "step": lambda: (arb(0), arb(1)),
    "sigmoid": lambda: (arb(0), arb(1)),
    "softplus": lambda: (arb(0), _INF),
    "relu": lambda: (arb(0), _INF),
}

_RULES = {
    **dict.fromkeys("exp sinh tanh atan asinh erf sign step sigmoid softplus relu".split(), _increasing),
    "sin": _circular,
    "cos": _circular,
    "add": _add,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "abs": _abs,
    "max": _max,
    "min": _min,
    "log": _log,
    "sqrt": _sqrt,
    "cosh": _cosh,
    "tan": _tan,
}
