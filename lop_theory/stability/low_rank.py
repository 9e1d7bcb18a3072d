"""Rank-deficient deep linear networks.  [low-rank]

With product W_L ⋯ W_1, gradient flow conserves W_{l+1}ᵀW_{l+1} − W_l W_lᵀ. A hidden direction u with uᵀW_l = 0 and
W_{l+1}u = 0 stays so under every gradient step, for any data, loss and step size: an affine LoP manifold.
"""

import torch
from torch import Tensor


def balance(first: Tensor, second: Tensor) -> Tensor:
    """W₂ᵀW₂ − W₁W₁ᵀ (hidden, hidden) of adjacent layers W₁ (hidden, inputs), W₂ (outputs, hidden)."""
    return second.T @ second - first @ first.T


def dead_directions(first: Tensor, second: Tensor, *, tolerance: float = 1e-10) -> Tensor:
    """Orthonormal basis (hidden, k) of the directions that neither enter nor leave: uᵀW₁ = 0 and W₂u = 0.

    Singular values of the stacked (W₁ᵀ; W₂) up to ``tolerance`` × the largest count as zero.
    """
    _, values, right = torch.linalg.svd(torch.cat([first.T, second]).double())
    size = torch.zeros(first.shape[0], dtype=torch.float64)
    size[: len(values)] = values.cpu()
    return right[size <= tolerance * float(size.max())].T
