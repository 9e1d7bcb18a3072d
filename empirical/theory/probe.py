"""One pass through a model for all checks: samples around every activation, and the gradients of all parameters."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lop_theory.activations.catalogue import Activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import torch_activation
from lop_theory.metrics import channel_dim, hidden_layers

UNITS = 128


class Sampled(NamedTuple):
    """Pre- and post-activations (samples × units, float64): one row an image, at a random position of it, so that rows
    are independent; at most ``UNITS`` units, evenly spaced. ``activation`` is None outside the catalogue."""

    activation: Activation | None
    before: Tensor
    after: Tensor


class Probe(NamedTuple):
    """Samples by name of the activation module; gradients by parameter name (absent where the loss does not depend)."""

    samples: dict[str, Sampled]
    gradients: dict[str, Tensor]


def measured_pass(model: nn.Module, inputs: Tensor, loss: Callable[[Tensor], Tensor] | None = None) -> Probe:
    """Forward and backward in the model's present mode; parameters, gradients, buffers and random streams stay.

    Without ``loss`` a random linear function of the outputs takes its place.
    """
    names = [name for name in hidden_layers(model) if not any(True for _ in model.get_submodule(name).children())]
    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), _sampling(model, names, before, after):
        output = functional_call(model, buffers, (inputs,))
        total = _functional(output) if loss is None else loss(output)
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    samples = {name: Sampled(_activation(model.get_submodule(name)), before[name], after[name]) for name in after}
    return Probe(samples, {name: g for name, g in zip(parameters, found, strict=True) if g is not None})


def _functional(output: Tensor) -> Tensor:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    return (output * weights).sum()


def _activation(module: nn.Module) -> Activation | None:
    try:
        return torch_activation(module)
    except InvalidInput:
        return None


@contextmanager
def _sampling(
    model: nn.Module, names: list[str], before: dict[str, Tensor], after: dict[str, Tensor]
) -> Generator[None]:
    """Samples are taken before and right after the module runs, so that in-place operators do not matter."""
    handles = []
    for name in names:
        module = model.get_submodule(name)
        handles.append(
            module.register_forward_pre_hook(
                lambda m, args, name=name: before.__setitem__(name, _sample(m, args[0]))  # returns None
            )
        )
        handles.append(
            module.register_forward_hook(lambda m, _, output, name=name: after.__setitem__(name, _sample(m, output)))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sample(module: nn.Module, tensor: Tensor) -> Tensor:
    wide = tensor.detach().movedim(channel_dim(module, tensor), -1)
    wide = wide.reshape(len(wide), -1, wide.shape[-1])
    images, positions, units = wide.shape
    place = torch.randint(positions, (images,), generator=torch.Generator().manual_seed(0)).to(wide.device)
    chosen = torch.linspace(0, units - 1, min(units, UNITS), device=wide.device).round().long()
    return wide[torch.arange(images, device=wide.device), place][:, chosen].double().cpu()
