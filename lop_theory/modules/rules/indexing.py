"""Reading and writing at given positions: the axes that are indexed must not be cloned, the others carry over."""

from functools import reduce
from typing import Any

import torch

from lop_theory.modules.interface import Axes, Call, Operand
from lop_theory.modules.rules.entrywise import broadcast
from lop_theory.modules.rules.rule_table import table


def index_select(call: Call) -> Axes:
    x = call["self"]
    for axis in call["index"].axes:
        call.domain.rigid(axis)
    if not x.shape:
        return call.fresh()
    dim = call["dim"] % len(x.shape)
    call.domain.rigid(x.axes[dim])
    return (*x.axes[:dim], call.domain.new(call.shape[dim]), *x.axes[dim + 1 :])


def along_positions(call: Call) -> Axes:
    """gather, scatter, index_add, index_fill, …: operands of the result's rank are tied but for ``dim``."""
    x = call["self"]
    dim = call["dim"] % max(len(x.shape), 1)
    operands = [o for o in call.operands() if len(o.shape) == len(call.shape)]
    axes: list[Any] = []
    for d, size in enumerate(call.shape):
        here = [o.axes[d] for o in operands]
        if d != dim and all(o.shape[d] == size for o in operands):
            axes.append(reduce(call.domain.tie, here))
            continue
        for axis in here:
            call.domain.rigid(axis)
        axes.append(call.domain.new(size))
    for other in call.operands():
        if len(other.shape) != len(call.shape):
            for axis in other.axes:
                call.domain.rigid(axis)
    return tuple(axes)


def index(call: Call) -> Axes:
    """x[i, :, j] with integer tensors: what is indexed is not cloned. Masks give sizes that depend on data."""
    x, indices = call["self"], call["indices"]
    taken = [d for d, i in enumerate(indices) if i is not None]
    kept = [d for d in range(len(x.shape)) if d not in taken]
    rank = max(len(indices[d].shape) for d in taken)
    many = len(kept) + rank != len(call.shape)  # a mask of several axes
    for axis in (*_axes(indices), *(x.axes[d] for d in (range(len(x.shape)) if many else taken))):
        call.domain.rigid(axis)
    if many:
        return call.fresh()
    first = taken[0] if taken[-1] - taken[0] < len(taken) else 0
    before = [x.axes[d] for d in kept if d < first]
    after = [x.axes[d] for d in kept if d >= first]
    return (*before, *call.fresh(call.shape[len(before) : len(before) + rank]), *after)


def index_put(call: Call) -> Axes:
    """x[i, :, j] = values: the axes behind the last index are tied to those of the values, the others not cloned."""
    x, values, indices = call["self"], call["values"], call["indices"]
    taken = sum(map(_taken, indices))
    lead = max(len(values.shape) - len(x.shape) + taken, 0)
    for axis in (*_axes(indices), *x.axes[:taken], *values.axes[:lead]):
        call.domain.rigid(axis)
    rest = [o._replace(shape=o.shape[n:], axes=o.axes[n:]) for o, n in ((x, taken), (values, lead))]
    return (*call.fresh(x.shape[:taken]), *broadcast(call, rest, x.shape[taken:]))


def _taken(index: Operand | None) -> int:
    """How many axes an index takes: a mask all that it has itself."""
    dtype = None if index is None else getattr(index.node.meta.get("val"), "dtype", None)
    return len(index.shape) if index is not None and dtype in (None, torch.bool, torch.uint8) else 1


def _axes(operands: list[Operand | None]) -> list[Any]:
    return [axis for o in operands if o is not None for axis in o.axes]


RULES = {
    **table(index_select, "index_select"),
    **table(along_positions, "gather scatter scatter_add index_add index_fill index_copy"),
    **table(index, "index.Tensor"),
    **table(index_put, "index_put"),
}
