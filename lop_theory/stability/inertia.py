"""How many directions normal to a manifold curve up, down, or not at all, and why those are flat.
[flat-directions] [frozen-unit]

From all eigenvalues the counts are the form's inertia. From Ritz values they are lower bounds (Cauchy's interlacing).
Of the kernel of H|_N two parts are recognised: redistributions v with Hv = 0, and coordinates on which no derivative
depends (incoming weights of units that are inactive on all data).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.stability.krylov import Spectrum, lanczos, random_start
from lop_theory.stability.objective import Curvature
from lop_theory.stability.subspace import Subspace, spanned

ZERO = {torch.float64: 1e-9, torch.float32: 1e-4}
"""By the precision of the computation: eigenvalues of less than this times the largest |eigenvalue| count as zero, …"""
ROUNDINGS = 3
"""… and so do all of less than this times what other roundings change H|_N by: at a minimum there may be nothing else.
(Of 500 exact minima the computed curvature was 1.0 times that, at most; 1,500 others were flat, too.)"""
INSIDE = 1 - 1e-6
"""A direction lies in a subspace if its projection is at least this long."""


class Inertia(NamedTuple):
    """Eigenvalues below, at and above zero; ``exact``, or at least so many."""

    negative: int
    zero: int
    positive: int
    exact: bool


class Flat(NamedTuple):
    """``redistributions``: their dimension; ``form``: the largest |curvature| on them over that in any direction.
    Of the kernel (``None``: not computed): its dimension, that of its parts within R and within the coordinates on
    which nothing depends, and that of what neither explains (scale invariances, chance)."""

    redistributions: int
    form: float
    kernel: int | None = None
    redistributed: int | None = None
    inactive: int | None = None
    unexplained: int | None = None


class Whole(NamedTuple):
    """All of H|_N: eigenvalues ascending, an orthonormal ``basis`` (ambient, dimension) of N, eigenvectors in it, and
    ``images`` H·basis (ambient, dimension)."""

    values: Tensor
    basis: Tensor
    vectors: Tensor
    images: Tensor


def whole(at: Curvature, space: Subspace) -> Whole:
    """By one Hessian product for each dimension of N: for small models."""
    basis = spanned(space, dtype=at.gradient.dtype, device=at.gradient.device)
    images = torch.stack([at.product(column) for column in basis.T], dim=1)
    matrix = basis.T @ images
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return Whole(values, basis, vectors, images)


def inertia_of(values: Tensor, zero: float, *, exact: bool) -> Inertia:
    """Counts of eigenvalues, or of Ritz values (then zeros are not counted); those up to ``zero`` are none."""
    low, high = int((values < -zero).sum()), int((values > zero).sum())
    return Inertia(low, len(values) - low - high if exact else 0, high, exact)


def no_curvature(spectrum: Spectrum, rounding: float, sharpness: float) -> float:
    """The size up to which a curvature counts as none: also what rounding of N itself leaves of the largest curvature
    in any direction, u‖H‖u, u the unit of the last digit, and numbers that have not all their digits."""
    kind = torch.finfo(spectrum.lowest[0].vector.dtype)
    left = max(kind.eps**2 * sharpness, kind.tiny)
    return max(ZERO[spectrum.lowest[0].vector.dtype] * spectrum.largest, ROUNDINGS * rounding, left)


def flatness(
    at: Curvature, flat: Subspace, sharpness: float, zero: float, found: Whole | None, *, products: int = 12
) -> Flat:
    """What of the flat directions is recognised; the form on R by Lanczos' method from a random start."""
    form = 0.0
    if flat.dimension:
        extremes = lanczos(at.product, flat, random_start(flat, at.gradient), products)
        form = max(abs(extremes.lowest.value), abs(extremes.highest.value)) / max(sharpness, 1e-300)
    if found is None:
        return Flat(flat.dimension, form)
    kernel = found.basis @ found.vectors[:, found.values.abs() <= zero]
    rows = (found.images == 0).all(1)
    within = torch.stack([flat.project(column) for column in kernel.T], dim=1) if kernel.shape[1] else kernel
    parts = [_inside(kernel, within), _inside(kernel, kernel * rows[:, None])]
    rest = kernel.shape[1] - int(torch.linalg.matrix_rank(torch.cat(parts, dim=1), tol=1e-3))
    return Flat(flat.dimension, form, kernel.shape[1], parts[0].shape[1], parts[1].shape[1], rest)


def _inside(kernel: Tensor, projected: Tensor) -> Tensor:
    """A basis of what of a space (orthonormal columns) lies in another, from their projections onto it."""
    _, lengths, rotation = torch.linalg.svd(projected, full_matrices=False)
    return kernel @ rotation[lengths >= INSIDE].T
