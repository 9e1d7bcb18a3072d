"""Optimisers against loss of plasticity: each wraps any other or is one, for any model.

``ContinualBackprop(torch.optim.AdamW(model.parameters()), model, example_input=x)`` is an ordinary optimiser that
also replaces units, θ ← θ − u(∇L(θ)) and now and then (w_in, w_out) ← (fresh, 0); every elementwise optimiser steps a
replaced weight as a newly made parameter.

Reading order: ranges (of settings), closure (of a step) → axis (owners of places) → flow (units through a traced
graph) → heads (of attention) → units (what computes and reads them) →
stacks (the same of plain sequential models) → noisy_sgd, adam_gnt, upgd (optimisers of their own) → rules (an update by
the age of a weight) → clocks (ages) → wrapping (an optimiser around another) → l2_init, projection → layer (units bound
to tensors) → watch (statistics of passes) → movement (how much the
function moves) → companion (all of it) → continual_backprop, dormancy (what redo and
regrama share), redo, regrama, snr, partial_resets (CCBP) → shrink_perturb, direction_aware (DASH), isometry (between
tasks) → spectrum (penalties) → activations (modules).
"""

from lop_theory.optim.activations import CReLU, DeepFourier, SmoothLeakyReLU
from lop_theory.optim.adam_gnt import AdamGnT
from lop_theory.optim.clocks import Clocks, Place
from lop_theory.optim.companion import Companion
from lop_theory.optim.continual_backprop import ContinualBackprop
from lop_theory.optim.direction_aware import dash
from lop_theory.optim.isometry import fire
from lop_theory.optim.l2_init import L2Init
from lop_theory.optim.noisy_sgd import NoisySGD
from lop_theory.optim.partial_resets import CCBP
from lop_theory.optim.projection import Project
from lop_theory.optim.redo import ReDo
from lop_theory.optim.regrama import ReGraMa
from lop_theory.optim.shrink_perturb import shrink_and_perturb
from lop_theory.optim.snr import SNR
from lop_theory.optim.spectrum import parseval, spectral
from lop_theory.optim.units import Found, Units, find_units
from lop_theory.optim.upgd import UPGD
from lop_theory.optim.wrapping import Wrapping

__all__ = [
    "CCBP",
    "SNR",
    "UPGD",
    "AdamGnT",
    "CReLU",
    "Clocks",
    "Companion",
    "ContinualBackprop",
    "DeepFourier",
    "Found",
    "L2Init",
    "NoisySGD",
    "Place",
    "Project",
    "ReDo",
    "ReGraMa",
    "SmoothLeakyReLU",
    "Units",
    "Wrapping",
    "dash",
    "find_units",
    "fire",
    "parseval",
    "shrink_and_perturb",
    "spectral",
]
