"""The same metrics of several networks of one architecture in one pass: nothing waits for the device before the end.

For GPUs, where one at a time is mostly waiting. Numbers agree with :mod:`empirical.continual.metrics` to rounding.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from empirical.continual.metrics import DORMANT_TAU, LAYER_COLUMNS, Probe
from empirical.runs.store import Row
from empirical.training.evaluation import evaluating, outputs
from lop_theory.metrics import capture, hidden_layers
from lop_theory.metrics.units import (
    DEAD_SHARE,
    DEAD_VALUE,
    DUPLICATE_COSINE,
    SATURATED_RATIO,
    SATURATED_SHARE,
    flatten_units,
)

LARGE = 1e-14
"""Of a sum of squares: less is no variation."""
NUMBERS = 2**28
"""Activations of a layer that are widened to float64 at once: 2 GB."""
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
    layers = [_captured(model, probe) for model, probe in zip(models, probes, strict=True)]
    values = [_batched(same, len(probes[0].labels)) for same in zip(*layers, strict=True)]
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
    return torch.stack(torch._foreach_norm(tensors, dtype=torch.float64)).norm()


class _Stats(NamedTuple):
    """What a layer's metrics depend on, of several networks: products of units, their means, products of samples where
    there are fewer of these, shares of dead, saturated (twice) and dormant units."""

    gram: Tensor
    mean: Tensor
    spectral: Tensor
    shares: Tensor


def _captured(model: nn.Module, probe: Probe) -> list[tuple[Tensor, Tensor | None]]:
    """Samples × units of every hidden layer, and the gradients of the loss's sum there."""
    with evaluating(model):
        found = capture(model, probe.inputs, probe.total_loss, layers=hidden_layers(model))
    flat = [(flatten_units(h, dim), g if g is None else flatten_units(g, dim)) for h, g, dim in found.values()]
    return [(h.detach(), g) for h, g in flat]


def _stats(layers: Sequence[tuple[Tensor, Tensor | None]], count: int) -> _Stats:
    """Of the same layer of several networks, as many at once as memory likes."""
    at_once = max(1, NUMBERS // layers[0][0].numel())
    parts = [_stats_of(layers[k : k + at_once], count) for k in range(0, len(layers), at_once)]
    return _Stats(*(torch.cat(same) for same in zip(*parts, strict=True)))


def _stats_of(layers: Sequence[tuple[Tensor, Tensor | None]], count: int) -> _Stats:
    h = torch.stack([one for one, _ in layers]).double()
    gradients = [g for _, g in layers if g is not None]
    size = h.abs()
    mean_abs, died = size.mean(1), (size < DEAD_VALUE).double().mean(1) > DEAD_SHARE
    saturation = torch.full((2, *mean_abs.shape), torch.nan, dtype=torch.float64, device=h.device)
    if gradients:
        slopes, limit = torch.stack(gradients).abs(), SATURATED_RATIO * mean_abs.clamp_min(1e-12)
        small = [(g < limit.to(g.dtype)[:, None]).double().mean(1) > SATURATED_SHARE for g in (slopes, slopes / count)]
        saturation = torch.stack(small).double()
    slept = mean_abs <= DORMANT_TAU * mean_abs.mean(1, keepdim=True)
    shares = torch.stack([died.double(), *saturation, slept.double()], 1).mean(2)
    gram = h.mT @ h
    return _Stats(gram, h.mean(1), h @ h.mT if h.shape[1] < h.shape[2] else gram, shares)


def _batched(layers: Sequence[tuple[Tensor, Tensor | None]], count: int) -> Tensor:
    """(networks, 1 + columns) of one layer: its units, and the columns in their order; NaN where it is not finite."""
    gram, mean, spectral, shares = _stats(layers, count)
    samples, units = layers[0][0].shape
    squares = gram.diagonal(dim1=1, dim2=2)
    finite = squares.isfinite().all(1)
    norm = squares.clamp_min(0).sqrt()
    scale = torch.where(norm > 0, 1 / norm.clamp_min(1e-300), 0.0)
    similar = gram * scale[:, :, None] * scale[:, None, :] > DUPLICATE_COSINE
    similar.diagonal(dim1=1, dim2=2).fill_(False)
    any_other, later = (s.any(2).double().mean(1) for s in (similar, similar.triu(1)))
    died, saturation, as_coded, slept = shares.T
    centred = gram - samples * mean[:, :, None] * mean[:, None, :]
    columns = [died, any_other, later, saturation, as_coded, slept, *_ranks(spectral, finite), *_spread(gram, centred)]
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
