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
    attention_heads,
    convolutions,
    dropouts,
    embeddings,
    entrywise,
    indexing,
    normalisation,
    pairs,
    pooling,
    product,
    recurrence,
    reduction,
    shape,
)

Rule = Callable[[Call], Any]

RULES: dict[Any, Rule] = {
    **entrywise.RULES,
    **shape.RULES,
    **product.RULES,
    **convolutions.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **recurrence.RULES,
    **reduction.RULES,
    **embeddings.RULES,
    **indexing.RULES,
    **pairs.RULES,
    **attention_heads.RULES,
    **dropouts.RULES,
}
