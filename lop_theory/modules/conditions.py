"""Check a profile on a traced model, operator by operator: the symbolic half of a certificate.  [module-certificate:
Lemma A.2]

Partitions of the parameters are given; those of activations follow from the rules. What is checked at each operator:
equal
partitions where axes are tied (matching profiles), singletons where clones are not allowed, and weights in RE∩CE. By
Lemma A.2 and
Theorem A.2 this proves MC1–MC3 for every batch, up to the tolerance within which the weights lie in RE∩CE.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lop_theory.modules.axes import product_map, sum_map
from lop_theory.modules.interface import Breaks, Call, Contraction, Correction, Effect, Operand, Partition, Profile
from lop_theory.modules.propagation import Recording, Rules, learned, propagate
from lop_theory.modules.redistribute import block_means, block_sums
from lop_theory.modules.scale import linear_step, moves
from lop_theory.modules.terms import allowed, amplitude, inputs_of, outputs_of
from lop_theory.trace import Node, Program


class Offence(NamedTuple):
    """What breaks a certificate: the condition (MC1, MC2, MC3 or base), where, and which units."""

    module: str
    node: str
    condition: str
    reason: str
    units: tuple[Any, ...] = ()
    batch: int | None = None

    def __str__(self) -> str:
        units = f", units {self.units}" if self.units else ""
        batch = f", batch {self.batch}" if self.batch is not None else ""
        return f"{self.module or '(top)'} [{self.node}] {self.condition}: {self.reason}{units}{batch}"


def largest(value: Tensor | None) -> float:
    """max|value|, in one sweep without a copy."""
    if value is None or not value.is_floating_point() or not value.numel():
        return 0.0
    low, high = value.detach().aminmax()
    return max(-float(low), float(high))


def canonical(index: Partition) -> Partition:
    """Blocks numbered by first appearance."""
    _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def clone_pair(index: Partition, *, differing: Any = None) -> tuple[int, ...]:
    """Two coordinates of one block (of the block with the largest spread of ``differing``)."""
    values = np.zeros(len(index)) if differing is None else np.asarray(differing, dtype=float)
    best: tuple[float, tuple[int, ...]] = (-1.0, ())
    for block in np.unique(index):
        members = np.flatnonzero(index == block)
        if len(members) > 1:
            low, high = members[values[members].argmin()], members[values[members].argmax()]
            pair = (int(low), int(high)) if low != high else (int(members[0]), int(members[1]))
            best = max(best, (float(np.ptp(values[members])), pair))
    return best[1]


class Anything(np.ndarray):
    """The partition of an axis along which a value is constant: it fits every other."""


class Pass(NamedTuple):
    """What the check reads of one forward and backward pass: weights, and the magnitudes that they multiply."""

    tensors: Mapping[str, Tensor]
    adjoints: Mapping[str, Tensor]
    sizes: Mapping[str, Any]


class Check:
    """The checking domain: an axis is the block index of its coordinates."""

    def __init__(self, program: Program, passed: Pass, limits: Mapping[str, float]) -> None:
        self.program, self.passed, self.limits = program, passed, limits
        self.offences: list[Offence] = []
        self.unequal: list[str] = []  # operators that average over unequal multiplicities
        self.checked: list[str] = []
        self.rescaled: set[str] = set()  # values that may carry a folded constant, such as queries
        self.slack = 0.0  # the largest accepted deviation of a weight, relative to the terms of its sum
        self.node: Node | None = None

    def offend(self, condition: str, reason: str, units: tuple[Any, ...] = ()) -> None:
        name = self.node.name if self.node is not None else ""
        self.offences.append(Offence(self.program.modules.get(name, ""), name, condition, reason, units))

    def enter(self, call: Call) -> None:
        self.node = call.node
        self._weighted: list[tuple[Contraction, Operand]] = []

    def uncovered(self, call: Call, place: str) -> None:  # noqa: ARG002
        """An operator without a rule must not meet clones."""
        axes = [axis for operand in call.operands() for axis in operand.axes if self.cloned(axis)]
        if axes:
            self.offend("MC1", f"no cloning rule for {call.node.target}", clone_pair(axes[0]))

    def finish(self, output: Node) -> None:
        self.node = output

    def leave(self, call: Call, result: Any) -> None:
        """Weights of sums must be equitable; other learned operands enter as they are: constant on blocks."""
        for effect, operand in self._weighted:
            self._equitable(call, result, effect, operand)
        weights = {operand.node.name for _, operand in self._weighted}
        for operand in () if moves(call.node) else call.operands():
            value = self.passed.tensors.get(operand.node.name)
            if operand.learned and operand.node.name not in weights and value is not None and value.is_floating_point():
                for dim, axis in enumerate(operand.axes):
                    if self.cloned(axis):
                        self._as_it_is(value, axis, dim, (operand.node.name, self._enters(call, result, axis)))

    def _enters(self, call: Call, result: Any, axis: Partition) -> Any:
        """Magnitudes of the operator's result along the axis: what an operand (a bias) is added to."""
        dims = [d for d, other in enumerate(result) if np.array_equal(other, axis)] if isinstance(result, tuple) else []
        found = amplitude(self.passed.tensors.get(call.node.name), dims[0]) if len(dims) == 1 else None
        return 0.0 if found is None or len(found) != len(axis) else found

    def _as_it_is(self, value: Tensor, axis: Partition, dim: int, where: tuple[str, Any]) -> None:
        (name, added), array = where, value.detach().double().cpu().numpy()
        shape = [1] * array.ndim
        shape[dim] = -1
        scale = block_means(np.maximum(amplitude(value, dim), added), axis, 0).reshape(shape)
        self._constant(array, axis, dim, Bound(f"MC1: {name}", scale, self.limits.get(name, 0.0)))

    def new(self, size: int) -> Partition:
        return np.arange(size)

    def constant(self, size: int) -> Partition:
        return np.arange(size).view(Anything)

    def size(self, axis: Partition) -> int:
        return len(axis)

    def cloned(self, axis: Partition) -> bool:
        return len(axis) > axis.max(initial=-1) + 1

    def rigid(self, axis: Partition) -> None:
        if self.cloned(axis):
            self.offend("MC1", "this axis must not be cloned here", clone_pair(axis))

    def tie(self, a: Partition, b: Partition) -> Partition:
        if isinstance(a, Anything) or isinstance(b, Anything):
            return b if isinstance(a, Anything) else a
        if not np.array_equal(a, b):
            self.offend("MC1", "the profiles that meet here differ", _disagreement(a, b))
        return a

    def split(self, axis: Partition, sizes: Sequence[int]) -> list[Partition]:
        if isinstance(axis, Anything):
            return [self.constant(size) for size in sizes]
        grid = axis.reshape(tuple(sizes))
        maps = [canonical(np.moveaxis(grid, d, 0).reshape(size, -1)[:, 0]) for d, size in enumerate(sizes)]
        blocks = [int(index.max(initial=-1)) + 1 for index in maps]
        if not np.array_equal(canonical(product_map(maps, blocks)), axis):
            self.offend("MC1", f"the partition is not aligned with the view {tuple(sizes)}", clone_pair(axis))
            return [np.arange(size) for size in sizes]
        return maps

    def join(self, axes: Sequence[Partition]) -> Partition:
        if all(isinstance(index, Anything) for index in axes):
            return self.constant(int(np.prod([len(index) for index in axes])))
        return canonical(product_map(axes, [int(index.max(initial=-1)) + 1 for index in axes]))

    def parts(self, axis: Partition, sizes: Sequence[int]) -> list[Partition]:
        if isinstance(axis, Anything):
            return [self.constant(size) for size in sizes]
        pieces = np.split(axis, np.cumsum(sizes)[:-1])
        if sum(len(np.unique(piece)) for piece in pieces) > axis.max() + 1:
            self.offend("MC2", "a split separates clones", clone_pair(axis))
        return [canonical(piece) for piece in pieces]

    def concat(self, axes: Sequence[Partition]) -> Partition:
        if all(isinstance(index, Anything) for index in axes):
            return self.constant(sum(len(index) for index in axes))
        return canonical(sum_map(axes, [int(index.max(initial=-1)) + 1 for index in axes]))

    def average(self, axis: Partition) -> None:
        counts = np.bincount(axis)
        if len(counts) and counts.min() != counts.max() and self.node is not None:
            self.unequal.append(self.node.name)

    def mark(self, axis: Partition, name: str) -> None:
        """Marks steer planning only."""

    def record(self, call: Call, effect: Effect) -> None:
        if isinstance(effect, Breaks) and any(self.cloned(axis) for axis in effect.axes):
            pair = next(clone_pair(axis) for axis in effect.axes if self.cloned(axis))
            self.offend("MC1", effect.reason, pair)
        elif isinstance(effect, Correction) and self.cloned(effect.axis):
            source = call[effect.operand].node
            while source.op == "call_function" and linear_step(source):
                self.rescaled.add(source.name)
                source = source.args[0]
            self.rescaled.add(source.name)
        elif isinstance(effect, Contraction):
            self._weighted.append((effect, call[effect.weight]))

    def _equitable(self, call: Call, result: Any, effect: Contraction, operand: Operand) -> None:
        """RE: incoming block sums agree over clones; CE: outgoing block sums agree over clones."""
        roles = list(effect.roles)
        weight = self.passed.tensors[operand.node.name].detach().double().cpu().numpy()
        weight = weight.reshape([len(axis) for _, axis in roles])
        data = call[effect.data]
        inward = inputs_of(effect, data, self.passed.tensors.get(data.node.name), roles)
        outward = outputs_of(result, self.passed.adjoints.get(call.node.name), roles)
        for summed, condition, factor in (("summed", "MC1", inward), ("kept", "MC2", outward)):
            varying = [d for d, (role, axis) in enumerate(roles) if role != summed and self.cloned(axis)]
            if not varying or (summed == "kept" and all(role != "kept" for role, _ in roles)):
                continue
            totals = weight
            for d, (role, axis) in enumerate(roles):
                totals = block_sums(totals, axis, d) if role == summed else totals
            scale = allowed(weight, roles, summed, factor)
            for d in varying:
                self._constant(totals, roles[d][1], d, Bound(condition, scale, self.limits.get(operand.node.name, 0.0)))
        self.checked.append(call.node.name)

    def _constant(self, totals: Any, axis: Partition, dim: int, bound: "Bound") -> None:
        spread = block_means(totals, axis, dim)
        spread = np.abs(np.subtract(totals, spread, out=spread), out=spread)
        excess = spread - bound.tolerance * bound.scale
        if not bool((excess > 0).any()):
            with np.errstate(divide="ignore", invalid="ignore"):
                self.slack = max(self.slack, float(np.nan_to_num(spread / bound.scale, nan=0.0).max(initial=0.0)))
            return
        place = np.unravel_index(int(excess.argmax()), excess.shape)
        condition, _, name = bound.condition.partition(": ")
        line = np.moveaxis(totals, dim, 0)[(slice(None), *place[:dim], *place[dim + 1 :])]
        which = name or ("incoming block sums" if condition == "MC1" else "outgoing block sums")
        terms = float(np.broadcast_to(bound.scale, excess.shape)[place])
        reason = f"{which} differ by {spread[place]:.2e} over clones (terms {terms:.2e}, tolerance {bound.tolerance:g})"
        self.offend(condition, reason, clone_pair(axis, differing=line))


class Bound(NamedTuple):
    """What block sums may differ by: ``tolerance`` × ``scale``."""

    condition: str
    scale: Any
    tolerance: float


def _disagreement(a: Partition, b: Partition) -> tuple[int, ...]:
    """Two coordinates that only one of the partitions puts in one block."""
    if len(a) != len(b):
        return ()
    for one, other in ((a, b), (b, a)):
        for block in np.unique(one):
            members = np.flatnonzero(one == block)
            apart = members[other[members] != other[members[0]]]
            if len(apart):
                return int(members[0]), int(apart[0])
    return ()


class Symbolic(NamedTuple):
    """Outcome of the symbolic check; ``partitions`` are those of every value, ``slack`` the largest deviation that
    the tolerances let pass."""

    offences: tuple[Offence, ...]
    partitions: Mapping[str, Any]
    unequal: tuple[str, ...]
    checked: tuple[str, ...]
    rescaled: frozenset[str]
    slack: float


def check(
    program: Program, passed: Pass, profile: Profile, limits: Mapping[str, float], rules: Rules | None = None
) -> Symbolic:
    """Propagate the profile of the parameters through ``program`` and check every operator.

    ``limits``: by node name, the tolerance of each weight relative to the terms of its sum (:mod:`.terms`).
    """
    recording = Recording(passed.sizes, learned(program, passed.sizes))
    domain = Check(program, passed, limits)

    def source(name: str, shape: tuple[int, ...]) -> tuple[Partition, ...]:
        maps = profile.state.get(program.state.get(name, ""))
        return tuple(np.arange(n) for n in shape) if maps is None else tuple(canonical(index) for index in maps)

    partitions = propagate(program, recording, domain, source, rules)
    return Symbolic(
        tuple(domain.offences),
        partitions,
        tuple(dict.fromkeys(domain.unequal)),
        tuple(domain.checked),
        frozenset(domain.rescaled) | recording.learned,
        domain.slack,
    )
