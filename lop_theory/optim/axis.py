"""Which unit owns each place along the axes of a value: what reshapes, permutations and concatenations make of it."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OTHER = -1
"""The owner of a place that belongs to no unit of the group."""
Owners = NDArray[np.int64]


class Axis(NamedTuple):
    """``owners[i, j, …]`` is the unit at place (i, j, …) of the dimensions ``dims``, in increasing order; it does not
    depend on the others."""

    dims: tuple[int, ...]
    owners: Owners

    def over(self, shape: Sequence[int], dims: Sequence[int]) -> Owners:
        """The owners along increasing ``dims``, which include all of its own."""
        view = [shape[d] if d in self.dims else 1 for d in dims]
        return np.broadcast_to(self.owners.reshape(view), [shape[d] for d in dims])

    def same(self, other: "Axis") -> bool:
        return self.dims == other.dims and np.array_equal(self.owners, other.owners)


def line(size: int, dim: int) -> Axis:
    """``size`` units along one dimension."""
    return Axis((dim,), np.arange(size))


def of_array(owners: Owners, dims: Sequence[int]) -> Axis:
    """The axis of owners along ``dims``, without the dimensions on which they do not depend."""
    kept, array = [], owners
    for place in range(len(dims) - 1, -1, -1):
        if (array == array.take([0], place)).all():
            array = array.take(0, place)
        else:
            kept.insert(0, dims[place])
    if not kept:  # a single unit
        return Axis(tuple(dims[-1:]), owners.reshape(-1)[: owners.shape[-1]] if dims else owners)
    return Axis(tuple(kept), np.ascontiguousarray(array))


def reshaped(axis: Axis, old: Sequence[int], new: Sequence[int]) -> Axis:
    """After a view."""
    touched = [pair for pair in blocks(old, new) if set(pair[0]) & set(axis.dims)]
    before, after = ([d for pair in touched for d in pair[side]] for side in (0, 1))
    return of_array(axis.over(old, before).reshape([new[d] for d in after]), after)


def blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The finest matching of runs of old dimensions with runs of new ones of the same size."""
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        before, after = list(range(i, min(i + 1, len(old)))), list(range(j, min(j + 1, len(new))))
        i, j = i + len(before), j + len(after)
        while prod(old[d] for d in before) != prod(new[d] for d in after):
            if prod(old[d] for d in before) < prod(new[d] for d in after):
                before.append(i)
                i += 1
            else:
                after.append(j)
                j += 1
        found.append((before, after))
    return found


def permuted(axis: Axis, order: Sequence[int]) -> Axis:
    """After ``permute(order)``: new dimension k is old dimension order[k]."""
    places = {old: new for new, old in enumerate(order)}
    moved = [places[d] for d in axis.dims]
    return Axis(tuple(sorted(moved)), axis.owners.transpose(np.argsort(moved)))


def without(axis: Axis, dims: Sequence[int]) -> Axis | None:
    """After dimensions have gone that are none of its own."""
    if set(dims) & set(axis.dims):
        return None
    return Axis(tuple(d - sum(gone < d for gone in dims) for d in axis.dims), axis.owners)


def with_new(axis: Axis, dim: int) -> Axis:
    """After ``unsqueeze(dim)``."""
    return Axis(tuple(d + (d >= dim) for d in axis.dims), axis.owners)


def cut(axis: Axis, dim: int, places: slice | int) -> Axis | None:
    """After a slice or a selection; ``None`` if no unit is left."""
    if dim not in axis.dims:
        return without(axis, [dim]) if isinstance(places, int) else axis
    owners = axis.owners[(slice(None),) * axis.dims.index(dim) + (places,)]
    if isinstance(places, int):
        rest = tuple(d - (d > dim) for d in axis.dims if d != dim)
        return Axis(rest, owners) if rest and (owners != OTHER).any() else None
    return Axis(axis.dims, owners) if (owners != OTHER).any() else None


def joined(parts: Sequence[Axis | int], dim: int, shapes: Sequence[Sequence[int]]) -> Axis | None:
    """After a concatenation along ``dim`` of parts with an axis, or without one (their size). ``None`` where one place
    would belong to a unit in one part and to others elsewhere."""
    axes = [part for part in parts if isinstance(part, Axis)]
    dims = sorted({d for axis in axes for d in axis.dims})
    if dim not in dims:
        return axes[0] if len(axes) == len(parts) and all(axes[0].same(a) for a in axes) else None
    arrays = []
    for part, shape in zip(parts, shapes, strict=True):
        here = [shape[d] for d in dims]
        arrays.append(part.over(shape, dims) if isinstance(part, Axis) else np.full(here, OTHER))
    return Axis(tuple(dims), np.concatenate(arrays, dims.index(dim)))
