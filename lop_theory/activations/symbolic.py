"""Symbolic facts about an expression: derivative, polynomial form, parity."""

from collections.abc import Callable
from typing import Literal

from lop_theory.activations.expression import (
    ONE,
    PI,
    ZERO,
    Expr,
    add,
    call,
    div,
    is_constant,
    mul,
    neg,
    num,
    power,
    sub,
)
from lop_theory.balls import fmpq, fmpq_poly

Parity = Literal["odd", "even", "mixed"]

KINKED = ("abs", "max", "min", "sign", "step", "relu")


def derivative(expr: Expr) -> Expr:
    """φ′ away from kinks and jumps (a.e. derivative)."""
    if is_constant(expr):
        return ZERO
    match expr.op:
        case "x":
            return ONE
        case "add":
            return add(*map(derivative, expr.args))
        case "mul":
            a, b = expr.args
            return add(mul(derivative(a), b), mul(a, derivative(b)))
        case "div":
            a, b = expr.args
            return div(sub(mul(derivative(a), b), mul(a, derivative(b))), power(b, fmpq(2)))
        case "max" | "min":
            a, b = expr.args
            first = call("step", sub(a, b) if expr.op == "max" else sub(b, a))
            return add(mul(first, derivative(a)), mul(sub(ONE, first), derivative(b)))
        case _:
            return mul(_outer_derivative(expr), derivative(expr.args[0]))


def _outer_derivative(expr: Expr) -> Expr:
    """f′(u) for expr = f(u)."""
    (u,) = expr.args
    return _OUTER[expr.op](expr, u)


_OUTER: dict[str, Callable[[Expr, Expr], Expr]] = {
    "pow": lambda f, u: mul(num(f.number), power(u, f.number - 1)),
    "exp": lambda f, _u: f,
    "sinh": lambda _f, u: call("cosh", u),
    "cosh": lambda _f, u: call("sinh", u),
    "log": lambda _f, u: div(ONE, u),
    "sqrt": lambda f, _u: div(num(fmpq(1, 2)), f),
    "sin": lambda _f, u: call("cos", u),
    "cos": lambda _f, u: neg(call("sin", u)),
    "tan": lambda f, _u: add(ONE, power(f, fmpq(2))),
    "tanh": lambda f, _u: sub(ONE, power(f, fmpq(2))),
    "atan": lambda _f, u: div(ONE, add(ONE, power(u, fmpq(2)))),
    "asinh": lambda _f, u: div(ONE, call("sqrt", add(ONE, power(u, fmpq(2))))),
    "erf": lambda _f, u: mul(div(num(2), call("sqrt", PI)), call("exp", neg(power(u, fmpq(2))))),
    "sigmoid": lambda f, u: mul(f, call("sigmoid", neg(u))),
    "softplus": lambda _f, u: call("sigmoid", u),
    "abs": lambda _f, u: call("sign", u),
    "relu": lambda _f, u: call("step", u),
    "sign": lambda _f, _u: ZERO,
    "step": lambda _f, _u: ZERO,
}


def polynomial(expr: Expr) -> fmpq_poly | None:
    """The polynomial with rational coefficients that the expression spells out, or ``None``."""
    match expr.op:
        case "num":
            return fmpq_poly([expr.number])
        case "x":
            return fmpq_poly([0, 1])
        case "pow" if expr.number.q == 1 and expr.number > 0:
            base = polynomial(expr.args[0])
            return None if base is None else base ** int(expr.number.p)
        case "add" | "mul" | "div":
            return _combine(expr.op, *map(polynomial, expr.args))
        case _:
            return None


def _combine(op: str, a: fmpq_poly | None, b: fmpq_poly | None) -> fmpq_poly | None:
    if a is None or b is None:
        return None
    if op == "add":
        return a + b
    if op == "mul":
        return a * b
    return a / b[0] if b.degree() == 0 else None


def affine(expr: Expr) -> tuple[fmpq, fmpq] | None:
    """(α, β) with expr = αx + β, or ``None``."""
    poly = polynomial(expr)
    return None if poly is None or poly.degree() > 1 else (poly[1], poly[0])


_ODD_FUNCTIONS = ("sin", "tan", "sinh", "tanh", "atan", "asinh", "erf", "sign")
_EVEN_FUNCTIONS = ("cos", "cosh", "abs")


def parity(expr: Expr) -> Parity:
    """Parity of φ up to an additive constant, as far as the structure shows it (standardising removes the constant)."""
    found = _parity(_drop_constant(expr))
    return found or "mixed"


def _drop_constant(expr: Expr) -> Expr:
    """expr less a constant, where a term or sigmoid(u) = ½ + ½ tanh(u/2) shows one."""
    match expr.op:
        case "add":
            terms = [_drop_constant(arg) for arg in expr.args if not is_constant(arg)]
            return add(*terms) if len(terms) == 2 else terms[0] if terms else ZERO
        case "mul" if is_constant(expr.args[0]):
            return mul(expr.args[0], _drop_constant(expr.args[1]))
        case "mul" if is_constant(expr.args[1]):
            return mul(expr.args[1], _drop_constant(expr.args[0]))
        case "sigmoid":
            return call("tanh", expr.args[0])
        case _:
            return expr


def _parity(expr: Expr) -> Parity | None:
    """Exact parity by structure; a constant is even."""
    if is_constant(expr):
        return "even"
    if expr.op == "x":
        return "odd"
    kinds: list[Parity | None] = [_parity(arg) for arg in expr.args]
    if None in kinds:
        return "even" if kinds[0] == "even" and len(kinds) == 1 else None
    same = all(kind == kinds[0] for kind in kinds)
    if expr.op in ("mul", "div"):
        return "even" if same else "odd"
    if expr.op == "add":
        return kinds[0] if same else None
    if same and kinds[0] == "even":
        return "even"
    return _of_odd(expr) if kinds == ["odd"] else None


def _of_odd(expr: Expr) -> Parity | None:
    """Parity of f(u) for odd u."""
    if expr.op == "pow" and expr.number.q == 1:
        return "odd" if int(expr.number.p) % 2 else "even"
    return "odd" if expr.op in _ODD_FUNCTIONS else "even" if expr.op in _EVEN_FUNCTIONS else None
