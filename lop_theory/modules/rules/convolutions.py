"""Convolutions of every stride, padding, dilation and group count, depthwise and transposed ones included.

Kernel positions and pixels are never cloned. Grouped convolutions widen inside their groups when a group has several
input channels, and multiply the groups when it has one (depthwise).
"""

from typing import Any

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def convolution(call: Call) -> Axes:
    return _convolve(call, transposed=bool(call.get("transposed", False)))


def transposed(call: Call) -> Axes:
    return _convolve(call, transposed=True)


def _convolve(call: Call, *, transposed: bool) -> Axes:
    domain, x, weight, groups = call.domain, call["input"], call["weight"], call["groups"]
    kernel = weight.axes[2:]
    pixels = len(kernel)
    for axis in (*kernel, *x.axes[-pixels:]):
        domain.rigid(axis)
    channel = x.axes[-pixels - 1]
    group, inner = grouped(call, channel, groups)
    domain.tie(*((channel, weight.axes[0]) if transposed else (inner, weight.axes[1])))
    if transposed:
        outer = weight.axes[1]
        out = domain.join([group, outer]) if groups > 1 else outer
        roles = [("shared", group), ("summed", inner), ("kept", outer)]
    else:
        out = weight.axes[0]
        shared, outer = grouped(call, out, groups)
        domain.tie(group, shared)
        roles = [("shared", group), ("kept", outer), ("summed", inner)]
    if groups > 1:
        call.resize("groups", group)
        domain.mark(group if x.shape[-pixels - 1] > groups else outer, "avoid")
    if call["bias"] is not None:
        out = domain.tie(out, call["bias"].axes[0])
    call.contract("input", len(x.shape) - pixels - 1, "weight", [*roles, *(("shared", axis) for axis in kernel)])
    return (*x.axes[: -pixels - 1], out, *call.fresh(call.shape[-pixels:]))


def grouped(call: Call, axis: Any, groups: int) -> tuple[Any, Any]:
    """(group axis, axis within a group); one group is no axis at all."""
    if groups == 1:
        return call.domain.new(1), axis
    group, inner = call.domain.split(axis, [groups, call.domain.size(axis) // groups])
    return group, inner


RULES = {
    **table(convolution, "conv1d conv2d conv3d convolution"),
    **table(transposed, "conv_transpose1d conv_transpose2d conv_transpose3d"),
}
