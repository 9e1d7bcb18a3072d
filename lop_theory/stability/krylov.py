"""Extreme curvatures on a subspace by Lanczos' method, each with its residual.  [normal-splitting]

With an orthonormal basis Q of the Krylov space of P H P and the tridiagonal T = QᵀHQ, an eigenpair (θ, s) of T gives
the Ritz pair (θ, Q s), and an eigenvalue of P H P lies within its residual ‖P H v − θ v‖ = β |s_last|. Every new vector
is orthogonalised twice against all before it. Of a multiple eigenvalue one copy is seen.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.stability.subspace import Subspace

Operator = Callable[[Tensor], Tensor]
CLOSED = 1e-12
"""A Krylov space is closed when the next vector is shorter than this times the operator's largest product."""
LOOK = 5
"""Products between two looks at the residuals."""


class Ritz(NamedTuple):
    """``value`` = vᵀHv for the unit ``vector``; an eigenvalue of P H P lies within ``residual`` = ‖P H v − value v‖.

    The lowest value bounds λ_min from above, so a negative one shows negative curvature, to rounding.
    """

    value: float
    vector: Tensor
    residual: float


class Extremes(NamedTuple):
    """Lowest and highest Ritz pairs; ``closed`` if the Krylov space was exhausted, so that they are eigenvalues."""

    lowest: Ritz
    highest: Ritz
    closed: bool


class Krylov(NamedTuple):
    """Orthonormal ``basis`` (products, ambient), ``values`` and ``vectors`` of T, ``residuals`` of its pairs."""

    basis: Tensor
    values: Tensor
    vectors: Tensor
    residuals: Tensor
    closed: bool

    def pair(self, which: int) -> Ritz:
        """The Ritz pair number ``which``, ascending; negative numbers count from the highest."""
        vector = self.vectors[:, which].to(self.basis) @ self.basis
        return Ritz(float(self.values[which]), vector, float(self.residuals[which]))


def krylov_space(
    operator: Operator,
    space: Subspace,
    start: Tensor,
    steps: int,
    *,
    enough: Callable[[Tensor, Tensor], bool] = lambda values, residuals: False,  # noqa: ARG005
) -> Krylov:
    """The Krylov space of P start ≠ 0 after at most ``steps`` products, or as soon as ``enough(values, residuals)``."""
    most = min(steps, space.dimension)
    basis = start.new_empty((most + 1, space.ambient))
    basis[0] = _unit(space.project(start))
    diagonal, beside, scale, closed = list[float](), list[float](), 0.0, False
    for k in range(most):
        image = space.project(operator(basis[k]))
        diagonal.append(float(image @ basis[k]))
        scale = max(scale, float(image.norm()))
        rest = _orthogonal(space.project(_orthogonal(image, basis[: k + 1])), basis[: k + 1])
        beside.append(float(rest.norm()))
        closed = beside[-1] <= CLOSED * max(scale, torch.finfo(rest.dtype).tiny)
        if closed or (k % LOOK == LOOK - 1 and enough(*_solved(diagonal, beside)[::2])):
            break
        basis[k + 1] = rest / beside[-1]
    values, vectors, residuals = _solved(diagonal, beside)
    return Krylov(basis[: len(diagonal)], values, vectors, residuals, closed)


def _solved(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, eigenvectors and residuals of the tridiagonal matrix, of which its lower half tells all."""
    middle, off = torch.tensor(diagonal, dtype=torch.float64), torch.tensor(beside[:-1], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.diag(middle) + torch.diag(off, -1), UPLO="L")
    return values, vectors, beside[-1] * vectors[-1].abs()


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    return vector - (basis @ vector) @ basis


def lanczos(operator: Operator, space: Subspace, start: Tensor, steps: int) -> Extremes:
    """Extreme Ritz pairs of P H P on span{v, Hv, …, H^(steps−1) v}, v = P start; two steps are the escape plane."""
    found = krylov_space(operator, space, start, steps)
    return Extremes(found.pair(0), found.pair(-1), found.closed)


def random_start(space: Subspace, like: Tensor, seed: int = 0) -> Tensor:
    """A standard normal vector (ambient,) in the precision and on the device of ``like``; the global random stream is
    untouched."""
    draw = torch.randn(space.ambient, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return draw.to(like)


class Spectrum(NamedTuple):
    """``lowest`` and ``highest`` eigenvalues of H on a subspace, outermost first. ``values``: every Ritz value;
    ``complete`` if these are all eigenvalues, with multiplicity; ``converged`` if the pairs' residuals are within the
    tolerance; ``products``: Hessian products spent."""

    lowest: tuple[Ritz, ...]
    highest: tuple[Ritz, ...]
    values: Tensor
    complete: bool
    converged: bool
    products: int

    @property
    def largest(self) -> float:
        """The largest |eigenvalue|."""
        return max(abs(self.lowest[0].value), abs(self.highest[0].value))


def extreme_spectrum(
    operator: Operator, space: Subspace, start: Tensor, *, count: int = 5, tolerance: float = 1e-3, products: int = 200
) -> Spectrum:
    """The ``count`` lowest and highest eigenvalues, until their residuals are at most ``tolerance`` × the largest."""

    def enough(values: Tensor, residuals: Tensor) -> bool:
        limit = tolerance * float(values.abs().max())
        outer = torch.cat([residuals[:count], residuals[-count:]])
        return len(values) >= 2 * count and bool((outer <= limit).all())

    found = krylov_space(operator, space, start, products, enough=enough)
    half = min(count, (len(found.values) + 1) // 2)
    lowest, highest = ([found.pair(k if low else -1 - k) for k in range(half)] for low in (True, False))
    converged = found.closed or enough(found.values, found.residuals)
    complete = len(found.values) == space.dimension
    return Spectrum(tuple(lowest), tuple(highest), found.values, complete, converged or complete, len(found.values))
