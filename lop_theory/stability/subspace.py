"""Linear subspaces of parameter space, each given by its orthogonal projection."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

DENSE_LIMIT = 5_000


class Subspace(NamedTuple):
    """``project`` is the orthogonal projection of vectors (ambient,); ``dimension`` its rank."""

    project: Callable[[Tensor], Tensor]
    dimension: int
    ambient: int


def complement(space: Subspace) -> Subspace:
    """The orthogonal complement: x ↦ x − P x."""
    return Subspace(lambda vector: vector - space.project(vector), space.ambient - space.dimension, space.ambient)


def spanned(space: Subspace, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """An orthonormal basis (ambient, dimension), from the dense projection: for small spaces.

    The singular values of a projection are 1 (the basis) and 0.
    """
    assert space.ambient <= DENSE_LIMIT
    identity = torch.eye(space.ambient, dtype=dtype)
    projection = torch.stack([space.project(row) for row in identity], dim=1)
    return torch.linalg.svd(projection)[0][:, : space.dimension]
