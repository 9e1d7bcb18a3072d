"""Hermite coefficients a_k = E[φ̄(Z) he_k(Z)] of the standardised activation φ̄, with rigorous error bounds.

φ̄ = Σ_k a_k he_k in L²(N(0, 1)) with he_k orthonormal, so Σ_k a_k² = 1. Reading order: expansion (which route, and the
balls it returns), then the three routes — recursion (by parts, piecewise polynomial · exponential), trapezoid (the
line, analytic in a strip), panels (Gauss–Legendre, everything else) —, taylor (the certificate checker's independent
route), adaptive (python-flint's integrator, for tests and benchmarks) and exact (λ in closed form).
"""

from typing import TYPE_CHECKING

from lop_theory.hermite.expansion import Expansion, energy, expand, mean, mean_square, raw_moments
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.hermite.adaptive import coefficient
    from lop_theory.hermite.exact import strength
    from lop_theory.hermite.taylor import Unsettled, standardised

__all__ = [
    "Expansion",
    "Unsettled",
    "coefficient",
    "energy",
    "expand",
    "mean",
    "mean_square",
    "raw_moments",
    "standardised",
    "strength",
]

__getattr__ = lazily(
    __name__, {"Unsettled": "taylor", "coefficient": "adaptive", "standardised": "taylor", "strength": "exact"}
)
