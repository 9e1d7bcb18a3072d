"""Metrics of several networks in one pass against one network at a time."""

import math

import pytest
import torch
from torch import nn

from empirical.continual import metrics, together
from empirical.continual.metrics import Probe
from empirical.training.models import build
from empirical.training.options import ModelOptions

IMAGE, CLASSES, SEEDS = (3, 8, 8), 6, (1, 2, 3)
MODELS = {
    "mlp": ModelOptions("mlp", "batch", scale=4),
    "few samples": ModelOptions("mlp"),
    "cnn": ModelOptions("cnn", dropout=0.2, scale=16),
    "resnet18": ModelOptions("resnet18", "batch", scale=32),
    "vit": ModelOptions("vit", "layer", scale=32, patch=4),
}


def networks(name: str) -> tuple[list[nn.Module], list[Probe]]:
    """In training mode, each with a probe of its own; the second has a layer of zeros, and two units alike; the third's
    gradients are small."""
    models = [build(MODELS[name], IMAGE, CLASSES, seed) for seed in SEEDS]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layers = [m for m in models[1].modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        layers[0].weight[1] = layers[0].weight[0]
        if layers[0].bias is not None:
            layers[0].bias[1] = layers[0].bias[0]
        layers[-2].weight.zero_()
        [m for m in models[2].modules() if isinstance(m, nn.Linear)][-1].weight.mul_(0.03)
    size = 20 if name == "few samples" else 60
    allowed = torch.arange(CLASSES) < 4
    probes = [
        Probe(
            torch.randn(size, *IMAGE, generator=generator), torch.randint(0, 4, (size,), generator=generator), allowed
        )
        for _ in SEEDS
    ]
    return models, probes


@pytest.mark.parametrize("name", MODELS)
def test_together_as_one_at_a_time(name: str) -> None:
    models, probes = networks(name)
    layers = together.layer_rows(models, probes)
    whole = together.network_rows(models, probes)
    if name == "mlp":
        assert any(row["saturated"] < row["saturated_as_coded"] for row in layers[2]), "a mean's gradient is smaller"
    right = together.accuracy_rows(models, [lambda p=p: tuple(p) for p in probes])
    for model, probe, rows, row, accuracies in zip(models, probes, layers, whole, right, strict=True):
        assert model.training
        assert row == pytest.approx(metrics.network_row(model, probe, theory=False), rel=1e-6)
        assert tuple(accuracies.values()) == metrics.accuracies(model, *probe)
        expected = metrics.layer_rows(model, probe)
        assert [r.keys() for r in rows] == [r.keys() for r in expected]
        for found, wanted in zip(rows, expected, strict=True):
            for column in wanted:
                # a rank of eigenvalues that are rounding only, near the square root of float64's
                assert found[column] == pytest.approx(wanted[column], rel=1e-5, abs=1e-9), column


def test_what_is_not_finite_is_said_of_its_own_network_only() -> None:
    models, probes = networks("mlp")
    with torch.no_grad():
        next(models[0].parameters())[0, 0] = math.nan
    clean = together.layer_rows(models[1:], probes[1:])
    ill, *others = together.layer_rows(models, probes)
    assert all(math.isnan(ill[0][column]) for column in metrics.LAYER_COLUMNS)
    assert ill[0]["units"] == clean[0][0]["units"]
    assert [row.keys() for row in others[0]] == [row.keys() for row in clean[0]]
    for left, right in zip(others, clean, strict=True):
        for a, b in zip(left, right, strict=True):
            assert a == pytest.approx(b, rel=1e-9, abs=1e-12)
