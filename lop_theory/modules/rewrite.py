"""Rewrite a traced graph for wider axes: every literal size grows with its axis."""

import operator
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from lop_theory.modules.axes import Axis, Multiplicity
from lop_theory.modules.interface import Cut, Effect, Offset, Profile, Rescale, Resize
from lop_theory.modules.plan import Plan, Traced
from lop_theory.modules.propagation import bind
from lop_theory.trace import Node, Program


class Rewriter:
    """A copy of one mode's graph in which the effects that concern sizes have been carried out."""

    def __init__(self, traced: Traced, plan: Plan, chosen: Mapping[Axis, Multiplicity], profile: Profile) -> None:
        self.traced, self.plan, self.profile = traced, plan, profile
        self.chosen = dict(chosen)
        self.graph = deepcopy(traced.program.graph)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.effects: dict[str, list[Effect]] = {
            node.name: plan.effects[node] for node in traced.program.graph.nodes if node in plan.effects
        }
        for name, effects in self.effects.items():
            for effect in effects:
                self._carry_out(self.nodes[name], effect)

    def program(self) -> Program:
        return self.traced.program._replace(graph=self.graph)

    def origin(self, axis: Axis) -> Any:
        return self.plan.origin(axis, self.chosen)

    def size(self, axis: Axis) -> int:
        return len(self.origin(axis))

    def counts(self, axis: Axis) -> Any:
        """Multiplicity of every base coordinate."""
        return np.bincount(self.origin(axis), minlength=self.plan.size(axis))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a widened value."""
        return tuple(len(index) for index in self.profile.values[name])

    def _carry_out(self, node: Node, effect: Effect) -> None:
        if isinstance(effect, Resize):
            self._resize(node, effect)
        elif isinstance(effect, Offset):
            value = bind(node)[effect.argument]
            grown = any(self.size(a) != self.plan.size(a) for a in effect.axes)
            if isinstance(value, int) and (grown or value < 0):
                replace_argument(node, effect.argument, sum(self.size(axis) for axis in effect.axes))
        elif isinstance(effect, Cut):
            sizes = [self.size(axis) for axis in effect.pieces]
            if sizes != [self.plan.size(axis) for axis in effect.pieces]:
                node.target = torch.ops.aten.split_with_sizes.default
                node.args, node.kwargs = (node.args[0], sizes, effect.dim), {}
        elif isinstance(effect, Rescale):
            ratio = self.size(effect.axis) / self.plan.size(effect.axis)
            replace_argument(node, effect.argument, bind(node)[effect.argument] / ratio**0.5)

    def _resize(self, node: Node, effect: Resize) -> None:
        value = bind(node)[effect.argument]
        if isinstance(value, (list, tuple)):
            grown: Any = [self._grown(node, v, axis) for v, axis in zip(value, effect.axes, strict=True)]
        else:
            grown = self._grown(node, value, effect.axes)
        replace_argument(node, effect.argument, grown)

    def _grown(self, node: Node, value: Any, axis: Axis | None) -> Any:
        if axis is None or value == -1:
            return value
        old, new = self.plan.size(axis), self.size(axis)
        if old == new:
            return value
        if isinstance(value, int):
            return new
        assert new % old == 0
        with self.graph.inserting_before(node):
            return self.graph.call_function(operator.mul, (value, new // old))


def replace_argument(node: Node, name: str, value: Any) -> None:
    """Set an argument by its schema name."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    position = names.index(name)
    if position < len(node.args):
        node.args = (*node.args[:position], value, *node.args[position + 1 :])
    else:
        node.kwargs = {**node.kwargs, name: value}
