"""Metrics, or outputs and gradients, of all layers in one pass that leaves no trace."""

import os
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import lop_theory
from lop_theory.metrics.layers import LayerMetrics, layer_metrics, measured, with_saturation
from lop_theory.metrics.passes import anchored, floating, gradients_to, undisturbed, watched
from lop_theory.metrics.units import Columns, flatten_units
from lop_theory.metrics.watch import Layer

SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Unflatten)
CHANNELS_FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool")


class NonFiniteActivations(UserWarning):
    """A layer has NaN or infinite activations, or its squares overflow: its metrics are NaN."""


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
    """Metrics of every hidden layer on one batch, in the model's present mode, in the order of computation.

    Hidden layers are the activations and gates that :mod:`lop_theory.metrics.watch` sees (of all weighted sums if there
    are none): functional calls, own activation classes, every call of a shared module (``act``, ``act#2``). ``layers``
    names modules instead, whose outputs are measured. ``inputs`` is a tensor, a tuple, or a dict of keyword inputs.

    ``loss(output)`` is a scalar; without it nothing is differentiated and saturation is NaN. One forward and at most
    one backward pass for all layers; each layer is measured as it is computed and nothing of it is kept, so memory is
    what the passes alone need. Parameters, gradients, buffers, modes, random streams (torch, Python, NumPy) and the
    statistics of interventions are as before, bit for bit. NaN or infinite activations give NaN metrics and a
    :class:`NonFiniteActivations` warning.
    """
    if layers is not None:
        return _of_modules(model, inputs, loss, layers, dormant_tau)
    found = _measured(model, inputs, loss, ("activation", "gate"), dormant_tau)
    return found or _measured(model, inputs, loss, ("sum",), dormant_tau)


def _measured(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, kinds: tuple[str, ...], tau: float
) -> dict[str, LayerMetrics]:
    """Metrics of the watched layers of some kinds."""
    sheet = _Sheet(tau)
    batch = inputs if loss is None else anchored(inputs)
    ends = [x for x in floating(batch) if x.requires_grad]  # and, of integers, their embeddings

    def see(layer: Layer, output: Tensor) -> None:
        if loss is not None and (layer.operator == "embedding" or (layer.kind == "sum" and not ends)):
            ends.append(output if output.requires_grad else output.requires_grad_())
        if layer.kind in kinds:
            sheet.take(layer.name, output, layer.dim)

    with watched(model, see) as (run, watch), torch.set_grad_enabled(loss is not None):
        output = run(batch)
        watch.outputs(floating(output))
        sheet.differentiate(None if loss is None else loss(output), ends)
    return sheet.found


def _of_modules(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, names: Sequence[str], tau: float
) -> dict[str, LayerMetrics]:
    """Metrics of the named modules' outputs."""
    sheet = _Sheet(tau)

    def see(name: str, output: Tensor, dim: int) -> None:
        sheet.take(name, output, dim)

    batch = inputs if loss is None else anchored(inputs)
    with _hooks(model, names, see), undisturbed(model) as run, torch.set_grad_enabled(loss is not None):
        output = run(batch)
        sheet.differentiate(None if loss is None else loss(output), floating(batch))
    if sheet.waiting:  # the backward pass from the outputs to the inputs has not met these layers
        for name, c in capture(model, inputs, loss, layers=list(sheet.waiting)).items():
            sheet.found[name] = layer_metrics(c.output, c.output_gradient, c.channel_dim, dormant_tau=tau)
    return sheet.found


class _Sheet:
    """Metrics as they come in, and the column sums of layers whose gradient has not come yet."""

    def __init__(self, tau: float) -> None:
        self.tau = tau
        self.found: dict[str, LayerMetrics] = {}
        self.waiting: dict[str, Columns] = {}

    def take(self, name: str, output: Tensor, dim: int) -> None:
        """A module that runs twice is measured where it ran last."""
        self.found[name], sums = measured(output, dim, self.tau)
        if not sums.finite:
            said = f"layer {name}: {_trouble(output)}; its metrics are NaN"
            warnings.warn(said, NonFiniteActivations, stacklevel=_frames_to_caller())
        elif output.requires_grad:
            self.waiting[name] = sums
            output.register_hook(lambda gradient: self._saturate(name, gradient, dim, sums))

    def _saturate(self, name: str, gradient: Tensor, dim: int, sums: Columns) -> None:
        if self.waiting.get(name) is sums:
            self.found[name] = with_saturation(self.found[name], gradient, dim, sums)
            del self.waiting[name]

    def differentiate(self, total: Tensor | None, ends: list[Tensor]) -> None:
        """Go back to the ends; every layer's gradient passes by."""
        if total is not None and total.requires_grad and ends:
            gradients_to(total, ends)


def _frames_to_caller() -> int:
    """How many frames above the one that asks stands code that is neither this package's nor PyTorch's."""
    own = tuple(str(Path(file).parent) + os.sep for file in (lop_theory.__file__, torch.__file__))
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame, level = frame.f_back, level + 1
    return level


def _trouble(output: Tensor) -> str:
    wrong = int((~torch.isfinite(output)).sum())
    return f"{wrong} of {output.numel()} activations are NaN or infinite" if wrong else "its squares overflow"


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the activation functions among the modules; of all weighted layers if there are none."""
    leaves = {name: m for name, m in model.named_modules() if _is_layer(m)}
    activations = [name for name, m in leaves.items() if type(m).__module__ == "torch.nn.modules.activation"]
    return activations or [name for name, m in leaves.items() if any(True for _ in m.parameters())]


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
    seen = _pass(model, inputs, loss, names, copies=False)
    if seen is None:
        seen = _pass(model, inputs, loss, names, copies=True)
    assert seen is not None  # what is cloned is overwritten by nothing
    return seen


def _pass(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor] | None, names: Sequence[str], *, copies: bool
) -> dict[str, Captured] | None:
    """One pass; None if an in-place operator overwrote something captured, which then needs ``copies``."""
    seen: dict[str, tuple[Tensor, int, int]] = {}

    def see(name: str, output: Tensor, dim: int) -> Tensor | None:
        seen[name] = (output, dim, output._version)
        return output.clone() if copies else None

    with _hooks(model, names, see), undisturbed(model) as run, torch.set_grad_enabled(loss is not None):
        output = run(inputs)
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
        found = gradients_to(loss, [tensors[k] for k in wanted])
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
