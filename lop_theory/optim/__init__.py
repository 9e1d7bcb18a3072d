"""Optimisers and callbacks against loss of plasticity: noise, continual backprop, shrink-and-perturb, ReDo, L2-init.

Each is an ordinary ``torch.optim.Optimizer`` or an object with ``step``, ``state_dict`` and ``load_state_dict`` that
works beside one.
"""

from lop_theory.optim.adam_gnt import AdamGnT
from lop_theory.optim.continual_backprop import ContinualBackprop
from lop_theory.optim.l2_init import L2Init
from lop_theory.optim.noisy_sgd import NoisySGD
from lop_theory.optim.redo import ReDo
from lop_theory.optim.shrink_perturb import shrink_and_perturb
from lop_theory.optim.companion import Companion
from lop_theory.optim.units import find_units

__all__ = ["AdamGnT", "ContinualBackprop", "L2Init", "NoisySGD", "ReDo", "shrink_and_perturb", "find_units"]
