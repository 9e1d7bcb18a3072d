"""What the parameters of a traced model do: which modules sum over them, along which dimensions, and where they enter
as they are."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lop_theory.modules.axes import Axis
from lop_theory.modules.interface import Axes, Contraction
from lop_theory.modules.movements import argument_of, carried_out, elements_of
from lop_theory.modules.plan import Plan
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
    owner = _owners(state)
    summed, along, kept, readers, enters = (defaultdict[str, frozenset[Any]](frozenset) for _ in range(5))
    uses = Counter[str]()

    def follow(value: Node) -> tuple[str, Tensor | None]:
        found = elements_of(value, program, state, partial(_moved, sizes))
        return (COMPUTED, None) if found is None else (owner[found[0]], found[1])

    for node, effects in plan.effects.items():
        for effect in effects:
            if isinstance(effect, Contraction):
                name, elements = follow(argument_of(node, effect.weight))
                roots = {plan.find(axis) for role, axis in effect.roles if role == "summed"}
                summed[name] |= roots
                uses[name] += 1
                readers[name] |= {(program.modules.get(node.name, ""), root) for root in roots}
                if name != COMPUTED:
                    dims = _dimensions(plan, effect, elements, state[name])
                    along[name] |= dims["summed"]
                    kept[name] |= dims["kept"]
    nodes = {node.name: node for node in program.graph.nodes}
    for value, axes in entering:
        name, _ = follow(nodes[value])
        if name != COMPUTED:
            enters[name] |= {plan.find(axis) for axis in axes}
    read = {owner[program.state[n.name]] for n in program.graph.nodes if n.name in program.state and n.users}
    unread = frozenset(owner.values()) - read
    return Roles(owner, dict(summed), dict(along), dict(kept), dict(readers), dict(uses), dict(enters), unread)


def _owners(state: Mapping[str, Tensor]) -> dict[str, str]:
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def _moved(sizes: Mapping[str, Any], node: Node, elements: Any) -> Any:
    return carried_out(node, elements, sizes, sizes.__getitem__)


def _dimensions(
    plan: Plan, effect: Contraction, elements: Tensor | None, tensor: Tensor
) -> defaultdict[str, frozenset[int]]:
    """By role: the dimensions of a tensor which the axes of a weighted sum of its ``elements`` (None: all, as they lie)
    run along."""
    every = torch.arange(tensor.numel()) if elements is None else elements
    grid = every.reshape([plan.size(axis) for _, axis in effect.roles])
    found = defaultdict[str, frozenset[int]](frozenset)
    for k, (role, _) in enumerate(effect.roles):
        found[role] |= _moving(grid, k, tensor.shape)
    return found


def _moving(grid: Tensor, dim: int, shape: tuple[int, ...]) -> frozenset[int]:
    """The dimensions of a tensor of that shape that change along ``dim`` of a grid of its elements."""
    if not grid.numel():
        return frozenset()
    line = grid.movedim(dim, 0).reshape(grid.shape[dim], -1)[:, 0].numpy()
    coordinates = np.unravel_index(line, shape)
    return frozenset(k for k, at in enumerate(coordinates) if len(set(at.tolist())) > 1)
