"""What rounding does: to weights, and to the curvature on the normal space of a manifold.  [saddle]

A computed H|_N is told from 0 only where it is larger than what rounding makes of it: at a minimum, or where outputs
are large beside their errors, all of H|_N may be that. How much it is three more computations tell, with other
roundings: of the weights (along the manifold), of inputs and outputs, and of every number on the way back to the
gradient. That is stochastic arithmetic (Vignes, Math. Comput. Simul. 35, 1993, 233–261), but for the way forward, on
which models compare, choose and assert.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lop_theory.stability.krylov import Operator, lanczos, random_start
from lop_theory.stability.objective import Objective
from lop_theory.stability.subspace import Subspace, complement

DRAWS, PRODUCTS = 3, 3
"""Computations, and products of each change."""
SMALL = 2
"""Whole numbers up to this among the inputs may be masks and classes: they stay."""
TERMS: dict[str, Callable[..., Tensor]] = {
    "tanh_backward": lambda slope, y: slope * y**2,
    "sigmoid_backward": lambda slope, y: slope * y**2,
    "gelu_backward": lambda slope, *_, **__: slope,
    "_softmax_backward_data": lambda slope, y, dim, *_: y * (slope.abs() + (slope * y).abs().sum(dim, keepdim=True)),
    "_log_softmax_backward_data": lambda slope, y, dim, *_: slope.abs() + y.exp() * slope.abs().sum(dim, keepdim=True),
}
"""Kernels of derivatives that take a difference → the largest of its terms, by whose unit their results are rounded:
(1 − y²) g is computed to the digits of y² g."""


def rounded(weights: Tensor, space: Subspace, seed: int) -> Tensor:
    """A change ε of weights along the manifold, random, in proportion to each, as long as rounding makes it:
    ‖ε‖ = u ‖θ‖, u the unit of the last digit."""
    draw = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    change = complement(space).project(weights * draw.to(weights))
    length = float(change.norm())
    return change * (torch.finfo(weights.dtype).eps * float(weights.norm()) / length) if length else change


class Roundings(TorchDispatchMode):
    """Within, every computed number is off by a unit of its last digit, up or down."""

    def __init__(self, draws: np.random.Generator) -> None:
        super().__init__()
        self.draws = draws

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(place.alias_info for place in func._schema.returns):  # a view, or written in place
            return result
        terms = TERMS.get(func.overloadpacket.__name__)
        size = None if terms is None else terms(*args, **(kwargs or {}))
        return pytree.tree_map_only(Tensor, lambda value: self.off(value, size), result)

    def off(self, value: Tensor, size: Tensor | None) -> Tensor:
        if not _rounds(value):
            return value
        unit = torch.finfo(value.dtype).eps * (value.abs() if size is None else value.abs().maximum(size.abs()))
        return torch.where(value.isfinite(), torch.where(_coins(value, self.draws), value + unit, value - unit), value)


def _rounds(value: Tensor) -> bool:
    return value.layout == torch.strided and value.dtype in (torch.float32, torch.float64)


def _coins(value: Tensor, draws: np.random.Generator) -> Tensor:
    return torch.as_tensor(draws.random(tuple(value.shape)) < 0.5, device=value.device)


def _larger(value: Tensor, draws: np.random.Generator) -> Tensor:
    """Some by a unit, so that what is cut to a whole number stays that."""
    if not _rounds(value):
        return value
    moves = _coins(value, draws) & ((value.trunc() != value) | (value.abs() > SMALL))
    return torch.where(moves, value * (1 + torch.finfo(value.dtype).eps), value)


def _smaller(value: Tensor, draws: np.random.Generator) -> Tensor:
    """Some by a unit, so that probabilities stay below 1."""
    if not _rounds(value):
        return value
    return torch.where(_coins(value, draws), value * (1 - torch.finfo(value.dtype).eps), value)


def rounding_of(at: Objective, here: Operator, space: Subspace) -> float:
    """‖P (H̃ − H) P‖, H̃ computed with other roundings, by few steps of Lanczos' method: the largest of some draws.
    ``here``: v ↦ H v."""

    def change(seed: int) -> float:
        there = _otherwise(at, space, seed)
        found = lanczos(lambda v: there(v) - here(v), space, random_start(space, at.start, seed), PRODUCTS)
        return max(abs(found.lowest.value), abs(found.highest.value))

    return max(map(change, range(DRAWS)))


def _otherwise(at: Objective, space: Subspace, seed: int) -> Operator:
    """v ↦ H̃ v."""
    draws = np.random.default_rng(seed)
    larger, smaller = partial(_larger, draws=draws), partial(_smaller, draws=draws)
    other = at._replace(
        inputs=pytree.tree_map_only(Tensor, larger, at.inputs),
        loss=lambda output: at.loss(pytree.tree_map_only(Tensor, smaller, output)),
    )
    return other.curvature(at.start + rounded(at.start, space, seed), within=Roundings(draws)).product
