"""Expression trees in one variable: nodes, constructors that fold constants, and their text.

Numbers are exact rationals (``0.1`` is 1/10). Every formula, whether typed or traced from Python, becomes an ``Expr``.
"""

from collections.abc import Callable
from typing import NamedTuple

from lop_theory.balls import fmpq

FUNCTIONS = "exp log sqrt sin cos tan sinh cosh tanh atan asinh erf abs max min sign step sigmoid softplus relu".split()
VARIADIC = ("max", "min")


class Expr(NamedTuple):
    """A node: ``x``, ``pi``, ``num`` (its value in ``number``), ``add mul div`` (two arguments), ``pow`` (constant
    rational exponent in ``number``), or a function of ``FUNCTIONS`` (``max`` and ``min`` take two arguments)."""

    op: str
    args: tuple["Expr", ...] = ()
    number: fmpq = fmpq(0)

    def __hash__(self) -> int:
        """As for any tuple, but without the slow hash of a rational where there is none."""
        if self.number == 0:
            return hash((self.op, self.args))
        return hash((self.op, self.args, int(self.number.p), int(self.number.q)))

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
    return (*_flat(first), *expr.args[1:]) if expr.op in VARIADIC and first.op == expr.op else expr.args


def degree(expr: Expr) -> fmpq:
    """The largest power of x that arithmetic spells out anywhere in the expression; exp, tanh … of x count as x."""
    seen: dict[int, fmpq] = {}
    _degree(expr, seen)
    return max(seen.values())


def _degree(expr: Expr, seen: dict[int, fmpq]) -> fmpq:
    if id(expr) not in seen:
        inner = [_degree(arg, seen) for arg in expr.args]
        seen[id(expr)] = _combined(expr, inner) if inner else fmpq(int(expr.op == "x"))
    return seen[id(expr)]


def _combined(expr: Expr, inner: list[fmpq]) -> fmpq:
    match expr.op:
        case "mul" | "div":
            return inner[0] + inner[1]
        case "pow":
            return inner[0] * max(abs(expr.number), fmpq(1))
        case "add" | "max" | "min" | "abs" | "relu":
            return max(inner)
        case _:
            return min(inner[0], fmpq(1))  # a function of one argument


def tree_size(expr: Expr) -> int:
    """The number of nodes of the tree; shared parts are counted as often as they occur, but visited once."""
    return _measured(expr, {}, lambda sizes: 1 + sum(sizes))


def tree_depth(expr: Expr) -> int:
    """The number of nodes on the longest way down."""
    return _measured(expr, {}, lambda depths: 1 + max(depths, default=0))


def _measured(expr: Expr, seen: dict[int, int], combine: Callable[[list[int]], int]) -> int:
    if id(expr) not in seen:
        seen[id(expr)] = combine([_measured(arg, seen, combine) for arg in expr.args])
    return seen[id(expr)]
