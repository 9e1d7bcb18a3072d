"""What the escape experiment records beside continual classification: which units that were lost came back, and the
curvature normal to the manifold of the clones that a network has. Networks are left as they were.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from empirical.continual.metrics import COLUMNS as CONTINUAL_COLUMNS
from empirical.continual.metrics import Probe
from empirical.escape.options import EscapeRun
from empirical.runs.store import Row
from empirical.training.evaluation import CHUNK, evaluating
from lop_theory.metrics import Moments, capture, dead, duplicates, flatten_units, hidden_layers, moments
from lop_theory.modules.finder import DEFAULT, near_blocks
from lop_theory.optim.stacks import unit_layers
from lop_theory.stability import (
    Clones,
    Curvature,
    certified_frozen,
    clones_of_layers,
    curvature,
    kind,
    normal,
    normal_extremes,
)

COLUMNS = {
    **CONTINUAL_COLUMNS,
    "start": "int8",
    "branch": "int8",
    **dict.fromkeys(("certified", "dead_back", "certified_back", "duplicate_back"), "float32"),
    **dict.fromkeys(("silent", "revived"), "int32"),
    **dict.fromkeys(("lowest_curvature", "highest_curvature", "curvature_residual"), "float32"),
    **dict.fromkeys(("escape_curvature", "escape_mixing", "escape_length"), "float32"),
    "clones": "int32",
    "saddle": "int8",
}
"""Columns of a record: those of continual classification, and at the end of a task

per layer: ``certified``, the share of units that are frozen for ever whatever lies upstream; ``dead_back``,
``certified_back`` and ``duplicate_back``, the shares of the units that at the start of stage 2 were dead, certified or
duplicates, and on this task's probe are alive (duplicates: and no duplicates); ``silent``, the units that were zero on
every training image half-way through the task, and ``revived``, those of them that at its end are not. A silent unit
has no gradient, and half a task is enough for Adam's memory of older ones to die away. Theory says that none revives
but by noise or repair in the first layer, which has nothing trained before it, and in a layer that is silent as a
whole, for then nothing before it has a gradient; others may be revived from upstream.

per network: the extreme curvatures on the normal space of its ``clones`` (units in near-clone blocks), the larger
residual of the two, and whether they say ``saddle``; of the escape at the task's start, curvature and mixing along the
direction and length of the step."""

INPUT_RANGE = (-1.0, 1.0)
"""Of pictures, whatever the pixels."""


class Lost(NamedTuple):
    """Units at the start of stage 2, a mask a layer; ``certified`` is ``None`` where the certificate does not apply."""

    dead: list[Tensor]
    duplicate: list[Tensor]
    certified: list[Tensor] | None


def found_lost(model: nn.Module, probe: Probe, run: EscapeRun) -> Lost:
    """The state of every unit."""
    layers = layer_moments(model, probe)
    return Lost([dead(m) for m in layers], [duplicates(m)[0] for m in layers], certificates(model, run))


def layer_moments(model: nn.Module, probe: Probe) -> list[Moments]:
    """Moments of every hidden layer's activations on the probe."""
    with evaluating(model):
        captured = capture(model, probe.inputs, layers=hidden_layers(model))
    return [moments(h, dim) for h, _, dim in captured.values()]


def certificates(model: nn.Module, run: EscapeRun) -> list[Tensor] | None:
    """Permanently frozen units of an MLP of ReLUs without normalisation, on pictures."""
    if run.model.name != "mlp" or run.model.normalisation != "none" or run.data.source == "gmm":
        return None
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)][:-1]
    return certified_frozen([(m.weight, m.bias) for m in linear], *INPUT_RANGE)


def came_back(model: nn.Module, probe: Probe, lost: Lost, run: EscapeRun) -> list[Row]:
    """Columns of every layer, in order: which units of ``lost`` live again; left out where it had none."""
    rows = []
    now = certificates(model, run)
    for layer, m in enumerate(layer_moments(model, probe)):
        alive = ~dead(m)
        row = {
            "dead_back": _share(alive, lost.dead[layer]),
            "duplicate_back": _share(alive & ~duplicates(m)[0], lost.duplicate[layer]),
        }
        if lost.certified is not None and now is not None:
            row["certified"] = float(now[layer].double().mean())
            row["certified_back"] = _share(alive, lost.certified[layer])
        rows.append({name: share for name, share in row.items() if not math.isnan(share)})
    return rows


def silent(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Units of every hidden layer that are zero on all images, a mask a layer."""
    found: list[Tensor] = []
    with evaluating(model):
        for part in images.split(CHUNK):
            captured = capture(model, part, layers=hidden_layers(model))
            here = [(flatten_units(h, dim) == 0).all(0) for h, _, dim in captured.values()]
            found = [a & b for a, b in zip(found, here, strict=True)] if found else here
    return found


def revived(before: Sequence[Tensor], now: Sequence[Tensor]) -> list[Row]:
    """Columns of every layer: how many units were silent, and how many of those are not now."""
    return [{"silent": int(a.sum()), "revived": int((a & ~b).sum())} for a, b in zip(before, now, strict=True)]


def _share(mask: Tensor, of: Tensor) -> float:
    """NaN of none."""
    return float(mask[of].double().mean())


def clones_found(model: nn.Sequential, layers: Sequence[Moments]) -> tuple[Clones, int]:
    """The manifold on which near-clones (cosine > 0.95) are clones, and how many units share a block."""
    blocks = [near_blocks(m, DEFAULT.near) for m in layers]
    shared = sum(block.count(b) > 1 for block in blocks for b in block)
    names = [layer.name for layer in unit_layers(model)]
    return clones_of_layers(model, dict(zip(names, blocks, strict=True))), shared


def curvature_on(model: nn.Module, probe: Probe) -> Curvature:
    """Of the probe's mean loss, in float64."""
    with evaluating(model):
        return curvature(
            model, probe.inputs, lambda output: probe.total_loss(output) / len(probe.labels), dtype=torch.float64
        )


def spectrum(model: nn.Module, probe: Probe, steps: int) -> Row:
    """Extreme curvatures on the normal space of the clones that the network has, if any."""
    assert isinstance(model, nn.Sequential)
    clones, shared = clones_found(model, layer_moments(model, probe))
    if not shared:
        return {"clones": 0}
    at = curvature_on(model, probe)
    found = normal_extremes(at, normal(clones, at.coordinates), steps=steps)
    return {
        "clones": shared,
        "saddle": int(kind(found, tolerance=1e-6) == "saddle"),
        "lowest_curvature": found.lowest.value,
        "highest_curvature": found.highest.value,
        "curvature_residual": max(found.lowest.residual, found.highest.residual),
    }
