"""Divide weights by the multiplicity of what they sum over, or rescale an activation where a weight cannot be divided.

A parameter element may be asked for one divisor only. A tied embedding is asked for two (1 as a table, 1/factor as an
output
layer): then the activation that enters the second use is multiplied by the constant instead.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from lop_theory.errors import InvalidInput
from lop_theory.modules.interface import Contraction, Correction
from lop_theory.modules.movements import argument_of, carried_out, elements_of, moves
from lop_theory.modules.redistribute import zero_sum_noise
from lop_theory.modules.rewrite import Rewriter
from lop_theory.trace import Node, operator_name

BETWEEN_ACTIVATIONS = frozenset("scaled_dot_product_attention bmm matmul einsum linear baddbmm mm".split())


Leaf = tuple[Tensor, Tensor | None]  # a state tensor and which of its elements, in order (None: all, as they lie)


class Fold(NamedTuple):
    """Rows of a projection (weight and bias by name) that are multiplied by ``gain``."""

    names: tuple[str, ...]
    transposed: bool
    rows: tuple[int, ...]
    gain: float


class Scales:
    """Collects divisors of parameter elements over both modes, then applies them once."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.divisors: dict[int, Tensor] = {}
        self.noise: dict[int, Tensor] = {}
        self.folds: set[Fold] = set()
        self.uses: dict[int, set[str]] = {}

    def demand(self, rewriter: Rewriter, *, correct: bool, redistribute: int | None) -> None:
        """Walk one mode: plain uses first (they allow no divisor), then contractions, then sums of activations."""
        self._plain_uses(rewriter)
        for node, effect in _effects(rewriter, Contraction):
            self._count(rewriter, argument_of(node, effect.weight), node)
        for node, effect in _effects(rewriter, Contraction):
            if not self._divide(rewriter, node, effect):
                _rescale_data(rewriter, node, effect)
            elif redistribute is not None:
                self._redistribute(rewriter, node, effect, redistribute)
        for node, effect in _effects(rewriter, Correction):
            if correct or operator_name(node) not in BETWEEN_ACTIVATIONS:
                self._correct(rewriter, node, effect)

    def apply(self) -> None:
        with torch.no_grad():
            for tensor in {id(t): t for t in self.state.values() if t.is_floating_point()}.values():
                if id(tensor) in self.divisors:
                    tensor.div_(_distinct(self.divisors[id(tensor)]).nan_to_num(1.0).to(tensor))
                if id(tensor) in self.noise:
                    tensor.add_(self.noise[id(tensor)].reshape(tensor.shape).to(tensor))
            for fold in self.folds:
                for name in fold.names:
                    target = self.state[name]
                    rows = torch.tensor(fold.rows, device=target.device)
                    target[(slice(None), rows) if fold.transposed and target.dim() == 2 else rows] *= fold.gain

    def factors(self) -> dict[str, Tensor]:
        """By state name, what :meth:`apply` multiplies each element by; shapes broadcast to the tensor's."""
        found = {name: self._factor(tensor) for name, tensor in self.state.items() if tensor.is_floating_point()}
        for fold in self.folds:
            for name in fold.names:
                along = -1 if fold.transposed else 0
                found[name] = found[name] * _gains(self.state[name], along, fold)
        return found

    def _factor(self, tensor: Tensor) -> Tensor:
        divisor = self.divisors.get(id(tensor))
        return torch.ones((), dtype=torch.float64) if divisor is None else 1 / _distinct(divisor).nan_to_num(1.0)

    def _plain_uses(self, rewriter: Rewriter) -> None:
        weights = {(node.name, argument_of(node, e.weight).name) for node, e in _effects(rewriter, Contraction)}
        for node in rewriter.graph.nodes:
            if node.op != "call_function" or moves(node):
                continue
            for source in node.all_input_nodes:
                found = None if (node.name, source.name) in weights else self._leaf(rewriter, source)
                if found is not None:
                    self._count(rewriter, source, node)
                    elements = math.prod(rewriter.shape(source.name))
                    self._ask(found, torch.ones((), dtype=torch.float64).expand(elements))

    def _count(self, rewriter: Rewriter, source: Node, user: Node) -> None:
        found = self._leaf(rewriter, source)
        if found is not None:
            self.uses.setdefault(id(found[0]), set()).add(user.name)

    def _ask(self, found: Leaf, divisor: Tensor) -> bool:
        """Record a divisor for the elements; False if another one was asked for before."""
        tensor, index = found
        known = self.divisors.get(id(tensor))
        if index is None and (known is None or torch.equal(known, divisor.reshape(tensor.shape))):
            self.divisors[id(tensor)] = divisor.reshape(tensor.shape)
            return True
        elements = slice(None) if index is None else index
        flat = torch.full((tensor.numel(),), torch.nan, dtype=torch.float64) if known is None else known.reshape(-1)
        before, wanted = flat[elements], divisor.reshape(-1)
        if bool(((before != wanted) & ~before.isnan()).any()):
            return False
        flat = flat.clone()
        flat[elements] = wanted
        self.divisors[id(tensor)] = flat.reshape(tensor.shape)
        return True

    def _divide(self, rewriter: Rewriter, node: Node, effect: Contraction) -> bool:
        found = self._leaf(rewriter, argument_of(node, effect.weight))
        if found is None:
            return all((rewriter.counts(axis) == 1).all() for role, axis in effect.roles if role == "summed")
        return self._ask(found, _divisor(rewriter, effect))

    def _redistribute(self, rewriter: Rewriter, node: Node, effect: Contraction, seed: int) -> None:
        found = self._leaf(rewriter, argument_of(node, effect.weight))
        if found is None or id(found[0]) in self.noise or len(self.uses[id(found[0])]) > 1:
            return  # a parameter with two uses would have to satisfy both at once
        tensor, index = found
        roles = [(role, rewriter.origin(axis)) for role, axis in effect.roles]
        spread = float(tensor.detach().double().std()) if tensor.numel() > 1 else 0.0
        noise = torch.zeros(tensor.numel(), dtype=torch.float64)
        elements = slice(None) if index is None else index
        noise[elements] = torch.as_tensor(zero_sum_noise(roles, seed + len(self.noise))).ravel() * spread
        self.noise[id(tensor)] = noise

    def _leaf(self, rewriter: Rewriter, node: Node) -> Leaf | None:
        """The state tensor that ``node`` is a rearrangement of, with the element behind each of its elements."""
        found = elements_of(node, rewriter.traced.program, self.state, partial(_moved, rewriter))
        return None if found is None else (self.state[found[0]], None if found[1] is None else found[1].ravel())

    def _correct(self, rewriter: Rewriter, node: Node, effect: Correction) -> None:
        counts = rewriter.counts(effect.axis)
        if (counts == 1).all():
            return
        operand = argument_of(node, effect.operand)
        if counts.min() != counts.max():
            if effect.power != 1.0:
                raise InvalidInput(
                    "factor", counts.tolist(), f"unequal multiplicities cannot be corrected at {node.name}"
                )
            _insert_vector(rewriter, node, operand, effect.dim, 1 / counts[rewriter.origin(effect.axis)])
            return
        gain = float(counts[0]) ** -effect.power
        fold = _foldable(rewriter, operand, gain) if len(operand.users) == 1 else None
        if fold is not None:
            self.folds.add(fold)
        else:
            _insert(rewriter, node, operand, gain)


def _effects(rewriter: Rewriter, kind: type) -> list[tuple[Node, Any]]:
    return [
        (rewriter.nodes[name], effect)
        for name, effects in rewriter.effects.items()
        for effect in effects
        if isinstance(effect, kind)
    ]


def _moved(rewriter: Rewriter, node: Node, index: Any) -> Any:
    return carried_out(node, index, rewriter.traced.recording.sizes, rewriter.shape)


def _divisor(rewriter: Rewriter, effect: Contraction) -> Tensor:
    """Over the weight's row-major axes; nothing is stored along the axes that are not summed."""
    origins = [rewriter.origin(axis) for _, axis in effect.roles]
    result = torch.ones((), dtype=torch.float64)
    for (role, axis), origin in zip(effect.roles, origins, strict=True):
        counts = rewriter.counts(axis)[origin] if role == "summed" else np.ones(1)
        result = result[..., None] * torch.as_tensor(counts, dtype=torch.float64)
    return result.expand([len(origin) for origin in origins])


def _distinct(tensor: Tensor) -> Tensor:
    """An expanded tensor without its repetitions: it broadcasts to the same values."""
    return tensor[tuple(slice(None) if stride else slice(1) for stride in tensor.stride())]


def _gains(tensor: Tensor, along: int, fold: Fold) -> Tensor:
    """``fold.gain`` on the fold's rows, 1 elsewhere, broadcast to the tensor's shape."""
    shape = [1] * tensor.dim()
    shape[along] = tensor.shape[along]
    gains = torch.ones(tensor.shape[along], dtype=torch.float64)
    gains[list(fold.rows)] = fold.gain
    return gains.reshape(shape)


def _rescale_data(rewriter: Rewriter, node: Node, effect: Contraction) -> None:
    summed = [axis for role, axis in effect.roles if role == "summed"]
    counts = [rewriter.counts(axis) for axis in summed]
    operand = argument_of(node, effect.data)
    if all(c.min() == c.max() for c in counts):
        _insert(rewriter, node, operand, 1 / float(np.prod([c[0] for c in counts])))
        return
    vector = 1 / counts[0][rewriter.origin(summed[0])]
    if len(summed) > 1 or len(vector) != rewriter.shape(operand.name)[effect.data_dim]:
        raise InvalidInput("factor", "unequal multiplicities", f"cannot be corrected at {node.name}", "use one integer")
    _insert_vector(rewriter, node, operand, effect.data_dim, vector)


def _insert(rewriter: Rewriter, node: Node, operand: Node, gain: float) -> None:
    with rewriter.graph.inserting_before(node):
        scaled = rewriter.graph.call_function(torch.ops.aten.mul.Tensor, (operand, gain))
    scaled.meta["like"] = operand.name
    node.replace_input_with(operand, scaled)


def _insert_vector(rewriter: Rewriter, node: Node, operand: Node, dim: int, vector: Any) -> None:
    """Per-coordinate constants: one multiplication a distinct block would be slow, so a literal tensor is built in
    the graph."""
    shape = [1] * len(rewriter.shape(operand.name))
    shape[dim] = len(vector)
    ops = torch.ops.aten
    with rewriter.graph.inserting_before(node):
        flat = rewriter.graph.call_function(torch.tensor, (vector.tolist(),), {"dtype": torch.float64})
        typed = rewriter.graph.call_function(ops.type_as.default, (flat, operand))
        shaped = rewriter.graph.call_function(ops.view.default, (typed, shape))
        scaled = rewriter.graph.call_function(ops.mul.Tensor, (operand, shaped))
    scaled.meta["like"] = operand.name
    node.replace_input_with(operand, scaled)


def _foldable(rewriter: Rewriter, operand: Node, gain: float) -> Fold | None:
    """The rows of the projection behind ``operand``, if nothing else sees them."""
    source = operand
    while linear_step(source):
        source = source.args[0]  # type: ignore[assignment]
    if operator_name(source) not in ("linear", "addmm"):
        return None
    transposed = operator_name(source) == "addmm"
    weight, bias = (source.args[2], source.args[0]) if transposed else (source.args[1], (*source.args, None)[2])
    places = [node for node in (weight, bias) if isinstance(node, fx.Node)]
    names = [rewriter.traced.program.state.get(node.name) for node in places]
    if any(name is None for name in names) or any(len(node.users) > 1 for node in places):
        return None
    shape = rewriter.shape(source.name)
    index = torch.arange(int(np.prod(shape))).reshape(shape) % shape[-1]
    reached = _terminals(rewriter, source, index)
    rows = {int(r) for via, value in reached if via is operand for r in value.unique()}
    others = {int(r) for via, value in reached if via is not operand for r in value.unique()}
    return None if rows & others else Fold(tuple(n for n in names if n), transposed, tuple(sorted(rows)), gain)


def linear_step(node: Node) -> bool:
    """Rearrangements, and products with a plain number."""
    if operator_name(node) in ("mul", "div") and not isinstance(node.args[1], fx.Node):
        return True
    return moves(node)


def _terminals(rewriter: Rewriter, source: Node, index: Any) -> list[tuple[Node, Any]]:
    """(rearranged value that something else uses, rows that it holds)."""
    found: list[tuple[Node, Any]] = []
    for user in source.users:
        if not linear_step(user):
            found.append((source, index))
        elif operator_name(user) in ("mul", "div"):
            found += _terminals(rewriter, user, index)
        elif (moved := _moved(rewriter, user, index)) is None:
            found.append((source, index))
        else:
            found += _terminals(rewriter, user, moved)
    return found
