"""Dropout whose masks are drawn beside the pass: by a generator of the model's own, into memory that stays."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


class Masked(nn.Module):
    """Multiplies by ``mask``, which :class:`Masks` draws: 0, or 1/(1 − p)."""

    mask: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def without_dice(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of the model whose dropout is :class:`Masked`, for inputs of the shape of ``example``."""
    copy = deepcopy(model).eval()
    for name, module in list(copy.named_modules()):
        if isinstance(module, nn.Dropout) and module.p > 0:
            owner, _, leaf = name.rpartition(".")
            setattr(copy.get_submodule(owner), leaf, Masked(module.p))
    handles = [
        module.register_forward_pre_hook(lambda own, given: setattr(own, "mask", torch.ones_like(given[0])))
        for module in copy.modules()
        if isinstance(module, Masked)
    ]
    with torch.no_grad():
        copy(example)
    for handle in handles:
        handle.remove()
    return copy.train()


class Masks:
    """The masks of S models; a draw is the same sequence of numbers as that of ``nn.Dropout`` under a global generator
    in the same state."""

    def __init__(self, skeleton: nn.Module, count: int, device: torch.device) -> None:
        layers = {name: m for name, m in skeleton.named_modules() if isinstance(m, Masked)}
        self.rates = {f"{name}.mask": module.p for name, module in layers.items()}
        self.of_model = [
            {f"{name}.mask": torch.empty_like(module.mask) for name, module in layers.items()} for _ in range(count)
        ]
        self.generators = [torch.Generator(device) for _ in range(count)] if layers else []

    def seed(self, seeds: Sequence[int]) -> None:
        """The state that the next draws begin from."""
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(seed)

    def draw(self, k: int) -> None:
        """New masks of model k."""
        for name, mask in self.of_model[k].items():
            mask.bernoulli_(1 - self.rates[name], generator=self.generators[k]).div_(1 - self.rates[name])
