"""The memory that training takes: counted on the CPU from one small pass, so that it can be told before and after it
was too little."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from empirical.training.feed import Feed, normalised
from empirical.training.gradients import masked_cross_entropy
from empirical.training.options import OptimiserOptions
from empirical.training.passes import Passes
from lop_theory.errors import InvalidInput

GB = 1e9
CONTEXT = 1.5 * GB
"""What CUDA, its libraries and the fragments between tensors take."""
ROWS = 3
"""Copies of a model's weights: values, gradients as they come, gradients in a row. Adam has two more."""


class Need(NamedTuple):
    """Bytes of one model: weights with gradients and moments, what the backward pass keeps of a batch, data."""

    weights: float
    activations: float
    data: float

    def together(self, count: int) -> float:
        """Bytes of so many models side by side."""
        return CONTEXT + count * sum(self)

    def fitting(self, total: float) -> int:
        """How many models fit."""
        return max(0, int((total - CONTEXT) / sum(self)))


def need(model: nn.Module, optimiser: OptimiserOptions, image: Tensor, batch: int, data: float = 0.0) -> Need:
    """Of a model trained on batches of images like ``image``, (1, channels, height, width)."""
    numbers = sum(p.numel() * p.element_size() for p in model.parameters())
    moments = 2 if optimiser.name in ("adam", "noisy_adam") else 0
    count = 2
    kept = saved_bytes(deepcopy(model).cpu().train(), image.cpu().repeat(count, 1, 1, 1), optimiser)
    return Need((ROWS + moments) * numbers, kept / count * batch, data)


def saved_bytes(model: nn.Module, images: Tensor, optimiser: OptimiserOptions) -> int:
    """What a backward pass keeps beside the weights: every memory once."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, or its address would be used again
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        Passes(optimiser.precision).forward(images.device),
    ):
        logits = model(images)
        masked_cross_entropy(logits, torch.zeros(len(images), dtype=torch.long), None)
    weights = {p.shape for p in model.parameters()} | {p.T.shape for p in model.parameters() if p.dim() == 2}
    return sum(size for size, tensor in kept.values() if tensor.shape not in weights)


def too_little(models: Sequence[nn.Module], optimiser: OptimiserOptions, feed: Feed, batch: int) -> InvalidInput:
    """What to say when the device has too little memory."""
    device = feed.labels.device
    data = feed.inputs.numel() * feed.inputs.element_size() / len(models)
    found = need(models[0], optimiser, normalised(feed.inputs[:1]), batch, data)
    total = torch.cuda.get_device_properties(device).total_memory
    return refusal(found, len(models), total)


def refusal(found: Need, count: int, total: float) -> InvalidInput:
    """The line for ``count`` models on a device of ``total`` bytes."""
    fitting = min(count - 1, found.fitting(total))
    remedy = f"give --together {fitting}" if fitting else "give a smaller --batch, or a device with more memory"
    needs = f"needs about {found.together(count) / GB:.1f} GB on a device with {total / GB:.1f} GB"
    return InvalidInput("together", count, needs, remedy)
