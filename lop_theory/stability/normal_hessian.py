"""The Hessian of a loss on a subspace of parameter space: dense matrix, extreme eigenvalues, what they are called.
[normal-splitting: Definition A.2]

    H|_N = P H P,  P the projection onto the normal space N of the manifold.

On the manifold the gradient is tangent along it, so H maps N into itself and P H P loses nothing. Where an activation
has a kink, H is that of the piece that the data lie on (:mod:`lop_theory.stability.pieces` finds kinks at the point).
"""

from typing import Literal

import torch
from torch import Tensor

from lop_theory.stability.krylov import Extremes, lanczos, random_start
from lop_theory.stability.objective import Curvature, Operator
from lop_theory.stability.subspace import Subspace, spanned

Kind = Literal["stable but for flat directions", "unstable", "saddle", "flat"]


def dense(operator: Operator, space: Subspace, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """The symmetric matrix (dimension, dimension) of P H P in an orthonormal basis of a small space."""
    basis = spanned(space, dtype=dtype)
    matrix = basis.T @ torch.stack([operator(column) for column in basis.T], dim=1)
    return (matrix + matrix.T) / 2


def normal_extremes(at: Curvature, space: Subspace, *, steps: int = 30, seed: int = 0) -> Extremes:
    """Extreme curvatures on a subspace, by Lanczos from a random start."""
    return lanczos(at.product, space, random_start(space, at.gradient, seed), steps)


def kind(extremes: Extremes, *, tolerance: float = 1e-9) -> Kind:
    """Definition A.2, read modulo flat directions.  [flat-directions] [saddle]

    Measured: curvatures of size below ``tolerance`` × the largest count as zero. (Where N has no curvature at all the
    largest is rounding: :func:`~lop_theory.stability.analysis.analyse` measures that.)
    """
    low, high = extremes.lowest.value, extremes.highest.value
    return kind_of(low, high, tolerance * max(abs(low), abs(high)))


def kind_of(low: float, high: float, zero: float) -> Kind:
    """The same for the lowest and the highest eigenvalue; those up to ``zero`` are none."""
    match (low < -zero, high > zero):
        case (True, True):
            return "saddle"
        case (True, False):
            return "unstable"
        case (False, True):
            return "stable but for flat directions"
        case _:
            return "flat"
