"""Cloning: a trained base network is widened into a clone of itself, and both train on; does the clone leave the
manifold on which its units are copies?

Measured are the defect 1 − R² of activations and gradients, R² = 1 − (variance within blocks of clones)/(total
variance), and the distance ‖θ − Pθ‖/‖θ‖ of the weights from RE∩CE, P the orthogonal projection: both are 0 on clones,
and theory says that SGD and Adam keep them there.

Reading order: options (what can be set) → base (images, networks, the base alone) → metrics (defect, distance, layers)
→ simulation (a group of runs: begin, advance, measure) → records (saved runs) → claims (what they say) → verdicts
(whether a claim holds) → command (``python -m empirical cloning``) → leap (why matched clones part in float32).
"""

from typing import TYPE_CHECKING

from empirical.cloning.options import CLONING, Cloning, CloningRun, Setting
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.cloning.claims import SENTENCES, capacity, leaves, one_step, rates, rounding, stays, transformer
    from empirical.cloning.metrics import function_gap, manifold_row
    from empirical.cloning.records import cells, grouped, over_layers, side_by_side
    from empirical.cloning.simulation import EXPERIMENT, Simulation

__all__ = [
    "CLONING",
    "EXPERIMENT",
    "SENTENCES",
    "Cloning",
    "CloningRun",
    "Setting",
    "Simulation",
    "capacity",
    "cells",
    "function_gap",
    "grouped",
    "leaves",
    "manifold_row",
    "one_step",
    "over_layers",
    "rates",
    "rounding",
    "side_by_side",
    "stays",
    "transformer",
]

_HOMES = {
    **dict.fromkeys(
        ("SENTENCES", "capacity", "leaves", "one_step", "rates", "rounding", "stays", "transformer"), "claims"
    ),
    **dict.fromkeys(("function_gap", "manifold_row"), "metrics"),
    **dict.fromkeys(("cells", "grouped", "over_layers", "side_by_side"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation"), "simulation"),
}
__getattr__ = lazily(__name__, _HOMES)
