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


def spanned(space: Subspace, *, dtype: torch.dtype = torch.float64, device: torch.device | None = None) -> Tensor:
    """An orthonormal basis (ambient, dimension) of a small space: random vectors, projected, twice made orthonormal
    (the second time what the first has rounded away comes back into the space)."""
    assert space.dimension <= DENSE_LIMIT
    draw = torch.randn(space.dimension, space.ambient, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = draw.to(dtype=dtype, device=device)
    for _ in range(2):
        rows = torch.linalg.qr(torch.stack([space.project(row) for row in rows], dim=1))[0].T if len(rows) else rows
    return torch.stack([space.project(row) for row in rows], dim=1) if len(rows) else rows.T
