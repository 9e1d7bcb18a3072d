"""The Hessian of a loss on a subspace of parameter space: products, dense matrix, extreme eigenvalues.
[normal-splitting: Definition A.2]

    H|_N = P H P,  P the projection onto the normal space N of the manifold.

On the manifold the gradient is tangent along it, so H maps N into itself and P H P loses nothing. Where an activation
has a kink, H is that of the piece that the data lie on.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from lop_theory.stability.layout import Coordinates, coordinates
from lop_theory.stability.subspace import Subspace, spanned
from lop_theory.trace import as_arguments

Operator = Callable[[Tensor], Tensor]
Kind = Literal["stable but for flat directions", "unstable", "saddle", "flat"]
CLOSED = 1e-12
"""A Krylov space is closed when the next vector is shorter than this times the operator's largest product."""


class Curvature(NamedTuple):
    """Value, gradient (dimension,) and Hessian product v ↦ H v of a loss at the present parameters."""

    coordinates: Coordinates
    value: float
    gradient: Tensor
    product: Operator


def curvature(
    model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor], *, dtype: torch.dtype | None = None
) -> Curvature:
    """Second-order information of ``loss(model(inputs))``; the model, its buffers and gradients are not touched.
    ``inputs``: a tensor, a tuple of positional inputs or a dict of keyword inputs.

    One graph serves all products: a product costs about two backward passes. ``dtype`` (float64, say) converts copies.
    The model is evaluated in its present mode; with dropout put it into evaluation first.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    where = coordinates(model)
    state = {name: _converted(tensor, dtype) for name, tensor in model.state_dict().items()}
    at = {name: _converted(p, dtype).requires_grad_() for name, p in model.named_parameters() if name in where.names}
    args, kwargs = pytree.tree_map_only(Tensor, lambda t: _converted(t, dtype), as_arguments(inputs))
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        value = loss(functional_call(model, {**state, **at}, args, kwargs))
    points = [at[name] for name in where.names]
    slopes = torch.autograd.grad(value, points, create_graph=True, materialize_grads=True)

    def product(vector: Tensor) -> Tensor:
        along = where.unflatten(vector)
        curved = [(g, along[name]) for name, g in zip(where.names, slopes, strict=True) if g.requires_grad]
        if not curved:
            return torch.zeros_like(vector)
        outputs, directions = zip(*curved, strict=True)
        found = torch.autograd.grad(outputs, points, directions, retain_graph=True, materialize_grads=True)
        return torch.cat([h.reshape(-1) for h in found])

    gradient = torch.cat([g.detach().reshape(-1) for g in slopes])
    return Curvature(where, float(value.detach()), gradient, product)


def _converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    copy = tensor.detach().clone()
    return copy.to(dtype) if dtype is not None and copy.is_floating_point() else copy


def dense(operator: Operator, space: Subspace, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """The symmetric matrix (dimension, dimension) of P H P in an orthonormal basis of a small space."""
    basis = spanned(space, dtype=dtype)
    matrix = basis.T @ torch.stack([operator(column) for column in basis.T], dim=1)
    return (matrix + matrix.T) / 2


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


def lanczos(operator: Operator, space: Subspace, start: Tensor, steps: int) -> Extremes:
    """Extreme Ritz pairs of P H P on span{v, Hv, …, H^(steps−1) v}, v = P start; two steps are the escape plane.

    Every new vector is orthogonalised twice against all before it, and residuals come from the products themselves.
    """
    basis, images = [_unit(space.project(start))], list[Tensor]()
    closed = False
    for _ in range(min(steps, space.dimension)):
        images.append(space.project(operator(basis[-1])))
        rest = _orthogonal(_orthogonal(space.project(images[-1]), basis), basis)
        scale = max(float(image.norm()) for image in images)
        closed = float(rest.norm()) <= CLOSED * max(scale, torch.finfo(rest.dtype).tiny)
        if closed:
            break
        basis.append(_unit(rest))
    known, products = torch.stack(basis[: len(images)], dim=1), torch.stack(images, dim=1)
    projected = known.T @ products
    values, vectors = torch.linalg.eigh((projected + projected.T) / 2)
    return Extremes(_ritz(known, products, values, vectors, 0), _ritz(known, products, values, vectors, -1), closed)


def _ritz(basis: Tensor, products: Tensor, values: Tensor, vectors: Tensor, which: int) -> Ritz:
    value, vector = float(values[which]), basis @ vectors[:, which]
    return Ritz(value, vector, float((products @ vectors[:, which] - value * vector).norm()))


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    known = torch.stack(basis)
    return vector - known.T @ (known @ vector)


def normal_extremes(at: Curvature, space: Subspace, *, steps: int = 30, seed: int = 0) -> Extremes:
    """Extreme curvatures on a subspace, by Lanczos from a random start; the global random stream is untouched."""
    draw = torch.randn(space.ambient, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lanczos(at.product, space, draw.to(at.gradient), steps)


def kind(extremes: Extremes, *, tolerance: float = 1e-9) -> Kind:
    """Definition A.2, read modulo flat directions.  [flat-directions] [saddle]

    Measured: curvatures of size below ``tolerance`` × the largest count as zero.
    """
    low, high = extremes.lowest.value, extremes.highest.value
    limit = tolerance * max(abs(low), abs(high))
    match (low < -limit, high > limit):
        case (True, True):
            return "saddle"
        case (True, False):
            return "unstable"
        case (False, True):
            return "stable but for flat directions"
        case _:
            return "flat"
