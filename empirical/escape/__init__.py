"""Escape: a network that has lost plasticity goes on over new tasks with a perturbation or without; how much of a
fresh network's speed comes back?

Both stages are continual classification (:mod:`empirical.continual`). With the mean training accuracy A over the tasks
of stage 2,

    recovered = (A_branch − A_none) / (A_fresh − A_none):   0 is no better than unperturbed, 1 a fresh network.

Reading order: options (stages, branches, what can be set) → metrics (units that came back, curvature normal to the
clones) → perturb (the step along the escape direction) → simulation (a group of runs: begin, advance, measure) →
records (saved runs) → claims (what they say) → verdicts (whether a claim holds) → command (``python -m empirical
escape``).
"""

from typing import TYPE_CHECKING

from empirical.escape.options import ESCAPE, Branch, Escape, EscapeRun, Perturbations, Stage, Start
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.escape.claims import curvatures, loss_of_plasticity, recovery, silence
    from empirical.escape.perturb import leave_clones
    from empirical.escape.records import area, cell, recovered, silent_units
    from empirical.escape.simulation import EXPERIMENT, Simulation

__all__ = [
    "ESCAPE",
    "EXPERIMENT",
    "Branch",
    "Escape",
    "EscapeRun",
    "Perturbations",
    "Simulation",
    "Stage",
    "Start",
    "area",
    "cell",
    "curvatures",
    "leave_clones",
    "loss_of_plasticity",
    "recovered",
    "recovery",
    "silence",
    "silent_units",
]

_HOMES = {
    **dict.fromkeys(("curvatures", "loss_of_plasticity", "recovery", "silence"), "claims"),
    "leave_clones": "perturb",
    **dict.fromkeys(("area", "cell", "recovered", "silent_units"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation"), "simulation"),
}
__getattr__ = lazily(__name__, _HOMES)
