"""Continual classification: a network learns task after task, each of classes it has not seen, and may lose the
ability to.

The loss of a task is the cross-entropy over its classes C_t only, −log(e^{z_y} / Σ_{c∈C_t} e^{z_c}); the output layer
is zero at a task's start, everything else goes on. The control is a new network for every task; what is lost is the
control's accuracy less the network's.

Reading order: options (what can be set) → metrics (accuracies, layers, checks of the theory) → together (the same of
several networks at once) → simulation (a group of runs: begin, advance, measure) → records (saved runs) → claims (what
they say) → verdicts (whether a claim holds) → command (``python -m empirical continual``).
"""

from typing import TYPE_CHECKING

from empirical.continual.options import CONTINUAL, Continual, ContinualRun
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.continual.claims import continual_backprop, normalisation, symptoms
    from empirical.continual.metrics import Probe, accuracies
    from empirical.continual.records import Setting, accuracy, cells, loss, over_layers
    from empirical.continual.simulation import EXPERIMENT, Simulation

__all__ = [
    "CONTINUAL",
    "EXPERIMENT",
    "Continual",
    "ContinualRun",
    "Probe",
    "Setting",
    "Simulation",
    "accuracies",
    "accuracy",
    "cells",
    "continual_backprop",
    "loss",
    "normalisation",
    "over_layers",
    "symptoms",
]

_HOMES = {
    **dict.fromkeys(("continual_backprop", "normalisation", "symptoms"), "claims"),
    **dict.fromkeys(("Probe", "accuracies"), "metrics"),
    **dict.fromkeys(("Setting", "accuracy", "cells", "loss", "over_layers"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation"), "simulation"),
}
__getattr__ = lazily(__name__, _HOMES)
