"""Tiny cloned networks in float64, and the oracle: dense Hessians and bases built by enumeration."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lop_theory.modules import expand
from lop_theory.stability import Clones, Coordinates, Curvature, clones_of_profile, coordinates, curvature


class Case(NamedTuple):
    model: nn.Module
    inputs: Tensor
    loss: Callable[[Tensor], Tensor]
    clones: Clones
    where: Coordinates

    @property
    def at(self) -> Curvature:
        return curvature(self.model, self.inputs, self.loss)


def cloned(
    *, activation: type[nn.Module] = nn.Tanh, outputs: int = 2, seed: int = 0, redistribute: int | None = 1
) -> Case:
    """3 → 2×2 → 3×2 → outputs, a clone of a random base; weights moved inside RE∩CE."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = nn.Sequential(nn.Linear(3, 2), activation(), nn.Linear(2, 3), activation(), nn.Linear(3, outputs))
        x, y = torch.randn(7, 3).double(), torch.randn(7, outputs).double()
    model = expand(base.double(), 2, example_input=x, redistribute=redistribute, traced=True)
    where = coordinates(model)
    clones = clones_of_profile(model.profile, ("0.weight", "2.weight", "4.weight"), where)
    return Case(model, x, lambda output: ((output - y) ** 2).mean(), clones, where)


def dense_hessian(case: Case) -> Tensor:
    """By torch.func.hessian, forward over reverse, of the loss as a function of one vector."""

    def loss(vector: Tensor) -> Tensor:
        return case.loss(functional_call(case.model, case.where.unflatten(vector), (case.inputs,)))

    found = torch.func.hessian(loss)(case.where.flatten(dict(case.model.named_parameters())).detach())
    assert isinstance(found, Tensor)
    return found


def indicator_basis(where: Coordinates, labels: Mapping[str, Sequence[Sequence[int]]]) -> Tensor:
    """Columns: the indicator of each product of blocks, normalised; an orthonormal basis of BC by enumeration."""
    columns = []
    for name, shape in zip(where.names, where.shapes, strict=True):
        for blocks in product(*(sorted(set(label)) for label in labels[name])):
            tensors = {n: torch.zeros(s).double() for n, s in zip(where.names, where.shapes, strict=True)}
            for index in product(*(range(size) for size in shape)):
                if all(label[i] == block for label, i, block in zip(labels[name], index, blocks, strict=True)):
                    tensors[name][index] = 1.0
            column = where.flatten(tensors)
            columns.append(column / column.norm())
    return torch.stack(columns, dim=1)


def profile_labels(case: Case) -> dict[str, list[list[int]]]:
    profile = case.model.profile
    return {name: [list(map(int, m)) for m in profile.state[name]] for name in case.where.names}


def mlp(activation: type[nn.Module]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 3), activation(), nn.Linear(3, 2))
    return model, torch.randn(20, 3)
