"""Find the clones and the frozen units that a trained model has grown, and say what will become of them.
[clone-forward] [clone-trajectory: Theorem A.1] [frozen-unit: Theorem 2.1.1]

The model's own forward pass runs in its own precision and mode, and every layer that it computes is judged by itself
(:mod:`lop_theory.metrics.watch`): no trace is needed to see units. Where units are found equal, the model is traced
once to decide whether training can part them (:mod:`lop_theory.modules.equitable`); if it cannot be traced, or an
operator has no rule, the verdict says that this was not checked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.metrics import cosines, dead, distance_to_equitable, dormant
from lop_theory.metrics.watch import Layer as Seen
from lop_theory.modules.batches import Batches, Mask
from lop_theory.modules.certified import in_training_mode
from lop_theory.modules.conditions import canonical
from lop_theory.modules.detection import DEFAULT, Criteria, Detection, Layer, require_criteria
from lop_theory.modules.equitable import Structure, structure
from lop_theory.modules.gathered import Gathered, likeness
from lop_theory.modules.interface import Profile
from lop_theory.modules.judge import Evidence, judged
from lop_theory.modules.likeness import alike_blocks, constant, equal_blocks, groups, led
from lop_theory.modules.numeric import bad
from lop_theory.modules.observation import Observed, observe
from lop_theory.modules.propagation import Rules
from lop_theory.modules.readers import parameter
from lop_theory.modules.training import training_rule
from lop_theory.modules.verdicts import Skipped
from lop_theory.optim.ranges import require_kind

FEW = 16


def detect(  # noqa: PLR0913 - one optional wish each
    model: nn.Module,
    data: Any,
    *,
    loss: Callable[..., Tensor] | None = None,
    criteria: Criteria = DEFAULT,
    rules: Rules | None = None,
    mask: Mask = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Detection:
    """Clones, twins, near-clones, dead, constant, dormant, saturated and frozen units of every hidden layer, each block
    with a verdict (:data:`lop_theory.modules.verdicts.MEANINGS`).

    ``data``: one batch (a tensor, a tuple, a dict of keyword inputs) or a loader of batches, over which statistics
    merge as if it were one. Of a loader's tuples the model gets as many leading elements as its ``forward`` requires;
    :class:`~lop_theory.modules.batches.Loader` says otherwise. ``mask`` leaves padding out: a key of the batch such as
    ``"attention_mask"``, a tensor, or a function of the batch.
    Gradients come from ``loss(output)`` (of a loader: ``loss(output, batch)``), or from a random linear function of
    the outputs. With ``optimizer`` the verdict is about that one: equal units whose moments differ, or whose weights it
    decays unevenly, are separating, not trapped, and equal units beside them are unjudged. The model is not touched:
    parameters, gradients, buffers, mode and random streams are as before.

    Units are called frozen for ever of calls that compute the same graph, in the mode of the model and in training
    mode, and of what the outputs and ``loss`` read.

    Raises ``InvalidInput`` for data that the model cannot be called with or that leave ``criteria.input_range``, for a
    backward pass that fails, and for criteria out of range.
    """
    require_kind("model", model, nn.Module)
    require_criteria(criteria)
    found = observe(model, Batches(model, data), loss=loss, mask=mask, criteria=criteria)
    if not found.samples:
        raise InvalidInput("data", "of no samples", "shows nothing of the units", "give at least one sample")
    hidden = [s for s in found.seen if s.source not in found.ends]
    drafts, skipped = [], []
    for s in hidden:
        trouble = found.trouble(s.name)
        if trouble:
            skipped.append(Skipped(s.name, trouble))
        else:
            drafts.append(_draft(s, found, criteria))
    known, reason = _structure(model, found, drafts, rules)
    rule = (
        None
        if optimizer is None or known is None
        else training_rule(model, optimizer, Profile(known.blocks, {}), known.tolerance)
    )
    evidence = Evidence(model, tuple(found.seen), found.gathered, criteria.clone, found.certified, rule)
    layers = _with_weight_distances(model, drafts, hidden)
    layers = [x._replace(verdicts=judged(x, evidence, known, reason)) for x in layers]
    notes = _notes(found, reason, known, training=in_training_mode(model))
    skipped += [Skipped(place, f"{operator}: not traced through") for operator, place in _operators(known)]
    skipped += [Skipped(name, "the weight is NaN or infinite") for name in _not_finite(model)]
    return Detection(
        tuple(layers), found.samples, found.batches, tuple(skipped), notes, known, found.example, found.seen
    )


def _not_finite(model: nn.Module) -> list[str]:
    return [name for name, p in model.named_parameters() if bad(p, masks=False)]


def _seen(hidden: list[Seen], layer: Layer) -> Seen:
    return next(s for s in hidden if s.name == layer.module)


def _draft(seen: Seen, found: Observed, criteria: Criteria) -> Layer:
    """All but verdicts."""
    gathered = found.gathered[seen.name]
    m = gathered.summed()
    still = constant(gathered, criteria.clone)
    moving = ~still & ~dead(m)
    near = alike_blocks(gathered, criteria.near, moving)
    equal = equal_blocks(gathered, criteria.clone, moving)
    slopes = gathered.slopes
    return Layer(
        module=seen.name,
        operator=seen.operator,
        units=len(still),
        blocks=equal,
        near_blocks=near,
        distance=_distance(gathered, near),
        weight_distance=None,
        dead=_indices(dead(m)),
        dormant=_indices(dormant(m, criteria.dormant)),
        saturated=_indices(found.saturated(seen.name)),
        frozen=() if slopes is None else _indices(slopes.largest == 0),
        constant=_indices(still & ~dead(m)) if m.samples > 1 else (),
        kind=seen.kind,
        weight=seen.weight,
    )


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(mask).flatten().tolist())


def _distance(gathered: Gathered, blocks: tuple[int, ...]) -> float:
    """‖H − block means‖/‖H‖ = √(Σ_B (tr G_BB − 1ᵀG_BB 1/|B|)/tr G); below 1e-6, where that loses all digits, its
    estimate from the sketch."""
    sketch = likeness(gathered).sketch
    total, within, estimate = float(gathered.summed().squares.sum()), 0.0, 0.0
    for block in groups(blocks):
        units = torch.tensor(block, device=sketch.device)
        part, points = gathered.gram(units), sketch[:, units]
        within += float(part.trace() - part.sum() / len(block))
        estimate += float((points - points.mean(1, keepdim=True)).square().sum())
    if within > 1e-12 * total:
        return (within / total) ** 0.5
    return estimate**0.5 / max(float(sketch.norm()), 1e-300)


def _structure(
    model: nn.Module, found: Observed, drafts: list[Layer], rules: Rules | None
) -> tuple[Structure | None, str]:
    """The coarsest equitable partition if some units are equal, or why there is none."""
    if not any(x.cloned for x in drafts):
        return None, ""
    if found.beyond:
        return None, "the loss reads more of the model than its outputs"
    try:
        return structure(model, found.example, rules), ""
    except InvalidInput as error:
        return None, str(error)


def _with_weight_distances(model: nn.Module, layers: list[Layer], seen: list[Seen]) -> list[Layer]:
    blocks = {x.module: x.near_blocks for x in layers}
    return [x._replace(weight_distance=_weight_distance(model, x, _seen(seen, x), blocks)) for x in layers]


def _weight_distance(model: nn.Module, layer: Layer, seen: Seen, blocks: Mapping[str, Any]) -> float | None:
    if seen.kind != "sum" or seen.weight is None or seen.weight[1] != 0:
        return None
    weight = parameter(model, seen.weight[0]).detach()
    if weight.dim() < 2:
        return None
    columns = blocks.get(seen.reads, ())
    index = np.arange(weight.shape[1])
    if columns and weight.shape[1] % len(columns) == 0:
        span = weight.shape[1] // len(columns)
        index = canonical(np.repeat(np.asarray(columns), span) * span + np.tile(np.arange(span), len(columns)))
    if len(set(layer.near_blocks)) == layer.units and len(np.unique(index)) == len(index):
        return 0.0  # no block of two units: every weight is equitable
    slices = weight.reshape(*weight.shape[:2], -1).unbind(-1)
    norm = float(weight.double().norm())
    square = sum(distance_to_equitable(piece, layer.near_blocks, torch.as_tensor(index)) ** 2 for piece in slices)
    return square**0.5 / norm if norm else 0.0


def _operators(known: Structure | None) -> list[tuple[str, str]]:
    return [] if known is None else list(known.skipped.items())


def _notes(found: Observed, reason: str, known: Structure | None, *, training: bool) -> tuple[str, ...]:
    notes: list[str] = []
    if found.samples <= 1:
        notes.append("one sample: every unit is constant on it, and nothing can be told apart; give more data")
    elif found.samples < FEW:
        notes.append(f"{found.samples} samples: units that differ elsewhere may look equal; give more data")
    elif found.batches == 1:
        notes.append("one batch: what is dead, constant or alike may be so on this batch only")
    if reason:
        notes.append(f"whether training parts equal units was not checked: {reason}")
    if known is not None and known.noise:
        notes.append(f"in this mode {known.noise[0]}: training with it parts clones that it acts on")
    if known is not None and not training:
        notes.append("in evaluation mode, as the model is: what parts clones in training mode alone was not looked at")
    return tuple(notes)


def near_blocks(m: Any, threshold: float) -> tuple[int, ...]:
    """Leader clustering by cosine similarity alone: every unit joins the first leader that it resembles."""
    return led((cosines(m) > threshold).cpu().numpy())
