"""A mutant in a running process: the functions that it changes get their new code, if nothing else changes.

A mutant whose change is seen while its module is imported (tables, default values, decorators, functions that ran then)
cannot be had this way: the module must be imported anew."""

import ast
import gc
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

from mutants.operators import mutated_tree


class Change(NamedTuple):
    """A function's code before and after."""

    before: CodeType
    after: CodeType


def changes(text: str, number: int, file: Path) -> list[Change] | None:
    """The outermost functions that mutant ``number`` changes; None if it changes what the module's import runs."""
    before = compile(ast.parse(text), str(file), "exec", dont_inherit=True)
    after = compile(mutated_tree(text, number), str(file), "exec", dont_inherit=True)
    try:
        return list(_differences(before, after))
    except LookupError:
        return None


def _differences(before: CodeType, after: CodeType) -> Iterator[Change]:
    """Of two codes of a module or class body that are equal but for the functions in them; else LookupError."""
    if len(before.co_consts) != len(after.co_consts) or before.replace(co_consts=()) != after.replace(co_consts=()):
        raise LookupError
    for a, b in zip(before.co_consts, after.co_consts, strict=True):
        if not (isinstance(a, CodeType) and isinstance(b, CodeType)):
            if a != b or type(a) is not type(b):
                raise LookupError
        elif not a.co_flags & inspect.CO_OPTIMIZED:  # a class body
            yield from _differences(a, b)
        elif a != b:
            yield Change(a, b)


def is_loaded(file: Path) -> bool:
    return any(getattr(module, "__file__", None) == str(file) for module in list(sys.modules.values()))


def ran_at_import(change: Change, imported: set[int]) -> bool:
    body = {line for _, _, line in change.before.co_lines()} - {change.before.co_firstlineno, None}
    return not body or not imported.isdisjoint(body)


def apply(found: list[Change], file: Path) -> bool:
    """Put the new code into the functions; False if one of them is not there or takes no other code."""
    functions = [f for f in gc.get_objects() if type(f) is FunctionType and f.__code__.co_filename == str(file)]
    for change in found:
        holders = [f for f in functions if f.__code__ == change.before]
        if not holders or len(change.before.co_freevars) != len(change.after.co_freevars):
            return False
        for f in holders:
            f.__code__ = change.after
    return True
