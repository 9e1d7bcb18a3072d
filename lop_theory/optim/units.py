"""Hidden layers of a sequential stack: a layer, the activation behind it, and the layer that reads its units."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.optim.clocks import Place

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


class UnitLayer(NamedTuple):
    """``incoming`` computes the units, ``observed`` outputs h, ``outgoing`` reads them.

    Behind a convolution and a flatten each unit owns ``span`` consecutive inputs of the linear ``outgoing``.
    """

    name: str
    incoming: Weighted
    normalisation: nn.Module | None
    observed: nn.Module
    outgoing: Weighted
    span: int

    @property
    def units(self) -> int:
        return self.incoming.weight.shape[0]

    @property
    def every(self) -> Tensor:
        """The numbers of all units."""
        return torch.arange(self.units, device=self.incoming.weight.device)

    def outgoing_weights(self) -> Tensor:
        """(outputs, units, elements a unit) view of the outgoing weights."""
        return self.outgoing.weight.reshape(self.outgoing.weight.shape[0], self.units, -1)

    def columns(self, units: Tensor) -> Tensor:
        """Input positions of the outgoing layer that belong to the units."""
        return (units[:, None] * self.span + torch.arange(self.span, device=units.device)).reshape(-1)


def unit_layers(model: nn.Sequential) -> list[UnitLayer]:
    """Hidden layers of an ``nn.Sequential`` (nested ones are flattened). Grouped convolutions are refused."""
    modules = [(name, m) for name, m in model.named_modules() if not list(m.children())]
    weighted = [k for k, (_, m) in enumerate(modules) if isinstance(m, Weighted)]
    layers = []
    for start, end in pairwise(weighted):
        name, incoming = modules[start]
        outgoing = modules[end][1]
        assert isinstance(incoming, Weighted)
        assert isinstance(outgoing, Weighted)
        if any(not isinstance(m, nn.Linear) and m.groups > 1 for m in (incoming, outgoing)):
            raise InvalidInput(
                "model", name, "grouped convolutions have no per-unit outgoing weights", "leave them out"
            )
        if outgoing.weight.shape[1] % incoming.weight.shape[0]:
            raise InvalidInput(
                "model", name, "its units are not the inputs of the next layer", "pass UnitLayer objects instead"
            )
        between = [m for _, m in modules[start + 1 : end]]
        normalisation = next((m for m in between if isinstance(m, NORMALISATIONS)), None)
        observed = _activation(between) or incoming
        layers.append(
            UnitLayer(
                name, incoming, normalisation, observed, outgoing, outgoing.weight.shape[1] // incoming.weight.shape[0]
            )
        )
    return layers


def _activation(between: Sequence[nn.Module]) -> nn.Module | None:
    passive = (
        *NORMALISATIONS,
        nn.Dropout,
        nn.Dropout2d,
        nn.Flatten,
        nn.Identity,
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.MaxPool1d,
    )
    return next((m for m in between if not isinstance(m, passive)), None)


def per_unit(h: Tensor) -> Tensor:
    """Samples × units: convolutions N·H·W × C."""
    return h.movedim(1, -1).reshape(-1, h.shape[1])


@torch.no_grad()
def reinitialise(layer: UnitLayer, units: Tensor, generator: torch.Generator | None = None) -> None:
    """Fresh Kaiming-uniform incoming weights U(±sqrt(6/fan_in)), zero bias, zero outgoing weights, neutral
    normalisation."""
    weight = layer.incoming.weight
    bound = (6.0 / weight[0].numel()) ** 0.5
    fresh = torch.rand((len(units), *weight.shape[1:]), generator=generator, dtype=torch.float64) * 2 - 1
    weight[units] = (fresh * bound).to(weight)
    if layer.incoming.bias is not None:
        layer.incoming.bias[units] = 0
    layer.outgoing.weight[:, layer.columns(units)] = 0
    _reset_normalisation(layer.normalisation, units)


def _reset_normalisation(module: nn.Module | None, units: Tensor) -> None:
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, value in values.items():
        tensor = getattr(module, name, None)
        if isinstance(tensor, Tensor):
            tensor[units] = value


def places(layer: UnitLayer, units: Tensor) -> list[Place]:
    """The weights that belong to units: incoming, biases, outgoing, and those of their normalisation."""
    found = [(layer.incoming.weight, 0, units), (layer.incoming.bias, 0, units)]
    found.append((layer.outgoing.weight, 1, layer.columns(units)))
    found += [(getattr(layer.normalisation, name, None), 0, units) for name in ("weight", "bias")]
    return [Place(parameter, dim, index) for parameter, dim, index in found if parameter is not None]


def watch(layers: Sequence[UnitLayer]) -> tuple[dict[int, Tensor], Callable[[], None]]:
    """(last training output of each layer's ``observed``, by position; a function that removes the hooks)."""
    seen: dict[int, Tensor] = {}

    def observer(position: int) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            if module.training:
                seen[position] = output.detach()

        hook.lop_theory_observer = True  # metrics switch it off while they measure
        return hook

    handles = [layer.observed.register_forward_hook(observer(k)) for k, layer in enumerate(layers)]

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return seen, remove
