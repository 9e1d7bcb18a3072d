"""Elementwise maps, activations included: operands carry the same partition, axis by axis."""

from functools import reduce

from lop_theory.modules.interface import Axes, Call, Operand
from lop_theory.modules.rules.rule_table import table


def elementwise(call: Call) -> Axes:
    """Broadcasting rule: axes of equal size are tied; an axis that is broadcast must not be cloned."""
    return broadcast(call, call.operands(), call.shape)


def broadcast(call: Call, operands: list[Operand], shape: tuple[int, ...]) -> Axes:
    return tuple(_axis(call, operands, len(shape) - dim, size) for dim, size in enumerate(shape))


def _axis(call: Call, operands: list[Operand], from_right: int, size: int) -> object:
    present = [(o.axes[-from_right], o.shape[-from_right]) for o in operands if len(o.shape) >= from_right]
    full = [axis for axis, n in present if n == size]
    for axis, n in present:
        if n != size:
            call.domain.rigid(axis)
    return reduce(call.domain.tie, full)


def as_self(call: Call) -> Axes:
    """type_as: of the other tensor only the type counts."""
    return call["self"].axes


def prelu(call: Call) -> Axes:
    """The slope is shared (one parameter) or duplicated with its channel."""
    x, slope = call["self"], call["weight"]
    axes = list(x.axes)
    for axis, size in zip(slope.axes, slope.shape, strict=True):
        if size > 1:
            axes[1] = call.domain.tie(x.axes[1], axis)
        else:
            call.domain.rigid(axis)
    return tuple(axes)


def glu(call: Call) -> Axes:
    """GLU pairs unit i with unit i + n/2: both halves must be cloned by the same partition, never the axis as a
    whole."""
    x, dim = call["self"], call["dim"] % len(call["self"].shape)
    half = x.shape[dim] // 2
    value, gate = call.domain.parts(x.axes[dim], [half, half])
    return (*x.axes[:dim], call.domain.tie(value, gate), *x.axes[dim + 1 :])


ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish softplus hardtanh hardswish hardsigmoid hardshrink softshrink "
    "sigmoid log_sigmoid tanh threshold erf sin cos"
)
ARITHMETIC = (
    "add sub rsub mul div true_divide neg abs sign pow square sqrt rsqrt exp exp2 expm1 log log1p log2 "
    "reciprocal clamp "
    "clamp_min clamp_max maximum minimum max.other min.other "
    "addcmul addcdiv lerp where masked_fill atan tan sinh cosh asinh erfc "
    "floor ceil "
    "round logical_not logical_and logical_or eq ne lt le gt ge bitwise_not bitwise_and bitwise_or __and__ "
    "__or__ isinf isnan "
    "nan_to_num logaddexp sinc asin acos acosh atanh atan2 hypot fmod remainder fmin fmax trunc frac xlogy erfinv "
    "lgamma digamma bitwise_xor logical_xor copysign float_power logit softsign deg2rad rad2deg "
    "__xor__ isfinite"
)
COPIES = (
    "contiguous clone alias detach lift_fresh_copy lift_fresh to _to_copy zeros_like ones_like full_like fill "
    "copy float double half bfloat16"
)

RULES = {
    **table(elementwise, ACTIVATIONS),
    **table(elementwise, ARITHMETIC),
    **table(elementwise, COPIES),
    **table(as_self, "type_as"),
    **table(prelu, "prelu"),
    **table(glu, "glu"),
}
