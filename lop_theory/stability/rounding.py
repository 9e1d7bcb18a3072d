"""What rounding does: to weights, and to the curvature on the normal space of a manifold.  [saddle]

A computed H|_N is that of weights which differ from the model's by rounding. So it is told from 0 only where it is
larger than what such a difference makes of it: at a minimum, or where outputs are large beside their errors, all of
H|_N may be that.
"""

import torch
from torch import Tensor

from lop_theory.stability.krylov import Operator, lanczos, random_start
from lop_theory.stability.objective import Objective
from lop_theory.stability.subspace import Subspace, complement

DRAWS, PRODUCTS = 3, 3
"""Roundings tried, and products of each change."""


def rounded(weights: Tensor, space: Subspace, seed: int) -> Tensor:
    """A change ε of weights along the manifold, random, in proportion to each, as long as rounding makes it:
    ‖ε‖ = u ‖θ‖, u the unit of the last digit."""
    draw = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    change = complement(space).project(weights * draw.to(weights))
    length = float(change.norm())
    return change * (torch.finfo(weights.dtype).eps * float(weights.norm()) / length) if length else change


def rounding_of(at: Objective, here: Operator, space: Subspace) -> float:
    """‖P (H(θ + ε) − H(θ)) P‖ for ε as :func:`rounded`, by few steps of Lanczos' method: the largest of some draws.
    ``here``: v ↦ H(θ) v."""

    def change(seed: int) -> float:
        there = at.curvature(at.start + rounded(at.start, space, seed)).product
        found = lanczos(lambda v: there(v) - here(v), space, random_start(space, at.start, seed), PRODUCTS)
        return max(abs(found.lowest.value), abs(found.highest.value))

    return max(change(seed) for seed in range(DRAWS))
