"""A formula on exact rationals: the piecewise rational operations only."""

from collections.abc import Callable

from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import ARITHMETIC, Backend, integer_power, lower
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput


def _exact_power(base: fmpq, exponent: fmpq) -> fmpq:
    if exponent.q != 1:
        raise _not_exact(f"**({exponent})")
    return integer_power(base, exponent)


def _not_exact(op: str) -> InvalidInput:
    return InvalidInput(
        "operation", op, "is not exact on rationals", "use a piecewise polynomial activation such as relu"
    )


def _refuse_pi() -> fmpq:
    raise _not_exact("pi")


EXACT = Backend(
    ARITHMETIC
    | {
        "abs": abs,
        "max": max,
        "min": min,
        "sign": lambda u: fmpq((u > 0) - (u < 0)),
        "step": lambda u: fmpq(int(u >= 0)),
        "relu": lambda u: max(u, fmpq(0)),
    },
    fmpq,
    _refuse_pi,
    _exact_power,
)


def exact_function(expr: Expr) -> Callable[[fmpq], fmpq]:
    """φ on exact rationals. Raises ``InvalidInput`` if an operation leaves the rationals."""
    _require_exact(expr)
    return lower(expr, EXACT)


def _require_exact(expr: Expr) -> None:
    if expr.op not in EXACT.table and expr.op not in ("x", "num") and not (expr.op == "pow" and expr.number.q == 1):
        raise _not_exact(expr.op)
    for arg in expr.args:
        _require_exact(arg)
