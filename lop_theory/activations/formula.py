"""Formulas in one variable: expression nodes and the parser for what a user types.

A formula is parsed by Python's ``ast`` and copied node by node through a whitelist into ``Expr``; nothing is ever
evaluated as code. Numbers are exact rationals (``0.1`` is 1/10).
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lop_theory.balls import fmpq, parse_fmpq
from lop_theory.errors import InvalidInput

MAX_LENGTH = 2000
MAX_DEPTH = 80
MAX_POWER = 64
MAX_BITS = 4096

FUNCTIONS = "exp log sqrt sin cos tan sinh cosh tanh atan erf abs max min sign step sigmoid softplus relu".split()
_VARIADIC = ("max", "min")


class Expr(NamedTuple):
    """A node: ``x``, ``pi``, ``num`` (its value in ``number``), ``add mul div`` (two arguments), ``pow`` (constant
    rational exponent in ``number``), or a function of ``FUNCTIONS`` (``max`` and ``min`` take two arguments)."""

    op: str
    args: tuple["Expr", ...] = ()
    number: fmpq = fmpq(0)

    def __str__(self) -> str:
        return to_text(self)


X = Expr("x")
PI = Expr("pi")


def num(value: fmpq | int) -> Expr:
    return Expr("num", (), fmpq(value))


ZERO, ONE = num(0), num(1)


def is_constant(expr: Expr) -> bool:
    """Whether x does not occur."""
    return expr.op != "x" and all(map(is_constant, expr.args))


def add(a: Expr, b: Expr) -> Expr:
    if a.op == b.op == "num":
        return num(a.number + b.number)
    return b if a == ZERO else a if b == ZERO else Expr("add", (a, b))


def mul(a: Expr, b: Expr) -> Expr:
    if a.op == b.op == "num":
        return num(a.number * b.number)
    if ZERO in (a, b):
        return ZERO
    return b if a == ONE else a if b == ONE else Expr("mul", (a, b))


def neg(a: Expr) -> Expr:
    return mul(num(-1), a)


def sub(a: Expr, b: Expr) -> Expr:
    return add(a, neg(b))


def div(a: Expr, b: Expr) -> Expr:
    if b.op == "num" and b.number != 0:
        return mul(num(1 / b.number), a)
    return ZERO if a == ZERO and b != ZERO else Expr("div", (a, b))


def power(base: Expr, exponent: fmpq) -> Expr:
    if exponent == 0:
        return ONE
    if exponent == 1 or (base == ZERO and exponent > 0):
        return base
    if base.op == "num" and exponent.q == 1 and (base.number != 0 or exponent > 0):
        return num(base.number ** int(exponent.p))
    return Expr("pow", (base,), exponent)


def call(name: str, *args: Expr) -> Expr:
    return Expr(name, args)


def compose(outer: Expr, inner: Expr) -> Expr:
    """``outer`` with every x replaced by ``inner``."""
    if outer.op == "x":
        return inner
    return rebuild(outer, tuple(compose(arg, inner) for arg in outer.args))


def rebuild(expr: Expr, args: tuple[Expr, ...]) -> Expr:
    """The node ``expr`` over new arguments, with constants folded."""
    match expr.op:
        case "add":
            return add(*args)
        case "mul":
            return mul(*args)
        case "div":
            return div(*args)
        case "pow":
            return power(args[0], expr.number)
        case "exp" if args[0] == ZERO:
            return ONE
        case "sqrt" if args[0] == ZERO:
            return ZERO
        case _:
            return Expr(expr.op, args, expr.number)


def to_text(expr: Expr) -> str:
    """The formula that ``parse`` reads back to the same expression, with no more parentheses than it needs."""
    return _text(expr, 0)


_RANKS = {"add": 1, "mul": 2, "div": 2, "pow": 4}


def _text(expr: Expr, rank: int) -> str:
    """The text of an operand; in parentheses if its operation binds less tightly than ``rank``."""
    match expr.op:
        case "x" | "pi":
            return expr.op
        case "num":
            return str(expr.number) if expr.number.q == 1 and expr.number >= 0 else f"({expr.number})"
        case "add":
            text = f"{_text(expr.args[0], 1)} + {_text(expr.args[1], 2)}"
        case "mul" | "div":
            text = f"{_text(expr.args[0], 2)}{'*' if expr.op == 'mul' else '/'}{_text(expr.args[1], 3)}"
        case "pow":
            text = f"{_text(expr.args[0], 5)}**{_text(num(expr.number), 5)}"
        case name:
            return f"{name}({', '.join(_text(arg, 0) for arg in _flat(expr))})"
    return f"({text})" if _RANKS[expr.op] < rank else text


def _flat(expr: Expr) -> tuple[Expr, ...]:
    """The arguments; those of a left-nested max or min in one list."""
    first = expr.args[0]
    return (*_flat(first), *expr.args[1:]) if expr.op in _VARIADIC and first.op == expr.op else expr.args


def parse(text: str, parameters: Mapping[str, fmpq] | None = None, *, room: int = 1) -> Expr:
    """The expression that ``text`` denotes; ``parameters`` are further names with rational values. ``room`` multiplies
    the limits of length and depth, for a text that ``to_text`` wrote.

    Raises ``InvalidInput`` (with the column) for a syntax error, a name, attribute or construct outside the grammar,
    a power beyond ±64, a number beyond 4096 bits, or a formula that is too long or too deep.
    """
    _refuse_oversize(text, room)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _invalid(text, f"syntax error at column {error.offset or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _invalid(text, "cannot be read as a formula") from None
    expr = _Reader(text.strip(), dict(parameters or {}), MAX_DEPTH * room).read(tree, 0)
    if degree(expr) > MAX_POWER:
        raise _invalid(text, f"holds a power of x above {MAX_POWER}", "use lower powers")
    return expr


def degree(expr: Expr) -> fmpq:
    """The largest power of x that the expression can spell out, powers of functions included."""
    if not expr.args:
        return fmpq(int(expr.op == "x"))
    inner = [degree(arg) for arg in expr.args]
    if expr.op == "mul":
        return inner[0] + inner[1]
    return max(inner) * max(abs(expr.number), fmpq(1)) if expr.op == "pow" else max(inner)


def _refuse_oversize(text: str, room: int) -> None:
    if not text.strip():
        raise _invalid(text, "is empty")
    if len(text) > MAX_LENGTH * room:
        raise _invalid(text, f"has {len(text)} characters, at most {MAX_LENGTH * room} are allowed")
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH * room:
        raise _invalid(text, f"nests {deepest} parentheses, at most {MAX_DEPTH * room} are allowed")
    if not text.isascii() or any(c in text.strip() for c in "\n\r\0\f"):
        raise _invalid(text, "must be one line of ASCII")


def _invalid(
    text: str, requirement: str, remedy: str = "use numbers, x, pi, + - * / ** ( ) and " + " ".join(FUNCTIONS)
) -> InvalidInput:
    return InvalidInput("formula", text, requirement, remedy)


_BINARY: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: div,
}


class _Reader:
    """Copies an ``ast`` tree into ``Expr``; holds the source text for messages and exact decimals."""

    def __init__(self, text: str, parameters: dict[str, fmpq], deepest: int) -> None:
        self.text = text
        self.deepest = deepest
        self.parameters = parameters

    def read(self, node: ast.expr, depth: int) -> Expr:
        if depth > self.deepest:
            raise _invalid(self.text, f"is nested deeper than {self.deepest} operations", "split it or shorten it")
        match node:
            case ast.Constant():
                expr = self.number(node)
            case ast.Name():
                expr = self.name(node)
            case ast.UnaryOp(op=ast.UAdd()):
                expr = self.read(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                expr = neg(self.read(node.operand, depth + 1))
            case ast.BinOp():
                expr = self.binary(node, depth)
            case ast.Call():
                expr = self.function(node, depth)
            case _:
                raise self.refuse(node, f"{type(node).__name__} is not allowed")
        if expr.op == "num" and _bits(expr.number) > MAX_BITS:
            raise self.refuse(node, f"this number has more than {MAX_BITS} bits")
        return expr

    def refuse(self, node: ast.expr, reason: str) -> InvalidInput:
        return _invalid(self.text, f"column {node.col_offset + 1}: {reason}")

    def number(self, node: ast.Constant) -> Expr:
        value: Any = node.value
        if type(value) is int and value.bit_length() <= MAX_BITS:
            return num(value)
        if type(value) is not float:
            raise self.refuse(node, f"{value!r:.40} is not a usable number")
        try:
            return num(parse_fmpq(self.text[node.col_offset : node.end_col_offset].replace("_", "")))
        except ValueError:
            raise self.refuse(node, "this number is out of range") from None

    def name(self, node: ast.Name) -> Expr:
        if node.id == "x":
            return X
        if node.id == "pi":
            return PI
        if node.id in self.parameters:
            return num(self.parameters[node.id])
        raise self.refuse(node, f"unknown name {node.id!r:.40}{_nearest(node.id, ['x', 'pi', *self.parameters])}")

    def binary(self, node: ast.BinOp, depth: int) -> Expr:
        if isinstance(node.op, ast.Pow):
            return self.power(node, depth)
        if type(node.op) not in _BINARY:
            raise self.refuse(node, f"operator {type(node.op).__name__} is not allowed")
        left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        if isinstance(node.op, ast.Div) and right == ZERO:
            raise self.refuse(node, "division by zero")
        return _BINARY[type(node.op)](left, right)

    def power(self, node: ast.BinOp, depth: int) -> Expr:
        base, exponent = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        if exponent.op == "num":
            p, q = abs(int(exponent.number.p)), int(exponent.number.q)
            if p > MAX_POWER * q or q > MAX_POWER:
                raise self.refuse(node, f"powers are limited to ±{MAX_POWER} with denominators up to {MAX_POWER}")
            if base.op == "num" and _bits(base.number) * p > MAX_BITS * q:
                raise self.refuse(node, f"this number has more than {MAX_BITS} bits")
            if base == ZERO and exponent.number < 0:
                raise self.refuse(node, "division by zero")
            return power(base, exponent.number)
        if base.op == "num" and base.number > 0:
            return call("exp", mul(exponent, call("log", base)))
        raise self.refuse(node, "a power needs a constant rational exponent or a positive constant base")

    def function(self, node: ast.Call, depth: int) -> Expr:
        if not isinstance(node.func, ast.Name):
            raise self.refuse(node, "only plain functions can be called")
        name = node.func.id
        if name not in FUNCTIONS:
            raise self.refuse(node, f"unknown function {name!r:.40}{_nearest(name, FUNCTIONS)}")
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise self.refuse(node, f"{name} takes plain arguments only")
        args = [self.read(arg, depth + 1) for arg in node.args]
        if (len(args) < 2) if name in _VARIADIC else (len(args) != 1):
            wanted = "two or more arguments" if name in _VARIADIC else "one argument"
            raise self.refuse(node, f"{name} takes {wanted}, not {len(args)}")
        result = call(name, *args[:2])
        for arg in args[2:]:
            result = call(name, result, arg)
        return result


def _nearest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # only an error needs it

    close = get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _bits(value: fmpq) -> int:
    return max(int(value.p).bit_length(), int(value.q).bit_length())
