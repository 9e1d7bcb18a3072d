"""Fused attention. Heads may be duplicated as they are; wider heads multiply the logits by sqrt(factor).

Logits are sums over the head width divided by its square root: with clones the sum grows by ``factor`` and the scale
shrinks
by ``sqrt(factor)``. ``expand`` folds the missing 1/sqrt(factor) into the query weights.
"""

from typing import Any

from lop_theory.modules.interface import Axes, Call, Rescale
from lop_theory.modules.rules.entrywise import broadcast
from lop_theory.modules.rules.rule_table import table


def attention(call: Call) -> Axes:
    domain = call.domain
    query, key, value = call["query"], call["key"], call["value"]
    heads = _tie_heads(call)
    for axis in (query.axes[-2], key.axes[-2], value.axes[-2]):
        domain.rigid(axis)
    domain.tie(query.axes[-1], key.axes[-1])
    width = query.axes[-1]
    standard = call.get("scale") is None or abs(call["scale"] * query.shape[-1] ** 0.5 - 1) < 1e-6
    call.correct("query", -1, width, power=0.5 if standard else 1.0)
    if standard and call.get("scale") is not None:
        call.domain.record(call, Rescale("scale", width))
    if any(domain.cloned(axis) for axis in heads):
        for axis in heads:
            domain.mark(axis, "heads")
        domain.mark(query.axes[-1], "width")
        domain.mark(value.axes[-1], "width")
    if call.get("dropout_p"):
        call.breaks("attention dropout draws one mask a head, independent across cloned heads", heads)
    return (*heads, call.domain.new(query.shape[-2]), value.axes[-1])


def _tie_heads(call: Call) -> Axes:
    query, key, value = call["query"], call["key"], call["value"]
    shared = [call.domain.tie(a, b) for a, b in zip(key.axes[:-2], value.axes[:-2], strict=True)]
    heads = tuple(_tie_head(call, *of) for of in zip(query.axes, shared, query.shape, key.shape, strict=False))
    mask = call.get("attn_mask")
    if mask is not None:
        logits = (*query.shape[:-1], key.shape[-2])
        axes = (*heads, query.axes[-2], key.axes[-2])
        *heads, _, _ = broadcast(call, [query._replace(shape=logits, axes=axes), mask], logits)
    return tuple(heads)


def _tie_head(call: Call, query: Any, key: Any, n_query: int, n_key: int) -> Any:
    """Grouped-query attention shares each key head among consecutive query heads."""
    if n_query == n_key:
        return call.domain.tie(query, key)
    shared, within = call.domain.split(query, [n_key, n_query // n_key])
    call.domain.rigid(within)
    return call.domain.join([call.domain.tie(shared, key), *call.varying(within)])


RULES = table(attention, "scaled_dot_product_attention")
