"""Theory in the loop: a run evaluates the theory's own predictions on its activations and weights.

Every check says pass, fail (the hypotheses hold within the stated tolerance and the prediction does not) or out of
hypothesis, with the reason. The scalar theory, certificates and metrics are lop_theory's.
"""

from empirical.theory.check import Check, counts
from empirical.theory.clone import Dynamics, check_clone, cloning, nudged
from empirical.theory.model import check_model
from lop_theory.modules.rates import matched_groups, matched_rates

__all__ = [
    "Check",
    "Dynamics",
    "check_clone",
    "check_model",
    "cloning",
    "counts",
    "matched_groups",
    "matched_rates",
    "nudged",
]
