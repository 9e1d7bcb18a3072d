"""By how much the function moves when a unit is replaced: measured, one unit at a time, on copies of its weights."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lop_theory.errors import InvalidInput
from lop_theory.optim.layer import Layer


class Replacing(Protocol):
    """What replaces units: a :class:`lop_theory.optim.companion.Companion`."""

    layers: list[Layer]

    def take_over(self, k: int, units: Tensor) -> None: ...


class Movement(NamedTuple):
    """Relative to the root mean square y of the outputs, the largest over the units tried: ``mean``, |mean(y' − y)|, of
    which nothing is left where the mean of a unit is taken over whole; ``single``, the root mean square of y' − y, what
    the units varied about their means included."""

    mean: float
    single: float

    def __str__(self) -> str:
        return f"mean output {self.mean:.1%}, single outputs {self.single:.1%}"


@torch.no_grad()
def movements(companion: Replacing, model: nn.Module, example_input: Any, units: int = 4) -> list[Movement]:
    """Of every layer, when one of ``units`` units, evenly spread, is replaced as the method does it (fresh incoming and
    zero outgoing weights), in evaluation mode on ``example_input``. The more inputs, the better a mean.

    Weights, statistics, modes and generators are afterwards as they were. Raises ``InvalidInput`` for a model whose
    outputs hold no floating-point tensor.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        before = _outputs(model, example_input)
        return [_layer(companion, k, (model, example_input, before), units) for k in range(len(companion.layers))]
    finally:
        for module, mode in modes:
            module.training = mode


def _layer(companion: Replacing, k: int, seen: tuple[nn.Module, Any, Tensor], count: int) -> Movement:
    layer, found = companion.layers[k], []
    for unit in torch.linspace(0, layer.size - 1, min(count, layer.size)).round().long().unique():
        with _kept(layer):
            companion.take_over(k, unit.view(1).to(layer.device))
            layer.renew(unit.view(1).to(layer.device), "own", torch.Generator().manual_seed(0))
            found.append(_moved(seen[2], _outputs(*seen[:2])))
    return Movement(*(max(column) for column in zip(*found, strict=True)))


def _moved(before: Tensor, after: Tensor) -> tuple[float, float]:
    size = before.square().mean().sqrt().clamp_min(torch.finfo(before.dtype).tiny)
    change = after - before
    return float(change.mean(0).square().mean().sqrt() / size), float(change.square().mean().sqrt() / size)


def _outputs(model: nn.Module, given: Any) -> Tensor:
    """Samples × all floating-point outputs, in float64."""
    args, named = ((), given) if isinstance(given, dict) else (given if isinstance(given, tuple) else (given,), {})
    found = model(*args, **named)
    leaves = [leaf for leaf in tree_leaves(dict(found) if hasattr(found, "keys") else found) if _is_output(leaf)]
    if not leaves:
        raise InvalidInput("model", type(model).__name__, "must return floating-point tensors of several samples")
    return torch.cat([leaf.reshape(len(leaves[0]), -1).double() for leaf in leaves if len(leaf) == len(leaves[0])], 1)


def _is_output(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.ndim > 0


@contextmanager
def _kept(layer: Layer) -> Generator[None]:
    """The weights of a layer's units and of their readers come back."""
    tensors = [t for part in (*layer.incoming, *layer.outgoing) for t in (part.weight, part.bias) if t is not None]
    tensors += [t for scaling in layer.scaling for t in scaling.state.values()]
    values = [t.detach().clone() for t in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
