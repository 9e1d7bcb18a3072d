"""The reader of typed formulas: Python's ``ast``, copied node by node through a whitelist into ``Expr``.

Nothing is ever evaluated as code. What people type is understood: x, or any one other name, is the variable; ``^``,
``²``, ``π`` and ``·``; prefixes such as ``np.`` or ``F.``; conditions (``x if x > 0 else 0.1*x``, ``x*(x > 0)``,
``where``); every catalogue name as a function (``0.5*gelu(x) + leaky_relu(2*x, 0.2)``); ``lambda t: …``.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from lop_theory.activations.entries import ALIASES, CATALOGUE
from lop_theory.activations.expression import (
    FUNCTIONS,
    ZERO,
    Expr,
    X,
    add,
    compose,
    degree,
    div,
    mul,
    neg,
    num,
    sub,
    tree_depth,
    tree_size,
)
from lop_theory.activations.vocabulary import (
    CONSTANTS,
    MAX_BITS,
    MAX_POWER,
    SYNONYMS,
    WORDS,
    above,
    at_least,
    bits,
    opposite,
    raised,
    where,
)
from lop_theory.balls import fmpq, parse_fmpq
from lop_theory.errors import InvalidInput

MAX_LENGTH = 2000
MAX_DEPTH = 80
MAX_NODES = 20_000
MAX_TREE_DEPTH = 200

_SIGNS = {"·": "*", "×": "*", "−": "-", "²": "**2", "³": "**3", "⁴": "**4", "π": "pi", "^": "**"}
_MISREAD = re.compile(  # Python would leave out a comment and read x²³ as x⁸, x³^2 as x⁹, x²3 as x²³, sin(xπ) as sin(x)
    r"#|[²³⁴](?:[\w.]|\s*(?:[²³⁴^]|\*\*))|[^\W²³⁴]π|π[^\W²³⁴]"
)
_PRODUCT = re.compile(r"(?:pi|[a-z])x|x(?:pi|[a-z])|xx+")
_MODULES = (
    "np",
    "numpy",
    "torch",
    "F",
    "nn",
    "functional",
    "math",
    "jnp",
    "jax",
    "tf",
    "scipy",
    "special",
    "norm",
    "stats",
)
_INFINITE = ("inf", "nan", "Inf", "NaN", "infinity", "oo")
_PARAMETERS = {"negative_slope": "slope"}


def parse(text: str, parameters: Mapping[str, fmpq] | None = None, *, room: int = 1) -> Expr:
    """The expression that ``text`` denotes; ``parameters`` are further names with rational values. ``room`` multiplies
    the limits of length and depth, for a text that ``to_text`` wrote.

    Raises ``InvalidInput`` (with the column) for a syntax error, a name, attribute or construct outside the grammar,
    a power beyond ±64, a number beyond 4096 bits, or a formula that is too long or too deep.
    """
    plain = _plain(text, room)
    try:
        tree: ast.expr = ast.parse(plain, mode="eval").body
    except SyntaxError as error:
        raise _invalid(text, f"syntax error at column {error.offset or 1}: {error.msg}{_spelling(plain)}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _invalid(text, "cannot be read as a formula") from None
    expr = _Reader(plain, dict(parameters or {}), MAX_DEPTH * room).whole(tree)
    if degree(expr) > MAX_POWER:
        raise _invalid(text, f"holds a power of x above {MAX_POWER}", "use lower powers")
    return expr


def _plain(text: str, room: int) -> str:
    """The text in ASCII, if it is one line of moderate size."""
    if not text.strip():
        raise _invalid(text, "is empty")
    if len(text) > MAX_LENGTH * room:
        raise _invalid(text, f"has {len(text)} characters, at most {MAX_LENGTH * room} are allowed")
    if (found := _MISREAD.search(text)) is not None:
        reason = f"column {found.start() + 1}: {found.group()!r} would not be read as it looks"
        raise _invalid(
            text, reason, "leave out comments, write products with * and put powers of powers in parentheses"
        )
    plain = "".join(_SIGNS.get(c, c) for c in text.strip())
    if not plain.isascii() or any(c in plain for c in "\n\r\0\f"):
        raise _invalid(text, "must be one line of ASCII (and ² ³ π ·)")
    depth = deepest = 0
    for character in plain:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH * room:
        raise _invalid(text, f"nests {deepest} parentheses, at most {MAX_DEPTH * room} are allowed")
    return plain


def _spelling(text: str) -> str:
    """The right spelling of a frequent slip."""
    if "|" in text:
        return " (write abs(x) for |x|)"
    if "=" in text.replace("==", "").replace(">=", "").replace("<=", ""):
        return " (write only what follows the =)"
    return " (write 2*x for 2x and sin(x) for sin x)"


def _invalid(
    text: str,
    requirement: str,
    remedy: str = "use numbers, x, pi, e, + - * / ** ( ), where(x > 0, ...), catalogue names, " + " ".join(FUNCTIONS),
) -> InvalidInput:
    return InvalidInput("formula", text, requirement, remedy)


# ---- functions by name ----


def function_named(name: str) -> Callable[..., Expr] | None:
    """What ``name`` builds from its arguments: a word of the vocabulary or a catalogue activation; else ``None``."""
    word = SYNONYMS.get(name, name)
    if word in WORDS:
        return WORDS[word]
    key = ALIASES.get(word, word)
    return (lambda *args, **options: _of_catalogue(key, *args, **options)) if CATALOGUE.get(key, ("",))[0] else None


def _of_catalogue(key: str, x: Expr, *values: Expr, inplace: bool = False, **options: Expr) -> Expr:
    """The catalogue activation of x, with parameters by position or by name (PyTorch's names included)."""
    del inplace
    defaults = CATALOGUE[key].defaults
    named = {_PARAMETERS.get(name, name): value for name, value in options.items()}
    given = dict(zip(defaults, values, strict=False)) | named
    if len(values) > len(defaults) or len(given) < len(values) + len(named) or not set(given) <= set(defaults):
        raise TypeError(f"{key} takes x" + "".join(f", {name}={value}" for name, value in defaults.items()))
    if any(value.op != "num" for value in given.values()):
        raise ValueError(f"a parameter of {key} must be a number")
    numbers = {name: given[name].number if name in given else parse_fmpq(text) for name, text in defaults.items()}
    return compose(_entry(key, tuple(numbers.items())), x)


@lru_cache(maxsize=256)
def _entry(key: str, parameters: tuple[tuple[str, fmpq], ...]) -> Expr:
    return parse(CATALOGUE[key].formula, dict(parameters))


# ---- the reader ----


_BINARY: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: div,
}
_LOGICAL: dict[type[ast.AST], str] = {
    ast.And: "logical_and", ast.Or: "logical_or", ast.BitAnd: "logical_and", ast.BitOr: "logical_or",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Expr, Expr], Expr]] = {
    ast.Gt: above,
    ast.GtE: at_least,
    ast.Lt: lambda a, b: above(b, a),
    ast.LtE: lambda a, b: at_least(b, a),
}


class _Reader:
    """Copies an ``ast`` tree into ``Expr``; holds the source text for messages and exact decimals."""

    def __init__(self, text: str, parameters: dict[str, fmpq], deepest: int) -> None:
        self.text = text
        self.deepest = deepest
        self.names = {**CONSTANTS, **{name: num(value) for name, value in parameters.items()}}
        self.variable = "x"

    def whole(self, tree: ast.expr) -> Expr:
        """The formula; its variable is x, a lambda's argument, or the only free name."""
        if isinstance(tree, ast.Lambda):
            if len(tree.args.args) != 1 or tree.args.defaults or tree.args.vararg or tree.args.kwonlyargs:
                raise self.refuse(tree, "Lambda is allowed with one plain argument only")
            self.variable, tree = tree.args.args[0].arg, tree.body
        else:
            self.variable = self.only_free_name(tree)
        return self.read(tree, 0)

    def only_free_name(self, tree: ast.expr) -> str:
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        modules = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        free = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called and id(n) not in modules
        }
        free -= {*self.names, *_INFINITE}
        (name,) = free if len(free) == 1 else ("x",)
        if _PRODUCT.fullmatch(name):
            raise _invalid(
                self.text, f"{name} is one name, not a product", "write products with *, or name the variable x"
            )
        return "x" if function_named(name) is not None else name

    def read(self, node: ast.expr, depth: int) -> Expr:
        if depth > self.deepest:
            raise _invalid(self.text, f"is nested deeper than {self.deepest} operations", "split it or shorten it")
        expr = self.node(node, depth)
        if expr.op == "num" and bits(expr.number) > MAX_BITS:
            raise self.refuse(node, f"this number has more than {MAX_BITS} bits")
        if tree_size(expr) > MAX_NODES or tree_depth(expr) > MAX_TREE_DEPTH:
            raise self.refuse(node, f"spells out more than {MAX_NODES} operations or {MAX_TREE_DEPTH} levels")
        return expr

    def node(self, node: ast.expr, depth: int) -> Expr:
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name(id=name):
                return self.name(node, name)
            case ast.Attribute(attr=name) if self.is_module(node.value):
                return self.name(node, name)
            case ast.UnaryOp():
                return self.unary(node, depth)
            case ast.BinOp():
                return self.binary(node, depth)
            case ast.Compare():
                return self.compare(node, depth)
            case ast.BoolOp():
                word = WORDS[_LOGICAL[type(node.op)]]
                values = [self.condition(value, depth + 1) for value in node.values]
                return _folded(word, values)
            case ast.IfExp():
                test = self.condition(node.test, depth + 1)
                return where(test, self.read(node.body, depth + 1), self.read(node.orelse, depth + 1))
            case ast.Call():
                return self.function(node, depth)
            case _:
                raise self.refuse(node, f"{type(node).__name__} is not allowed")

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

    def name(self, node: ast.expr, name: str) -> Expr:
        if name == self.variable and isinstance(node, ast.Name):
            return X
        if name in self.names:
            return self.names[name]
        if name in _INFINITE:
            raise self.refuse(node, f"{name} is not a number; use the limit")
        if function_named(name) is not None:
            raise self.refuse(node, f"{name} is a function: write {name}(x)")
        raise self.refuse(node, f"unknown name {name!r:.40}{_nearest(name, [self.variable, *self.names])}")

    def is_module(self, node: ast.expr) -> bool:
        """Whether the node is np, torch.nn.functional, …"""
        if isinstance(node, ast.Attribute):
            return node.attr in _MODULES and self.is_module(node.value)
        return isinstance(node, ast.Name) and node.id in _MODULES and node.id != self.variable

    def unary(self, node: ast.UnaryOp, depth: int) -> Expr:
        if isinstance(node.op, (ast.Not, ast.Invert)):
            return opposite(self.condition(node.operand, depth + 1))
        operand = self.read(node.operand, depth + 1)
        return neg(operand) if isinstance(node.op, ast.USub) else operand

    def binary(self, node: ast.BinOp, depth: int) -> Expr:
        kind = type(node.op)
        if kind in _LOGICAL:
            return WORDS[_LOGICAL[kind]](*(self.condition(side, depth + 1) for side in (node.left, node.right)))
        left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        if kind is ast.Pow:
            return self.built(node, "**", lambda: raised(left, right))
        if kind not in _BINARY:
            raise self.refuse(node, f"operator {kind.__name__} is not allowed")
        if kind is ast.Div and right == ZERO:
            raise self.refuse(node, "division by zero")
        return _BINARY[kind](left, right)

    def condition(self, node: ast.expr, depth: int) -> Expr:
        """An operand of and, or, not, & and |: a comparison, or such a combination."""
        while_true = isinstance(node, (ast.Compare, ast.BoolOp))
        combined = isinstance(node, ast.BinOp) and type(node.op) in _LOGICAL
        negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert))
        if not (while_true or combined or negated):
            raise self.refuse(node, "a condition such as x > 0 must stand here (write abs(x) for |x|)")
        return self.read(node, depth)

    def compare(self, node: ast.Compare, depth: int) -> Expr:
        sides = [self.read(side, depth + 1) for side in (node.left, *node.comparators)]
        found: list[Expr] = []
        for operator, a, b in zip(node.ops, sides, sides[1:], strict=False):
            if type(operator) not in _COMPARE:
                raise self.refuse(
                    node, f"{type(operator).__name__} is not allowed: a single point has no Gaussian mass"
                )
            found.append(_COMPARE[type(operator)](a, b))
        return _folded(mul, found)

    def function(self, node: ast.Call, depth: int) -> Expr:
        name, before = self.called(node)
        if any(isinstance(arg, ast.Starred) for arg in node.args) or any(k.arg is None for k in node.keywords):
            raise self.refuse(node, f"{name} takes plain arguments only")
        build = function_named(name)
        if build is None:
            known = [*WORDS, *(key for key, entry in CATALOGUE.items() if entry.formula)]
            raise self.refuse(node, f"unknown function {name!r:.40}{_nearest(name, known)}")
        args = [self.argument(arg, depth + 1) for arg in (*before, *node.args)]
        options = {str(k.arg): self.argument(k.value, depth + 1) for k in node.keywords}
        return self.built(node, name, lambda: build(*args, **options))

    def built(self, node: ast.expr, name: str, build: Callable[[], Expr]) -> Expr:
        """What a word builds; its refusal with the column."""
        try:
            return build()
        except ValueError as error:
            raise self.refuse(node, str(error)) from None
        except (TypeError, AttributeError) as error:
            explained = any(words in str(error) for words in (" takes x", "or more arguments"))
            reason = str(error) if explained else f"{name} does not take these arguments"
            raise self.refuse(node, reason) from None

    def called(self, node: ast.Call) -> tuple[str, tuple[ast.expr, ...]]:
        """The name of the function, and the expression that it is a method of, if any."""
        match node.func:
            case ast.Name(id=name):
                return name, ()
            case ast.Attribute(attr=name, value=owner):
                return name, () if self.is_module(owner) else (owner,)
            case _:
                raise self.refuse(node, "only plain functions can be called")

    def argument(self, node: ast.expr, depth: int) -> Any:
        """An expression, or the text of an option such as approximate='tanh', or a switch such as inplace=True."""
        if isinstance(node, ast.Constant) and (isinstance(node.value, (str, bool)) or node.value is None):
            return node.value
        return self.read(node, depth)


def _folded(word: Callable[[Expr, Expr], Expr], values: Sequence[Expr]) -> Expr:
    result = values[0]
    for value in values[1:]:
        result = word(result, value)
    return result


def _nearest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # only an error needs it

    close = get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
