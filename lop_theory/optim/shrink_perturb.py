"""Shrink and perturb (Ash and Adams 2020)."""

from collections.abc import Callable

import torch
from torch import nn

from lop_theory.errors import InvalidInput


@torch.no_grad()
def shrink_and_perturb(
    model: nn.Module, fresh: Callable[[], nn.Module], *, shrink: float = 0.8, perturb: float = 0.1
) -> None:
    """w ← shrink · w + perturb · w', w' from a freshly initialised model of the same shape (``fresh()``). Buffers
    stay."""
    if not 0 <= shrink <= 1 or perturb < 0:
        raise InvalidInput("shrink, perturb", (shrink, perturb), "must lie in [0, 1] and not be negative")
    noise = dict(fresh().named_parameters())
    for name, parameter in model.named_parameters():
        if name not in noise or noise[name].shape != parameter.shape:
            raise InvalidInput("fresh", name, "must build a model with the same parameters")
        parameter.mul_(shrink).add_(noise[name].to(parameter), alpha=perturb)
