"""What cloning records: how far a wide network is from a clone, what base, clone and control can do, their layers.

Networks are measured in evaluation mode and left as they were. Clones lie side by side, as ``expand`` lays them out.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.runs.store import Row
from empirical.training.evaluation import evaluating, outputs
from lop_theory.metrics import (
    capture,
    cloning_r2,
    cloning_r2_as_coded,
    hidden_layers,
    layer_metrics,
    mean_cloning_r2,
    weight_norm,
)
from lop_theory.modules.interface import Partition
from lop_theory.modules.redistribute import block_means, block_sums

GLIMPSE = 512
"""Training images, evenly spread, for losses and accuracies in evaluation mode."""
ROLES = ("base", "clone", "control")
LAYER_COLUMNS = {"effective_rank": "rank", "dead": "dead", "duplicate_as_paper": "duplicate"}
_OF_ROLE = ("loss", "train_loss", "train_accuracy", "probe_loss", "probe_accuracy", *LAYER_COLUMNS.values())
COLUMNS = {
    "step": "int32",
    "layer": "int16",
    **{f"{role}_{name}": "float32" for role in ROLES for name in _OF_ROLE},
    **dict.fromkeys(
        (
            "defect", "forward_defect", "backward_defect", "r2_as_coded", "distance", "spread", "function_gap",
            "base_noise_ratio", "clone_noise_ratio",
        ),
        "float32",
    ),
    **{
        f"theory_{prediction}{verdict}": "int16"
        for prediction in ("", "clone_distance_", "clone_equals_base_")
        for verdict in ("pass", "fail", "out")
    },
}  # fmt: skip
"""Columns of a record. ``layer`` −1 is the whole network, 0 its first hidden layer.

``…_loss`` is the mean training loss of the steps since the row before; ``…_train_…`` and ``…_probe_…`` are of up to 512
training images and of the held-out probe, in evaluation mode. A *defect* is 1 − R² of cloning (exactly 0 for exact
clones), ``defect`` its mean over layers and both directions, ``r2_as_coded`` the authors' number (the `laptop`
records of version 0.1 hold it with variances instead of standard deviations: the same, ½, on exact clones).
``distance`` is that of the clone's weights from RE∩CE and ``spread`` that from block-constant weights, both over the
weights' norm.
``function_gap`` is the largest difference of outputs of clone and base on the probe, over the largest output.
``…_noise_ratio`` is ‖noise‖/‖gradient‖ in the last step."""


class Sample(NamedTuple):
    """Images and their labels."""

    images: Tensor
    labels: Tensor

    def loss(self, output: Tensor) -> Tensor:
        """Mean cross-entropy."""
        return cross_entropy(output, self.labels)


@torch.no_grad()
def scores(model: nn.Module, sample: Sample) -> tuple[float, float]:
    """Mean cross-entropy and share of right answers."""
    output = outputs(model, sample.images)
    return float(sample.loss(output)), float((output.argmax(1) == sample.labels).double().mean())


def function_gap(clone: nn.Module, base: nn.Module, images: Tensor) -> float:
    """max |clone(x) − base(x)| / max |base(x)|."""
    theirs = outputs(base, images)
    return float((outputs(clone, images) - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def network_rows(models: Mapping[str, nn.Module], train: Sample, probe: Sample, factor: int) -> list[Row]:
    """What the networks can do, by role, in one row; then a row for each hidden layer, of all roles."""
    every = -(-len(train.labels) // GLIMPSE)
    glimpse = Sample(train.images[::every], train.labels[::every])
    network: Row = {}
    layers: list[Row] = []
    for role, model in models.items():
        network[f"{role}_train_loss"], network[f"{role}_train_accuracy"] = scores(model, glimpse)
        network[f"{role}_probe_loss"], network[f"{role}_probe_accuracy"] = scores(model, probe)
        found = layer_rows(model, probe, role, factor)
        layers = [{**a, **b} for a, b in zip(layers, found, strict=True)] if layers else found
    return [network, *layers]


def layer_rows(model: nn.Module, probe: Sample, role: str, factor: int) -> list[Row]:
    """Metrics of every hidden layer, in order; of the clone also 1 − R² of activations and of their gradients."""
    with evaluating(model):
        loss = probe.loss if role == "clone" else None
        captured = capture(model, probe.images, loss, layers=hidden_layers(model))
    rows: list[Row] = []
    for found in captured.values():
        metrics = layer_metrics(found.output, None, found.channel_dim)._asdict()
        row = {f"{role}_{short}": metrics[name] for name, short in LAYER_COLUMNS.items()}
        if found.gradient is not None:
            blocks = np.arange(metrics["units"]) // factor
            row["forward_defect"] = 1.0 - cloning_r2(found.activations, blocks)
            row["backward_defect"] = 1.0 - cloning_r2(found.gradient, blocks)
            row["r2_as_coded"] = cloning_r2_as_coded(found.activations, blocks)
        rows.append(row)
    return rows


def cloning_row(layers: list[Row]) -> Row:
    """The means over layers of what :func:`layer_rows` found of a clone."""
    forward, backward = ([row[name] for row in layers] for name in ("forward_defect", "backward_defect"))
    coded = mean_cloning_r2([row["r2_as_coded"] for row in layers], backward)["as_coded"]
    means = {"forward_defect": float(np.mean(forward)), "backward_defect": float(np.mean(backward))}
    return {**means, "defect": float(np.mean([*forward, *backward])), "r2_as_coded": coded}


def manifold_row(model: nn.Module, maps: Mapping[str, tuple[Partition, ...]]) -> Row:
    """Distances of a wide network's weights from the cloning manifolds, over their norm; ``maps`` as in a profile's
    ``state``."""
    weights = {name: p.detach().double().cpu().numpy() for name, p in model.named_parameters()}
    norm = max(weight_norm(model), 1e-300)
    constant, equitable = (
        sum(square(w, maps[name]) for name, w in weights.items()) for square in (spread_square, equitable_square)
    )
    return {"spread": constant**0.5 / norm, "distance": equitable**0.5 / norm}


def spread_square(weight: np.ndarray, maps: tuple[Partition, ...]) -> float:
    """Squared distance of a parameter from the block-constant ones."""
    mean = weight
    for dim, index in enumerate(maps):
        mean = block_means(mean, np.asarray(index), dim)
    return float(((weight - mean) ** 2).sum())


def equitable_square(weight: np.ndarray, maps: tuple[Partition, ...]) -> float:
    """Squared distance of a parameter from RE∩CE (a vector's from the block-constant ones); dimensions after the
    second are kernel positions. Blocks of a dimension have one size."""
    if weight.ndim < 2 or _copies(maps[0]) == _copies(maps[1]) == 1:
        return spread_square(weight, maps)
    rows, columns = (np.asarray(index) for index in maps[:2])
    incoming, outgoing = block_sums(weight, columns, 1), block_sums(weight, rows, 0)
    in_spread = incoming - block_means(incoming, rows, 0)
    out_spread = outgoing - block_means(outgoing, columns, 1)
    return float((in_spread**2).sum() / _copies(columns) + (out_spread**2).sum() / _copies(rows))


def _copies(index: Partition) -> int:
    return len(index) // (int(np.max(index)) + 1)
