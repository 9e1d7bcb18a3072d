"""S models of one architecture in shared memory: a row of numbers each, seen as (S, …) per tensor or as modules."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

ALIGNED = 16
"""Each parameter starts at a multiple of this many numbers: 64 bytes, what vector units and matrix products like."""


class Stack(NamedTuple):
    """``values`` and ``gradients`` are (S, numbers a model), the gaps between parameters zero; the others are views.

    ``parameters`` and ``buffers`` map a name to (S, *shape); ``of_model[k]`` holds the parameters of ``models[k]``,
    whose memory is row k of ``values`` and whose ``.grad`` is that of ``gradients``.
    """

    values: Tensor
    gradients: Tensor
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    of_model: list[list[nn.Parameter]]
    gaps: list[Tensor]

    def keep(self, gradients: Sequence[Tensor], model: int | None = None) -> None:
        """Write gradients in the order of the parameters: of one model, or all with the models as first dimension."""
        target = self.gradients if model is None else self.gradients[model]
        lead = target.shape[:-1]
        pieces: list[Tensor] = []
        for gradient, gap in zip(gradients, self.gaps, strict=True):
            pieces.append(gradient.reshape(*lead, -1))
            if gap.numel():
                pieces.append(gap.expand(*lead, -1))
        torch.cat(pieces, -1, out=target)

    def row(self, numbers: Mapping[str, float]) -> Tensor:
        """A row that holds one number a parameter, by name; zero in the gaps."""
        parts = zip(self.parameters.items(), self.gaps, strict=True)
        pieces = [(p[0].new_full((p[0].numel(),), numbers[name]), gap) for (name, p), gap in parts]
        return torch.cat([piece for pair in pieces for piece in pair])


def stack_models(models: Sequence[nn.Module]) -> Stack:
    """Move the models' parameters and buffers into shared memory; the modules stay usable, each on its own."""
    shapes = {name: parameter.shape for name, parameter in models[0].named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]
    padded = [-(-size // ALIGNED) * ALIGNED for size in sizes]
    first = next(models[0].parameters())
    values, gradients = (first.new_zeros(len(models), sum(padded)) for _ in range(2))
    of_model = [list(model.parameters()) for model in models]
    with torch.no_grad():
        for row, slope, parameters in zip(values, gradients, of_model, strict=True):
            assert [p.shape for p in parameters] == list(shapes.values()), "models of one stack have one shape"
            for home, grad, parameter in zip(row.split(padded), slope.split(padded), parameters, strict=True):
                view = home[: parameter.numel()].view(parameter.shape)
                view.copy_(parameter)
                parameter.data = view
                parameter.grad = grad[: parameter.numel()].view(parameter.shape)
    parts = zip(shapes.items(), values.split(padded, 1), sizes, strict=True)
    return Stack(
        values,
        gradients,
        {name: part[:, :size].unflatten(1, shape) if shape else part[:, 0] for (name, shape), part, size in parts},
        _stack_buffers(models),
        of_model,
        [first.new_zeros(pad - size) for pad, size in zip(padded, sizes, strict=True)],
    )


def _stack_buffers(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    stacked: dict[str, Tensor] = {}
    for name, _ in list(models[0].named_buffers()):
        stacked[name] = torch.stack([model.get_buffer(name) for model in models])
        owner, _, leaf = name.rpartition(".")
        for model, buffer in zip(models, stacked[name], strict=True):
            setattr(model.get_submodule(owner), leaf, buffer)
    return stacked
