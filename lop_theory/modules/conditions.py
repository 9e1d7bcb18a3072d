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
import torch
from torch import Tensor

from lop_theory.modules.axes import block_count, is_cloned, product_map, sum_map
from lop_theory.modules.interface import Breaks, Call, Contraction, Correction, Effect, Operand, Partition, Profile
from lop_theory.modules.movements import moves
from lop_theory.modules.propagation import Recording, Rules, learned, propagate
from lop_theory.modules.redistribute import adjacent, block_means, block_sums
from lop_theory.modules.scale import linear_step
from lop_theory.modules.terms import allowed, amplitude, as_kept, inputs_of, kept_dim
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
    """Blocks numbered by first appearance; of no constant: what is joined to one need not be constant itself."""
    _, first, inverse = np.unique(np.asarray(index), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def clone_pair(index: Partition) -> tuple[int, ...]:
    """The first two coordinates of the first block that has two."""
    blocks = (np.flatnonzero(index == block)[:2] for block in np.unique(index))
    return next((tuple(members.tolist()) for members in blocks if len(members) > 1), ())


def pair_of(members: Any, values: Any) -> tuple[int, ...]:
    """The members of lowest and highest value, or the first two where all are equal; none of a block of one."""
    if len(members) < 2:
        return ()
    low, high = members[values[members].argmin()], members[values[members].argmax()]
    return (int(low), int(high)) if low != high else (int(members[0]), int(members[1]))


class Anything(np.ndarray):
    """The partition of an axis along which a value is constant: it fits every other."""


class Pass(NamedTuple):
    """What the check reads of one forward pass: weights, and the values that they multiply."""

    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, Any]


class Weighing(NamedTuple):
    """A weighted sum whose weights are still to be looked at; ``inward``: magnitudes of what they multiply,
    ``adjoint``: the node and dimension whose adjoint they multiply backwards."""

    node: Node
    weight: str
    roles: list[tuple[str, Partition]]
    inward: Any
    adjoint: tuple[str, int] | None


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
        self.weighings: list[Weighing] = []

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
            data, roles = call[effect.data], list(effect.roles)
            inward = inputs_of(effect, data, self.passed.tensors.get(data.node.name), roles)
            dim = kept_dim(result, roles)
            adjoint = None if dim is None else (call.node.name, dim)
            self.weighings.append(Weighing(call.node, operand.node.name, roles, inward, adjoint))
        weights = {operand.node.name for _, operand in self._weighted}
        for operand in () if moves(call.node) else call.operands():
            if operand.learned and operand.node.name not in weights:
                value = self.passed.tensors[operand.node.name]
                for dim, axis in enumerate(operand.axes if value.is_floating_point() else ()):
                    if not copies(value, axis, dim):
                        self._as_it_is(value, axis, dim, (operand.node.name, self._enters(call, result, axis)))

    def _enters(self, call: Call, result: Any, axis: Partition) -> Any:
        """Magnitudes of the operator's result along the axis: what an operand (a bias) is added to."""
        dims = [d for d, other in enumerate(result) if np.array_equal(other, axis)] if isinstance(result, tuple) else []
        found = amplitude(self.passed.tensors.get(call.node.name), dims[0]) if len(dims) == 1 else None
        return 0.0 if found is None else found

    def _as_it_is(self, value: Tensor, axis: Partition, dim: int, where: tuple[str, Any]) -> None:
        name, added = where
        array = value.detach().double().cpu().numpy()
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
        return is_cloned(axis)

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
        blocks = [block_count(index) for index in maps]
        if not np.array_equal(canonical(product_map(maps, blocks)), axis):
            self.offend("MC1", f"the partition is not aligned with the view {tuple(sizes)}", clone_pair(axis))
            return [np.arange(size) for size in sizes]
        return maps

    def join(self, axes: Sequence[Partition]) -> Partition:
        if all(isinstance(index, Anything) or len(index) == 1 for index in axes):
            return self.constant(int(np.prod([len(index) for index in axes])))
        return canonical(product_map(axes, [block_count(index) for index in axes]))

    def parts(self, axis: Partition, sizes: Sequence[int]) -> list[Partition]:
        if isinstance(axis, Anything):
            return [self.constant(size) for size in sizes]
        pieces = np.split(axis, np.cumsum(sizes)[:-1])
        if sum(len(np.unique(piece)) for piece in pieces) > block_count(axis):
            self.offend("MC2", "a split separates clones", clone_pair(axis))
        return [canonical(piece) for piece in pieces]

    def concat(self, axes: Sequence[Partition]) -> Partition:
        if all(isinstance(index, Anything) for index in axes):
            return self.constant(sum(len(index) for index in axes))
        return canonical(sum_map(axes, [block_count(index) for index in axes]))

    def average(self, axis: Partition) -> None:
        if len(set(np.bincount(axis).tolist())) > 1:
            assert self.node is not None
            self.unequal.append(self.node.name)

    def mark(self, axis: Partition, name: str) -> None:
        """Marks steer planning only."""

    def record(self, call: Call, effect: Effect) -> None:
        if isinstance(effect, Breaks) and any(self.cloned(axis) for axis in effect.axes):
            pair = next(clone_pair(axis) for axis in effect.axes if self.cloned(axis))
            self.offend("MC1", effect.reason, pair)
        elif isinstance(effect, Correction) and self.cloned(effect.axis):
            source = call[effect.operand].node
            while linear_step(source):
                self.rescaled.add(source.name)
                source = source.args[0]
            self.rescaled.add(source.name)
        elif isinstance(effect, Contraction):
            self._weighted.append((effect, call[effect.weight]))

    def weigh(self, sum_: Weighing, outward: Any) -> None:
        """RE: incoming block sums agree over clones; CE: outgoing block sums agree over clones. ``outward``: magnitudes
        of the adjoint."""
        self.node, roles = sum_.node, sum_.roles
        stored = self.passed.tensors[sum_.weight].detach().reshape([len(axis) for _, axis in roles])
        for summed, condition, factor in (
            ("summed", "MC1", sum_.inward),
            ("kept", "MC2", as_kept(outward, roles)),
        ):
            varying = [d for d, (role, _) in enumerate(roles) if role != summed]
            if all(copies(stored, roles[d][1], d) for d in varying):
                continue  # equal weights have equal sums
            weight = stored.double().cpu().numpy()
            totals = weight
            for d, (role, axis) in enumerate(roles):
                totals = block_sums(totals, axis, d) if role == summed else totals
            scale = allowed(weight, roles, summed, factor)
            for d in varying:
                self._constant(totals, roles[d][1], d, Bound(condition, scale, self.limits.get(sum_.weight, 0.0)))
        self.checked.append(sum_.node.name)

    def _constant(self, totals: Any, axis: Partition, dim: int, bound: "Bound") -> None:
        spread = block_means(totals, axis, dim)
        with np.errstate(invalid="ignore"):  # what is not finite is an offence of its own
            spread = np.abs(np.subtract(totals, spread, out=spread), out=spread)
            excess = spread - bound.tolerance * bound.scale
        if not bool((excess > 0).any()):
            with np.errstate(divide="ignore", invalid="ignore"):
                self.slack = max(self.slack, float(np.nan_to_num(spread / bound.scale, nan=0.0).max(initial=0.0)))
            return
        place = np.unravel_index(int(np.nanargmax(excess)), excess.shape)
        condition, _, name = bound.condition.partition(": ")
        line = np.moveaxis(totals, dim, 0)[(slice(None), *place[:dim], *place[dim + 1 :])]
        which = name or ("incoming block sums" if condition == "MC1" else "outgoing block sums")
        terms = float(np.broadcast_to(bound.scale, excess.shape)[place])
        reason = f"{which} differ by {spread[place]:.2e} over clones (terms {terms:.2e}, tolerance {bound.tolerance:g})"
        self.offend(condition, reason, pair_of(np.flatnonzero(axis == axis[place[dim]]), line))


class Bound(NamedTuple):
    """What block sums may differ by: ``tolerance`` × ``scale``."""

    condition: str
    scale: Any
    tolerance: float


def copies(value: Tensor, axis: Partition, dim: int) -> bool:
    """Whether the slices of every block along ``dim`` are the same numbers, bit by bit."""
    width = adjacent(axis)
    if width:
        grid = value.detach().unflatten(dim, (-1, width))
        first, others = grid.narrow(dim + 1, 0, 1), grid.narrow(dim + 1, 1, width - 1)
    else:
        _, leaders, inverse = np.unique(axis, return_index=True, return_inverse=True)
        others = value.detach()
        first = others.index_select(dim, torch.as_tensor(leaders[inverse], device=value.device))
    return torch.equal(others, first.expand_as(others))


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


class Propagated(NamedTuple):
    """A program with the partitions of its values, before its weights are weighed."""

    domain: Check
    partitions: Mapping[str, Any]
    learned: frozenset[str]

    @property
    def wanted(self) -> set[tuple[str, int]]:
        """Nodes and dimensions of the adjoints whose magnitudes :meth:`weighed` asks for."""
        return {sum_.adjoint for sum_ in self.domain.weighings if sum_.adjoint is not None}

    @property
    def rescaled(self) -> frozenset[str]:
        """Values that may differ from the base's by a constant."""
        return frozenset(self.domain.rescaled) | self.learned

    def weighed(self, magnitudes: Mapping[Any, Any]) -> Symbolic:
        """The outcome, weights included. ``magnitudes``: max|adjoint| of every coordinate, where it is known."""
        domain = self.domain
        for sum_ in domain.weighings:
            domain.weigh(sum_, magnitudes.get(sum_.adjoint))
        place = {node.name: k for k, node in enumerate(domain.program.graph.nodes)}
        return Symbolic(
            tuple(sorted(domain.offences, key=lambda offence: place.get(offence.node, len(place)))),
            self.partitions,
            tuple(dict.fromkeys(domain.unequal)),
            tuple(domain.checked),
            self.rescaled,
            domain.slack,
        )


def propagated(
    program: Program, passed: Pass, profile: Profile, limits: Mapping[str, float], rules: Rules | None = None
) -> Propagated:
    """Propagate the profile of the parameters through ``program`` and check every operator but its weighted sums.

    ``limits``: by node name, the tolerance of each weight relative to the terms of its sum (:mod:`.terms`).
    """
    recording = Recording(passed.sizes, learned(program, passed.sizes))
    domain = Check(program, passed, limits)

    def source(name: str, shape: tuple[int, ...]) -> tuple[Partition, ...]:
        maps = profile.state.get(program.state.get(name, ""))
        return tuple(np.arange(n) for n in shape) if maps is None else tuple(canonical(index) for index in maps)

    partitions = propagate(program, recording, domain, source, rules)
    own = {name: t.detach() for name, t in passed.tensors.items() if name in recording.learned}
    domain.passed = passed._replace(tensors=own)  # all that the weighing reads
    still = {n.name for n in program.graph.nodes if n.name in recording.learned and moves(n)}  # weighed, not compared
    return Propagated(domain, {k: v for k, v in partitions.items() if k not in still}, recording.learned)
