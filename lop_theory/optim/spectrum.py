"""Penalties on singular values: Parseval and spectral regularisation. Add them to the loss."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.optim.ranges import require_between


def matrices(model: nn.Module) -> list[Tensor]:
    """Weights of linear layers and convolutions as outputs × inputs."""
    kinds = nn.Linear | nn.modules.conv._ConvNd
    layers = [m for m in model.modules() if isinstance(m, kinds)]
    found = [torch.flatten(w, 1) for m in layers if isinstance(w := m.weight, Tensor)]
    if not found:
        raise InvalidInput("model", type(model).__name__, "must have linear layers or convolutions")
    return found


def parseval(weights: Iterable[Tensor], *, scale: float = 1.0) -> Tensor:
    """Σ ‖W Wᵀ − scale·I‖_F²: rows orthogonal, of squared length ``scale`` (Chung et al. 2024, *Parseval regularization
    for continual reinforcement learning*, arXiv 2412.07224, Eq. 2)."""
    require_between("scale", scale)
    total = [
        (w @ w.mT - scale * torch.eye(len(w), dtype=w.dtype, device=w.device)).square().sum() for w in _flat(weights)
    ]
    return torch.stack(total).sum()


def spectral(weights: Iterable[Tensor], *, power: int = 2) -> Tensor:
    """Σ (σ_max(W)^power − 1)²: the largest singular value stays near 1, its value at initialisation (Lewandowski et al.
    2024, *Learning continually by spectral regularization*, arXiv 2406.06811, Eq. 3; there power is 2)."""
    require_between("power", power, 1)
    total = [(torch.linalg.matrix_norm(w, ord=2) ** power - 1).square() for w in _flat(weights)]
    return torch.stack(total).sum()


def _flat(weights: Iterable[Tensor]) -> list[Tensor]:
    found = list(weights)
    for weight in found:
        if weight.ndim != 2:
            raise InvalidInput("weights", tuple(weight.shape), "must be matrices", "matrices(model) gives them")
    if not found:
        raise InvalidInput("weights", "none", "must be at least one matrix")
    return found
