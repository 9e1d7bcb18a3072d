"""The weights that read a layer's units."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lop_theory.metrics.watch import Layer


def parameter(model: nn.Module, name: str) -> Tensor:
    """A parameter by its name."""
    return dict(model.named_parameters(remove_duplicate=False))[name]


def outgoing(model: nn.Module, layers: Sequence[Layer], name: str, units: int) -> list[Tensor]:
    """For every sum that reads the layer: units × weights, float64. A flatten gives each unit a run of columns."""
    found: list[Tensor] = []
    for reader in layers:
        if reader.kind == "sum" and reader.reads == name and reader.weight is not None:
            weight = parameter(model, reader.weight[0]).detach().double().movedim(reader.weight[1], 0)
            columns = weight.shape[1] if weight.dim() > 1 else 0
            if columns and columns % units == 0:
                found.append(weight.movedim(1, 0).reshape(units, -1))
    return found


def opposition(weights: Sequence[Tensor], i: int, j: int) -> tuple[float, float] | None:
    """Cosine between the outgoing weights of two units, and their larger size over the median unit's."""
    if not weights:
        return None
    rows = torch.cat(list(weights), 1)
    size = rows.norm(dim=1)
    cosine = float(rows[i] @ rows[j] / (size[i] * size[j]).clamp_min(1e-300))
    return cosine, float(torch.maximum(size[i], size[j]) / size.median().clamp_min(1e-300))
