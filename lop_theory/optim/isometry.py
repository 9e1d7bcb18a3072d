"""FIRE: replace weights by the nearest isometry, their polar factor, between tasks (Han et al. 2026)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput

METHODS = ("svd", "newton-schulz")


def polar(matrix: Tensor, *, iterations: int | None = None) -> Tensor:
    """The polar factor U Vᵀ of W = U S Vᵀ, over the singular values that are not 0: the nearest matrix with orthonormal
    rows or columns if W has full rank. (Else that is not unique, and to complete U Vᵀ would part clones at random.)

    ``iterations``: by that many Newton–Schulz steps X ← 1.5 X − 0.5 X XᵀX from W/‖W‖_F, as published (10), which reach
    it only where no singular value is small; by default exactly.
    """
    if iterations is None:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        rank = s > s[:1] * max(matrix.shape) * torch.finfo(s.dtype).eps
        return u * rank @ v
    wide = matrix.shape[1] > matrix.shape[0]
    x = matrix.mT if wide else matrix
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * x @ (x.mT @ x)
    return x.mT if wide else x


@torch.no_grad()
def fire(model: nn.Module, *, iterations: int | None = 10, only: Iterable[str] | None = None) -> list[str]:
    """Every weight of linear layers and 2d convolutions (of the modules named in ``only``) becomes √(out/in)·polar(W),
    of a convolution at every place of the kernel, over the kernel's size; names of the modules.

    Frobenius isometry reinitialisation (arXiv 2602.08040; ``iterations=10`` is the authors' code, ``None`` the exact
    polar factor). Biases stay, and so does a weight of zeros. Clones stay clones: a polar factor is W times a function
    of WᵀW, so it leaves no clone manifold. Clear the optimiser's memory yourself. Raises ``InvalidInput``.
    """
    if iterations is not None and iterations < 1:
        raise InvalidInput("iterations", iterations, "must be at least 1, or None for the exact polar factor")
    chosen = None if only is None else set(only)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    missing = (chosen or set()) - {name for name, _ in found}
    if missing:
        raise InvalidInput("only", sorted(missing), "must name linear layers or 2d convolutions of the model")
    done = [(name, module) for name, module in found if chosen is None or name in chosen]
    for _, module in done:
        weight = module.weight
        matrices = weight.reshape(*weight.shape[:2], -1).permute(2, 0, 1).double()
        scale = (weight.shape[0] / weight.shape[1]) ** 0.5 / len(matrices)
        new = torch.stack([polar(matrix, iterations=iterations) for matrix in matrices]) * scale
        weight.copy_(new.permute(1, 2, 0).reshape(weight.shape))
    return [name for name, _ in done]
