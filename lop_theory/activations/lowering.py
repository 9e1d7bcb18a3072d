"""Lowering an expression to a function: one walk over the nodes serves every kind of number.

A backend is a table from operation to function and a maker of constants: real_balls, complex_boxes, taylor_series,
rationals, arrays (NumPy, PyTorch) and symbols (SymPy). Conventions at a kink: step(0) = 1, sign(0) = 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lop_theory.activations.expression import Expr, is_constant
from lop_theory.balls import fmpq

Function = Callable[[Any], Any]


class Backend(NamedTuple):
    """``table`` maps an operation to a function of its arguments, ``constant`` embeds a rational, ``power`` raises to
    one; ``embed``, where it is given, makes the number that an expression without x is, and ``quotient`` the function
    of a division from the plain one (to fill in removable singularities); ``polynomial`` the function of an expression
    that spells out a polynomial, or ``None`` for any other, and ``under_root`` the function of what stands under a root
    or logarithm from the plain one.
    """

    table: Mapping[str, Callable[..., Any]]
    constant: Callable[[fmpq], Any]
    pi: Callable[[], Any]
    power: Callable[[Any, fmpq], Any]
    embed: Callable[[Expr], Any] | None = None
    quotient: Callable[[Expr, Function], Function] | None = None
    polynomial: Callable[[Expr], Function | None] | None = None
    under_root: Callable[[Expr, Function], Function] | None = None


def lower(expr: Expr, backend: Backend) -> Function:
    """The function x ↦ expr(x) over the backend's numbers. Constants are embedded once, at the precision in force."""
    if expr.op == "x":
        return lambda x: x
    if is_constant(expr):
        constant = _constant(expr, backend)
        return lambda _x: constant
    if backend.polynomial is not None and (found := backend.polynomial(expr)) is not None:
        return found
    if expr.op == "pow":
        base, exponent, raise_to = _under_root(expr, backend), expr.number, backend.power
        return lambda x: raise_to(base(x), exponent)
    if expr.op in _ROOTS and backend.under_root is not None:
        root, inside = backend.table[expr.op], _under_root(expr, backend)
        return lambda x: root(inside(x))
    plain = _apply(backend.table[expr.op], expr.args, backend)
    return backend.quotient(expr, plain) if expr.op == "div" and backend.quotient is not None else plain


_ROOTS = ("sqrt", "log")


def _under_root(expr: Expr, backend: Backend) -> Function:
    """The function of the only argument."""
    plain = lower(expr.args[0], backend)
    cut = expr.op in _ROOTS or expr.number.q != 1
    return backend.under_root(expr.args[0], plain) if cut and backend.under_root is not None else plain


def _constant(expr: Expr, backend: Backend) -> Any:
    """The value of an expression without x."""
    if backend.embed is not None:
        return backend.embed(expr)
    if expr.op == "num":
        return backend.constant(expr.number)
    if expr.op == "pi":
        return backend.pi()
    values = [_constant(arg, backend) for arg in expr.args]
    return backend.power(values[0], expr.number) if expr.op == "pow" else backend.table[expr.op](*values)


def _apply(function: Callable[..., Any], args: tuple[Expr, ...], backend: Backend) -> Function:
    if len(args) == 1:
        (inner,) = args
        if inner.op == "x":
            return function
        argument = lower(inner, backend)
        return lambda x: function(argument(x))
    if is_constant(args[0]):
        constant, argument = _constant(args[0], backend), lower(args[1], backend)
        return lambda x: function(constant, argument(x))
    if is_constant(args[1]):
        argument, constant = lower(args[0], backend), _constant(args[1], backend)
        return lambda x: function(argument(x), constant)
    first, second = (lower(arg, backend) for arg in args)
    return lambda x: function(first(x), second(x))


def integer_power(base: Any, exponent: fmpq) -> Any:
    """base^exponent for a whole exponent."""
    return base ** int(exponent.p)


# ---- arithmetic shared by every target that overloads the operators ----
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}
