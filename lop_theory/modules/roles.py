"""What the parameters of a traced model do: which modules sum over them, along which dimensions, and where they enter
as they are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from lop_theory.modules.axes import Axis
from lop_theory.modules.interface import Axes, Contraction
from lop_theory.modules.plan import Plan
from lop_theory.modules.propagation import bind
from lop_theory.modules.scale import moves
from lop_theory.trace import Node, Program

COMPUTED = ""
"""Stands for all weights that are no rearranged parameters (weight normalisation)."""


class Roles(NamedTuple):
    """``owner``: the first name of a parameter that has several. By that name: ``summed``, the width classes that its
    weighted sums run over, and ``along``, the dimensions that they do (both sides of a square weight may be of one
    class); ``kept``, those along which the sums are told apart; ``readers``, the modules that compute them, with the
    class; ``uses``, how many sums it is in; ``entering``, the classes along which it enters as it is (bias, scale,
    table). ``unread`` are those that nothing uses."""

    owner: Mapping[str, str]
    summed: Mapping[str, frozenset[Axis]]
    along: Mapping[str, frozenset[int]]
    kept: Mapping[str, frozenset[int]]
    readers: Mapping[str, frozenset[tuple[str, Axis]]]
    uses: Mapping[str, int]
    entering: Mapping[str, frozenset[Axis]]
    unread: frozenset[str]


def roles_of(
    program: Program,
    plan: Plan,
    entering: list[tuple[str, Axes]],
    sizes: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> Roles:
    """``entering``: values of the program that enter as they are, with their axes; ``sizes`` of all its values."""
    follow, owner = _follower(program, sizes, state), _owners(state)
    summed, along, kept, readers, enters = (defaultdict[str, frozenset[Any]](frozenset) for _ in range(5))
    uses = Counter[str]()
    for node, effects in plan.effects.items():
        for effect in effects:
            if isinstance(effect, Contraction):
                value, elements = follow(weight_node(node, effect.weight)) or (COMPUTED, None)
                name = owner.get(value, value)
                roots = {plan.find(axis) for role, axis in effect.roles if role == "summed"}
                summed[name] |= roots
                uses[name] += 1
                readers[name] |= {(program.modules.get(node.name, ""), root) for root in roots}
                if elements is not None:
                    dims = _dimensions(plan, effect, elements, state[name].shape)
                    along[name] |= dims["summed"]
                    kept[name] |= dims["kept"]
    for value, axes in entering:
        found = follow(value)
        if found is not None:
            enters[owner[found[0]]] |= {plan.find(axis) for axis in axes}
    read = {owner[program.state[n.name]] for n in program.graph.nodes if n.name in program.state and n.users}
    unread = frozenset(owner.values()) - read
    return Roles(owner, dict(summed), dict(along), dict(kept), dict(readers), dict(uses), dict(enters), unread)


def _owners(state: Mapping[str, Tensor]) -> dict[str, str]:
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def weight_node(node: Node, argument: str) -> str:
    """The name of an argument's value (``weight``, ``operands.1``)."""
    name, _, position = argument.partition(".")
    value = bind(node)[name]
    return (value[int(position)] if position else value).name


def _follower(
    program: Program, sizes: Mapping[str, Any], state: Mapping[str, Tensor]
) -> Callable[[str], tuple[str, Tensor] | None]:
    """Maps a value to the parameter that it rearranges, and the element of it behind each of its own."""
    nodes = {node.name: node for node in program.graph.nodes}

    def follow(value: str) -> tuple[str, Tensor] | None:
        node = nodes[value]
        if node.op == "placeholder":
            name = program.state.get(value)
            return None if name is None else (name, torch.arange(state[name].numel()).reshape(state[name].shape))
        if not moves(node) or not hasattr(node.args[0], "name"):
            return None
        inner = follow(node.args[0].name)
        if inner is None:
            return None
        if any(not isinstance(sizes[other.name], int) for other in node.all_input_nodes[1:]):
            return inner[0], inner[1].reshape(sizes[value])
        target: Any = node.target
        rest, named = fx.map_arg((node.args[1:], node.kwargs), lambda other: sizes[other.name])  # computed sizes
        return inner[0], target(inner[1], *rest, **named)

    return follow


def _dimensions(
    plan: Plan, effect: Contraction, elements: Tensor, shape: tuple[int, ...]
) -> defaultdict[str, frozenset[int]]:
    """By role: the dimensions of a parameter of that shape which the axes of a weighted sum of its ``elements`` run
    along."""
    grid, found = (
        elements.reshape([plan.size(axis) for _, axis in effect.roles]),
        defaultdict[str, frozenset[int]](frozenset),
    )
    for k, (role, _) in enumerate(effect.roles):
        found[role] |= _moving(grid, k, shape)
    return found


def _moving(grid: Tensor, dim: int, shape: tuple[int, ...]) -> frozenset[int]:
    """The dimensions of a tensor of that shape that change along ``dim`` of a grid of its elements."""
    if not grid.numel():
        return frozenset()
    line = grid.movedim(dim, 0).reshape(grid.shape[dim], -1)[:, 0].numpy()
    coordinates = np.unravel_index(line, shape)
    return frozenset(k for k, at in enumerate(coordinates) if len(set(at.tolist())) > 1)
