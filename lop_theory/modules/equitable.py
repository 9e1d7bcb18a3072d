"""The coarsest equitable partition of a traced model: which units no training data can tell apart.
[clone-trajectory: Theorem A.1] [composition: Theorem A.2]

Every width class of the model starts as one block. A block is split while a weighted sum's incoming block sums (RE) or
outgoing block sums (CE) differ within it, or a bias, a mask or a normalisation's parameter does; inputs and outputs are
alone in their blocks. What is left lies in RE∩CE to the rounding of the sums, on the support that the operators have
(masks must be constant on blocks, so it is biregular): by the corrected Theorem A.1, SGD and every optimiser that is
equivariant under permutations within blocks, with tied state, keeps it for every data set and loss.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.modules.axes import Axis, block_count, is_cloned, product_map, sum_map
from lop_theory.modules.clone import program_of
from lop_theory.modules.conditions import canonical
from lop_theory.modules.interface import Axes, Breaks, Call, Contraction, Partition
from lop_theory.modules.movements import argument_of, moves
from lop_theory.modules.plan import Plan, carried, state_axes
from lop_theory.modules.propagation import Recording, Rules, learned, sizes_of, unrelated
from lop_theory.modules.redistribute import block_sums
from lop_theory.modules.roles import Roles, roles_of
from lop_theory.modules.rules import RULES, rule_of
from lop_theory.trace import Node, Program, flat_inputs, random_state, run, state_of

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5}
"""Slack of a block sum against the sum of its absolute terms, by the parameters' precision: what training in that
precision lets exact clones drift apart. Coarser precisions: four roundings."""


class Structure(NamedTuple):
    """``blocks[parameter]``: the block of every coordinate, dimension by dimension, for the doubly equitable partition;
    ``forward``: for the in-equitable one, whose units are equal on all data, and ``classes`` that of every width class.
    ``noise`` names what separates clones at random (dropout in training mode), ``noisy`` the width classes that it acts
    on, with its name; ``skipped`` maps operators without a rule to where they were met. ``axes`` and ``plan`` hold the
    width classes, ``roles`` what the parameters do with them."""

    blocks: Mapping[str, tuple[Partition, ...]]
    forward: Mapping[str, tuple[Partition, ...]]
    noise: tuple[str, ...]
    skipped: Mapping[str, str]
    tolerance: float
    plan: Plan
    axes: Mapping[str, Axes]
    roles: Roles
    noisy: Mapping[Axis, str]
    classes: Mapping[Axis, Partition]


class _Sum(NamedTuple):
    """A weighted sum: its weights along (role, axis) pairs, and the slack of their precision."""

    weight: np.ndarray
    roles: tuple[tuple[str, Axis], ...]
    tolerance: float


class _Entry(NamedTuple):
    """A parameter that enters as it is (bias, scale, mask), the size of the terms that it is added to, its slack."""

    value: np.ndarray
    size: np.ndarray
    axes: tuple[Axis, ...]
    tolerance: float


class _Collector(Plan):
    """The planning domain; it also lists learned operands that no sum weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.entering: list[tuple[Node, str, Axes]] = []

    def leave(self, call: Call, result: Any) -> None:  # noqa: ARG002
        weights = {call[e.weight].node.name for e in self.effects.get(call.node, ()) if isinstance(e, Contraction)}
        if not moves(call.node):
            for operand in call.operands():
                if operand.learned and operand.node.name not in weights:
                    self.entering.append((call.node, operand.node.name, operand.axes))


def structure(model: nn.Module, inputs: Any, rules: Rules | None = None) -> Structure:
    """Trace the model in its present mode and refine. An operator without a rule makes the axes that meet it
    singletons: it costs what it touches, not the model. Raises ``InvalidInput`` where the model cannot be traced."""
    state = state_of(model)
    program = program_of(model, inputs)
    sizes, values = _run_once(program, state, flat_inputs(program, inputs))
    recording = Recording(sizes, learned(program, sizes))
    plan, skipped = _Collector(), dict[str, str]()
    axes = state_axes(plan, state)
    carried(plan, program, recording, axes, _tolerant(program, rules or {}, skipped))
    sums, entries = _constraints(plan, values)
    tolerance = max(map(_slack, (torch.float64, *(p.dtype for p in model.parameters()))))
    found, colours = [], dict[Axis, Partition]()
    for both in (True, False):
        colours = _refined(plan, axes, sums, entries, both=both)
        found.append({name: tuple(colour(plan, colours, axis) for axis in dims) for name, dims in axes.items()})
    breaks = [e for effects in plan.effects.values() for e in effects if isinstance(e, Breaks)]
    reasons = tuple(dict.fromkeys(e.reason for e in breaks))
    noisy = {leaf: e.reason for e in breaks for axis in e.axes for leaf in plan.leaves(axis)}
    roles = roles_of(program, plan, [(name, dims) for _, name, dims in plan.entering], sizes, state)
    return Structure(found[0], found[1], reasons, skipped, tolerance, plan, axes, roles, noisy, colours)


def _slack(dtype: torch.dtype) -> float:
    if dtype.is_complex:
        return _slack(dtype.to_real())
    return TOLERANCE.get(dtype, 4 * torch.finfo(dtype).eps if dtype.is_floating_point else 0.0)


def _run_once(
    program: Program, state: Mapping[str, Tensor], inputs: list[Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Sizes of all values, and those values that no input reaches; a size of an input is not its content."""
    sizes: dict[str, Any] = {}
    values: dict[str, Tensor] = {}
    fed = set(program.user_inputs)

    def observe(node: Node, value: Any) -> Any:
        sizes[node.name] = sizes_of(value)
        if any(source.name in fed for source in node.all_input_nodes):
            fed.update(() if isinstance(value, int) else (node.name,))
        elif isinstance(value, Tensor) and node.name not in fed:
            values[node.name] = value
        return value

    with torch.no_grad(), random_state():
        run(program, state, inputs, observe)
    return sizes, values


def _tolerant(program: Program, rules: Rules, skipped: dict[str, str]) -> dict[Any, Callable[[Call], Any]]:
    """Rules for every operator of the program: where there is none, or it fails, all axes become singletons."""

    def guarded(target: Any) -> Callable[[Call], Any]:
        rule = rule_of(target, rules) or rule_of(target, RULES)

        def apply(call: Call) -> Any:
            try:
                if rule is not None:
                    return rule(call)
                reason = "has no rule"
            except Exception as error:
                reason = f"its rule fails ({type(error).__name__})"
            place = program.where(call.node)
            if any(call.domain.cloned(axis) for operand in call.operands() for axis in operand.axes):
                skipped.setdefault(str(target), f"{place}: {reason}")
            call.domain.uncovered(call, place)
            return unrelated(call)

        return apply

    targets = {node.target for node in program.graph.nodes if hasattr(node.target, "_schema")}
    return {target: guarded(target) for target in targets}


def _constraints(plan: _Collector, values: Mapping[str, Tensor]) -> tuple[list[_Sum], list[_Entry]]:
    sums: list[_Sum] = []
    for node, effects in plan.effects.items():
        for effect in effects:
            if isinstance(effect, Contraction):
                weight = argument_of(node, effect.weight).name
                grid = _grid(plan, effect, values[weight])
                sums.append(_Sum(grid, effect.roles, _slack(values[weight].dtype)))
    entries: list[_Entry] = []
    for node, name, axes in plan.entering:
        if name in values:
            value = _array(values[name])
            size = np.abs(value) + _beside(plan, node, values, value)
            entries.append(_Entry(value, size, tuple(axes), _slack(values[name].dtype)))
    return sums, entries


def _beside(plan: _Collector, node: Node, values: Mapping[str, Tensor], bias: np.ndarray) -> Any:
    """For a bias: Σ|w| of every unit's own weights; else the parameter's median size."""
    for effect in plan.effects.get(node, ()):
        if isinstance(effect, Contraction):
            weight = np.abs(_grid(plan, effect, values[argument_of(node, effect.weight).name]))
            kept = weight.sum(tuple(d for d, (role, _) in enumerate(effect.roles) if role != "kept"))
            if kept.size == bias.size:
                return kept.reshape(bias.shape)
    return float(np.median(np.abs(bias))) if bias.size else 0.0


def _grid(plan: Plan, effect: Contraction, weight: Tensor) -> np.ndarray:
    """A weight along its roles, then the parts of its numbers."""
    return _array(weight).reshape([*(plan.size(axis) for _, axis in effect.roles), 2 if weight.is_complex() else 1])


def _array(tensor: Tensor) -> np.ndarray:
    """In doubles; of complex numbers both parts, along a last dimension."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return parts.detach().double().cpu().numpy()


def _refined(
    plan: Plan, axes: Mapping[str, Axes], sums: list[_Sum], entries: list[_Entry], *, both: bool
) -> dict[Axis, Partition]:
    """Colours of all leaves at the fixpoint. Of what the program neither sums over nor adds nothing is known."""
    met = [axis for s in sums for _, axis in s.roles] + [axis for entry in entries for axis in entry.axes]
    known = {leaf for axis in met for leaf in plan.leaves(axis) if plan.cloned(leaf)}
    colours: dict[Axis, Partition] = {
        leaf: np.zeros(plan.size(leaf), dtype=np.int64) if leaf in known else np.arange(plan.size(leaf))
        for axis in (*met, *(axis for dims in axes.values() for axis in dims))
        for leaf in plan.leaves(axis)
    }
    while True:
        before = _count(colours)
        for s in sums:
            for summed in ("summed", "kept") if both else ("summed",):
                _split_by_sums(plan, colours, s, summed)
        for entry in entries:
            for dim, axis in enumerate(entry.axes):
                _split(plan, colours, axis, _Rows(entry.value, entry.size, entry.tolerance), dim)
        if _count(colours) == before:
            return colours


def _count(colours: Mapping[Axis, Partition]) -> int:
    return sum(map(block_count, colours.values()))


class _Rows(NamedTuple):
    """What must agree within a block, the size of its terms, and the relative slack."""

    values: np.ndarray
    sizes: np.ndarray
    tolerance: float


def _split_by_sums(plan: Plan, colours: dict[Axis, Partition], s: _Sum, summed: str) -> None:
    totals, sizes = s.weight, np.abs(s.weight)
    for dim, (role, axis) in enumerate(s.roles):
        if role == summed:
            index = colour(plan, colours, axis)
            totals, sizes = block_sums(totals, index, dim), block_sums(sizes, index, dim)
    for dim, (role, axis) in enumerate(s.roles):
        if role != summed:
            _split(plan, colours, axis, _Rows(totals, sizes, s.tolerance), dim)


def _split(plan: Plan, colours: dict[Axis, Partition], axis: Axis, rows: _Rows, dim: int) -> None:
    """Split the blocks of an axis' leaves where rows along ``dim`` differ."""
    _split_lines(plan, colours, axis, [_lines(part, dim) for part in (rows.values, rows.sizes)], rows.tolerance)


def _lines(values: np.ndarray, dim: int) -> np.ndarray:
    """The slices along a dimension, each in a row."""
    slices = np.moveaxis(values, dim, 0)
    return slices.reshape(len(slices), prod(slices.shape[1:]))


def _split_lines(plan: Plan, colours: dict[Axis, Partition], axis: Axis, lines: list[np.ndarray], tol: float) -> None:
    root = plan.find(axis)
    parts = [plan.find(part) for part in plan._parts[root]]
    if plan._kind[root] == "leaf":
        if is_cloned(colours[root]):
            colours[root] = _finer(colours[root], lines[0], lines[1], tol)
    elif plan._kind[root] == "sum":
        ends = np.cumsum([plan.size(part) for part in parts])[:-1]
        for k, part in enumerate(parts):
            _split_lines(plan, colours, part, [np.split(line, ends)[k] for line in lines], tol)
    else:
        sizes = [plan.size(part) for part in parts]
        for k, part in enumerate(parts):
            grids = [line.reshape(*sizes, line.shape[1]) for line in lines]
            _split_lines(plan, colours, part, [_lines(grid, k) for grid in grids], tol)


def _finer(colour: Partition, values: np.ndarray, sizes: np.ndarray, tolerance: float) -> Partition:
    """Within every block, units whose rows agree to ``tolerance`` × the size of their terms stay together."""
    weights = np.random.default_rng(0).random(values.shape[1])
    key, slack = values @ weights, tolerance * (sizes @ weights)
    result = np.empty_like(colour)
    leaders: list[int] = []
    for unit in np.lexsort((key, colour)).tolist():
        with np.errstate(invalid="ignore"):  # masks of −∞
            leaders = [k for k in leaders if colour[k] == colour[unit] and key[unit] - key[k] <= slack[unit] + slack[k]]
        match = next((k for k in leaders if _agree(values, sizes, unit, k, tolerance)), None)
        if match is None:
            leaders.append(unit)
        result[unit] = unit if match is None else match
    return canonical(result)


def _agree(values: np.ndarray, sizes: np.ndarray, i: int, j: int, tolerance: float) -> bool:
    return bool((np.abs(values[i] - values[j]) <= tolerance * np.maximum(sizes[i], sizes[j])).all())


def colour(plan: Plan, colours: Mapping[Axis, Partition], axis: Axis) -> Partition:
    """Blocks of a whole axis."""
    root = plan.find(axis)
    if plan._kind[root] == "leaf":
        return colours[root]
    maps = [colour(plan, colours, part) for part in plan._parts[root]]
    counts = [block_count(index) for index in maps]
    return canonical(product_map(maps, counts) if plan._kind[root] == "product" else sum_map(maps, counts))


def block_constant(weight: Tensor, blocks: Sequence[Partition], tolerance: float) -> bool:
    """Whether a parameter is constant on products of blocks, to ``tolerance`` × its largest entry."""
    value = _array(weight)
    limit = tolerance * float(np.abs(value).max(initial=0.0))
    for dim, index in enumerate(blocks):
        first = np.unique(index, return_index=True)[1][index]
        if float(np.abs(value - np.take(value, first, axis=dim)).max(initial=0.0)) > limit:
            return False
    return True


def same_values(weight: Tensor, blocks: Sequence[Partition], tolerance: float) -> bool:
    """Whether equal units have the same entries in every product of blocks, whatever their order, to ``tolerance`` ×
    the largest: an elementwise update then keeps RE∩CE. Clones of two are so ([[p, q], [q, p]]), of three seldom."""
    value = _array(weight)
    limit = tolerance * float(np.abs(value).max(initial=0.0))
    blocks = [*blocks, *map(np.arange, value.shape[len(blocks) :])]  # parts of complex numbers
    for dim, index in enumerate(blocks):
        lines = _lines(value, dim)
        others = np.meshgrid(*(b for k, b in enumerate(blocks) if k != dim), indexing="ij")
        keys = [np.broadcast_to(other.ravel(), lines.shape) for other in others]
        lines = np.take_along_axis(lines, np.lexsort((lines, *keys), axis=-1), axis=-1)
        first = np.unique(index, return_index=True)[1][index]
        if float(np.abs(lines - lines[first]).max(initial=0.0)) > limit:
            return False
    return True
