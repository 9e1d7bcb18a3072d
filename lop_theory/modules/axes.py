"""Width classes of a model: which axes must be cloned alike.  [composition: Theorem A.2, matching profiles]

An axis is a leaf, a row-major product (a head axis times a width, channels times pixels) or a sum (a concatenation).
Every rule ties axes together; what stays untied can be widened by itself. The structure is a union-find whose classes
carry their decomposition, so splitting an axis anywhere splits it everywhere that it is tied.
"""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Axis = int
Indices = NDArray[np.int64]
Multiplicity = int | tuple[int, ...]
Laid = Callable[[Indices, Any], Indices]
"""Where a leaf's clones are: next to one another (``np.repeat``), or one copy of all after the other (``np.tile``)."""
Kind = Literal["leaf", "product", "sum"]


class Axes:
    """Union-find over axes. ``rigid`` axes are never cloned; ``marks`` say how a leaf is used (``heads``, ``avoid``
    ...)."""

    def __init__(self) -> None:
        self._parent: list[Axis] = []
        self._size: list[int] = []
        self._kind: list[Kind] = []
        self._parts: list[tuple[Axis, ...]] = []
        self._rigid: list[bool] = []
        self._marks: list[set[str]] = []
        self.averaged: list[Axis] = []

    def _add(self, size: int, kind: Kind = "leaf", parts: Iterable[Axis] = (), rigid: bool = False) -> Axis:
        self._parent.append(len(self._parent))
        self._size.append(size)
        self._kind.append(kind)
        self._parts.append(tuple(parts))
        self._rigid.append(rigid)
        self._marks.append(set())
        return len(self._parent) - 1

    def new(self, size: int) -> Axis:
        """A fresh axis that is never cloned (batch, tokens, pixels, classes)."""
        return self._add(size, rigid=True)

    def free(self, size: int) -> Axis:
        """A fresh axis that may be cloned."""
        return self._add(size)

    def constant(self, size: int) -> Axis:
        """A fresh axis along which the value is constant, so that any partition fits it."""
        axis = self._add(size)
        self._marks[axis].add("constant")
        return axis

    def find(self, axis: Axis) -> Axis:
        while self._parent[axis] != axis:
            self._parent[axis] = self._parent[self._parent[axis]]
            axis = self._parent[axis]
        return axis

    def size(self, axis: Axis) -> int:
        return self._size[self.find(axis)]

    def cloned(self, axis: Axis) -> bool:
        """Whether some part of the axis may still be cloned."""
        return any(not self._rigid[leaf] for leaf in self.leaves(axis))

    def leaves(self, axis: Axis) -> list[Axis]:
        root = self.find(axis)
        if self._kind[root] == "leaf":
            return [root]
        return [leaf for part in self._parts[root] for leaf in self.leaves(part)]

    def rigid(self, axis: Axis) -> None:
        root = self.find(axis)
        if self._rigid[root]:
            return
        self._rigid[root] = True
        for part in self._parts[root]:
            self.rigid(part)

    def mark(self, axis: Axis, name: str) -> None:
        for leaf in self.leaves(axis):
            self._marks[leaf].add(name)

    def marks(self, axis: Axis) -> set[str]:
        return self._marks[self.find(axis)]

    def average(self, axis: Axis) -> None:
        """The operator weighs all coordinates of the axis equally: multiplicities must be equal to keep the base's
        value."""
        self.averaged.append(axis)

    def _give_up(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        self.rigid(axis)
        return [self.new(size) for size in sizes]

    def tie(self, a: Axis, b: Axis) -> Axis:
        """The two axes carry the same partition, that of the result."""
        a, b = self.find(a), self.find(b)
        if a == b:
            return a
        assert self._size[a] == self._size[b]
        if self._rigid[a] or self._rigid[b]:
            self.rigid(a)
            self.rigid(b)
        if self._kind[a] == "leaf":
            a, b = b, a
        if self._kind[b] != "leaf":
            self._tie_parts(a, b)
        varying = [leaf for x in (a, b) for leaf in self.leaves(x) if "constant" not in self._marks[leaf]]
        for name in self._marks[b]:
            self.mark(a, name)
        if varying:
            for leaf in self.leaves(a):
                self._marks[leaf].discard("constant")
        self._parent[b] = self.find(a)
        return self.find(a)

    def _tie_parts(self, a: Axis, b: Axis) -> None:
        decompose = self.split if self._kind[b] == "product" else self.parts
        theirs = [self.size(part) for part in self._parts[b]]
        for mine, other in zip(decompose(a, theirs), self._parts[b], strict=True):
            self.tie(mine, other)

    def split(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        """Axes of the row-major view of ``axis`` with the given sizes."""
        assert prod(sizes) == self.size(axis)
        wide = [size for size in sizes if size > 1]
        if len(wide) == 1:
            return [axis if size > 1 else self.new(1) for size in sizes]
        root = self.find(axis)
        if not wide or (self._rigid[root] and self._kind[root] == "leaf"):
            return self._give_up(root, sizes)
        pieces = iter(self._split(root, wide))
        return [next(pieces) if size > 1 else self.new(1) for size in sizes]

    def _split(self, root: Axis, sizes: list[int]) -> list[Axis]:
        if self._kind[root] == "leaf":
            parts = [self._add(size) for size in sizes]
            for part in parts:
                self._marks[part] |= self._marks[root]
            self._kind[root], self._parts[root] = "product", tuple(parts)
            return parts
        if self._kind[root] == "sum":
            return self._split_sum(root, sizes)
        return self._regroup(root, sizes)

    def _split_sum(self, root: Axis, sizes: list[int]) -> list[Axis]:
        parts = self._parts[root]
        if len(parts) != sizes[0] or len({self.size(part) for part in parts}) > 1:
            return self._give_up(root, sizes)
        for part in parts[1:]:
            self.tie(parts[0], part)
        return [self.new(sizes[0]), *self.split(parts[0], sizes[1:])]

    def _regroup(self, root: Axis, sizes: list[int]) -> list[Axis]:
        queue = list(self._parts[root])
        groups: list[Axis] = []
        for size in sizes:
            rest, taken = size, list[Axis]()
            while rest > 1:
                head = queue.pop(0)
                n = self.size(head)
                if rest % n and n % rest:
                    return self._give_up(root, sizes)
                if n > rest:
                    head, tail = self.split(head, [rest, n // rest])
                    queue.insert(0, tail)
                taken.append(head)
                rest //= self.size(head)
            groups.append(self.join(taken))
        return groups

    def join(self, axes: Sequence[Axis]) -> Axis:
        """The row-major flattening of several axes."""
        wide = [axis for axis in axes if self.size(axis) > 1]
        for axis in axes:
            if self.size(axis) == 1:
                self.rigid(axis)
        if len(wide) == 1:
            return wide[0]
        for leaf in [leaf for axis in wide for leaf in self.leaves(axis) if "constant" in self._marks[leaf]]:
            self.rigid(leaf)  # repeated coordinates (heads that share keys): cloning them would widen twice
        rigid = all(self._rigid[self.find(axis)] for axis in wide)
        return self._add(prod(map(self.size, wide)), "product" if wide else "leaf", wide, rigid)

    def parts(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        """Axes of consecutive slices of ``axis`` (split, chunk, narrow)."""
        assert sum(sizes) == self.size(axis)
        if len(sizes) == 1:
            return [axis]
        root = self.find(axis)
        if self._rigid[root] and self._kind[root] == "leaf":
            return [self.new(size) for size in sizes]
        if self._kind[root] == "leaf":
            pieces = [self._add(size) for size in sizes]
            for piece in pieces:
                self._marks[piece] |= self._marks[root]
            self._kind[root], self._parts[root] = "sum", tuple(pieces)
            return pieces
        return self._cut_sum(root, sizes) if self._kind[root] == "sum" else self._cut_product(root, sizes)

    def _cut_sum(self, root: Axis, sizes: Sequence[int]) -> list[Axis]:
        queue = list(self._parts[root])
        pieces: list[Axis] = []
        for size in sizes:
            rest, taken = size, list[Axis]()
            while rest:
                head = queue.pop(0)
                if self.size(head) > rest:
                    head, tail = self.parts(head, [rest, self.size(head) - rest])
                    queue.insert(0, tail)
                taken.append(head)
                rest -= self.size(head)
            pieces.append(self.concat(taken))
        return pieces

    def _cut_product(self, root: Axis, sizes: Sequence[int]) -> list[Axis]:
        first, *rest = self._parts[root]
        stride = prod(map(self.size, rest))
        if any(size % stride for size in sizes):
            return self._give_up(root, sizes)
        self.rigid(first)
        return [self.join([self.new(size // stride), *rest]) for size in sizes]

    def concat(self, axes: Sequence[Axis]) -> Axis:
        """The axis of a concatenation. A part along which the value is constant, beside others, is not cloned."""
        if len(axes) == 1:
            return axes[0]
        constant = [all("constant" in self._marks[leaf] for leaf in self.leaves(axis)) for axis in axes]
        for axis in (axis for axis, one in zip(axes, constant, strict=True) if one and not all(constant)):
            self.rigid(axis)
        rigid = all(self._rigid[self.find(axis)] for axis in axes)
        return self._add(sum(map(self.size, axes)), "sum", axes, rigid)

    def origin(self, axis: Axis, multiplicities: dict[Axis, Multiplicity], laid: Laid = np.repeat) -> Indices:
        """The surjection π of the widened axis onto the base axis; clones of a leaf are adjacent, or as ``laid``."""
        root = self.find(axis)
        if self._kind[root] == "leaf":
            return laid(np.arange(self._size[root]), multiplicities.get(root, 1))
        maps = [self.origin(part, multiplicities, laid) for part in self._parts[root]]
        sizes = [self.size(part) for part in self._parts[root]]
        return product_map(maps, sizes) if self._kind[root] == "product" else sum_map(maps, sizes)


def block_count(index: Indices) -> int:
    """Of blocks that are numbered from 0 on."""
    return int(index.max(initial=-1)) + 1


def is_cloned(index: Indices) -> bool:
    """Whether some block has more than one coordinate."""
    return len(index) > block_count(index)


def product_map(maps: Sequence[Indices], sizes: Sequence[int]) -> Indices:
    """Row-major combination of block indices."""
    combined = np.zeros(1, dtype=np.int64)
    for index, size in zip(maps, sizes, strict=True):
        combined = (combined[:, None] * size + index[None, :]).ravel()
    return combined


def sum_map(maps: Sequence[Indices], sizes: Sequence[int]) -> Indices:
    """Concatenation of block indices."""
    offsets = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([index + offset for index, offset in zip(maps, offsets, strict=True)])
