"""Persistence as a group of runs: every step in the run's arithmetic, and the same step in float64 beside it."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from empirical.persistence.networks import (
    Cloned,
    batch_of,
    cloned_network,
    gradient_noise,
    loss_on,
    perturbation,
)
from empirical.persistence.options import PersistenceRun, setting
from empirical.runs.run import Advance, Arrays, Experiment
from empirical.runs.store import Row
from lop_theory.stability import normal_extremes

COLUMNS = {
    "step": "int32",
    "task": "int32",
    "layer": "int8",
    "loss": "float64",
    "norm": "float64",
    "distance": "float64",
    "lowest": "float64",
    "highest": "float64",
    "rounding": "float64",
    "rounding_square": "float64",
}
"""Columns of a record. ``distance`` is ‖P(θ − w)‖; ``lowest`` and ``highest`` are curvatures on N, moved outwards by
their residuals; ``rounding`` and ``rounding_square`` are Σε and Σε² since the row before, ε = ‖P(step taken − step in
float64)‖."""


class Simulation:
    """One group in memory; :meth:`advance` trains every run to the next measurement."""

    def __init__(self, runs: Sequence[PersistenceRun], arrays: Sequence[Arrays] | None = None, step: int = 0) -> None:
        self.runs, self.step = tuple(runs), step
        self.lines = [_Line(run, None if arrays is None else arrays[k]) for k, run in enumerate(self.runs)]

    def states(self) -> list[Arrays]:
        return [{"point": line.point.double().numpy()} for line in self.lines]

    def first_rows(self) -> list[list[Row]]:
        return [[line.row(0, 0.0, 0.0)] for line in self.lines]

    def advance(self) -> list[Advance]:
        """To the next measurement. A run whose weights are not finite has failed."""
        begun, self.step = self.step, self.step + self.runs[0].every
        return [_advanced(line, begun, self.step) for line in self.lines]


def _advanced(line: "_Line", begun: int, end: int) -> Advance:
    errors = [line.train(step) for step in range(begun, end)]
    if not torch.isfinite(line.point).all():
        return Advance([], f"weights are not finite at step {end} (step size {line.run.step_size})")
    return Advance([line.row(end, sum(errors), sum(e**2 for e in errors))])


class _Line:
    """One run: its network, its manifold, and its weights in its arithmetic."""

    def __init__(self, run: PersistenceRun, saved: Arrays | None) -> None:
        self.run, self.dtype = run, getattr(torch, run.arithmetic)
        self.network: Cloned = cloned_network(run)
        start = self.network.start + perturbation(run, self.network)
        self.point = (start if saved is None else torch.from_numpy(np.array(saved["point"]))).to(self.dtype)
        self._task = (-1, *(None,) * 2)

    def _losses(self, step: int):
        """The loss of the task at ``step``, in float64 and in the run's arithmetic."""
        index = min(step // self.run.steps, self.run.tasks - 1)
        if self._task[0] != index:
            batch = batch_of(self.run, index)
            self._task = (index, *(loss_on(self.network.model, batch, t) for t in (torch.float64, self.dtype)))
        return self._task[1:]

    def train(self, step: int) -> float:
        """One step; the normal part of its rounding, ‖P(step taken − step in float64)‖."""
        exact, own = self._losses(step)
        before = self.point.double()
        gradient = exact.gradient(before)
        noise = gradient_noise(self.run, step, gradient)
        self.point = self.point - self.run.step_size * (own.gradient(self.point) + noise.to(self.dtype))
        wanted = before - self.run.step_size * (gradient + noise)
        return float(self.network.normal.project(self.point.double() - wanted).norm())

    def row(self, step: int, rounding: float, square: float) -> Row:
        """Where the run is; the curvatures are those of the task that comes next."""
        exact, _ = self._losses(step)
        point = self.point.double()
        at = exact.curvature(point)
        found = normal_extremes(at, self.network.normal, steps=self.run.products)
        return {
            "step": step,
            "task": step // self.run.steps,
            "layer": -1,
            "loss": at.value,
            "norm": float(point.norm()),
            "distance": self.distance(point),
            "lowest": found.lowest.value - found.lowest.residual,
            "highest": found.highest.value + found.highest.residual,
            "rounding": rounding,
            "rounding_square": square,
        }

    def distance(self, point: Tensor) -> float:
        """‖P(θ − w)‖."""
        return float((self.network.normal.project(point) - self.network.origin).norm())


def label(run: PersistenceRun) -> str:
    """The run on the screen."""
    return f"{' '.join(setting(asdict(run)))} seed {run.seed}"


EXPERIMENT = Experiment("persistence", COLUMNS, Simulation, label=label)
