"""Embedding tables: the feature axis may be cloned, the vocabulary not."""

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.table import table


def embedding(call: Call) -> Axes:
    weight, indices = call["weight"], call["indices"]
    call.domain.rigid(weight.axes[0])
    return (*indices.axes, weight.axes[1])


RULES = table(embedding, "embedding")
