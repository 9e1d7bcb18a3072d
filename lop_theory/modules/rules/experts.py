"""Grouped products: rows sorted by expert, each multiplied by its own expert's matrix (mixtures of experts).

The operator is of ``transformers``, known by its name since that package may be missing. torch's own (``_grouped_mm``)
has no rule: in bfloat16 on a CPU it was seen to give gradients that are not those of the product.
"""

from lop_theory.modules.interface import Axes, Call


def grouped_product(call: Call) -> Axes:
    """Rows × inputs with experts × inputs × outputs: y_s = x_s W_e(s). ``offs``: where every expert's rows end."""
    x, weight, ends = call["input"], call["weight"], call["offs"]
    for axis in (x.axes[0], weight.axes[0], *ends.axes):
        call.domain.rigid(axis)
    if not weight.learned:
        for axis in (x.axes[1], *weight.axes):
            call.domain.rigid(axis)
        return call.fresh()
    call.domain.tie(x.axes[1], weight.axes[1])
    roles = [("shared", weight.axes[0]), ("summed", weight.axes[1]), ("kept", weight.axes[2])]
    call.contract("input", 1, "weight", roles)
    return (call.domain.new(x.shape[0]), weight.axes[2])


RULES = {"transformers.grouped_mm_fallback.default": grouped_product}
