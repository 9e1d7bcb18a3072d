"""Stability of LoP manifolds: curvature on the normal space, escape directions, persistence.  [theory.md §8; Def. A.2]

Measured in floating point on the network at hand: every eigenvalue comes with its residual, nothing is enclosed. What
holds for all networks is proved in ``proofs/Stability.v`` and ``proofs/Persistence.v``.

Reading order. On a network: layout, subspace, manifold, found (the manifold of any model); objective with attention and
pieces (what has a second derivative); krylov, normal_hessian, inertia (spectra); escape, departure (ways out, steps);
frozen. Along a run: persistence, low_rank. All at once: analysis, printout, plot, losses, command (``python -m
lop_theory.stability``). What later papers add, without PyTorch: attraction (noise), one_step (gain), isometry (polar
factor, Muon), gated_pair (near-clones), experts (mixtures).
"""

from typing import TYPE_CHECKING

from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.stability.analysis import Analysis, Settings, analyse
    from lop_theory.stability.attraction import (
        attraction_rate,
        attracts,
        capture_probability,
        moment_rate,
        sgd_attraction_rate,
        sgd_lyapunov_exponent,
    )
    from lop_theory.stability.escape import Escape, Escaped, escape_direction, escaped
    from lop_theory.stability.experts import split_tokens
    from lop_theory.stability.found import clones_of
    from lop_theory.stability.frozen import certified_frozen, frozen_coordinates, revival_distance
    from lop_theory.stability.gated_pair import gate_of, pair_of, remainder_bound
    from lop_theory.stability.isometry import equitable_residual, newton_schulz, odd_polynomial, polar_factor
    from lop_theory.stability.krylov import Extremes, Ritz, Spectrum, extreme_spectrum, lanczos
    from lop_theory.stability.layout import Coordinates, coordinates
    from lop_theory.stability.low_rank import (
        LinearRun,
        Regression,
        balance,
        dead_directions,
        deficient,
        descend_linear,
        least_loss,
    )
    from lop_theory.stability.manifold import (
        Clones,
        clones_of_layers,
        clones_of_profile,
        clones_of_structure,
        normal,
        redistributions,
        tangent,
    )
    from lop_theory.stability.normal_hessian import dense, kind, normal_extremes
    from lop_theory.stability.objective import Curvature, Objective, curvature, objective_of
    from lop_theory.stability.one_step import best_step, gain_at, gradient_moments
    from lop_theory.stability.persistence import check_growth, escape_time, growth_factor, steps_to_escape
    from lop_theory.stability.subspace import Subspace, complement, spanned

__all__ = [
    "Analysis",
    "Clones",
    "Coordinates",
    "Curvature",
    "Escape",
    "Escaped",
    "Extremes",
    "LinearRun",
    "Objective",
    "Regression",
    "Ritz",
    "Settings",
    "Spectrum",
    "Subspace",
    "analyse",
    "attraction_rate",
    "attracts",
    "balance",
    "best_step",
    "capture_probability",
    "certified_frozen",
    "check_growth",
    "clones_of",
    "clones_of_layers",
    "clones_of_profile",
    "clones_of_structure",
    "complement",
    "coordinates",
    "curvature",
    "dead_directions",
    "deficient",
    "dense",
    "descend_linear",
    "equitable_residual",
    "escape_direction",
    "escape_time",
    "escaped",
    "extreme_spectrum",
    "frozen_coordinates",
    "gain_at",
    "gate_of",
    "gradient_moments",
    "growth_factor",
    "kind",
    "lanczos",
    "least_loss",
    "moment_rate",
    "newton_schulz",
    "normal",
    "normal_extremes",
    "objective_of",
    "odd_polynomial",
    "pair_of",
    "polar_factor",
    "redistributions",
    "remainder_bound",
    "revival_distance",
    "sgd_attraction_rate",
    "sgd_lyapunov_exponent",
    "spanned",
    "split_tokens",
    "steps_to_escape",
    "tangent",
]

_HOMES = {
    "analysis": "Analysis Settings analyse",
    "attraction": "attraction_rate attracts capture_probability moment_rate sgd_attraction_rate sgd_lyapunov_exponent",
    "layout": "Coordinates coordinates",
    "escape": "Escape Escaped escape_direction escaped",
    "experts": "split_tokens",
    "found": "clones_of",
    "krylov": "Extremes Ritz Spectrum extreme_spectrum lanczos",
    "frozen": "certified_frozen frozen_coordinates revival_distance",
    "gated_pair": "gate_of pair_of remainder_bound",
    "isometry": "equitable_residual newton_schulz odd_polynomial polar_factor",
    "low_rank": "LinearRun Regression balance dead_directions deficient descend_linear least_loss",
    "manifold": "Clones clones_of_layers clones_of_profile clones_of_structure normal redistributions tangent",
    "normal_hessian": "dense kind normal_extremes",
    "objective": "Curvature Objective curvature objective_of",
    "one_step": "best_step gain_at gradient_moments",
    "persistence": "check_growth escape_time growth_factor steps_to_escape",
    "subspace": "Subspace complement spanned",
}

__getattr__ = lazily(__name__, {name: home for home, names in _HOMES.items() for name in names.split()})
