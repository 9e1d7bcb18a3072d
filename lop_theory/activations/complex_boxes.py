"""A formula on complex boxes: finite only where φ is analytic on the whole box."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from lop_theory.activations.ball_table import ball_polynomial, constant_value
from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import ARITHMETIC, Backend, lower
from lop_theory.activations.singularities import complex_quotient
from lop_theory.activations.symbolic import derivative
from lop_theory.balls import acb, acb_poly, arb, fmpq, working_bits

_LONGEST = 12
_ACB_NAN = acb(arb.nan(), arb.nan())


def _pick(switch: acb, positive: Any, negative: Any) -> acb:
    """The branch that the sign of Re(switch) selects; not finite if the box meets the switching line."""
    return acb(positive) if switch.real > 0 else acb(negative) if switch.real < 0 else _ACB_NAN


def _off_cut(u: acb) -> bool:
    return bool(u.real > 0) or bool(u.imag > 0) or bool(u.imag < 0)


def _acb_log(u: acb) -> acb:
    return u.log() if _off_cut(u) else _ACB_NAN


def _acb_atan(u: acb) -> acb:
    return u.atan() if abs(u.imag) < 1 or bool(u.real > 0) or bool(u.real < 0) else _ACB_NAN


def _acb_asinh(u: acb) -> acb:
    """By the logarithm off the imaginary axis, where the library's own is not finite on wide boxes."""
    if u.real > 0:
        return _acb_log(u + (1 + u * u).sqrt())
    if u.real < 0:
        return -_acb_asinh(-u)
    return u.asinh() if abs(u.imag) < 1 else _ACB_NAN


def _acb_sigmoid(u: acb) -> acb:
    """By the exponential that is at most 1 in size, so that a wide box far from the poles stays finite."""
    if u.real < 0:
        decay = u.exp()
        return decay / (1 + decay)
    return 1 / (1 + (-u).exp())


def _acb_power(base: acb, exponent: fmpq) -> acb:
    if exponent.q == 1:
        return base ** int(exponent.p)
    return (base.log() * exponent).exp() if _off_cut(base) else _ACB_NAN


BOXES = Backend(
    ARITHMETIC
    | {
        "exp": acb.exp,
        "log": _acb_log,
        "sqrt": lambda u: u.sqrt() if _off_cut(u) else _ACB_NAN,
        "sin": acb.sin,
        "cos": acb.cos,
        "tan": acb.tan,
        "sinh": acb.sinh,
        "cosh": acb.cosh,
        "tanh": acb.tanh,
        "atan": _acb_atan,
        "asinh": _acb_asinh,
        "erf": acb.erf,
        "abs": lambda u: _pick(u, u, -u),
        "max": lambda a, b: _pick(a - b, a, b),
        "min": lambda a, b: _pick(a - b, b, a),
        "sign": lambda u: _pick(u, 1, -1),
        "step": lambda u: _pick(u, 1, 0),
        "sigmoid": _acb_sigmoid,
        "softplus": lambda u: u + _acb_log(1 + (-u).exp()) if u.real > 0 else _acb_log(1 + u.exp()),
        "relu": lambda u: _pick(u, u, 0),
    },
    acb,
    acb.pi,
    _acb_power,
    lambda expr: acb(constant_value(expr)),  # so that a constant never meets a cut
)


def _analytic_quotient(expr: Expr, plain: Callable[[acb], acb]) -> Callable[[acb], acb]:
    """The division with its removable singularities filled in, where numerator and divisor are analytic on the box."""
    top, bottom = (lower(arg, COMPLEX) for arg in expr.args)
    return complex_quotient(expr, plain, lambda box: top(box).is_finite() and bottom(box).is_finite())


def _centred(expr: Expr) -> Callable[[acb], acb] | None:
    """A sum of powers by Taylor's formula at the middle of the box: sharp beside a double zero, where plain arithmetic
    is not."""
    poly = ball_polynomial(expr) if expr.op in ("add", "mul") else None
    if poly is None or not 3 <= poly.length() <= _LONGEST:
        return None
    lifted = acb_poly(poly)

    def evaluate(x: acb) -> acb:
        middle = acb(x.real.mid(), x.imag.mid())
        return lifted(acb_poly([middle, 1]))(x - middle)

    return evaluate


def _by_mean_value(expr: Expr, plain: Callable[[acb], acb]) -> Callable[[acb], acb]:
    """u(m) + u′(box)·(box − m) where plain arithmetic meets the cut, as it does beside a double zero of u."""
    if expr.op == "x":
        return plain

    def evaluate(x: acb) -> acb:
        value = plain(x)
        if _off_cut(value) or not value.is_finite():
            return value
        middle = acb(x.real.mid(), x.imag.mid())
        return plain(middle) + _slope(expr, working_bits())(x) * (x - middle)

    return evaluate


@lru_cache(maxsize=1024)
def _slope(expr: Expr, bits: int) -> Callable[[acb], acb]:
    del bits  # part of the cache key: constants are embedded at the precision in force
    return lower(derivative(expr), BOXES)


COMPLEX = BOXES._replace(quotient=_analytic_quotient, polynomial=_centred, under_root=_by_mean_value)


def complex_function(expr: Expr) -> Callable[[acb], acb]:
    """φ on complex boxes; a finite value means that φ is analytic on the box."""
    return lower(expr, COMPLEX)
