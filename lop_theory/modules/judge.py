"""From what was measured and what the weights prove to one verdict a block."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from lop_theory.metrics.watch import Layer as Seen
from lop_theory.modules.equitable import Structure, block_constant, same_values
from lop_theory.modules.frozen import Interval
from lop_theory.modules.gathered import Gathered, likeness
from lop_theory.modules.likeness import groups, one_nonzero_value, twin_blocks
from lop_theory.modules.readers import opposition, outgoing, parameter
from lop_theory.modules.training import TrainingRule
from lop_theory.modules.verdicts import Block

if TYPE_CHECKING:
    from lop_theory.modules.detection import Layer

HOMOGENEOUS = frozenset({"relu", "leaky_relu", "prelu"})
ODD = frozenset({"tanh", "erf", "softsign", "hardtanh", "tanhshrink", "softshrink", "hardshrink"})
SATURATED_SHARE = 0.99
OPPOSITE, DIVERGING = -0.5, 3.0
"""Outgoing weights of near-clones with a cosine below the first and a size, over the median unit's, above the second
make a gated unit of the pair."""


class Evidence(NamedTuple):
    """What the judge may look at."""

    model: nn.Module
    seen: tuple[Seen, ...]
    gathered: Mapping[str, Gathered]
    tolerance: float
    certified: Mapping[str, Mapping[int, Interval]]
    rule: TrainingRule | None = None


def judged(layer: "Layer", evidence: Evidence, known: Structure | None, reason: str) -> tuple[Block, ...]:
    """All blocks of a layer that are not what training made them to be: units alone in their block."""
    inert = _inert(layer, evidence)
    equal = [b for group in groups(layer.blocks) for b in _equal(layer, group, evidence, known, reason)]
    twins = _twins(layer, evidence)
    return (*equal, *twins, *_near(layer, evidence, twins), *inert)


def _inert(layer: "Layer", evidence: Evidence) -> list[Block]:
    """Frozen for ever, dead, constant and saturated units."""
    certified = evidence.certified.get(layer.module, {})
    found = [
        Block("frozen", (unit,), f"pre-activation in [{x.low:.3g}, {x.high:.3g}] whatever other units do", interval=x)
        for unit, x in certified.items()
    ]
    n = evidence.gathered[layer.module].summed().samples
    dead = tuple(u for u in layer.dead if u not in certified)
    if dead:
        found.append(Block("dead", dead, f"zero on more than 95 % of {n} samples"))
    constant = tuple(u for u in layer.constant if u not in certified)
    if constant:
        mean = evidence.gathered[layer.module].summed().mean
        values = tuple(float(mean[u]) for u in constant)
        found.append(Block("constant", constant, f"one value on all of {n} samples", values=values))
    slopes = evidence.gathered[layer.module].slopes
    if slopes is not None:
        flat = torch.nonzero(slopes.small > SATURATED_SHARE * n).flatten().tolist()
        rest = tuple(u for u in flat if u not in {*certified, *layer.dead, *layer.constant})
        if rest:
            found.append(Block("saturated", rest, f"derivative below 1e-4 on more than 99 % of {n} samples"))
    return found


def _equal(
    layer: "Layer", group: tuple[int, ...], evidence: Evidence, known: Structure | None, reason: str
) -> list[Block]:
    """Trapped sub-blocks, and what training will part."""
    n = evidence.gathered[layer.module].summed().samples
    if known is None:
        return [Block("cloned", group, f"equal on {n} samples; not checked further: {reason}")]
    blocks = _axis(layer, known.blocks)
    if blocks is None:
        why = "its units are not those of one parameter"
        return [Block("cloned", group, f"equal on {n} samples; not checked further: {why}")]
    inside: dict[int, list[int]] = {}
    for unit in group:
        inside.setdefault(int(blocks[unit]), []).append(unit)
    found = [_kept(layer, tuple(u), evidence, known) for u in inside.values() if len(u) > 1]
    if len(inside) > 1:
        found.append(_told_apart(layer, tuple(units[0] for units in inside.values()), evidence, known))
    return found


def _told_apart(layer: "Layer", units: tuple[int, ...], evidence: Evidence, known: Structure) -> Block:
    """Units of different blocks: because of their weights, or because of what no rule permutes."""
    n = evidence.gathered[layer.module].summed().samples
    forward = _axis(layer, known.forward)
    assert forward is not None  # as its blocks are not
    if len({int(forward[u]) for u in units}) == 1:
        why = "the weights that read them differ: their gradients do, and training parts them"
        return Block("separating", units, f"equal on all data, but {why}")
    if _same_incoming(layer, units, evidence, known):
        why = "their incoming weights are equal, too, but something else tells them apart"
        return Block("cloned", units, f"equal on {n} samples; not checked further: {why}")
    return Block("separating", units, f"equal on {n} samples only: their incoming weights differ")


def _same_incoming(layer: "Layer", units: tuple[int, ...], evidence: Evidence, known: Structure) -> bool:
    """Whether rows of the layer's weight, and entries of its bias, are equal."""
    assert layer.weight is not None
    name, dim = layer.weight
    weight, owner = parameter(evidence.model, name), name.rpartition(".")[0]
    biases = [p for _, p in evidence.model.get_submodule(owner).named_parameters(recurse=False) if p.dim() == 1]
    rows = [weight.detach().movedim(dim, 0), *(b.detach() for b in biases if len(b) == weight.shape[dim])]
    return all(
        bool((row[list(units)] - row[units[0]]).abs().max() <= known.tolerance * row.abs().max()) for row in rows
    )


def _axis(layer: "Layer", of: Mapping[str, tuple[np.ndarray, ...]]) -> np.ndarray | None:
    if layer.weight is None:
        return None
    blocks = of[layer.weight[0]][layer.weight[1]]
    return blocks if len(blocks) == layer.units else None


def _kept(layer: "Layer", units: tuple[int, ...], evidence: Evidence, known: Structure) -> Block:
    """Trapped, unless the optimizer at hand parts them or is not known to treat them alike."""
    names = _own_weights(layer, evidence)
    if evidence.rule is not None:
        parting = evidence.rule.parting(names)
        if parting:
            return Block("separating", units, f"weights in RE∩CE, but {parting}")
        unknown = evidence.rule.not_known() or evidence.rule.parting(known.blocks)  # elsewhere: it may spread
        if unknown:
            return Block("cloned", units, f"weights in RE∩CE; not checked further: {unknown}")
    return Block("trapped", units, _why_trapped(evidence, names, known))


def _own_weights(layer: "Layer", evidence: Evidence) -> list[str]:
    """Parameters of the layer's module and of the layers that read it (buffers are not trained)."""
    assert layer.weight is not None
    weights = [layer.weight, *(s.weight for s in evidence.seen if s.weight is not None and s.reads == layer.module)]
    owners = {name.rpartition(".")[0] for name, _ in weights}
    named = (name for name, _ in evidence.model.named_parameters(remove_duplicate=False))
    return [name for name in named if name.rpartition(".")[0] in owners]


def _constant(evidence: Evidence, name: str, known: Structure) -> bool:
    return block_constant(parameter(evidence.model, name), known.blocks[name], known.tolerance)


def _why_trapped(evidence: Evidence, names: list[str], known: Structure) -> str:
    """Theorem A.1 and its hypotheses, and what would part them."""
    constant = all(_constant(evidence, name, known) for name in names)
    even = all(same_values(parameter(evidence.model, name), known.blocks[name], known.tolerance) for name in names)
    decay = "weight decay keeps it" if even else "coupled L2 with an adaptive update parts them"
    noise = f"; {known.noise[0]}" if known.noise else ""
    if evidence.rule is not None:
        noise = f"; so it is with this {evidence.rule.name}, whose state is tied{noise}"
    return (
        f"weights in RE∩CE to {known.tolerance:.0e} (Theorem A.1): no permutation-equivariant optimiser with tied "
        f"state parts them without gradient noise or dropout; weights {'' if constant else 'not '}block-constant: "
        f"{decay}{noise}"
    )


def _twins(layer: "Layer", evidence: Evidence) -> list[Block]:
    """Units equal up to a scale (positively homogeneous activations) or a sign (odd ones)."""
    kinds = {"scale": HOMOGENEOUS, "sign": ODD}
    symmetry = next((k for k, names in kinds.items() if layer.operator in names), None)
    if layer.kind != "activation" or symmetry is None:
        return []
    gathered = evidence.gathered[layer.module]
    moving = torch.ones(layer.units, dtype=torch.bool)
    moving[[*layer.dead, *layer.constant, *_later(layer)]] = False
    if symmetry == "scale":
        moving &= ~one_nonzero_value(gathered.summed()).cpu()
    blocks, size = twin_blocks(gathered, evidence.tolerance, moving)
    found: list[Block] = []
    for block in groups(blocks):
        allowed = {u: float(size[u] / size[block[0]]) for u in block}
        allowed = {u: f for u, f in allowed.items() if (f > 0 if symmetry == "scale" else abs(abs(f) - 1) < 1e-5)}
        if len(allowed) > 1:
            group, factors = tuple(allowed), tuple(allowed.values())
            reason = f"one is {factors[1]:.4g} × the other ({symmetry} symmetry of {layer.operator})"
            sides, left = _opposition(layer, evidence, group), _told_equal(gathered, group, evidence.tolerance)
            found.append(Block("twin", group, reason, factors=factors, outgoing=sides, residuals=left))
    return found


def _later(layer: "Layer") -> list[int]:
    """All but the first unit of every block of equal units."""
    return [u for group in groups(layer.blocks) for u in group[1:]]


def _opposition(layer: "Layer", evidence: Evidence, group: Sequence[int]) -> tuple[float, float] | None:
    weights = outgoing(evidence.model, evidence.seen, layer.module, layer.units)
    return opposition(weights, group[0], group[1])


def _near(layer: "Layer", evidence: Evidence, twins: list[Block]) -> list[Block]:
    """Blocks of units alike, one unit for each that is equal or a twin."""
    covered = {*_later(layer), *(u for twin in twins for u in twin.units[1:])}
    found: list[Block] = []
    like = likeness(evidence.gathered[layer.module])
    for whole in groups(layer.near_blocks):
        group = tuple(u for u in whole if u not in covered)
        if len(group) < 2:
            continue
        spread = float(like.spread[group[0]])
        distance = float(like.distance(group[0], torch.tensor(group)).max()) / max(spread, 1e-300)
        factors, residuals = _fitted(evidence.gathered[layer.module], group)
        sides = _opposition(layer, evidence, group)
        found.append(Block("near", group, _why_near(distance, sides), distance, factors, sides, residuals=residuals))
    return found


def _told_equal(gathered: Gathered, group: Sequence[int], tolerance: float) -> tuple[float, ...]:
    """How far from a multiple of the first a unit may be that was told to be one."""
    like = likeness(gathered)
    return tuple(float(tolerance * like.spread[u] + 4 * gathered.eps * like.size[u]) for u in group)


def _fitted(gathered: Gathered, group: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The least squares multiples of the first unit, f = G_ij/G_ii, and √(mean (h_j − f h_i)²)."""
    gram, samples = gathered.gram(torch.tensor(group)), gathered.summed().samples
    factors = [float(x / gram[0, 0]) for x in gram[0]]
    left = (float(gram[k, k] - f * gram[0, k]) for k, f in enumerate(factors))
    return tuple(factors), tuple((max(0.0, square) / samples) ** 0.5 for square in left)


def _why_near(distance: float, sides: tuple[float, float] | None) -> str:
    text = f"{distance:.2g} of their spread apart"
    if sides is None:
        return text
    cosine, size = sides
    if cosine < OPPOSITE and size > DIVERGING:
        return (
            f"{text}; outgoing weights opposite (cosine {cosine:.2f}) and {size:.1f} × the median unit's: "
            "together they compute a gated unit and are not redundant"
        )
    return f"{text}; outgoing weights {'opposite' if cosine < 0 else 'of one sign'} (cosine {cosine:.2f})"
