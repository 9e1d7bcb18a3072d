"""The analytic escape from a clone manifold: the plane of a redistribution v and Hv.  [saddle: Definition A.2]

For v in R, on the manifold, vᵀHv = 0. In the orthonormal basis (v, Hv/‖Hv‖) the form is

    [ 0     ‖Hv‖ ]
    [ ‖Hv‖   q   ],   q = curvature along Hv,

with lowest eigenvalue q/2 − sqrt(q²/4 + ‖Hv‖²) < 0 unless Hv = 0: shift outgoing weight from clone to clone, and move
their incoming weights along the difference of their error signals (Fukumizu and Amari 2000; ``Stability.v:saddle``).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.stability.manifold import Clones, normal, redistributions
from lop_theory.stability.normal_hessian import Curvature, lanczos


class Escape(NamedTuple):
    """Unit ``direction`` in N, pointing downhill, with ``curvature`` = dᵀHd; ``mixing`` = ‖P H v‖ for the unit
    ``redistribution`` v. Curvature and mixing are 0 where no error signal tells the clones apart."""

    direction: Tensor
    curvature: float
    mixing: float
    redistribution: Tensor


def escape_direction(at: Curvature, clones: Clones, *, seed: int = 0) -> Escape | None:
    """The escape direction for a random redistribution over all blocks at once; ``None`` if there are no clones.

    A random v separates all clones of all blocks together; the lowest eigenvector of H|_N would separate the one pair
    that gains most. Near the manifold instead of on it, vᵀHv is not exactly 0 and the plane's lowest curvature is
    reported as it is. The sign is that in which the loss falls; on the manifold both fall alike.
    """
    flat, space = redistributions(clones, at.coordinates), normal(clones, at.coordinates)
    if not flat.dimension:
        return None
    draw = torch.randn(flat.ambient, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = flat.project(draw.to(at.gradient))
    start = start / start.norm()
    lowest = lanczos(at.product, space, start, steps=2).lowest
    downhill = -1.0 if float(lowest.vector @ at.gradient) > 0 else 1.0
    mixing = float(space.project(at.product(start)).norm())
    return Escape(downhill * lowest.vector, lowest.value, mixing, start)
