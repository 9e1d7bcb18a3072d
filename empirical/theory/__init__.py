"""Theory in the loop: a run evaluates the theory's own predictions on its activations and weights.

Every check says pass, fail (the hypotheses hold within the stated tolerance and the prediction does not) or out of
hypothesis, with the reason. The scalar theory, certificates and metrics are lop_theory's. For instance the rank gain
of a layer whose pre-activations are jointly Gaussian with correlations ρ_ij:

    er₂(after)/er₂(before) ≥ 1 + Σ_{i≠j} (1 − √(c_i c_j)) ρ_ij²(1 − ρ_ij²)/‖C‖_F².

Reading order: check (verdicts) → probe (one pass through a model) → gain (rank gain) → nearest (the nearest cloning
manifold) → frozen (units without a gradient) → model (these three at once) → clone (a clone beside its base).
"""

from typing import TYPE_CHECKING

from empirical.theory.check import Check, counts
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.theory.clone import Dynamics, check_clone, cloning, nudged
    from empirical.theory.model import check_model

__all__ = ["Check", "Dynamics", "check_clone", "check_model", "cloning", "counts", "nudged"]

_HOMES = {
    **dict.fromkeys(("Dynamics", "check_clone", "cloning", "nudged"), "clone"),
    "check_model": "model",
}
__getattr__ = lazily(__name__, _HOMES)
