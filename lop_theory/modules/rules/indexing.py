"""Reading and writing at given positions: the axes that are indexed must not be cloned, the others carry over."""

from functools import reduce
from typing import Any

from lop_theory.modules.interface import Axes, Call, Operand
from lop_theory.modules.rules.rule_table import table


def index_select(call: Call) -> Axes:
    x = call["self"]
    _rigid(call, call["index"])
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
        here = [(o.axes[d], o.shape[d]) for o in operands]
        if d == dim or any(n != size for _, n in here):
            for axis, _ in here:
                call.domain.rigid(axis)
            axes.append(
                call.domain.new(size) if d == dim else here[0][0] if here[0][1] == size else call.domain.new(size)
            )
        else:
            axes.append(reduce(call.domain.tie, [axis for axis, _ in here]))
    for other in call.operands():
        if len(other.shape) != len(call.shape):
            for axis in other.axes:
                call.domain.rigid(axis)
    return tuple(axes)


def index(call: Call) -> Axes:
    """x[i, :, j] with integer tensors: what is indexed is not cloned. Masks give sizes that depend on data."""
    return _placed(call, call.shape)


def index_put(call: Call) -> Axes:
    """x[i, :, j] = values: the axes that are not indexed are tied to those of the values."""
    x, values = call["self"], call["values"]
    free = [d for d in range(len(x.shape)) if d >= len(call["indices"]) or call["indices"][d] is None]
    for o in call["indices"]:
        _rigid(call, o)
    for d in range(len(x.shape)):
        if d not in free:
            call.domain.rigid(x.axes[d])
    axes = list(x.axes)
    trailing = [d for d in free if d >= len(call["indices"])]
    for k, d in enumerate(reversed(trailing), start=1):
        if k <= len(values.shape):
            if values.shape[-k] == x.shape[d]:
                axes[d] = call.domain.tie(axes[d], values.axes[-k])
            else:
                call.domain.rigid(values.axes[-k])
    for axis in values.axes[: max(len(values.axes) - len(trailing), 0)]:
        call.domain.rigid(axis)
    for d in free:
        if d not in trailing:
            call.domain.rigid(axes[d])
    return tuple(axes)


def _rigid(call: Call, operand: Operand | None) -> None:
    for axis in operand.axes if operand is not None else ():
        call.domain.rigid(axis)


def _placed(call: Call, shape: tuple[int, ...]) -> Axes:
    x, indices = call["self"], [*call["indices"]]
    indices += [None] * (len(x.shape) - len(indices))
    taken = [d for d, i in enumerate(indices) if i is not None]
    rank = max(len(indices[d].shape) for d in taken)
    for d in taken:
        _rigid(call, indices[d])
        call.domain.rigid(x.axes[d])
    kept = [d for d in range(len(x.shape)) if d not in taken]
    if len(kept) + rank != len(shape):
        for axis in x.axes:
            call.domain.rigid(axis)
        return call.fresh()
    first = taken[0] if taken == list(range(taken[0], taken[-1] + 1)) else 0
    before = [d for d in kept if d < first]
    places = [*(x.axes[d] for d in before), *([None] * rank), *(x.axes[d] for d in kept if d not in before)]
    return tuple(call.domain.new(n) if axis is None else axis for axis, n in zip(places, shape, strict=True))


RULES = {
    **table(index_select, "index_select"),
    **table(along_positions, "gather scatter scatter_add index_add index_fill index_copy"),
    **table(index, "index.Tensor"),
    **table(index_put, "index_put"),
}
