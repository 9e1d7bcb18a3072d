"""Random weights inside RE∩CE: zero in every incoming and outgoing block sum.  [clone-dimension: Remark A.1]"""

from typing import Any

import numpy as np

from lop_theory.modules.axes import Indices


def zero_sum_noise(roles: list[tuple[str, Indices]], seed: int) -> Any:
    """Noise over row-major axes whose block sums vanish along ``summed`` and along ``kept`` axes.

    ``shared`` axes (groups, kernel positions) repeat the same noise for clones. Without a kept axis nothing can move:
    0.
    """
    kinds = {role for role, _ in roles}
    shape = tuple(len(index) for _, index in roles)
    if not {"summed", "kept"} <= kinds:
        return np.zeros(shape)
    noise = np.random.default_rng(seed).standard_normal(shape)
    for dim, (role, index) in enumerate(roles):
        if role == "shared":
            noise = np.take(noise, index, axis=dim)
    for kind in ("summed", "kept"):
        dim = next(d for d, (role, _) in enumerate(roles) if role == kind)
        noise = noise - block_means(noise, roles[dim][1], dim)
    return noise


def block_means(values: Any, index: Indices, dim: int) -> Any:
    """Along one axis, replace every entry by the mean of its block."""
    means = block_sums(values, index, dim)
    width = adjacent(index)
    if width:
        return np.repeat(means / width, width, axis=dim)
    return np.take(means / _counts(index, values.ndim, dim), _compact(index), axis=dim)


def block_sums(values: Any, index: Indices, dim: int) -> Any:
    """Along one axis, sum the entries of every block."""
    width = adjacent(index)
    if width:
        grid = values.reshape((*values.shape[:dim], len(index) // width, width, *values.shape[dim + 1 :]))
        return _added(grid, dim + 1)
    order = np.argsort(index, kind="stable")
    starts = np.unique(index[order], return_index=True)[1]
    return np.add.reduceat(np.take(values, order, axis=dim), starts, axis=dim)


def adjacent(index: Indices) -> int:
    """Clones a block if the blocks are equal, in order and side by side (as ``expand`` lays them out), else 0."""
    width = len(index) // (int(index.max(initial=0)) + 1)
    return width if width and np.array_equal(index, np.arange(len(index)) // width) else 0


def _added(grid: Any, dim: int) -> Any:
    """The sum along a short axis, one strided addition a clone: much faster than reduceat on the inner axes."""
    places = (slice(None),) * dim
    total = grid[(*places, 0)].copy()
    for clone in range(1, grid.shape[dim]):
        total += grid[(*places, clone)]
    return total


def _compact(index: Indices) -> Indices:
    return np.unique(index, return_inverse=True)[1]


def _counts(index: Indices, ndim: int, dim: int) -> Any:
    shape = [1] * ndim
    shape[dim] = -1
    return np.bincount(_compact(index)).reshape(shape)
