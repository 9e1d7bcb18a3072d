"""The clone manifold w + BC through a network: its tangent space, normal space and redistributions.
[clone-trajectory] [flat-directions: Definition A.2]

Blocks are labels along every dimension of every parameter, as a :class:`~lop_theory.modules.interface.Profile` holds
them. BC is what is constant on every product of blocks; N is its orthogonal complement. The *redistributions* R ⊂ N
move an incoming weight of a unit from one clone to another: Σ_{u∈S_I} D_vu = 0 for every target v and block I. On the
manifold they leave the loss of every data set unchanged.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.equitable import Structure
from lop_theory.modules.interface import Profile
from lop_theory.optim.stacks import UnitLayer, unit_layers
from lop_theory.stability.layout import Coordinates
from lop_theory.stability.subspace import Subspace, complement

Labels = Mapping[str, tuple[Tensor | None, ...]]


class Clones(NamedTuple):
    """``labels[parameter][dim]`` is the block of every coordinate, ``None`` where each is a block of its own.

    ``summed[weight]`` is the dimension of its sources, which are summed over.
    """

    labels: Labels
    summed: Mapping[str, int]


def clones_of_profile(profile: Profile, summed: Sequence[str], coordinates: Coordinates) -> Clones:
    """The clones of a widened model (``clone.profile``); ``summed`` names its linear and convolution weights, stored
    (targets, sources, ...)."""
    labels = {name: tuple(_compact(torch.as_tensor(m)) for m in profile.state[name]) for name in coordinates.names}
    return Clones(labels, dict.fromkeys(summed, 1))


def clones_of_structure(found: Structure, coordinates: Coordinates) -> Clones:
    """The clones of any traced model: the coarsest equitable partition of :func:`lop_theory.modules.detect`.

    Where a weight is used in two ways (tied embeddings) what is summed over is not certain:
    :func:`lop_theory.stability.clones_of` tests it.
    """
    labels = {name: tuple(_compact(torch.as_tensor(m)) for m in found.blocks[name]) for name in coordinates.names}
    dims = {name: summed_dimensions(found, name) for name in coordinates.names}
    return Clones(labels, {name: max(found, key=lambda d: d == 1) for name, found in dims.items() if found})


def summed_dimensions(found: Structure, name: str) -> list[int]:
    """The dimensions of a weight that weighted sums of the trace run along."""
    return sorted(found.roles.along.get(found.roles.owner[name], ()))


def clones_of_layers(model: nn.Sequential, blocks: Mapping[str, Sequence[int]]) -> Clones:
    """Clones of a plain stack of layers: ``blocks[layer]`` is the block of every unit that the layer computes.

    Layers are named by their weighted module; those left out have no clones. Raises ``InvalidInput``.
    """
    layers = {layer.name: layer for layer in unit_layers(model)}
    names = {id(p): name for name, p in model.named_parameters()}
    labels: dict[str, list[Tensor | None]] = {name: [None] * p.dim() for name, p in model.named_parameters()}
    for name, block in blocks.items():
        if name not in layers or len(block) != layers[name].units:
            known = ", ".join(f"{n} ({layer.units} units)" for n, layer in layers.items())
            raise InvalidInput("blocks", name, "must give one block a unit of a hidden layer", f"layers: {known}")
        _label_layer(labels, names, layers[name], _compact(torch.as_tensor(block)))
    summed = [names[id(m.weight)] for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    return Clones({name: tuple(dims) for name, dims in labels.items()}, dict.fromkeys(summed, 1))


def _label_layer(
    labels: dict[str, list[Tensor | None]], names: Mapping[int, str], layer: UnitLayer, block: Tensor | None
) -> None:
    if block is None:
        return
    for module in (layer.incoming, layer.normalisation):
        for parameter in () if module is None else module.parameters(recurse=False):
            labels[names[id(parameter)]][0] = block
    columns = block[:, None] * layer.span + torch.arange(layer.span)
    labels[names[id(layer.outgoing.weight)]][1] = columns.reshape(-1)


def _compact(labels: Tensor) -> Tensor | None:
    """Labels 0..k−1, or ``None`` if all differ."""
    found, compact = torch.unique(labels, return_inverse=True)
    return None if len(found) == len(labels) else compact


def tangent(clones: Clones, coordinates: Coordinates) -> Subspace:
    """BC: the tangent space of w + BC.  [clone-dimension: Remark A.1] Projection: means over products of blocks."""

    def project(vector: Tensor) -> Tensor:
        parts = coordinates.unflatten(vector)
        for name, labels in clones.labels.items():
            for dim, label in enumerate(labels):
                parts[name] = parts[name] if label is None else _block_means(parts[name], label, dim)
        return coordinates.flatten(parts)

    dimension = sum(
        prod(_blocks(label, size) for label, size in zip(clones.labels[name], shape, strict=True))
        for name, shape in zip(coordinates.names, coordinates.shapes, strict=True)
    )
    return Subspace(project, dimension, coordinates.dimension)


def normal(clones: Clones, coordinates: Coordinates) -> Subspace:
    """N, the normal space of w + BC."""
    return complement(tangent(clones, coordinates))


def redistributions(clones: Clones, coordinates: Coordinates) -> Subspace:
    """R: zero sum over each block of sources, for every target.  [flat-directions] Projection: w − means over
    sources."""

    def project(vector: Tensor) -> Tensor:
        whole = coordinates.unflatten(vector)
        parts = {name: torch.zeros_like(part) for name, part in whole.items()}
        for name, dim, label in _sources(clones):
            parts[name] = whole[name] - _block_means(whole[name], label, dim)
        return coordinates.flatten(parts)

    shapes = dict(zip(coordinates.names, coordinates.shapes, strict=True))
    dimension = 0
    for name, dim, label in _sources(clones):
        sources = shapes[name][dim]
        dimension += prod(shapes[name]) // sources * (sources - _blocks(label, sources))
    return Subspace(project, dimension, coordinates.dimension)


def _sources(clones: Clones) -> list[tuple[str, int, Tensor]]:
    """Weights whose sources are cloned, the dimension of the sources, and their labels."""
    found = [(name, dim, clones.labels[name][dim]) for name, dim in clones.summed.items()]
    return [(name, dim, label) for name, dim, label in found if label is not None]


def _blocks(label: Tensor | None, size: int) -> int:
    return size if label is None else int(label.max()) + 1


def _block_means(values: Tensor, label: Tensor, dim: int) -> Tensor:
    label = label.to(values.device)
    counts = torch.bincount(label)
    shape = list(values.shape)
    shape[dim] = len(counts)
    sums = values.new_zeros(shape).index_add_(dim, label, values)
    broadcast = [1] * values.dim()
    broadcast[dim] = -1
    return (sums / counts.to(values).view(broadcast)).index_select(dim, label)
