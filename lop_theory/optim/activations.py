"""Activations that keep gradients: concatenated ReLU, deep Fourier features, smooth leaky ReLU, as modules."""

import torch
from torch import Tensor, nn

from lop_theory.optim.ranges import require_between


class CReLU(nn.Module):
    """(max(x, 0), max(−x, 0)) along ``dim``: twice as many features, and one of each pair is alive (Shang et al. 2016,
    Eq. 1; against loss of plasticity Abbas et al. 2023)."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.relu(x), torch.relu(-x)], self.dim)


class DeepFourier(nn.Module):
    """(sin x, cos x) along ``dim``: one of each pair is always close to linear in x (Lewandowski et al. 2024, *Plastic
    learning with deep Fourier features*, arXiv 2410.20634, §4)."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.sin(x), torch.cos(x)], self.dim)


class SmoothLeakyReLU(nn.Module):
    """α x + (1 − α) x σ(β x): a leaky ReLU without a kink, its slope between about α and 1 far from 0; β → ∞ is leaky
    ReLU, α = 0 is SiLU (swish). Raises ``InvalidInput``."""

    def __init__(self, alpha: float = 0.1, beta: float = 1.0) -> None:
        super().__init__()
        require_between("alpha", alpha, 0, 1)
        require_between("beta", beta, ends="()")
        self.alpha, self.beta = alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * x + (1 - self.alpha) * x * torch.sigmoid(self.beta * x)
