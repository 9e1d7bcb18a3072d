"""Operators that only move elements around, and which elements of a parameter a value of the program is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from lop_theory.modules.propagation import bind
from lop_theory.trace import Node, Program, operator_name

MOVEMENTS = frozenset(
    "view reshape _unsafe_view flatten unflatten permute transpose t numpy_T swapaxes movedim squeeze "
    "unsqueeze select slice "
    "split split_with_sizes chunk unbind contiguous clone alias detach getitem".split()
)
VIEWS = frozenset("view reshape _unsafe_view unflatten".split())
Elements = tuple[str, Tensor | None]
Moved = Callable[[Node, Any], Any]


def moves(node: Node) -> bool:
    """Whether the node only moves elements around."""
    return operator_name(node) in MOVEMENTS


def argument_of(node: Node, name: str) -> Node:
    """An argument's value (``weight``, ``operands.1``)."""
    name, _, position = name.partition(".")
    value = bind(node)[name]
    return value[int(position)] if position else value


def carried_out(node: Node, elements: Any, sizes: Mapping[str, Any], shape: Callable[[str], Sequence[int]]) -> Any:
    """``elements`` moved as ``node`` moves them, views into its ``shape``; computed numbers are those recorded.
    ``None`` where a tensor says which are taken."""
    computed = [sizes[other.name] for other in node.all_input_nodes[1:]]
    if any(not isinstance(value, int) for value in computed):
        return None
    if operator_name(node) in VIEWS:
        return elements.reshape(shape(node.name))
    target: Any = node.target
    rest, named = fx.map_arg((node.args[1:], node.kwargs), lambda other: sizes[other.name])
    return target(elements, *rest, **named)


def elements_of(node: Node, program: Program, state: Mapping[str, Tensor], moved: Moved) -> Elements | None:
    """The state tensor, by name, that ``node`` rearranges, and which of its elements, in order (None: all, as they
    lie). ``moved(node, elements)`` carries one rearrangement out, if it can."""
    if node.op == "placeholder":
        name = program.state.get(node.name)
        return None if name is None else (name, None)
    if not moves(node) or not isinstance(node.args[0], fx.Node):
        return None
    inner = elements_of(node.args[0], program, state, moved)
    if inner is None:
        return None
    name, index = inner
    found = moved(node, torch.arange(state[name].numel()).reshape(state[name].shape) if index is None else index)
    return None if found is None else (name, found)
