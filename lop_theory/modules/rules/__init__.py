"""One rule an operator family; ``RULES`` maps ATen operators to rules.

A rule of your own, for an operator that is not covered, is one function::

    def swiglu_rule(call):
        gate, value = call["gate"], call["value"]
        call.domain.tie(gate.axes[-1], value.axes[-1])
        return gate.axes

    expand(model, 2, example_input=x, rules={torch.ops.mylib.swiglu: swiglu_rule})
"""

from collections.abc import Callable
from typing import Any

from lop_theory.modules.interface import Call
from lop_theory.modules.rules import (
    attention,
    convolution,
    dropout,
    elementwise,
    embedding,
    indexing,
    normalisation,
    pairs,
    pooling,
    product,
    recurrent,
    reduction,
    shape,
)

Rule = Callable[[Call], Any]

RULES: dict[Any, Rule] = {
    **elementwise.RULES,
    **shape.RULES,
    **product.RULES,
    **convolution.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **recurrent.RULES,
    **reduction.RULES,
    **embedding.RULES,
    **indexing.RULES,
    **pairs.RULES,
    **attention.RULES,
    **dropout.RULES,
}
