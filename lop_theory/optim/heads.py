"""Whole attention heads as units: the rows that compute a head's queries, keys and values, the columns that read it.

softmax(Q_i K_iᵀ/√d) V_i with Q_i = x W_Qᵀ restricted to head i, …: the unit is head i.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lop_theory.optim.axis import OTHER, Owners
from lop_theory.optim.flow import SCORES, Flow, data_of, shape
from lop_theory.trace import Node, Program, operator_name

ATTENTION = "scaled_dot_product_attention"
HEAD, CHANNEL = 1, 3
"""Dimensions of a query, key or value: batch, head, token, channel."""


class Heads(NamedTuple):
    """``values``: the flow of what computes the values. ``rows[producer]`` is heads × rows; ``number[row]`` the head of
    a row of the values' producer, or −1."""

    values: Flow
    rows: dict[Node, Owners]
    number: Owners


def attention_heads(program: Program, flows: Sequence[Flow]) -> Iterator[tuple[Node, Heads | str]]:
    """Every attention of the program with its heads, or why they cannot be replaced."""
    for node in program.graph.nodes:
        if operator_name(node) == ATTENTION:
            yield node, _heads(node, flows)


def _heads(node: Node, flows: Sequence[Flow]) -> Heads | str:
    found = [_computed(argument, flows) for argument in node.args[:3]]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return "its queries, keys or values cannot be followed from one layer each"
    rows: dict[Node, Owners] = {}
    for flow, own in parts:
        rows[flow.producer] = np.concatenate([rows[flow.producer], own], 1) if flow.producer in rows else own
    if len({len(own) for _, own in parts}) > 1 or any(len(np.unique(own)) < own.size for own in rows.values()):
        return "its heads share queries, keys or values"
    values, own = parts[2]
    number = np.full(int(values.reached[values.producer].owners.max()) + 1, OTHER)
    number[own] = np.arange(len(own))[:, None]
    return _elsewhere(parts) or Heads(values, rows, number)


def _elsewhere(parts: Sequence[tuple[Flow, Owners]]) -> str | None:
    """Why heads cannot be replaced as what else reads them would move, if so."""
    for k, (flow, own) in enumerate(parts):
        allowed = {SCORES} if k < 2 else set[str]()
        reasons = [flow.lost[row] for row in own.flatten().tolist() if row in flow.lost]
        if set(reasons) - allowed:
            return next(reason for reason in reasons if reason not in allowed)
        if k < 2 and any(np.isin(own, flow.reached[data_of(reader)].owners).any() for reader in flow.readers):
            return "its queries or keys are read elsewhere"
    return None


def _computed(argument: Node, flows: Sequence[Flow]) -> tuple[Flow, Owners] | None:
    """The flow that a query, key or value comes from, and the row of its producer at every head and channel."""
    for flow in flows:
        own = flow.reached.get(argument)
        if own is not None and set(own.dims) <= {HEAD, CHANNEL} and len(shape(argument)) == CHANNEL + 1:
            rows = own.over(shape(argument), (HEAD, CHANNEL)).copy()
            return None if (rows == OTHER).any() else (flow, rows)
    return None
