"""Embedding tables: the feature axis may be cloned, the vocabulary not."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def embedding(call: Call) -> Axes:
    weight, indices = call["weight"], call["indices"]
    call.domain.rigid(weight.axes[0])
    return (*indices.axes, weight.axes[1])


def bag(call: Call) -> list[Axes]:
    """embedding_bag: sums, means or maxima of rows, then bookkeeping."""
    weight = call["weight"]
    for axis in (weight.axes[0], *(axis for o in call.operands() if o is not weight for axis in o.axes)):
        call.domain.rigid(axis)
    first, *others = call.output
    return [(call.domain.new(first[0]), weight.axes[1]), *(call.fresh(shape) for shape in others)]


RULES = {
    **table(embedding, "embedding"),
    **table(bag, "embedding_bag _embedding_bag _embedding_bag_forward_only"),
}
