"""A formula without switches on truncated Taylor series with real or complex ball coefficients: φ(c + t) + O(t^N)."""

from collections.abc import Callable
from typing import Any

from lop_theory.activations.ball_table import constant_value
from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import ARITHMETIC, Backend, lower
from lop_theory.balls import arb, arb_series, fmpq, series_length


class NotAnalytic(ArithmeticError):  # noqa: N818 - a statement about φ
    """The series does not exist at this centre: a branch point, a pole or a switch."""


def _tanh(u: arb_series) -> arb_series:
    positive = u[0].real >= 0
    decay = (-2 * u if positive else 2 * u).exp()
    ratio = (1 - decay) / (1 + decay)
    return ratio if positive else -ratio


def _asinh(u: arb_series) -> arb_series:
    size = u if u[0].real >= 0 else -u
    found = (size + (1 + u * u).sqrt()).log()
    return found if u[0].real >= 0 else -found


def _softplus(u: arb_series) -> arb_series:
    return u + (1 + (-u).exp()).log() if u[0].real >= 0 else (1 + u.exp()).log()


def _power(base: arb_series, exponent: fmpq) -> arb_series:
    if exponent.q != 1:
        return (base.log() * arb(exponent)).exp()
    p = int(exponent.p)
    result, square, rest = None, base, abs(p)
    while rest:
        if rest & 1:
            result = square if result is None else result * square
        rest >>= 1
        square = square * square if rest else square
    assert result is not None, exponent
    return result if p > 0 else 1 / result


SERIES = Backend(
    ARITHMETIC
    | {
        "exp": lambda u: u.exp(),
        "log": lambda u: u.log(),
        "sqrt": lambda u: u.sqrt(),
        "sin": lambda u: u.sin(),
        "cos": lambda u: u.cos(),
        "tan": lambda u: u.tan(),
        "sinh": lambda u: (u.exp() - (-u).exp()) / 2,
        "cosh": lambda u: (u.exp() + (-u).exp()) / 2,
        "tanh": _tanh,
        "atan": lambda u: u.atan(),
        "asinh": _asinh,
        "erf": lambda u: u.erf(),
        "sigmoid": lambda u: 1 / (1 + (-u).exp()),
        "softplus": _softplus,
    },
    arb,
    arb.pi,
    _power,
    constant_value,
)


def series_function(expr: Expr) -> Callable[[Any], Any]:
    """φ on series, at the precision in force. Calling it raises ``NotAnalytic`` where the series does not exist."""
    function = lower(expr, SERIES)

    def evaluate(x: Any) -> Any:
        try:
            return function(x)
        except ValueError:
            raise NotAnalytic from None

    return evaluate


ORDER = 4


def taylor_form(function: Callable[[arb_series], Any], centre: arb, half: arb) -> arb:
    """An enclosure of φ on centre + half by Taylor's formula, Σ_{j<m} φ_j·half^j + φ_m(cell)·half^m with m = 4.

    Near a zero of multiplicity up to m it is narrow relative to φ, which plain ball arithmetic is not.
    """
    with series_length(ORDER + 1):
        try:
            at = function(arb_series([centre, 1])) + arb_series([0])
            over = function(arb_series([centre + half, 1])) + arb_series([0])
        except NotAnalytic:
            return arb.nan()
        total = over[ORDER]
        for j in range(ORDER - 1, -1, -1):
            total = at[j] + total * half
        return total
