"""The same metrics of several networks of one architecture in one pass: nothing waits for the device before the end.

For GPUs, where one at a time is mostly waiting. Numbers agree with :mod:`empirical.continual.metrics` to rounding.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from empirical.continual.metrics import DORMANT_TAU, LAYER_COLUMNS, Probe
from empirical.runs.store import Row
from empirical.training.evaluation import evaluating, outputs
from lop_theory.metrics import capture, hidden_layers
from lop_theory.metrics.units import (
    DUPLICATE_COSINE,
    Moments,
    cosines,
    dead,
    dormant,
    flatten_units,
    moments,
    saturated,
)

LARGE = 1e-14
"""Of a sum of squares: less is no variation."""
Pictures = Callable[[], tuple[Tensor, Tensor, Tensor]]
"""Training images, labels and allowed classes of a network."""
NETWORK_COLUMNS = ("probe_loss", "probe_accuracy", "probe_accuracy_all", "weight_norm", "gradient_norm")
ACCURACIES = ("train_accuracy", "train_accuracy_all")


def accuracy_rows(models: Sequence[nn.Module], pictures: Sequence[Pictures]) -> list[Row]:
    """Training accuracies of every network."""
    found = [_right(model, *own()) for model, own in zip(models, pictures, strict=True)]
    return _rows(ACCURACIES, torch.stack(found))


def network_rows(models: Sequence[nn.Module], probes: Sequence[Probe]) -> list[Row]:
    """What :func:`empirical.continual.metrics.network_row` has, without the theory."""
    return _rows(NETWORK_COLUMNS, torch.stack([_network(m, p) for m, p in zip(models, probes, strict=True)]))


def layer_rows(models: Sequence[nn.Module], probes: Sequence[Probe]) -> list[list[Row]]:
    """Of every network the metrics of its hidden layers, in order."""
    layers = [_layers(model, probe) for model, probe in zip(models, probes, strict=True)]
    values = [_batched(list(same)) for same in zip(*layers, strict=True)]
    found = torch.stack(values).cpu()
    return [
        [{"units": int(row[0]), **dict(zip(LAYER_COLUMNS, row[1:].tolist(), strict=True))} for row in found[:, k]]
        for k in range(len(models))
    ]


def _rows(names: Sequence[str], values: Tensor) -> list[Row]:
    return [dict(zip(names, row, strict=True)) for row in values.cpu().tolist()]


@torch.no_grad()
def _right(model: nn.Module, inputs: Tensor, labels: Tensor, allowed: Tensor) -> Tensor:
    """Shares of right answers among the allowed classes and among all, (2,)."""
    output = outputs(model, inputs)
    masked = output.masked_fill(~allowed, float("-inf"))
    return torch.stack([masked.argmax(1) == labels, output.argmax(1) == labels]).double().mean(1)


def _network(model: nn.Module, probe: Probe) -> Tensor:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with evaluating(model), torch.enable_grad():
        loss = probe.total_loss(model(probe.inputs)) / len(probe.labels)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    right = _right(model, *probe)
    weights, slopes = (_norm(list(model.parameters())), _norm([g for g in gradients if g is not None]))
    return torch.stack([loss.detach().double(), *right, weights, slopes])


@torch.no_grad()
def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([(t.double() ** 2).sum() for t in tensors]).sum().sqrt()


class _Layer:
    """What a layer's metrics depend on, small: products of units (or of samples, if there are fewer) and masks."""

    def __init__(self, h: Tensor, gradient: Tensor | None, dim: int, count: int) -> None:
        self.m: Moments = moments(h, dim)
        few = self.m.samples < len(self.m.gram)
        flat = flatten_units(h, dim).double() if few else h
        self.spectral = flat @ flat.T if few else self.m.gram
        shares = torch.full((2, len(self.m.mean_abs)), torch.nan, dtype=torch.float64, device=h.device)
        if gradient is not None:
            scales = self.m.mean_abs
            shares = torch.stack([saturated(h, g, dim, mean_abs=scales) for g in (gradient, gradient / count)]).double()
        self.shares = torch.stack([dead(self.m).double(), *shares, dormant(self.m, DORMANT_TAU).double()]).mean(1)


def _layers(model: nn.Module, probe: Probe) -> list[_Layer]:
    with evaluating(model):
        captured = capture(model, probe.inputs, probe.total_loss, layers=hidden_layers(model))
    return [_Layer(h, gradient, dim, len(probe.labels)) for h, gradient, dim in captured.values()]


def _batched(layers: list[_Layer]) -> Tensor:
    """(networks, 1 + columns) of one layer: its units, and the columns in their order; NaN where it is not finite."""
    gram, mean = (torch.stack([getattr(layer.m, name) for layer in layers]) for name in ("gram", "mean"))
    samples, units = layers[0].m.samples, gram.shape[1]
    finite = gram.diagonal(dim1=1, dim2=2).isfinite().all(1)
    similar = torch.stack([cosines(layer.m) for layer in layers]) > DUPLICATE_COSINE
    similar.diagonal(dim1=1, dim2=2).fill_(False)
    any_other, later = (s.any(2).double().mean(1) for s in (similar, similar.triu(1)))
    died, saturation, as_coded, slept = torch.stack([layer.shares for layer in layers]).T
    ranks = _ranks(torch.stack([layer.spectral for layer in layers]), finite)
    centred = gram - samples * mean[:, :, None] * mean[:, None, :]
    columns = [died, any_other, later, saturation, as_coded, slept, *ranks, *_spread(gram, centred)]
    values = torch.stack(columns, 1).masked_fill(~finite[:, None], torch.nan)
    return torch.cat([values.new_full((len(layers), 1), units), values], 1)


def _ranks(gram: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
    """Effective and stable rank; both 0 for a layer of zeros."""
    squares = torch.linalg.eigvalsh(torch.where(finite[:, None, None], gram, 0.0)).clamp_min(0)
    zero = squares.amax(1) == 0
    sigma = squares.sqrt()
    p = sigma / sigma.sum(1, keepdim=True).clamp_min(1e-300)
    effective = torch.special.entr(p).sum(1).exp()
    stable = squares.sum(1) / squares.amax(1).clamp_min(1e-300)
    return torch.where(zero, 0.0, effective), torch.where(zero, 0.0, stable)


def _spread(gram: Tensor, centred: Tensor) -> tuple[Tensor, Tensor]:
    """Participation ratio and Rényi-2 rank, from the Gram matrices of units and of centred units."""
    squares, variance = (g.diagonal(dim1=1, dim2=2) for g in (gram, centred))
    trace = variance.clamp_min(0).sum(1)
    ratio = trace**2 / centred.square().sum((1, 2)).clamp_min(1e-300)
    varying = variance > LARGE * squares.clamp_min(1e-300)
    scale = torch.where(varying, variance, 1.0).rsqrt() * varying
    correlation = centred * scale[:, :, None] * scale[:, None, :]
    renyi = varying.sum(1) ** 2 / correlation.square().sum((1, 2)).clamp_min(1e-300)
    return torch.where(trace > LARGE * squares.sum(1), ratio, 0.0), renyi
