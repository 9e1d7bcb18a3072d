"""From verdicts on blocks of units to what they mean for the run: is the loss of plasticity permanent?

* ``permanent``: a certificate says that training as it is will not undo it. Trapped clones (weights in RE∩CE, and the
  optimiser in use keeps it), units frozen for ever (intervals; no noise, and no decay that could move them out).
* ``reversible``: dormant units that a gradient still reaches; clones that training parts; clones under an optimiser
  that can leave.
* ``useful``: near-clones with opposite, large outgoing weights: together they compute a gated unit. No remedy: merging
  or resetting them loses it.
* ``undecided``: silent on this data without a gradient, but not certified: other data may revive them.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.modules.axes import Axis
from lop_theory.modules.detection import Detection, Layer
from lop_theory.modules.equitable import Structure, same_values
from lop_theory.modules.interface import Partition
from lop_theory.modules.judge import DIVERGING, OPPOSITE
from lop_theory.modules.verdicts import Block
from lop_theory.watch.optimiser_facts import Facts, untied
from lop_theory.watch.record import Alarm
from lop_theory.watch.remedies import advice

MEANINGS = {
    "permanent": "certified: training as it is does not undo it",
    "reversible": "a gradient, or the optimiser, can undo it",
    "useful": "looks like a loss, but computes something: leave it",
    "undecided": "silent on this data without a gradient, and not certified: other data may revive it",
}


EQUAL = 1e-6
"""Gradients that differ by less than this times the largest are equal to rounding."""


class Seen(NamedTuple):
    """What alarms are made of. ``gradients`` (units, weights): by layer, those of the mean loss for the incoming
    weights of every unit, of layers whose weights the optimiser moves."""

    model: nn.Module
    detection: Detection
    gradients: Mapping[str, Tensor]
    facts: Facts


def alarms_of(seen: Seen) -> tuple[Alarm, ...]:
    """Of every layer."""
    found: list[Alarm] = []
    for layer in hidden(seen.detection):
        judged = [_alarm(layer, block, seen) for block in layer.verdicts]
        found += [*filter(None, judged), *_still(layer, seen.gradients.get(layer.module))]
    return tuple(_merged(found))


def hidden(detection: Detection) -> list[Layer]:
    """Layers by themselves: not the weighted sums that an activation follows, whose units it shares."""
    behind = {s.source for s in detection.seen if s.kind == "activation"}
    sums = {s.name for s in detection.seen if s.kind == "sum" and s.source in behind}
    return [layer for layer in detection.layers if layer.module not in sums]


def _alarm(layer: Layer, block: Block, seen: Seen) -> Alarm | None:
    match block.kind:
        case "trapped":
            kind, reason = _trapped(layer, block, seen)
            return Alarm(layer.module, kind, "trapped", block.units, reason, advice("trapped"))
        case "frozen":
            kind, reason = _frozen(block, seen.facts)
            return Alarm(layer.module, kind, "frozen", block.units, f"{block.reason}; {reason}", advice("frozen"))
        case "separating":
            kind, reason = _parting(block, seen.gradients.get(layer.module))
            return Alarm(layer.module, kind, "clones that part", block.units, reason)
        case "near" | "twin" if gated(block):
            return Alarm(layer.module, "useful", "near-clones that compute", block.units, block.reason)
        case _:
            return None


def _trapped(layer: Layer, block: Block, seen: Seen) -> tuple[str, str]:
    """The clones' kind, and what the optimiser table says. Noise on other units parts no clones whose weights are
    block-constant: every draw moves them alike."""
    constant, facts = "not block-constant" not in block.reason, seen.facts
    known = seen.detection.structure
    assert known is not None
    own = _classes(layer, known)
    noise = next((known.noisy[axis] for axis in own if axis in known.noisy), None)
    if noise is not None:
        return "reversible", f"{noise}, which parts them"
    if known.noise and not constant:
        return "undecided", f"{known.noise[0]} of other units, which may part them"
    state = untied(seen.model, facts, _only(known, own, block))
    if state is not None:
        return ("reversible" if state[0] else "undecided"), state[1]
    kinds = {True: "permanent", False: "reversible", None: "undecided"}
    even = constant or _even(seen.model, known)
    return kinds[facts.keeps(even)], f"equal on all data (Theorem A.1); {facts.sentence(even)}"


def _even(model: nn.Module, known: Structure) -> bool:
    """Whether equal units have the same weights but for their order, which an elementwise update keeps so."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return all(
        same_values(p, known.blocks[name], known.tolerance) for name, p in parameters.items() if name in known.blocks
    )


def _classes(layer: Layer, known: Structure) -> list[Axis]:
    """The width classes of the layer's units, as a reader that flattens them has them too."""
    assert layer.weight is not None
    name, dim = layer.weight
    return known.plan.leaves(known.axes[name][dim])


def _only(known: Structure, own: list[Axis], block: Block) -> dict[str, tuple[Partition, ...]]:
    """The blocks along the layer's width classes (of these units, where a coordinate is a unit), else singletons."""

    def kept(index: Partition, axis: Axis) -> Partition:
        alone = np.arange(len(index))
        if not set(own) & set(known.plan.leaves(axis)):
            return alone
        if known.plan.leaves(axis) != own:
            return index
        inside = np.isin(alone, block.units)
        return np.unique(np.where(inside, -1, alone), return_inverse=True)[1]

    return {
        name: tuple(kept(index, axis) for index, axis in zip(dims, known.axes[name], strict=True))
        for name, dims in known.blocks.items()
    }


def _parting(block: Block, gradients: Tensor | None) -> tuple[str, str]:
    """Whether the units' gradients differ, on this data."""
    if gradients is None:
        return "undecided", f"{block.reason}; but no gradient of their own weights was seen (are they trained?)"
    rows = gradients[list(block.units)]
    if float((rows - rows[0]).abs().max()) > EQUAL * float(gradients.abs().max()):
        return "reversible", block.reason
    return "undecided", f"{block.reason}; but on this data their gradients are equal"


def _frozen(block: Block, facts: Facts) -> tuple[str, str]:
    """The certificate holds for gradient methods without decay, once moments have died away. Decoupled decay (of all
    weights, or of all but biases; not of biases more than of weights) keeps it where the flat region ends at 0: it does
    not change the sign of a sum."""
    at_zero = block.interval is not None and 0.0 in block.interval.flat_region
    if facts.update is None:
        return "undecided", f"no gradient moves them, but {facts.name} is not in the optimiser table"
    if facts.update == "asymmetric":
        return "reversible", f"no gradient moves them, but {facts.name} moves weights without one"
    if facts.decay != "none" and not (facts.decay == "decoupled" and at_zero and facts.proportional):
        return "undecided", f"no gradient moves them, but the {facts.decay} decay of {facts.name} does"
    return "permanent", f"{facts.name} does not move them out, once its moments have died away"


def gated(block: Block) -> bool:
    """Whether the pair's outgoing weights are opposite and large."""
    return block.outgoing is not None and block.outgoing[0] < OPPOSITE and block.outgoing[1] > DIVERGING


def _certified(layer: Layer) -> set[int]:
    return {u for block in layer.verdicts if block.kind == "frozen" for u in block.units}


def _still(layer: Layer, gradients: Tensor | None) -> list[Alarm]:
    """Units that are small or zero and not certified: reversible where a gradient was seen to reach their weights."""
    certified = _certified(layer)
    moved = set() if gradients is None else set(torch.nonzero(gradients.abs().sum(1) > 0).flatten().tolist())
    silent = tuple(u for u in layer.dead if u not in moved and u not in certified)
    dormant = tuple(u for u in layer.dormant if u not in certified and u not in silent)
    reached = tuple(u for u in dormant if u in moved)
    rest = tuple(u for u in dormant if u not in moved)
    unseen = "whether a gradient reaches their weights was not seen (are they trained?)"
    without = unseen if gradients is None else "no gradient from it reaches their weights; not certified to stay so"
    found = (
        ("undecided", "silent", silent, f"zero on this data; {without}"),
        ("reversible", "dormant", reached, "small beside the layer's mean, and a gradient reaches their weights"),
        ("undecided", "dormant", rest, f"small beside the layer's mean; {without}"),
    )
    return [Alarm(layer.module, kind, name, u, why, advice(name)) for kind, name, u, why in found if u]


def _merged(found: Iterable[Alarm]) -> list[Alarm]:
    """One alarm a layer for what has one verdict a block: trapped clones, and units that are frozen each by itself."""
    merged: dict[tuple[str, str, str], Alarm] = {}
    blocks: dict[tuple[str, str, str], int] = {}
    separate: list[Alarm] = []
    for alarm in found:
        key = alarm.layer, alarm.kind, alarm.found
        if alarm.found not in ("frozen", "trapped"):
            separate.append(alarm)
            continue
        first = merged.get(key)
        merged[key] = alarm if first is None else first._replace(units=(*first.units, *alarm.units))
        blocks[key] = blocks.get(key, 0) + 1
    return [*(_counted(alarm, blocks[key]) for key, alarm in merged.items()), *separate]


def _counted(alarm: Alarm, blocks: int) -> Alarm:
    if alarm.found == "frozen" or blocks == 1:
        return alarm
    return alarm._replace(reason=f"{blocks} blocks, each {alarm.reason}")
