"""Losses and gradients of S models on S batches: one model after the other, or all in one vectorised call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from empirical.training.stack import Stack

Gradients = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(inputs, labels, mask), each (S, …) → losses (S,); gradients are written to the stack."""
DROPOUT_PURPOSE = 101


class Precision(NamedTuple):
    """How the passes are computed."""

    compile: bool = False
    bf16: bool = False


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


def one_by_one(
    stacked: Stack, models: Sequence[nn.Module], dice: Callable[[int], int] | None, precision: Precision
) -> Gradients:
    """Model k alone, k = 0, 1, …; ``dice(k)`` seeds its dropout."""
    device = stacked.values.device
    images = any(isinstance(module, nn.Conv2d) for module in models[0].modules())
    layout = torch.channels_last if images else torch.contiguous_format  # convolutions are 1.2–1.4 times as fast
    forwards: Sequence[Callable[[Tensor], Tensor]] = _compiled(models) if precision.compile else models

    def gradients(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        losses: list[Tensor] = []
        for k, forward in enumerate(forwards):
            with nullcontext() if dice is None else _seeded(dice(k), device), _autocast(device, precision):
                logits = forward(inputs[k].contiguous(memory_format=layout))
            loss = masked_cross_entropy(logits, labels[k], None if mask is None else mask[k])
            stacked.keep(torch.autograd.grad(loss, stacked.of_model[k], materialize_grads=True), k)
            losses.append(loss.detach())
        return torch.stack(losses)

    return gradients


def vectorised(stacked: Stack, models: Sequence[nn.Module], precision: Precision) -> Gradients:
    """All models in one call of :func:`torch.func.vmap`; running statistics are updated in place."""
    device, skeleton = stacked.values.device, models[0]
    if precision.bf16:
        _keep_statistics_wide(skeleton)

    def loss(
        parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, mask: Tensor | None
    ) -> Tensor:
        return masked_cross_entropy(functional_call(skeleton, (parameters, buffers), (x,)), y, mask)

    def all_models(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        dims = (0, 0, 0, 0, None if mask is None else 0)
        found = vmap(grad_and_value(loss), in_dims=dims)
        return found(stacked.parameters, stacked.buffers, inputs, labels, mask)

    call = torch.compile(all_models) if precision.compile else all_models

    def gradients(inputs: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        # Fused attention has no batched kernel on the CPU, where it would run model by model.
        attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with attention, _autocast(device, precision):
            slopes, losses = call(inputs, labels, mask)
        stacked.keep(list(slopes.values()))
        return losses

    return gradients


def _compiled(models: Sequence[nn.Module]) -> list[Callable[[Tensor], Tensor]]:
    """One compiled function of weights and input serves all models."""
    pure = torch.compile(lambda state, x: functional_call(models[0], state, (x,)))
    states = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
    return [lambda x, state=state: pure(state, x) for state in states]


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


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision.bf16 else nullcontext()
