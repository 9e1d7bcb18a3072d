"""RNN, LSTM and GRU as one call: every layer's hidden width is one axis, repeated in each gate."""

from collections.abc import Callable
from typing import Any

from lop_theory.modules.interface import Axes, Call
from lop_theory.modules.rules.rule_table import table


def recurrent(gates: int) -> Callable[[Call], list[Axes]]:
    """Weights (gates·H) × inputs and (gates·H) × H, with two biases or none, for every layer and direction."""

    def rule(call: Call) -> list[Axes]:
        domain, x = call.domain, call["input"]
        each, ways = (4 if call["has_biases"] else 2), (2 if call["bidirectional"] else 1)
        if len(call["params"]) != each * ways * call["num_layers"]:  # projections
            domain.uncovered(call, str(call.node.name))
            return list(map(call.fresh, call.output))
        for axis in x.axes[:-1]:
            domain.rigid(axis)
        below, last = x.axes[-1], []
        for layer in range(call["num_layers"]):
            first = [(layer * ways + way) * each for way in range(ways)]
            last = [_cell(call, place, gates, below) for place in first]
            below = domain.concat(last)
            if call["dropout"] and call["train"] and layer + 1 < call["num_layers"]:
                call.breaks(f"dropout p={call['dropout']} between layers draws independent masks for clones", [below])
        return [(*call.fresh(x.shape[:-1]), below), *((*call.fresh(shape[:-1]), last[0]) for shape in call.output[1:])]

    return rule


def _cell(call: Call, place: int, gates: int, below: Any) -> Any:
    """The hidden axis of one layer in one direction, whose parameters start at ``place``."""
    domain = call.domain
    hidden = call[f"params.{place + 1}"].axes[1]
    states = call["hx"] if isinstance(call["hx"], list) else [call["hx"]]
    for state in states:
        for axis in state.axes[:-1]:
            domain.rigid(axis)
        hidden = domain.tie(hidden, state.axes[-1])
    for offset, summed in enumerate((below, hidden)):
        weight = call[f"params.{place + offset}"]
        gate, unit = _gates(call, weight.axes[0], gates)
        domain.tie(unit, hidden)
        domain.tie(weight.axes[1], summed)
        roles = [("shared", gate), ("kept", hidden), ("summed", weight.axes[1])]
        call.contract("input", -1, f"params.{place + offset}", roles)
    for offset in (2, 3) if call["has_biases"] else ():
        domain.tie(_gates(call, call[f"params.{place + offset}"].axes[0], gates)[1], hidden)
    return hidden


def _gates(call: Call, axis: Any, gates: int) -> tuple[Any, Any]:
    """gates·H as a grid whose first axis is never cloned."""
    gate, unit = (
        call.domain.split(axis, [gates, call.domain.size(axis) // gates]) if gates > 1 else (call.domain.new(1), axis)
    )
    call.domain.rigid(gate)
    return gate, unit


RULES = {
    **table(recurrent(4), "lstm.input"),
    **table(recurrent(3), "gru.input"),
    **table(recurrent(1), "rnn_tanh.input rnn_relu.input"),
}
