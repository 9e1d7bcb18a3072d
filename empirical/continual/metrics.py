"""What continual classification records of a network: accuracies, norms, the metrics of its layers, checks of the
theory. Networks are measured in evaluation mode and left as they were.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.runs.store import Row
from empirical.training.evaluation import evaluating, outputs
from lop_theory.metrics import capture, hidden_layers, layer_metrics, saturated, weight_norm

DORMANT_TAU = 0.025
"""ReDo's threshold."""
LAYER_COLUMNS = (
    "dead", "duplicate_as_paper", "duplicate_as_coded", "saturated", "saturated_as_coded", "dormant", "effective_rank",
    "stable_rank", "participation_ratio", "renyi2_rank",
)  # fmt: skip
COLUMNS = {
    "step": "int32",
    "task": "int16",
    "moment": "int8",
    "layer": "int16",
    "units": "int32",
    **dict.fromkeys(
        (
            "loss", "train_accuracy", "train_accuracy_all", "probe_loss", "probe_accuracy", "probe_accuracy_all",
            "weight_norm", "gradient_norm", *LAYER_COLUMNS,
        ),
        "float32",
    ),
    **{
        f"theory_{prediction}{verdict}": "int32"
        for prediction in ("", "rank_gain_", "clone_distance_", "frozen_")
        for verdict in ("pass", "fail", "out")
    },
}  # fmt: skip
"""Columns of a record. ``layer`` −1 is the whole network, 0 its first hidden layer. ``loss`` is the mean training loss
of the window that ends at ``step``, accuracies are over the task's classes or (``…_all``, the authors') over all; the
probe is held out and balanced. ``saturated`` compares the gradient of each sample's own loss, ``saturated_as_coded``
that of the mean loss over the probe, which is as many times smaller as the probe has images."""


class Probe(NamedTuple):
    """The fixed balanced batch of a task, with the classes that its loss is masked to."""

    inputs: Tensor
    labels: Tensor
    allowed: Tensor

    def total_loss(self, output: Tensor) -> Tensor:
        """Sum over the samples of the cross-entropy over the allowed classes."""
        return cross_entropy(output.masked_fill(~self.allowed, float("-inf")), self.labels, reduction="sum")


@torch.no_grad()
def accuracies(model: nn.Module, inputs: Tensor, labels: Tensor, allowed: Tensor) -> tuple[float, float]:
    """Share of right answers: the largest output among the allowed classes, and among all."""
    output = outputs(model, inputs)
    masked = output.masked_fill(~allowed, float("-inf"))
    right = torch.stack([masked.argmax(1) == labels, output.argmax(1) == labels]).double().mean(1)
    return float(right[0]), float(right[1])


def network_row(model: nn.Module, probe: Probe, *, theory: bool) -> Row:
    """Probe loss and accuracies, norms of weights and of the mean loss's gradient, and the theory's checks if asked
    for."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with evaluating(model), torch.enable_grad():
        loss = probe.total_loss(model(probe.inputs)) / len(probe.labels)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    square = sum(float((g.double() ** 2).sum()) for g in gradients if g is not None)
    masked, among_all = accuracies(model, *probe)
    row = {
        "probe_loss": float(loss.detach()),
        "probe_accuracy": masked,
        "probe_accuracy_all": among_all,
        "weight_norm": weight_norm(model),
        "gradient_norm": square**0.5,
    }
    return row | (checked(model, probe) if theory else {})


def layer_rows(model: nn.Module, probe: Probe) -> list[Row]:
    """The metrics of every hidden layer, in order: its activation's output."""
    with evaluating(model):
        captured = capture(model, probe.inputs, probe.total_loss, layers=hidden_layers(model))
    rows = []
    for h, gradient, dim in captured.values():
        found = layer_metrics(h, gradient, dim, dormant_tau=DORMANT_TAU)._asdict()
        row = {"units": found["units"], **{name: found[name] for name in LAYER_COLUMNS if name in found}}
        if gradient is not None:
            others = [d for d in range(h.dim()) if d != dim % h.dim()]
            size = h.abs().mean(others, dtype=torch.float64)
            mean_loss = gradient / len(probe.labels)
            row["saturated_as_coded"] = float(saturated(h, mean_loss, dim, mean_abs=size).double().mean())
        rows.append(row)
    return rows


def checked(model: nn.Module, probe: Probe) -> Row:
    """How many of the theory's predictions held, did not, or were out of hypothesis."""
    from empirical.theory import check_model, counts

    with evaluating(model):
        found = counts(check_model(model, probe.inputs, probe.total_loss))
    return {name: value for name, value in found.items() if name in COLUMNS}
