"""Bit-flipping: online regression whose target drifts; SGD loses plasticity, continual backprop keeps or restores it.

An input x is m bits; one of those that are held during a task flips between tasks (paper §B.1.1). The target is a
fixed network of linear threshold units, and every sample is seen once:

    y = c + Σ_i v_i [z_i ≥ θ_i],   z_i = Σ_j w_ij x_j + w_i,bias,   error (y − ŷ(x))².

Reading order: options (what can be set) → stream (inputs and targets) → units (activations) → backprop (continual
backprop: who is replaced) → online (the compiled learner, batch 1) → layer (its metrics) → simulation (a run: begin,
advance, measure) → records (saved runs) → claims (what they say) → verdicts (whether a claim holds) → command
(``python -m empirical bitflip``).
"""

from typing import TYPE_CHECKING

from empirical.bitflip.options import BITFLIP, Bitflip, BitflipRun, CbpOptions, LearnerOptions, StreamOptions
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.bitflip.backprop import Rule
    from empirical.bitflip.claims import duplicates, loss_of_plasticity, recovery, width_disparity
    from empirical.bitflip.online import Learner, advance, fresh_learner
    from empirical.bitflip.records import Cell, cells
    from empirical.bitflip.simulation import EXPERIMENT, Simulation, certified_frozen
    from empirical.bitflip.stream import Stream, bitflip_stream

__all__ = [
    "BITFLIP",
    "EXPERIMENT",
    "Bitflip",
    "BitflipRun",
    "CbpOptions",
    "Cell",
    "Learner",
    "LearnerOptions",
    "Rule",
    "Simulation",
    "Stream",
    "StreamOptions",
    "advance",
    "bitflip_stream",
    "cells",
    "certified_frozen",
    "duplicates",
    "fresh_learner",
    "loss_of_plasticity",
    "recovery",
    "width_disparity",
]

_HOMES = {
    "Rule": "backprop",
    **dict.fromkeys(("duplicates", "loss_of_plasticity", "recovery", "width_disparity"), "claims"),
    **dict.fromkeys(("Learner", "advance", "fresh_learner"), "online"),
    **dict.fromkeys(("Cell", "cells"), "records"),
    **dict.fromkeys(("EXPERIMENT", "Simulation", "certified_frozen"), "simulation"),
    **dict.fromkeys(("Stream", "bitflip_stream"), "stream"),
}
__getattr__ = lazily(__name__, _HOMES)
