"""What rounding does: to weights, and to the curvature on the normal space of a manifold.  [saddle]

A computed H|_N is told from 0 only where it is larger than what rounding makes of it: at a minimum, or where outputs
are large beside their errors, all of H|_N may be that. How much it is three more computations tell, with other
roundings: of the weights (along the manifold), of inputs and buffers, and of every number that is computed of them.
That is stochastic arithmetic (Vignes, Math. Comput. Simul. 35, 1993, 233–261).
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lop_theory.stability.krylov import Operator, lanczos, random_start
from lop_theory.stability.objective import Objective
from lop_theory.stability.subspace import Subspace, complement

DRAWS, PRODUCTS = 3, 3
"""Computations, and products of each change."""
CHOOSING = frozenset(("threshold_backward", "hardtanh_backward"))
"""Kernels of derivatives that take a number or leave it: nothing is rounded."""


def rounded(weights: Tensor, space: Subspace, seed: int) -> Tensor:
    """A change ε of weights along the manifold, random, in proportion to each, as long as rounding makes it:
    ‖ε‖ = u ‖θ‖, u the unit of the last digit."""
    draw = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    change = complement(space).project(weights * draw.to(weights))
    length = float(change.norm())
    return change * (torch.finfo(weights.dtype).eps * float(weights.norm()) / length) if length else change


class Roundings(TorchDispatchMode):
    """Within, what is computed of numbers that require a gradient is off by a unit of its last digit, up or down."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draws = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(place.alias_info for place in func._schema.returns) or not _varies((args, kwargs)):
            return result  # a view, or written in place; or given as it is
        name = func.overloadpacket.__name__
        terms = args[0] if "_backward" in name and name not in CHOOSING else None
        return pytree.tree_map_only(Tensor, lambda value: self.off(value, terms), result)

    def off(self, value: Tensor, terms: Tensor | None = None) -> Tensor:
        """By its own unit, or by that of the terms which a kernel of derivatives sums up, where these have its shape:
        p − q is computed to the digits of q."""
        if not value.is_floating_point():
            return value
        up = torch.rand(value.shape, generator=self.draws).to(value) < 0.5
        size = value.abs() if terms is None or terms.shape != value.shape else value.abs().maximum(terms.abs())
        unit = torch.finfo(value.dtype).eps * size
        return torch.where(value.isfinite(), torch.where(up, value + unit, value - unit), value)

    def off_fractions(self, value: Tensor) -> Tensor:
        """Whole numbers stay: they may be masks and labels."""
        return torch.where(value.trunc() == value, value, self.off(value)) if value.is_floating_point() else value


def _varies(given: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in pytree.tree_leaves(given))


def rounding_of(at: Objective, here: Operator, space: Subspace) -> float:
    """‖P (H̃ − H) P‖, H̃ computed with other roundings, by few steps of Lanczos' method: the largest of some draws.
    ``here``: v ↦ H v."""

    def change(seed: int) -> float:
        there = _otherwise(at, space, seed)
        found = lanczos(lambda v: there(v) - here(v), space, random_start(space, at.start, seed), PRODUCTS)
        return max(abs(found.lowest.value), abs(found.highest.value))

    return max(map(change, range(DRAWS)))


def _otherwise(at: Objective, space: Subspace, seed: int) -> Operator:
    """v ↦ H̃ v; the loss is multiplied by a 1 that requires a gradient, on which every step of all gradients depends."""
    roundings, one = Roundings(seed), torch.ones_like(at.start[0], requires_grad=True)
    inputs, fixed = pytree.tree_map_only(Tensor, roundings.off_fractions, (at.inputs, dict(at.fixed)))
    other = at._replace(inputs=inputs, fixed=fixed, loss=lambda output: one * at.loss(output))
    with roundings:
        return other.curvature(at.start + rounded(at.start, space, seed)).product
