"""One rule an operator family; ``RULES`` maps ATen operators to rules.

A rule of your own, for an operator that is not covered, is one function::

    def swiglu_rule(call):
        gate, value = call["gate"], call["value"]
        call.domain.tie(gate.axes[-1], value.axes[-1])
        return gate.axes

    expand(model, 2, example_input=x, rules={torch.ops.mylib.swiglu: swiglu_rule})
"""

from collections.abc import Callable, Mapping
from typing import Any

from lop_theory.modules.interface import Call
from lop_theory.modules.rules import (
    attention_heads,
    convolutions,
    dropouts,
    embeddings,
    entrywise,
    experts,
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
    **experts.RULES,
    **attention_heads.RULES,
    **dropouts.RULES,
}


def rule_of(target: Any, rules: Mapping[Any, Rule]) -> Rule | None:
    """By operator, by its packet, or by its qualified name (operators of packages that may be missing)."""
    return rules.get(target) or rules.get(getattr(target, "overloadpacket", None)) or rules.get(str(target))
