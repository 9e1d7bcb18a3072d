"""The rank–plasticity tension: decorrelation strength λ(a, b) of φ(ax + b) against the probability that it is frozen.

    λ(a, b) = 1 − a_1²   against   P(|φ′(aZ + b)| < ε)      (paper App. A.2)

Reading order: modulation (one unit, closed forms and limits) → course (where λ certainly rises and falls in scale and
bias) → monotone (certified turns and monotonicity) → frozen (the frozen probability in three readings, and its floor
for monotone φ). ``python -m lop_theory.tension`` is the command.
"""

from lop_theory.tension.course import Segment, rises_and_falls
from lop_theory.tension.frozen import FrozenProbability, frozen_probability, monotone_floor
from lop_theory.tension.modulation import (
    Unit,
    direction_verdict,
    relu_bias_strength,
    scale_limit,
    tail_limit,
    unit,
)
from lop_theory.tension.monotone import Turn, certify_monotone, strength_at, turn

__all__ = [
    "FrozenProbability",
    "Segment",
    "Turn",
    "Unit",
    "certify_monotone",
    "direction_verdict",
    "frozen_probability",
    "monotone_floor",
    "relu_bias_strength",
    "rises_and_falls",
    "scale_limit",
    "strength_at",
    "tail_limit",
    "turn",
    "unit",
]
