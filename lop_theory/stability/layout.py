"""A model's parameters as one vector, and back."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Coordinates(NamedTuple):
    """Names and shapes of parameters, in the order in which they lie in a vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers a parameter."""
        return tuple(torch.Size(shape).numel() for shape in self.shapes)

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The vector (dimension,) of tensors by name."""
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a vector (dimension,) by name."""
        parts = vector.split(list(self.sizes))
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}


def coordinates(model: nn.Module) -> Coordinates:
    """The coordinates of all trained parameters, each once."""
    named = [(name, tuple(p.shape)) for name, p in model.named_parameters() if p.requires_grad]
    return Coordinates(tuple(name for name, _ in named), tuple(shape for _, shape in named))
