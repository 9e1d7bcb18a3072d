"""Pooling and resampling over pixels: per channel, hence any partition of the channels is kept."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def pixels(call: Call) -> Axes | list[Axes]:
    """The trailing axes whose size the operator sets are never cloned."""
    x = call["input"] if "input" in call.arguments else call["self"]
    name = call.node.target._schema.name  # type: ignore[union-attr]
    count = next(int(d) for d in "123" if f"{d}d" in name)
    for axis in x.axes[-count:]:
        call.domain.rigid(axis)
    shapes = call.output if isinstance(call.output, list) else [call.output]
    results = [(*x.axes[:-count], *call.fresh(shape[-count:])) for shape in shapes]
    return results if isinstance(call.output, list) else results[0]


RULES = table(
    pixels,
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_bilinear2d upsample_linear1d upsample_trilinear3d upsample_bicubic2d reflection_pad1d reflection_pad2d "
    "replication_pad1d replication_pad2d",
)
