"""Normalisation. Per-channel statistics (batch, instance) keep any partition; statistics over units (layer, RMS, group)
keep the clones, but keep the *base's* values only if all multiplicities are equal.

GroupNorm with a fixed number of groups keeps clones only if blocks do not cross groups: the partition must be a product
of one over groups and one within a group.
"""

from functools import reduce

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.convolutions import grouped
from lop_theory.modules.rules.rule_table import table


def per_channel(call: Call) -> Axes:
    """batch_norm, instance_norm: affine parameters and running statistics are duplicated with their channel."""
    return _tied(call, "weight", "bias", "running_mean", "running_var")


def _tied(call: Call, *names: str) -> Axes:
    """The input's axes, its channels tied to those of the parameters that there are."""
    batch, channel, *others = call["input"].axes
    given = [call[name].axes[0] for name in names if call.get(name) is not None]
    return (batch, reduce(call.domain.tie, given, channel), *others)


def functional(call: Call) -> list[Axes]:
    """batch_norm as a pure call: the result, then statistics of the batch and new running ones, all per channel."""
    axes = per_channel(call)
    return [axes if shape == call.shape else (axes[1],) * len(shape) for shape in call.output]


def over_units(call: Call) -> Axes:
    """layer_norm, rms_norm: mean over the trailing axes."""
    axes, count = call["input"].axes, len(call["normalized_shape"])
    given = [call[name].axes for name in ("weight", "bias") if call.get(name) is not None]
    trailing = tuple(reduce(call.domain.tie, same) for same in zip(axes[-count:], *given, strict=True))
    for axis in trailing:
        call.domain.average(axis)
    call.resize("normalized_shape", trailing)
    return (*axes[:-count], *trailing)


def group_norm(call: Call) -> Axes:
    x, groups = call["input"], call["num_groups"]
    group, inner = grouped(call, x.axes[1], groups)
    if groups > 1:
        call.resize("num_groups", group)
        if call.domain.size(inner) > 1:
            call.domain.mark(group, "avoid")
    call.domain.average(inner)
    return _tied(call, "weight", "bias")


RULES = {
    **table(per_channel, "batch_norm instance_norm"),
    **table(
        functional,
        "_native_batch_norm_legit_functional _native_batch_norm_legit_no_training _native_batch_norm_legit",
    ),
    **table(over_units, "layer_norm rms_norm"),
    **table(group_norm, "group_norm"),
}
