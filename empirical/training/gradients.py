"""Losses and gradients of S models on S batches: one model after the other, or all in one vectorised call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from empirical.training.passes import Passes
from empirical.training.stack import Stack

Gradients = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(inputs, labels, mask), each (S, …) → losses (S,); gradients are written to the stack."""
DROPOUT_PURPOSE = 101


def masked_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """Mean cross-entropy of (B, classes) over the classes that ``mask`` allows, (classes,).

    Forbidden logits count as −∞, so their gradient is exactly 0. The logits are widened to float32 at least.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    if mask is not None:
        wide = wide.masked_fill(~mask, -torch.inf)
    return nn.functional.cross_entropy(wide, labels)


def has_dropout(model: nn.Module) -> bool:
    """Whether a training pass draws random numbers."""
    rates = (m.p if isinstance(m, nn.Dropout) else getattr(m, "dropout", 0.0) for m in model.modules())
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def layout_of(model: nn.Module) -> torch.memory_format:
    """Of a model's inputs: channels last, where convolutions are 1.2–1.4 times as fast."""
    images = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return torch.channels_last if images else torch.contiguous_format


def one_by_one(
    stacked: Stack, models: Sequence[nn.Module], dice: Callable[[int], int] | None, passes: Passes
) -> Gradients:
    """Model k alone, k = 0, 1, …; ``dice(k)`` seeds its dropout."""
    device = stacked.values.device
    layout = layout_of(models[0])

    def gradients(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        losses: list[Tensor] = []
        for k, model in enumerate(models):
            with nullcontext() if dice is None else _seeded(dice(k), device), passes.forward(device):
                logits = model(inputs[k].contiguous(memory_format=layout))
            loss = masked_cross_entropy(logits, labels[k], None if mask is None else mask[k])
            stacked.keep(torch.autograd.grad(loss, stacked.of_model[k], materialize_grads=True), k)
            losses.append(loss.detach())
        return torch.stack(losses)

    return gradients


def vectorised(stacked: Stack, models: Sequence[nn.Module], passes: Passes) -> Gradients:
    """All models in one call of :func:`torch.func.vmap`; running statistics are updated in place."""
    device, skeleton = stacked.values.device, models[0]
    if passes.precision == "bf16":
        _keep_statistics_wide(skeleton)

    def loss(
        parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, mask: Tensor | None
    ) -> Tensor:
        return masked_cross_entropy(functional_call(skeleton, (parameters, buffers), (x,)), y, mask)

    def all_models(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        dims = (0, 0, 0, 0, None if mask is None else 0)
        found = vmap(grad_and_value(loss), in_dims=dims)
        return found(stacked.parameters, stacked.buffers, inputs, labels, mask)

    def gradients(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        # Fused attention has no batched kernel on the CPU, where it would run model by model.
        attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with attention, passes.forward(device):
            slopes, losses = all_models(inputs, labels, mask)
        stacked.keep(list(slopes.values()))
        return losses

    return gradients


def dropout_seed(seed: int, step: int) -> int:
    """A pure function of a run's seed and step."""
    return int(np.random.SeedSequence((seed, DROPOUT_PURPOSE, step)).generate_state(1, np.uint64)[0])


def _keep_statistics_wide(model: nn.Module) -> None:
    """Normalisation reads float32: vectorised, it cannot mix bf16 inputs with float32 statistics and weights."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, arguments: (arguments[0].float(),))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
