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
    base = tuple(int(index.max()) + 1 if role == "shared" else len(index) for role, index in roles)
    noise = np.random.default_rng(seed).standard_normal(base)
    for dim, (role, index) in enumerate(roles):
        if role == "shared":
            noise = np.take(noise, index, axis=dim)
    for kind in ("summed", "kept"):
        dim = next(d for d, (role, _) in enumerate(roles) if role == kind)
        noise = noise - block_means(noise, roles[dim][1], dim)
    return noise


def block_means(values: Any, index: Indices, dim: int) -> Any:
    """Along one axis, replace every entry by the mean of its block."""
    return np.take(block_sums(values, index, dim) / _counts(index, values.ndim, dim), _compact(index), axis=dim)


def block_sums(values: Any, index: Indices, dim: int) -> Any:
    """Along one axis, sum the entries of every block."""
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=index.min() - 1))
    return np.add.reduceat(np.take(values, order, axis=dim), starts, axis=dim)


def _compact(index: Indices) -> Indices:
    return np.unique(index, return_inverse=True)[1]


def _counts(index: Indices, ndim: int, dim: int) -> Any:
    shape = [1] * ndim
    shape[dim] = -1
    return np.bincount(_compact(index)).reshape(shape)
