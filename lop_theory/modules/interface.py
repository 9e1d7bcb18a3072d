"""Interfaces and profiles, and the vocabulary in which a rule states what its operator asks of them.
[module-certificate]

A *rule* is one function ``rule(call) -> axes`` of the output. It says which axes carry the same partition (``tie``),
which
must not be cloned (``rigid``), what is summed over (``contract``) and which literal sizes grow with an axis
(``resize``).
The same function serves two domains: :class:`~lop_theory.modules.plan.Plan` finds the width classes of a base model
(``expand``), :class:`~lop_theory.modules.conditions.Check` checks given partitions and weights of a clone
(``certify``).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lop_theory.modules.axes import is_cloned
from lop_theory.trace import Node

Partition = NDArray[np.int64]  # block (or base) index of every coordinate
Axes = tuple[Any, ...]


class Profile(NamedTuple):
    """For every parameter, buffer and traced value: per dimension, the base coordinate of each coordinate."""

    state: Mapping[str, tuple[Partition, ...]]
    values: Mapping[str, tuple[Partition, ...]]  # keyed by node name

    def cloned(self) -> bool:
        return any(is_cloned(index) for maps in self.state.values() for index in maps)

    def widths(self) -> dict[str, tuple[int, ...]]:
        """Distinct multiplicities of the output units of every cloned parameter."""
        return {
            name: tuple(sorted(set(np.bincount(maps[0]).tolist())))
            for name, maps in self.state.items()
            if maps and is_cloned(maps[0])
        }


class Operand(NamedTuple):
    """A tensor argument: its axes (one handle a dimension) and whether it depends on parameters only."""

    node: Node
    shape: tuple[int, ...]
    axes: Axes
    learned: bool


class Contraction(NamedTuple):
    """``data`` is summed against a learned ``weight``; ``roles`` lists the weight's row-major axes.

    A role is ``summed`` (a contracted axis), ``kept`` (its coordinates are outputs) or ``shared`` (kernel positions,
    groups).
    ``data_dim`` is where the first summed axis lies in ``data``.
    """

    data: str
    data_dim: int
    weight: str
    roles: tuple[tuple[str, Any], ...]


class Correction(NamedTuple):
    """Widening ``axis`` multiplies the result by multiplicity^power: ``operand`` must shrink by as much to keep the
    base's value."""

    operand: str
    dim: int
    axis: Any
    power: float


class Rescale(NamedTuple):
    """A literal 1/sqrt(width) that a wider model would compute anew: it is divided by multiplicity^(1/2)."""

    argument: str
    axis: Any


class Resize(NamedTuple):
    """A literal argument that holds the size of one axis, or a list with the sizes of several (``None``: leave it)."""

    argument: str
    axes: Any


class Offset(NamedTuple):
    """A literal position that equals the summed sizes of the ``axes`` before it."""

    argument: str
    axes: tuple[Any, ...]


class Cut(NamedTuple):
    """A split or chunk along ``dim`` into ``pieces``."""

    dim: int
    pieces: tuple[Any, ...]


class Breaks(NamedTuple):
    """The operator treats the clones on ``axes`` differently, whatever the weights."""

    reason: str
    axes: tuple[Any, ...]


Effect = Contraction | Correction | Rescale | Resize | Offset | Cut | Breaks


class Domain(Protocol):
    """What axes mean: width classes while planning, partitions while checking."""

    def enter(self, call: "Call") -> None: ...
    def uncovered(self, call: "Call", place: str) -> None: ...
    def finish(self, output: Node) -> None: ...
    def leave(self, call: "Call", result: Any) -> None: ...
    def new(self, size: int) -> Any: ...
    def constant(self, size: int) -> Any: ...
    def size(self, axis: Any) -> int: ...
    def cloned(self, axis: Any) -> bool: ...
    def rigid(self, axis: Any) -> None: ...
    def tie(self, a: Any, b: Any) -> Any: ...
    def split(self, axis: Any, sizes: Sequence[int]) -> list[Any]: ...
    def join(self, axes: Sequence[Any]) -> Any: ...
    def parts(self, axis: Any, sizes: Sequence[int]) -> list[Any]: ...
    def concat(self, axes: Sequence[Any]) -> Any: ...
    def average(self, axis: Any) -> None: ...
    def mark(self, axis: Any, name: str) -> None: ...
    def record(self, call: "Call", effect: Effect) -> None: ...


def _floating(node: Node) -> bool:
    dtype = getattr(node.meta.get("val"), "dtype", None)
    return dtype is None or dtype.is_floating_point or dtype.is_complex


class Call:
    """One ATen call: ``call["weight"]`` is an argument by its schema name, tensors as :class:`Operand`."""

    def __init__(self, node: Node, arguments: Mapping[str, Any], output: Any, domain: Domain) -> None:
        self.node = node
        self.arguments = arguments
        self.output = output
        self.domain = domain

    def __getitem__(self, name: str) -> Any:
        """``call["tensors.1"]`` is the second element of a list argument."""
        name, _, position = name.partition(".")
        return self.arguments[name][int(position)] if position else self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the (first) output."""
        return self.output[0] if self.output and isinstance(self.output[0], tuple) else self.output

    def operands(self) -> list[Operand]:
        """All tensor arguments, also those inside lists."""
        found: list[Operand] = []
        for value in self.arguments.values():
            items = value if isinstance(value, list) else [value]
            found += [item for item in items if isinstance(item, Operand)]
        return found

    def fresh(self, shape: Sequence[int] | None = None) -> Axes:
        """New axes, never cloned, for a shape (the output's by default)."""
        return tuple(self.domain.new(size) for size in (self.shape if shape is None else shape))

    def varying(self, *axes: Any) -> Axes:
        """The axes, of a value that is not constant along them even where the operand is."""
        return tuple(a if self.domain.cloned(a) else self.domain.new(self.domain.size(a)) for a in axes)

    def contract(self, data: str, data_dim: int, weight: str, roles: Sequence[tuple[str, Any]]) -> None:
        """Ask for in- and out-equitable weights on the summed and kept axes."""
        self.domain.record(self, Contraction(data, data_dim % len(self[data].shape), weight, tuple(roles)))

    def correct(self, operand: str, dim: int, axis: Any, *, power: float = 1.0) -> None:
        """The operator sums over a cloned axis without weights. Whole numbers (counts) cannot be corrected."""
        if not (_floating(self.node) and _floating(self[operand].node)):
            self.domain.rigid(axis)
            return
        self.domain.average(axis)
        self.domain.record(self, Correction(operand, dim % len(self[operand].shape), axis, power))

    def resize(self, argument: str, axes: Any) -> None:
        self.domain.record(self, Resize(argument, axes))

    def breaks(self, reason: str, axes: Sequence[Any]) -> None:
        self.domain.record(self, Breaks(reason, tuple(axes)))
