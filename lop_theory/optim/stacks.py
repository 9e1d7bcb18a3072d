"""Hidden layers of a sequential stack: a layer, the activation behind it, and the layer that reads its units."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from lop_theory.errors import InvalidInput

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

    def outgoing_weights(self) -> Tensor:
        """(outputs, units, elements a unit) view of the outgoing weights."""
        return self.outgoing.weight.reshape(self.outgoing.weight.shape[0], self.units, -1)


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
