"""Which remedy helps a network that loses plasticity: all of them on one stream of tasks, with the same small budget.

Of a remedy, share = (a − a_plain)/(a_fresh − a_plain) with a the training accuracy averaged over the last tasks: 0 is
no better than plain training, 1 as fast as a fresh network.

Reading order: options (remedies, strengths, predictions) → networks → methods (what each remedy is in training) →
simulation (a run) → records (tuning's choice, shares, costs) → claims → verdicts → command
(``python -m empirical remedies``).
"""

from typing import TYPE_CHECKING

from empirical.remedies.options import REMEDIES, REMEDIES_PRESETS, Remedies, Remedy, RemedyRun
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.remedies.records import Cell, accuracy, cells, cost, late, share
    from empirical.remedies.simulation import EXPERIMENT, Simulation

__all__ = [
    "EXPERIMENT",
    "REMEDIES",
    "REMEDIES_PRESETS",
    "Cell",
    "Remedies",
    "Remedy",
    "RemedyRun",
    "Simulation",
    "accuracy",
    "cells",
    "cost",
    "late",
    "share",
]

_HOMES = {
    **dict.fromkeys(("Cell", "accuracy", "cells", "cost", "late", "share"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation"), "simulation"),
}
__getattr__ = lazily(__name__, _HOMES)
