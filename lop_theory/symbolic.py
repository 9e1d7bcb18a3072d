"""Symbolic facts about an expression: derivative, polynomial form, parity."""

from typing import Literal

from lop_theory.balls import fmpq, fmpq_poly
from lop_theory.formula import ONE, PI, ZERO, Expr, add, call, div, is_constant, mul, neg, num, power, sub

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


def _outer_derivative(expr: Expr) -> Expr:  # noqa: PLR0911 - one line a function
    (u,) = expr.args
    two = fmpq(2)
    match expr.op:
        case "pow":
            return mul(num(expr.number), power(u, expr.number - 1))
        case "exp" | "sinh" | "cosh":
            return call({"exp": "exp", "sinh": "cosh", "cosh": "sinh"}[expr.op], u)
        case "log":
            return div(ONE, u)
        case "sqrt":
            return div(num(fmpq(1, 2)), expr)
        case "sin":
            return call("cos", u)
        case "cos":
            return neg(call("sin", u))
        case "tan":
            return add(ONE, power(expr, two))
        case "tanh":
            return sub(ONE, power(expr, two))
        case "atan":
            return div(ONE, add(ONE, power(u, two)))
        case "erf":
            return mul(div(num(2), call("sqrt", PI)), call("exp", neg(power(u, two))))
        case "sigmoid":
            return mul(expr, call("sigmoid", neg(u)))
        case "softplus":
            return call("sigmoid", u)
        case "abs":
            return call("sign", u)
        case "relu":
            return call("step", u)
        case _:
            assert expr.op in ("sign", "step"), expr.op
            return ZERO


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


_ODD_FUNCTIONS = ("sin", "tan", "sinh", "tanh", "atan", "erf", "sign")
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
    kinds = tuple(map(_parity, expr.args))
    match expr.op:
        case "add" | "max" | "min":
            same = kinds[0] if kinds[0] == kinds[1] else None
            return same if expr.op == "add" or same == "even" else None
        case "mul" | "div":
            return None if None in kinds else "even" if kinds[0] == kinds[1] else "odd"
        case "pow":
            if kinds[0] == "odd" and expr.number.q == 1:
                return "odd" if int(expr.number.p) % 2 else "even"
    if kinds[0] == "odd" and expr.op in _ODD_FUNCTIONS:
        return "odd"
    if kinds[0] == "even" or (kinds[0] == "odd" and expr.op in _EVEN_FUNCTIONS):
        return "even"
    return None
