"""Which widths a model has, and a profile that multiplies them.  [coverage: Remark A.4]"""

import fnmatch
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.axes import Axes, Axis, Laid, Multiplicity
from lop_theory.modules.clone import program_of, programs_of
from lop_theory.modules.interface import Call, Contraction, Effect, Profile
from lop_theory.modules.propagation import Recording, Rules, flat, propagate, record
from lop_theory.optim.ranges import require_kind
from lop_theory.trace import Node, Program, flat_inputs, state_of

Factors = int | Mapping[str, int | Sequence[int]]
ATTENTION = ("heads", "width", "uncorrected")
UNREAD = "unread"


class Plan(Axes):
    """The planning domain: a union-find of axes that also collects what the rules asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.effects: dict[Node, list[Effect]] = {}
        self.node: Node | None = None
        self.without_rule: dict[str, Any] = {}  # place -> operator that met an axis which may have been cloned
        self._kept: dict[Axis, Node | None] = {}  # rigid axis -> the operator that made it so

    def enter(self, call: Call) -> None:
        self.node = call.node

    def rigid(self, axis: Axis) -> None:
        root = self.find(axis)
        if not self._rigid[root]:
            self._kept[root] = self.node
        super().rigid(axis)

    def kept_by(self, axis: Axis) -> Node | None:
        """The operator that first forbade cloning some part of the axis; None for inputs and constants."""
        wanted = {self.find(axis), *self.leaves(axis)}
        return next((node for root, node in self._kept.items() if self.find(root) in wanted), None)

    def uncovered(self, call: Call, place: str) -> None:
        """An operator without a rule keeps its operands as they are."""
        for axis in [axis for operand in call.operands() for axis in operand.axes]:
            if any("constant" not in self.marks(leaf) for leaf in self.leaves(axis) if self.cloned(leaf)):
                self.without_rule[place] = call.node.target
            self.rigid(axis)

    def finish(self, output: Node) -> None:
        self.node = output

    def unread(self, leaf: Axis) -> None:
        """Nothing is known of it, so it stays."""
        super().rigid(leaf)
        self.mark(leaf, UNREAD)

    def leave(self, call: Call, result: Any) -> None:
        """Nothing to check: there are no weights yet."""

    def record(self, call: Call, effect: Effect) -> None:
        self.effects.setdefault(call.node, []).append(effect)


class Traced(NamedTuple):
    """One mode of the base model with the axes of all its values."""

    program: Program
    recording: Recording
    axes: Mapping[str, Any]


class Widths(NamedTuple):
    """The axes of a model in both modes, and those of its parameters and buffers."""

    plan: Plan
    state: Mapping[str, tuple[Axis, ...]]
    modes: Mapping[bool, Traced]


def widths(model: nn.Module, example_input: Any, rules: Rules | None = None, *, both_modes: bool = True) -> Widths:
    """Trace the model (training and evaluation) and tie its axes.

    What meets an operator without a rule keeps its width (``plan.without_rule`` names it).
    """
    plan, state = Plan(), state_of(model)
    axes = state_axes(plan, state)
    modes: dict[bool, Traced] = {}
    programs = programs_of(model, example_input) if both_modes else {model.training: program_of(model, example_input)}
    for training, program in programs.items():
        alike = [known for known in modes.values() if known.program is program]
        if not alike:
            recording = record(program, state, flat_inputs(program, example_input))
            alike = [Traced(program, recording, carried(plan, program, recording, axes, rules))]
        modes[training] = alike[0]
    for leaf in {leaf for dims in axes.values() for axis in dims for leaf in plan.leaves(axis)} - _met(plan, modes):
        plan.unread(leaf)
    return Widths(plan, axes, modes)


def state_axes(plan: Plan, state: Mapping[str, Tensor]) -> dict[str, tuple[Axis, ...]]:
    """Axes of parameters and buffers, one for all names of a tensor; whole and complex numbers are not cloned."""
    owners: dict[int, tuple[Axis, ...]] = {}
    for tensor in state.values():
        made = plan.free if tensor.is_floating_point() else plan.new
        owners[id(tensor)] = tuple(map(made, tensor.shape))
    return {name: owners[id(tensor)] for name, tensor in state.items()}


def _met(plan: Plan, modes: Mapping[bool, Traced]) -> set[Axis]:
    """Leaves that an operator sums over or that a value of the data has: not those of parameters that this call does
    not use, nor the rows of a table that a slice cuts off, as they lie or after something was computed of them."""
    axes = [
        axis for effects in plan.effects.values() for e in effects if isinstance(e, Contraction) for _, axis in e.roles
    ]
    for traced in modes.values():
        for name, found in traced.axes.items():
            if name not in traced.recording.learned:
                axes += flat(found)
    return {leaf for axis in axes for leaf in plan.leaves(axis)}


def carried(
    plan: Plan, program: Program, recording: Recording, state: Mapping[str, tuple[Axis, ...]], rules: Rules | None
) -> dict[str, Any]:
    """Axes of all values of a program whose parameters and buffers have these."""

    def source(name: str, shape: tuple[int, ...]) -> tuple[Axis, ...]:
        return state[program.state[name]] if name in program.state else tuple(plan.new(size) for size in shape)

    return propagate(program, recording, plan, source, rules)


def multiplicities(found: Widths, factors: Factors, attention: str) -> dict[Axis, Multiplicity]:
    """How often each coordinate of each leaf is repeated.

    ``factors`` is one integer for every width, or names of layers (globs) with a factor for their output units: an
    integer, or one multiplicity per unit. Layers that no name matches keep their width.
    """
    if attention not in ATTENTION:
        raise InvalidInput("attention", attention, f"must be one of {', '.join(ATTENTION)}")
    avoid = {"avoid", "width" if attention == "heads" else "heads"}
    chosen: dict[Axis, Multiplicity] = {}
    wanted: Mapping[str, Any] = factors if isinstance(factors, Mapping) else {"*": factors}
    for name in wanted:
        require_kind("factor", name, str)
    for pattern, factor in sorted(wanted.items(), key=_generality):
        _choose(found, pattern, _checked(factor), avoid, chosen)
    return _equalised(found.plan, chosen)


def _generality(item: tuple[str, object]) -> tuple[bool, int]:
    """General patterns first, so that specific ones have the last word, and names the very last."""
    return (not set("*?[") & set(item[0]), len(item[0]))


def _checked(factor: Any) -> Multiplicity:
    values: tuple[Any, ...] = tuple(factor) if isinstance(factor, (list, tuple)) else (factor,)
    if not values or any(isinstance(v, bool) or not isinstance(v, Integral) or v < 1 for v in values):
        raise InvalidInput("factor", factor, "must be an integer of at least 1, or a sequence of them")
    return tuple(map(int, values)) if isinstance(factor, (list, tuple)) else int(values[0])


def _choose(
    found: Widths, pattern: str, factor: Multiplicity, avoid: set[str], chosen: dict[Axis, Multiplicity]
) -> None:
    plan, matched = found.plan, dict[Axis, Multiplicity]()
    for name, axes in found.state.items():
        if _matches(name, pattern):
            for axis in axes if pattern == "*" else axes[:1]:
                for leaf in plan.leaves(axis):
                    if plan.cloned(leaf) and not plan.marks(leaf) & avoid:
                        matched[leaf] = _checked_length(plan, leaf, factor, name)
    if not matched and pattern != "*":
        raise InvalidInput("factor", pattern, "names no layer with a width that can be multiplied")
    chosen.update(matched)


def _matches(name: str, pattern: str) -> bool:
    module = name.rpartition(".")[0]
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(module, pattern)


def _checked_length(plan: Plan, leaf: Axis, factor: Multiplicity, name: str) -> Multiplicity:
    if isinstance(factor, tuple) and len(factor) != plan.size(leaf):
        raise InvalidInput(
            "factor", factor, f"must have one multiplicity for each of the {plan.size(leaf)} units of {name}"
        )
    return factor


def _equalised(plan: Plan, chosen: dict[Axis, Multiplicity]) -> dict[Axis, Multiplicity]:
    """Axes that an operator averages over need equal multiplicities: where a part cannot be cloned, the rest is not
    either.

    Explicit multiplicity vectors are the user's own wish and stay.
    """
    changed = True
    while changed:
        changed = False
        for axis in plan.averaged:
            leaves = [leaf for leaf in plan.leaves(axis) if leaf in chosen]
            if any(isinstance(chosen[leaf], tuple) for leaf in leaves):
                continue
            counts = np.bincount(plan.origin(axis, chosen))
            if leaves and counts.min() != counts.max():
                changed = True
                for leaf in leaves:
                    del chosen[leaf]
    return chosen


def profile_of(
    found: Widths, chosen: Mapping[Axis, Multiplicity], *, training: bool, laid: Laid = np.repeat
) -> Profile:
    """The surjections of all parameters, buffers and values onto the base's coordinates."""

    @cache
    def origin(root: Axis) -> Any:
        return found.plan.origin(root, dict(chosen), laid)

    def maps(axes: Any) -> tuple[Any, ...]:
        return tuple(origin(found.plan.find(axis)) for axis in axes)

    values = {name: maps(axes) for name, axes in found.modes[training].axes.items() if not isinstance(axes, list)}
    return Profile({name: maps(axes) for name, axes in found.state.items()}, values)
