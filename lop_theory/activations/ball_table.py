"""The basic functions on real balls, values of constants, and polynomials with ball coefficients."""

from lop_theory.activations.expression import Expr, is_constant
from lop_theory.activations.lowering import ARITHMETIC, Backend, lower
from lop_theory.balls import arb, arb_poly, fmpq, ipow

_NAN = arb.nan()


def _arb_sign(u: arb) -> arb:
    return u.sgn()


def _arb_step(u: arb) -> arb:
    return arb(1) if u >= 0 else arb(0) if u < 0 else arb(0.5, 0.5)


def _arb_sigmoid(u: arb) -> arb:
    return 1 / (1 + (-u).exp())


def _arb_softplus(u: arb) -> arb:
    return u + (-u).exp().log1p() if u > 0 else u.exp().log1p()


def _arb_power(base: arb, exponent: fmpq) -> arb:
    root = _arb_root(base, int(exponent.q))
    p = int(exponent.p)
    return ipow(root, p) if p > 0 else 1 / ipow(root, -p)


def _arb_root(base: arb, q: int) -> arb:
    if q == 1:
        return base
    if q == 2:
        return base.sqrt()
    return base.root(q) if base > 0 else arb(0) if base.is_zero() else _NAN


BALLS = Backend(
    ARITHMETIC
    | {
        "exp": arb.exp,
        "log": arb.log,
        "sqrt": arb.sqrt,
        "sin": arb.sin,
        "cos": arb.cos,
        "tan": arb.tan,
        "sinh": arb.sinh,
        "cosh": arb.cosh,
        "tanh": arb.tanh,
        "atan": arb.atan,
        "asinh": arb.asinh,
        "erf": arb.erf,
        "abs": abs,
        "max": lambda a, b: a.max(b),
        "min": lambda a, b: a.min(b),
        "sign": _arb_sign,
        "step": _arb_step,
        "sigmoid": _arb_sigmoid,
        "softplus": _arb_softplus,
        "relu": lambda u: u.max(arb(0)),
    },
    arb,
    arb.pi,
    _arb_power,
)


def constant_value(expr: Expr) -> arb:
    """The value of an expression without x, at the precision in force."""
    return lower(expr, BALLS)(arb(0))


def ball_polynomial(expr: Expr) -> arb_poly | None:
    """The polynomial that the expression spells out, with balls for coefficients such as √2; ``None`` for anything
    else.
    """
    if is_constant(expr):
        return arb_poly([constant_value(expr)])
    if expr.op == "x":
        return arb_poly([0, 1])
    if expr.op == "pow":
        base = ball_polynomial(expr.args[0])
        whole = expr.number.q == 1 and expr.number > 0
        return base ** int(expr.number.p) if base is not None and whole else None
    if expr.op not in ARITHMETIC:
        return None
    a, b = map(ball_polynomial, expr.args)
    if a is None or b is None or (expr.op == "div" and b.length() != 1):
        return None
    return a * arb_poly([1 / b[0]]) if expr.op == "div" else ARITHMETIC[expr.op](a, b)
