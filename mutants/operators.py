"""The changes: every mutant of a source text, as (place, what was, what is instead, the changed text)."""

import ast
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}  # fmt: skip
OPPOSITES = [
    ("min", "max"), ("minimum", "maximum"), ("any", "all"), ("floor", "ceil"), ("lower", "upper"), ("argmin", "argmax"),
    ("sin", "cos"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("amin", "amax"), ("lo", "hi"), ("low", "high"),
    ("source", "target"), ("rows", "columns"), ("into", "outof"), ("triu", "tril"),
]  # fmt: skip
SWAPS = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


Key = tuple[str, str, str, str]
"""File, enclosing function, what was and what is instead."""


class Mutant(NamedTuple):
    """One change. ``where`` is the dotted name of the enclosing function or class, so that it survives moved lines."""

    file: str
    line: int
    last_line: int
    where: str
    before: str
    after: str
    number: int  # in the order in which the file's changes are listed

    @property
    def key(self) -> Key:
        return self.file, self.where, self.before, self.after


def mutants_of(file: Path, root: Path) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines; a change that occurs twice in a function is numbered."""
    found, seen = [], dict[Key, int]()
    for number, (node, where, new) in enumerate(_changes(ast.parse(file.read_text()))):
        head = node.test if isinstance(node, ast.If | ast.While) else node
        place = (str(file.relative_to(root)), head.lineno, head.end_lineno or head.lineno, where)
        mutant = Mutant(*place, _short(node), _short(new), number)
        seen[mutant.key] = count = seen.get(mutant.key, 0) + 1
        found.append(mutant if count == 1 else mutant._replace(after=f"{mutant.after}  # {count}"))
    return sorted(found, key=lambda m: (m.line, m.number))


def mutated(text: str, number: int) -> str:
    """The source text with its change of this number."""
    return ast.unparse(mutated_tree(text, number))


def mutated_tree(text: str, number: int) -> ast.Module:
    """The same, parsed: what is not changed keeps its lines and columns."""
    tree = ast.parse(text)
    node, _, new = next(islice(_changes(tree), number, None))

    class Replace(ast.NodeTransformer):
        def visit(self, at: ast.AST) -> ast.AST:
            return ast.copy_location(new, node) if at is node else self.generic_visit(at)

    return ast.fix_missing_locations(Replace().visit(tree))


def _short(node: ast.AST) -> str:
    head = f"if {ast.unparse(node.test)}" if isinstance(node, ast.If | ast.While) else ast.unparse(node)
    text = " ".join(head.split())
    return text if len(text) <= 120 else f"{text[:59]} … {text[-58:]}"


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, ast.AST]]:
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, where = stack.pop()
        if isinstance(node, ast.expr | ast.stmt) and not _is_guard(node):
            yield from ((node, where, new) for new in _variants(node))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        stack += [(child, where) for child in _children(node)]


def _children(node: ast.AST) -> list[ast.AST]:
    """All parts but annotations, docstrings, imports, assertions, messages of errors and the main guard."""
    if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.Raise) or _is_guard(node):
        return []
    skipped = [getattr(node, name, None) for name in ("annotation", "returns")]
    parts = [child for child in ast.iter_child_nodes(node) if not any(child is s for s in skipped)]
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg in ("strict", "maxsize")):
        return []  # text for people; zip's own check of lengths; how much a cache holds
    return [p for p in parts if not (isinstance(p, ast.Expr) and isinstance(p.value, ast.Constant))]


def _is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")


def _variants(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            ops = [*node.ops[:k], COMPARISONS[type(op)](), *node.ops[k + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_symmetric(node):
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for k in range(len(node.values)):
            rest = [*node.values[:k], *node.values[k + 1 :]]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield from _swapped(node)
    else:
        yield from _larger(node)


def _is_symmetric(node: ast.BinOp) -> bool:
    """Text, or a sum with the ball ``within(…)`` = [−r, r], of which the difference is the same."""
    calls = [side for side in (node.left, node.right) if isinstance(side, ast.Call)]
    symmetric = isinstance(node.op, ast.Add) and any(ast.unparse(call.func) == "within" for call in calls)
    return symmetric or isinstance(node.left, ast.JoinedStr)


def _constants(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(2 * value if value else 1.0)


def _swapped(node: ast.Name | ast.Attribute) -> Iterator[ast.AST]:
    if isinstance(node, ast.Name) and node.id in SWAPS and node.id in ("min", "max", "any", "all"):
        yield ast.Name(SWAPS[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and node.attr in SWAPS:
        yield ast.Attribute(node.value, SWAPS[node.attr], ast.Load())


def _larger(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    """Conditions that always or never hold, filters, steps and members that are left out."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        if not isinstance(node, ast.While):
            yield _copied(node, test=ast.Constant(True))
        yield _copied(node, test=ast.Constant(False))
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        for k, loop in enumerate(node.generators):
            if loop.ifs:
                bare = ast.comprehension(loop.target, loop.iter, loop.ifs[1:], loop.is_async)
                yield _copied(node, generators=[*node.generators[:k], bare, *node.generators[k + 1 :]])
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
        yield ast.Pass()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


def _copied(node: ast.AST, **changes: object) -> ast.AST:
    fields = {name: getattr(node, name) for name in node._fields}
    return type(node)(**{**fields, **changes})
