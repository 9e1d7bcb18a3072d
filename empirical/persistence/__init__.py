"""Persistence: does a network stay on its clone manifold while the data change, and in which arithmetic?

A network whose units are clones trains by full-batch gradient descent on task after task, in float64, float32 or
bfloat16. With d the distance to the manifold w + BC, g = max |1 − ηλ| over the curvatures λ normal to it (measured
along the run) and ε what a step's rounding adds to the distance (measured against the same step in float64),

    d(t+1) ≤ g d(t) + ε(t)   to first order in d:

the Grönwall bound along the run. Rounding drift is Σε; a distance far above it has been amplified: an escape.

Reading order: options (arms, what can be set) → networks (clones, their manifold, a step) → simulation (a group of
runs) → records (saved runs, the bound) → claims (what they say) → verdicts (whether a claim holds) → command (``python
-m empirical persistence``).
"""

from typing import TYPE_CHECKING

from empirical.persistence.options import PERSISTENCE, Persistence, PersistenceRun
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.persistence.claims import persists, rounding
    from empirical.persistence.records import bounds, cells, exceeded
    from empirical.persistence.simulation import EXPERIMENT, Simulation

__all__ = [
    "EXPERIMENT",
    "PERSISTENCE",
    "Persistence",
    "PersistenceRun",
    "Simulation",
    "bounds",
    "cells",
    "exceeded",
    "persists",
    "rounding",
]

_HOMES = {
    **dict.fromkeys(("persists", "rounding"), "claims"),
    **dict.fromkeys(("bounds", "cells", "exceeded"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation"), "simulation"),
}
__getattr__ = lazily(__name__, _HOMES)
