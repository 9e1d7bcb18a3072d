"""Stability of LoP manifolds: curvature on the normal space, escape directions, persistence.  [theory.md §8; Def. A.2]

Measured in floating point on the network at hand: every eigenvalue comes with its residual, nothing is enclosed. What
holds for all networks is proved in ``proofs/Stability.v`` and ``proofs/Persistence.v``.
"""

from lop_theory.stability.coordinates import Coordinates, coordinates
from lop_theory.stability.escape import Escape, escape_direction
from lop_theory.stability.frozen import certified_frozen, frozen_coordinates, revival_distance
from lop_theory.stability.low_rank import balance, dead_directions
from lop_theory.stability.manifold import Clones, clones_of_layers, clones_of_profile, normal, redistributions, tangent
from lop_theory.stability.normal_hessian import (
    Curvature,
    Extremes,
    Ritz,
    curvature,
    dense,
    kind,
    lanczos,
    normal_extremes,
)
from lop_theory.stability.persistence import check_growth, escape_time, growth_factor, steps_to_escape
from lop_theory.stability.subspace import Subspace, complement, spanned

__all__ = [
    "Clones",
    "Coordinates",
    "Curvature",
    "Escape",
    "Extremes",
    "Ritz",
    "Subspace",
    "balance",
    "certified_frozen",
    "check_growth",
    "clones_of_layers",
    "clones_of_profile",
    "complement",
    "coordinates",
    "curvature",
    "dead_directions",
    "dense",
    "escape_direction",
    "escape_time",
    "frozen_coordinates",
    "growth_factor",
    "kind",
    "lanczos",
    "normal",
    "normal_extremes",
    "redistributions",
    "revival_distance",
    "spanned",
    "steps_to_escape",
    "tangent",
]
