"""Metrics, or outputs and gradients, of all layers in one pass that leaves no trace."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lop_theory.metrics.units import (
    LayerMetrics,
    Moments,
    flatten_units,
    layer_metrics,
    metrics_of,
    moments,
    with_saturation,
)

SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Unflatten)
CHANNELS_FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool")


class Captured(NamedTuple):
    """Output of one layer as it was, the loss gradient with respect to it (None if there is none), and where its
    units are."""

    output: Tensor
    output_gradient: Tensor | None
    channel_dim: int

    @property
    def activations(self) -> Tensor:
        """Samples × units."""
        return flatten_units(self.output, self.channel_dim)

    @property
    def gradient(self) -> Tensor | None:
        """Samples × units."""
        return None if self.output_gradient is None else flatten_units(self.output_gradient, self.channel_dim)


def measure(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
    dormant_tau: float = 0.0,
) -> dict[str, LayerMetrics]:
    """Metrics of every hidden layer (:func:`hidden_layers`, or the named modules) on one batch, in the model's
    present mode.

    ``loss(output)`` is a scalar; without it nothing is differentiated and saturation is NaN. One forward and at most
    one backward pass for all layers; each layer is measured as it is computed and nothing of it is kept, so memory is
    what the passes alone need. Parameters, gradients, buffers, modes and random streams are as before, bit for bit.
    """
    names = hidden_layers(model) if layers is None else layers
    found, waiting = _measured(model, inputs, loss, names, dormant_tau)
    if waiting:  # the backward pass from the outputs to the inputs has not met these layers
        for name, c in capture(model, inputs, loss, layers=waiting).items():
            found[name] = layer_metrics(c.output, c.output_gradient, c.channel_dim, dormant_tau=dormant_tau)
    return found


def _measured(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, names: Sequence[str], tau: float
) -> tuple[dict[str, LayerMetrics], list[str]]:
    """Metrics taken in hooks, and the layers whose gradient never came."""
    found: dict[str, LayerMetrics] = {}
    waiting: dict[str, Moments] = {}

    def see(name: str, output: Tensor, dim: int) -> None:
        m = moments(output, dim)
        found[name] = metrics_of(output, m, dim, dormant_tau=tau)
        if output.requires_grad:
            waiting[name] = m
            output.register_hook(lambda gradient: _saturate(found, waiting, name, gradient, (dim, m)))

    args = tuple(_anchored(x, wanted=loss is not None) for x in (inputs if isinstance(inputs, tuple) else (inputs,)))
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with _hooks(model, names, see), _random_state_kept(), torch.set_grad_enabled(loss is not None):
        output = functional_call(model, buffers, args)
        ends = [x for x in args if isinstance(x, Tensor) and x.requires_grad]
        total = None if loss is None else loss(output)
        if total is not None and total.requires_grad and ends:
            torch.autograd.grad(total, ends, allow_unused=True)
    return found, list(waiting)


def _saturate(
    found: dict[str, LayerMetrics], waiting: dict[str, Moments], name: str, gradient: Tensor, of: tuple[int, Moments]
) -> None:
    """Complete a layer with its gradient; a module that runs twice is measured where it ran last."""
    dim, m = of
    if waiting.get(name) is m:
        found[name] = with_saturation(found[name], gradient, dim, m.mean_abs)
        del waiting[name]


def _anchored(x: Any, *, wanted: bool) -> Any:
    """A copy of a floating input that asks for a gradient: the backward pass then goes through every layer, and only
    the input's own gradient is kept."""
    if not (wanted and isinstance(x, Tensor) and x.is_floating_point()):
        return x
    with torch.enable_grad():
        return x.detach().requires_grad_().clone()


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the activation functions among the modules; of all weighted layers if there are none."""
    leaves = {name: m for name, m in model.named_modules() if _is_layer(m)}
    activations = [name for name, m in leaves.items() if type(m).__module__ == "torch.nn.modules.activation"]
    return activations or [name for name, m in leaves.items() if any(True for _ in m.parameters(recurse=False))]


def capture(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    layers: Sequence[str] | None = None,
) -> dict[str, Captured]:
    """Outputs and their gradients by module name (every leaf module by default). Buffers are copies, randomness is
    restored."""
    names = [name for name, m in model.named_modules() if _is_layer(m)] if layers is None else layers
    seen = _pass(model, inputs, loss, names, copies=False) or _pass(model, inputs, loss, names, copies=True)
    return seen or {}


def _pass(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, names: Sequence[str], *, copies: bool
) -> dict[str, Captured] | None:
    """One pass; None if an in-place operator overwrote something captured, which then needs ``copies``."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    seen: dict[str, tuple[Tensor, int, int]] = {}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}

    def see(name: str, output: Tensor, dim: int) -> Tensor | None:
        seen[name] = (output, dim, output._version)
        return output.clone() if copies else None

    with _hooks(model, names, see), _random_state_kept(), torch.set_grad_enabled(loss is not None):
        output = functional_call(model, buffers, args)
        if any(tensor._version != version for tensor, _, version in seen.values()):
            return None
        gradients = _gradients(None if loss is None else loss(output), [tensor for tensor, _, _ in seen.values()])
    return {
        name: Captured(tensor.detach(), gradient, dim)
        for (name, (tensor, dim, _)), gradient in zip(seen.items(), gradients, strict=True)
    }


def _gradients(loss: Tensor | None, tensors: list[Tensor]) -> list[Tensor | None]:
    wanted = [k for k, tensor in enumerate(tensors) if loss is not None and tensor.requires_grad]
    result: list[Tensor | None] = [None] * len(tensors)
    if loss is not None and wanted:
        found = torch.autograd.grad(loss, [tensors[k] for k in wanted], allow_unused=True)
        for k, gradient in zip(wanted, found, strict=True):
            result[k] = gradient
    return result


@contextmanager
def _hooks(model: nn.Module, names: Sequence[str], see: Callable[[str, Tensor, int], Tensor | None]) -> Generator[None]:
    """While open, ``see(name, output, channel_dim)`` is called on outputs of the named modules and may replace them."""

    def watch(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def hook(module: nn.Module, _: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 2:
                return None
            return see(name, output, channel_dim(module, output))

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(module: nn.Module) -> bool:
    return not list(module.children()) and not isinstance(module, SKIPPED)


def channel_dim(module: nn.Module, output: Tensor) -> int:
    """Units are dimension 1 of images and of channels-first layers, else the last."""
    return 1 if output.dim() > 3 or (output.dim() == 3 and type(module).__name__.startswith(CHANNELS_FIRST)) else -1


@contextmanager
def _random_state_kept() -> Generator[None]:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        yield
