"""The correlation kernel K(ρ) = E[φ̄(X)φ̄(Y)] = Σ_k a_k² ρ^k and the quartic gap bound (paper §3, Lemma A.1).

    ρ² − K(ρ)² ≥ λρ²(1 − ρ²),   λ = 1 − a_1²,   −1 ≤ ρ ≤ 1

Reading order: kernel (K from the coefficients) → quartic_bound (gap, bound) → ratio, kappa (the sharp constant κ ≥ λ)
→ certificate (numbers that anyone can re-check) → checker (re-checks them by another route) → enclosure (κ from both
sides from those numbers) → rank (what the gap means for the rank of a layer) → propagation (gain, order or chaos) →
analysis (all of it for one activation) → card (and what scale and bias do to λ) → printout, card_lines, plot,
coq_formula and coq (a Coq file of it). The command is ``python -m lop_theory.gap``.
"""

from typing import TYPE_CHECKING

from lop_theory.gap.analysis import Analysis, analyse
from lop_theory.gap.certificate import Certificate, certify, verdict
from lop_theory.gap.kappa import Kappa, sharp_constant
from lop_theory.gap.kernel import (
    Kernel,
    at_minus_one,
    correlation_kernel,
    derivative_at_one,
    fixed_points,
    slope,
    standard_kernel,
    value,
)
from lop_theory.gap.quartic_bound import bound, gap
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.gap.checker import check
    from lop_theory.gap.plot import draw_gap, picture
    from lop_theory.gap.rank import gain_bound, potential, rank_gain, renyi2_rank, shannon_rank

__all__ = [
    "Analysis",
    "Certificate",
    "Kappa",
    "Kernel",
    "analyse",
    "at_minus_one",
    "bound",
    "certify",
    "check",
    "correlation_kernel",
    "derivative_at_one",
    "draw_gap",
    "fixed_points",
    "gain_bound",
    "gap",
    "picture",
    "potential",
    "rank_gain",
    "renyi2_rank",
    "shannon_rank",
    "sharp_constant",
    "slope",
    "standard_kernel",
    "value",
    "verdict",
]

_RANK = dict.fromkeys(("gain_bound", "potential", "rank_gain", "renyi2_rank", "shannon_rank"), "rank")
__getattr__ = lazily(__name__, {"check": "checker", "draw_gap": "plot", "picture": "plot", **_RANK})
