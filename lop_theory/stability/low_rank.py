"""Rank-deficient deep linear networks.  [low-rank] [low-rank-run]

With product W_L ⋯ W_1, gradient flow conserves Q_l = W_{l+1}ᵀW_{l+1} − W_l W_lᵀ. A step of size η with gradients G_l
moves it at second order only, and exactly by

    Q_l(t+1) − Q_l(t) = η² (G_{l+1}ᵀ G_{l+1} − G_l G_lᵀ),

whatever the data: the first-order terms cancel because W_{l+1}ᵀ G_{l+1} = G_l W_lᵀ. A hidden direction u with uᵀW_l = 0
and W_{l+1}u = 0 stays so under every gradient step, for any data, loss and step size: an affine LoP manifold, on which
no function of higher rank can be reached.
"""

from collections.abc import Sequence
from typing import NamedTuple

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


class Regression(NamedTuple):
    """Loss ½‖W X − Y‖²/n for ``inputs`` X (inputs, n) and ``targets`` Y (outputs, n)."""

    inputs: Tensor
    targets: Tensor

    def loss(self, product: Tensor) -> float:
        """Of the linear map ``product`` (outputs, inputs)."""
        return float((product @ self.inputs - self.targets).square().sum()) / (2 * self.inputs.shape[1])


class LinearRun(NamedTuple):
    """Gradient descent of a deep linear network: ``weights`` at the end; per step the ``losses`` before it. Per pair of
    adjacent layers: ``drift`` = ‖Q(T) − Q(0)‖, how far the conserved quantity has moved, and ``unexplained`` = ‖Q(T) −
    Q(0) − η² Σ (…)‖, what the identity above leaves of it (rounding)."""

    weights: tuple[Tensor, ...]
    losses: tuple[float, ...]
    drift: tuple[float, ...]
    unexplained: tuple[float, ...]


def descend_linear(weights: Sequence[Tensor], tasks: Sequence[Regression], step_size: float, steps: int) -> LinearRun:
    """``steps`` steps of size η on each of ``tasks``, one after the other, from ``weights`` W_1, …, W_L."""
    layers, losses = list(weights), list[float]()
    pairs = range(len(layers) - 1)
    before = [balance(layers[k], layers[k + 1]) for k in pairs]
    second = [torch.zeros_like(q) for q in before]
    for task in tasks:
        for _ in range(steps):
            losses.append(task.loss(torch.linalg.multi_dot(layers[::-1])))
            slopes = _gradients(layers, task)
            for k in pairs:
                second[k] += step_size**2 * balance(slopes[k], slopes[k + 1])
            layers = [w - step_size * g for w, g in zip(layers, slopes, strict=True)]
    moved = [balance(layers[k], layers[k + 1]) - before[k] for k in pairs]
    drift = tuple(float(m.norm()) for m in moved)
    rest = tuple(float((m - s).norm()) for m, s in zip(moved, second, strict=True))
    return LinearRun(tuple(layers), tuple(losses), drift, rest)


def _gradients(layers: Sequence[Tensor], task: Regression) -> list[Tensor]:
    """G_l = (W_L ⋯ W_{l+1})ᵀ E (W_{l−1} ⋯ W_1 X)ᵀ / n, E the residual."""
    values = [task.inputs]
    for weight in layers:
        values.append(weight @ values[-1])
    adjoint, found = (values[-1] - task.targets) / task.inputs.shape[1], list[Tensor]()
    for weight, value in zip(reversed(layers), reversed(values[:-1]), strict=True):
        found.append(adjoint @ value.T)
        adjoint = weight.T @ adjoint
    return found[::-1]


def least_loss(task: Regression, rank: int) -> float:
    """The least loss of any linear map of at most that rank: (‖Y − Ŷ‖² + Σ_{i>r} σ_i(Ŷ)²)/2n, Ŷ the projection of Y
    onto the row space of X (Eckart and Young)."""
    fitted = task.targets @ torch.linalg.pinv(task.inputs) @ task.inputs
    lost = torch.linalg.svdvals(fitted)[rank:].square().sum() + (task.targets - fitted).square().sum()
    return float(lost) / (2 * task.inputs.shape[1])


def deficient(weights: Sequence[Tensor], layer: int, direction: Tensor) -> list[Tensor]:
    """The network in which ``direction`` of hidden layer ``layer`` (0 is the first) neither enters nor leaves."""
    found, u = list(weights), direction / direction.norm()
    found[layer] = found[layer] - torch.outer(u, u @ found[layer])
    found[layer + 1] = found[layer + 1] - torch.outer(found[layer + 1] @ u, u)
    return found
