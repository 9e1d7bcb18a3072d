"""A fresh network as the control: what would these numbers be, and how well would it learn, without the past?"""

import copy
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from lop_theory.watch.measurement import GROUPS, Occasion, record
from lop_theory.watch.optimiser_facts import UNKNOWN
from lop_theory.watch.probe import Probe, on_device
from lop_theory.watch.record import NAN, Record

Fit = Callable[[nn.Module], float]
"""Trains the model that it is given and returns how badly that went (a loss, an error, minus a return)."""


class Control(NamedTuple):
    """The fresh model's record at ``step``; ``fit`` of a copy of the trained model and of the fresh one (or NaN)."""

    step: int
    fresh: Record
    fit_trained: float = NAN
    fit_fresh: float = NAN


def fresh_control(
    model: nn.Module, make_model: Callable[[], nn.Module], probe: Probe, step: int, fit: Fit | None
) -> Control:
    """Neither the model nor its random streams are touched; churn and trends need a past and are left out."""
    device = next((p.device for p in model.parameters()), None)
    fresh = make_model().to(device).train(model.training)
    groups = frozenset(GROUPS) - {"churn", "pairs"}
    found = record(Occasion(fresh, probe._replace(inputs=on_device(probe.inputs, fresh)), step, UNKNOWN, groups))
    if fit is None:
        return Control(step, found)
    return Control(step, found, float(fit(copy.deepcopy(model))), float(fit(fresh)))
