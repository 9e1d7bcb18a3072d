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

from lop_theory.modules.detection import Detection, Layer
from lop_theory.modules.judge import DIVERGING, OPPOSITE
from lop_theory.modules.verdicts import Block
from lop_theory.watch.optimiser_facts import Facts
from lop_theory.watch.record import Alarm
from lop_theory.watch.remedies import advice

KINDS = ("permanent", "reversible", "useful", "undecided")

MEANINGS = {
    "permanent": "certified: training as it is does not undo it",
    "reversible": "a gradient, or the optimiser, can undo it",
    "useful": "looks like a loss, but computes something: leave it",
    "undecided": "silent on this data without a gradient, and not certified: other data may revive it",
}


def alarms_of(detection: Detection, quiet: Mapping[str, Iterable[int]], facts: Facts) -> tuple[Alarm, ...]:
    """Of every layer. ``quiet``: by layer, the units whose incoming weights no gradient reaches."""
    found: list[Alarm] = []
    for layer in hidden(detection):
        still = frozenset(quiet.get(layer.module, ()))
        judged = [_alarm(layer, block, detection, facts) for block in layer.verdicts]
        found += [*filter(None, judged), *_silent(layer, still), *_dormant(layer, still)]
    return tuple(_merged(found))


def hidden(detection: Detection) -> list[Layer]:
    """Layers by themselves: not the weighted sums that an activation follows, whose units it shares."""
    behind = {s.source for s in detection.seen if s.kind == "activation"}
    sums = {s.name for s in detection.seen if s.kind == "sum" and s.source in behind}
    return [layer for layer in detection.layers if layer.module not in sums]


def _alarm(layer: Layer, block: Block, detection: Detection, facts: Facts) -> Alarm | None:
    match block.kind:
        case "trapped":
            kind, reason = _trapped(block, detection, facts)
            return Alarm(layer.module, kind, "trapped", block.units, reason, advice("trapped"))
        case "frozen":
            kind, reason = _frozen(block, facts)
            return Alarm(layer.module, kind, "frozen", block.units, f"{block.reason}; {reason}", advice("frozen"))
        case "separating":
            return Alarm(layer.module, "reversible", "clones that part", block.units, block.reason)
        case "near" | "twin" if gated(block):
            return Alarm(layer.module, "useful", "near-clones that compute", block.units, block.reason)
        case _:
            return None


def _trapped(block: Block, detection: Detection, facts: Facts) -> tuple[str, str]:
    """The clones' kind, and what the optimiser table says."""
    constant = "not block-constant" not in block.reason
    noise = detection.structure.noise if detection.structure is not None else ()
    if noise:
        return "reversible", f"{noise[0]}, which parts them"
    kinds = {True: "permanent", False: "reversible", None: "undecided"}
    return kinds[facts.keeps(constant)], f"equal on all data (Theorem A.1); {facts.sentence(constant)}"


def _frozen(block: Block, facts: Facts) -> tuple[str, str]:
    """The certificate holds for gradient methods without decay, once moments have died away. Decoupled decay (of all
    weights, or of all but biases) keeps it where the flat region ends at 0: it does not change the sign of a sum."""
    at_zero = block.interval is not None and 0.0 in block.interval.flat_region
    if facts.update is None:
        return "undecided", f"no gradient moves them, but {facts.name} is not in the optimiser table"
    if facts.update == "asymmetric":
        return "reversible", f"no gradient moves them, but {facts.name} moves weights without one"
    if facts.decay != "none" and not (facts.decay == "decoupled" and at_zero):
        return "undecided", f"no gradient moves them, but the {facts.decay} decay of {facts.name} does"
    return "permanent", f"{facts.name} does not move them out, once its moments have died away"


def gated(block: Block) -> bool:
    """Whether the pair's outgoing weights are opposite and large."""
    return block.outgoing is not None and block.outgoing[0] < OPPOSITE and block.outgoing[1] > DIVERGING


def _certified(layer: Layer) -> set[int]:
    return {u for block in layer.verdicts if block.kind == "frozen" for u in block.units}


def _silent(layer: Layer, still: frozenset[int]) -> list[Alarm]:
    """Dead units that no gradient reaches; those with one are dormant."""
    units = tuple(u for u in layer.dead if u in still and u not in _certified(layer))
    reason = "zero on this data and without a gradient from it; not certified to stay so"
    return [Alarm(layer.module, "undecided", "silent", units, reason, advice("silent"))] if units else []


def _dormant(layer: Layer, still: frozenset[int]) -> list[Alarm]:
    units = tuple(u for u in layer.dormant if u not in still and u not in _certified(layer))
    reason = "small beside the layer's mean, and a gradient reaches their weights"
    return [Alarm(layer.module, "reversible", "dormant", units, reason, advice("dormant"))] if units else []


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
