"""DASH: shrink weights the more, the less they point where the new data want them (Shin et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.optim.ranges import require_between

Batches = Iterable[tuple[Any, Any]]


def dash(
    model: nn.Module,
    batches: Batches,
    loss: Callable[[Any, Any], Tensor],
    *,
    alpha: float = 0.3,
    floor: float = 0.3,
) -> None:
    """w ← w · clamp(cos(w, −ḡ), floor, 1), ḡ ← (1 − α) ḡ + α ∇L over the batches (*DASH: warm-starting neural network
    training without loss of plasticity under stationarity*, arXiv 2410.23364, Algorithm 1).

    Unit by unit for linear layers, kernel by kernel (output × input) for convolutions, and for a bias as a whole, as in
    the authors' code. ``loss(model(x), y)`` for (x, y) of ``batches``. Gradients, buffers and modes are as before.
    Raises ``InvalidInput`` before anything is changed.
    """
    require_between("alpha", alpha, 0, 1, ends="(]")
    require_between("floor", floor, 0, 1, ends="[]")
    kinds = nn.Linear | nn.modules.conv._ConvNd
    weights = [p for m in model.modules() if isinstance(m, kinds) for p in m.parameters(False) if p.requires_grad]
    means = _mean_gradients(model, weights, batches, loss, alpha)
    with torch.no_grad():
        for weight, mean in zip(weights, means, strict=True):
            weight.mul_(_cosine(weight, -mean).clamp(floor, 1))


def _mean_gradients(
    model: nn.Module, weights: list[nn.Parameter], batches: Batches, loss: Callable[[Any, Any], Tensor], alpha: float
) -> list[Tensor]:
    means, count = [torch.zeros_like(w) for w in weights], 0
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for x, y in batches:
        count += 1
        slopes = torch.autograd.grad(loss(model(x), y), weights, materialize_grads=True)
        for mean, slope in zip(means, slopes, strict=True):
            mean.mul_(1 - alpha).add_(slope, alpha=alpha)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    if not count:
        raise InvalidInput("batches", count, "must be at least one (x, y)")
    return means


def _cosine(weight: Tensor, direction: Tensor) -> Tensor:
    """Of rows, kernels or a whole bias, with the shape that broadcasts."""
    dims = 2 if weight.ndim > 2 else weight.ndim - 1
    lead = weight.shape[:dims]
    cosine = torch.cosine_similarity(weight.reshape(*lead, -1), direction.reshape(*lead, -1), dim=-1)
    return cosine.view(*lead, *[1] * (weight.ndim - dims))
