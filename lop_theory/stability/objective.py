"""A loss as a function of one vector of parameters, with derivatives of both orders; the model is not touched.

L(θ) = loss(model_θ(inputs)),   θ in the order of :class:`~lop_theory.stability.layout.Coordinates`.
"""

import math
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.stability.attention import math_attention
from lop_theory.stability.layout import Coordinates, coordinates
from lop_theory.stability.pieces import kinked_operators, refusing_noise, small_step
from lop_theory.trace import as_arguments

Operator = Callable[[Tensor], Tensor]
Loss = Callable[[Any], Tensor]


LENGTHS = (1.0, 1e3, 1e5)
"""Of the steps of :meth:`Objective.check_second_order`, over that of the kinks."""
AGREEING, ROUNDING = 1e-2, 1e-12
"""Relative difference of H and the difference of gradients (float64) that is put down to rounding."""


class Curvature(NamedTuple):
    """Value, gradient (dimension,) and Hessian product v ↦ H v of a loss at the present parameters."""

    coordinates: Coordinates
    value: float
    gradient: Tensor
    product: Operator


class Objective(NamedTuple):
    """L, in the model's present mode. ``start`` (dimension,) are the present parameters, ``fixed`` buffers and
    parameters that are not trained, all of them copies."""

    model: nn.Module
    inputs: Any
    loss: Loss
    coordinates: Coordinates
    start: Tensor
    fixed: Mapping[str, Tensor]

    def value(self, at: Mapping[str, Tensor]) -> Tensor:
        """L, a scalar that autograd can differentiate twice, for tensors by name.

        Raises ``InvalidInput`` if L is no scalar or not finite.
        """
        args, kwargs = as_arguments(self.inputs)
        with math_attention():
            found = self.loss(functional_call(self.model, {**self.fixed, **at}, args, kwargs))
        return _scalar(found)

    def kinks(self) -> tuple[str, ...]:
        """Operators with a kink at the present parameters (:func:`~lop_theory.stability.pieces.kinked_operators`)."""
        return kinked_operators(lambda point: self.value(self._leaves(point)), self.start)

    def check_second_order(self) -> None:
        """Raise ``InvalidInput`` if H is not the derivative of ∇L, by differences of gradients along one random
        direction: an ``autograd.Function`` whose backward is not differentiable loses a term in silence. It is, if any
        of three lengths of the step says so: short ones for kinks near by, long ones for models that round to float32
        inside."""
        errors = [error for error in map(self._second_order_error, LENGTHS) if math.isfinite(error)]
        if not errors:
            remedy = "a root, a norm or an angle of 0? move the weights a little"
            raise InvalidInput("model", "NaN or infinite", "is the second derivative at these weights and data", remedy)
        if min(errors) > AGREEING:
            raise InvalidInput(
                "model", f"{min(errors):.1e}", "is how far H is from the derivative of its gradient (relative)",
                "a custom autograd.Function, a detach or a hook hides a part: write it in plain operators",
            )  # fmt: skip

    def _second_order_error(self, length: float) -> float:
        step = length * small_step(self.start)
        expected = (self.gradient(self.start + step) - self.gradient(self.start - step)) / 2
        error = float((self.curvature(self.start).product(step) - expected).norm())
        scale = float(expected.norm()) + ROUNDING * float(self.gradient(self.start).norm())
        return error / scale if scale else 0.0

    def gradient(self, point: Tensor) -> Tensor:
        """∇L (dimension,) at a point."""
        at = self._leaves(point)
        with _derivatives():
            slopes = torch.autograd.grad(self.value(at), list(at.values()), materialize_grads=True)
        return torch.cat([slope.reshape(-1) for slope in slopes])

    def curvature(self, point: Tensor, *, within: AbstractContextManager[Any] | None = None) -> Curvature:
        """Both orders at a point. One graph serves all products: a product costs about two backward passes. The
        gradient is computed ``within`` a context, if one is given.

        Raises ``InvalidInput`` for an operator that draws random numbers or has no second derivative.
        """
        where, at = self.coordinates, self._leaves(point)
        with refusing_noise():
            value, points = self.value(at), list(at.values())
        with _derivatives(), within or nullcontext():
            slopes = torch.autograd.grad(value, points, create_graph=True, materialize_grads=True)

        def product(vector: Tensor) -> Tensor:
            along = where.unflatten(vector)
            curved = [(g, along[name]) for name, g in zip(where.names, slopes, strict=True) if g.requires_grad]
            if not curved:
                return torch.zeros_like(vector)
            outputs, directions = zip(*curved, strict=True)
            found = _twice(outputs, points, directions)
            return torch.cat([h.reshape(-1) for h in found])

        gradient = torch.cat([g.detach().reshape(-1) for g in slopes])
        return Curvature(where, float(value.detach()), gradient, product)

    def _leaves(self, point: Tensor) -> dict[str, Tensor]:
        return {
            name: part.detach().clone().requires_grad_() for name, part in self.coordinates.unflatten(point).items()
        }


def objective_of(model: nn.Module, inputs: Any, loss: Loss, *, dtype: torch.dtype | None = None) -> Objective:
    """The loss at the model's present parameters; ``dtype`` (float64, say) converts copies of parameters, buffers and
    inputs (a tensor, a tuple of positional inputs or a dict of keyword inputs)."""
    where = coordinates(model)
    if not where.names:
        raise InvalidInput("model", type(model).__name__, "has no trained parameter", "call requires_grad_()")
    named = dict(model.named_parameters())
    rest = {name: tensor for name, tensor in named.items() if name not in where.names} | dict(model.named_buffers())
    fixed = {name: _converted(tensor, dtype) for name, tensor in rest.items()}
    start = torch.cat([_converted(named[name], dtype).reshape(-1) for name in where.names])
    moved = pytree.tree_map_only(Tensor, lambda t: _converted(t, dtype), inputs)
    return Objective(model, moved, loss, where, start, fixed)


def curvature(model: nn.Module, inputs: Any, loss: Loss, *, dtype: torch.dtype | None = None) -> Curvature:
    """Second-order information of ``loss(model(inputs))`` at the model's parameters (see :func:`objective_of`); the
    model, its buffers and gradients are not touched. Fused attention is replaced by its formula, which has a second
    derivative. Raises ``InvalidInput``: see :meth:`Objective.value` and :meth:`Objective.curvature`."""
    found = objective_of(model, inputs, loss, dtype=dtype)
    return found.curvature(found.start)


def _converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    copy = tensor.detach().clone()
    return copy.to(dtype) if dtype is not None and copy.is_floating_point() else copy


def _scalar(found: Any) -> Tensor:
    if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
        what = f"tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InvalidInput("loss", what, "must be one real number", "take its mean: output.mean()")
    if not found.requires_grad:
        raise InvalidInput("loss", float(found), "does not depend on the parameters", "compute it from the output")
    if not math.isfinite(float(found.detach())):  # torch.isfinite takes |x|, a kink where the loss is 0
        raise InvalidInput("loss", float(found.detach()), "is not finite", "check data, targets and weights")
    return found.reshape(())


def _twice(outputs: Any, points: list[Tensor], directions: Any) -> tuple[Tensor, ...]:
    with _derivatives():
        return torch.autograd.grad(outputs, points, directions, retain_graph=True, materialize_grads=True)


@contextmanager
def _derivatives() -> Generator[None]:
    """Within, an operator without a derivative raises ``InvalidInput``."""
    try:
        yield
    except RuntimeError as error:
        lacking = re.search(r"derivative for '?([\w:]+)'? is not implemented", str(error))
        if lacking is None:
            raise
        what = "has no second derivative" if lacking.group(1).endswith("_backward") else "has no derivative"
        raise InvalidInput("model", lacking.group(1), what, "write it in plain operators") from None
