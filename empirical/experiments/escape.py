"""Escape as a group of runs: continual training, then every branch of stage 2 from its end, one after the other.

Both stages are :class:`empirical.experiments.continual.Simulation`; a branch begins with the weights and the
optimiser's memory of stage 1, and differs in its options, or in what is done to the network at the start of a task,
before the output layer becomes zero.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from empirical.continual_records import END, FIRST_STEP, NETWORK
from empirical.experiments import continual
from empirical.experiments.escape_metrics import COLUMNS, Lost, came_back, found_lost, revived, silent, spectrum
from empirical.experiments.escape_perturb import leave_clones
from empirical.models import build
from empirical.options.escape import BRANCHES, STAGE_1, Branch, EscapeRun, alike, label
from empirical.run import Advance, Experiment
from empirical.store import Row
from lop_theory.optim import shrink_and_perturb

Arrays = dict[str, np.ndarray]
NOW, LOST = "now", "lost"


class Place(NamedTuple):
    """Where a step of the run lies: in stage 1 (``None``) or a branch, and the step of that continual training."""

    branch: Branch | None
    step: int


def place(run: EscapeRun, step: int) -> Place:
    """The place of a step; the last one is the end of the last branch."""
    first = run.before * run.steps
    if step < first:
        return Place(None, step)
    length = run.after * run.steps
    number = min((step - first) // length, len(run.branches) - 1)
    return Place(run.branches[number], first + step - first - number * length)


class Simulation:
    """One group in memory; :meth:`advance` trains one task."""

    def __init__(
        self, runs: Sequence[EscapeRun], arrays: Sequence[Arrays] | None = None, step: int = 0, device: str = "cpu"
    ) -> None:
        self.runs, self.run, self.step, self.device = runs, runs[0], step, device
        self._first = self.run.before * self.run.steps
        self._end_of_stage_1 = [_part(saved, LOST) for saved in arrays or [{}] * len(runs)]
        self._lost: list[Lost] = []
        self._failed: dict[int, str] = {}
        self._stage, self._inner = self._begin([_part(saved, NOW) for saved in arrays] if arrays else None)

    def _begin(self, arrays: Sequence[Arrays] | None = None) -> tuple[Branch | None, continual.Simulation]:
        """The continual training of the present place: where it was (``arrays``), or at its beginning."""
        branch, step = place(self.run, self.step)
        runs = [run.continual(branch) for run in self.runs]
        fresh_branch = branch is not None and step == self._first
        inner = continual.Simulation(runs, None if fresh_branch else arrays, step, self.device)
        for k, saved in enumerate(self._end_of_stage_1 if fresh_branch else ()):
            own = inner.trainer.state(k)
            inner.trainer.load(k, {name: saved.get(name, array) for name, array in own.items()})
        return branch, inner

    def states(self) -> list[Arrays]:
        """The checkpoints: of the network that trains now, and of the end of stage 1."""
        pairs = zip(self._inner.states(), self._end_of_stage_1, strict=True)
        return [{**_named(NOW, now), **_named(LOST, lost)} for now, lost in pairs]

    def first_rows(self) -> list[list[Row]]:
        """The networks before training."""
        return [[{**row, "branch": STAGE_1} for row in rows] for rows in self._inner.first_rows()]

    def advance(self) -> list[Advance]:
        """Train one task. A run whose loss is not finite has failed."""
        branch, start = place(self.run, self.step)
        if branch != self._stage:
            self._stage, self._inner = self._begin()
        if branch is not None and not self._lost:
            self._lost = self._units_of_stage_1()
        shifts = [self._perturbed(k, branch) for k in range(len(self.runs))]
        rows: list[list[Row]] = [[] for _ in self.runs]
        self._train(rows, start + self.run.half)
        half = [self._silent(k) for k in range(len(self.runs))]
        self._train(rows, start + self.run.steps)
        if branch is None and self._inner.step == self._first:
            self._end_of_stage_1 = self._inner.states()
        self._failed |= {k: cause for k, cause in self._inner.failed.items() if k not in self._failed}
        place_of_row = {"branch": STAGE_1 if branch is None else BRANCHES.index(branch)}
        for k, own in enumerate(rows):
            self._complete(own, k, shifts[k], half[k])
            own[:] = [{**row, "step": row["step"] + self.step - start, **place_of_row} for row in own]
        self.step += self.run.steps
        return [Advance(own, self._failed.get(k)) for k, own in enumerate(rows)]

    def _train(self, rows: list[list[Row]], stop: int) -> None:
        """Train up to a step of the stage, collecting rows."""
        while self._inner.step < stop:
            for own, brought in zip(rows, self._inner.advance(), strict=True):
                own += [row for row in brought.rows if row["moment"] != FIRST_STEP]

    def _silent(self, k: int) -> list[Tensor]:
        """Units of one run's network that are zero on every training image of the task that it has trained on."""
        task = (self._inner.step - 1) // self.run.steps
        return silent(self._inner.trainer.models[k], self._inner.tasks(task)[k].images)

    def _units_of_stage_1(self) -> list[Lost]:
        """What had become of the units by the end of stage 1."""
        runs = [run.continual(None) for run in self.runs]
        end = continual.Simulation(runs, self._end_of_stage_1, self._first, self.device)
        tasks = end.tasks(self.run.before - 1)
        triples = zip(end.trainer.models, tasks, self.runs, strict=True)
        return [found_lost(model, loaded.probe, run) for model, loaded, run in triples]

    def _perturbed(self, k: int, branch: Branch | None) -> Row:
        """Change the network of one run as its branch wants it before a task; what there is to record of it."""
        if branch not in ("shrink_perturb", "escape") or k in self._failed:
            return {}
        inner, run, how = self._inner, self.runs[k], self.run.perturbations
        index, model = inner.step // run.steps, inner.trainer.models[k]
        seed = continual.model_seed(run.seed, index)
        if branch == "escape":
            return leave_clones(model, inner.tasks(index - 1)[k].probe, how.escape, seed)
        image, classes = inner.source.image, inner.source.classes
        shrink_and_perturb(
            model, lambda: build(run.model, image, classes, seed), shrink=how.shrink, perturb=how.perturb
        )
        return {}

    def _complete(self, rows: list[Row], k: int, shift: Row, half: list[Tensor]) -> None:
        """Add the columns of this experiment to the rows of the end of a task."""
        ends = [row for row in rows if row["moment"] == END]
        if k in self._failed:
            return
        assert ends[0]["layer"] == NETWORK
        task, run = self._inner.step // self.run.steps - 1, self.runs[k]
        probe, model = self._inner.tasks(task)[k].probe, self._inner.trainer.models[k]
        ends[0].update(shift)
        last = run.before if self._stage is None else run.before + run.after
        if run.spectrum and task == last - 1:
            ends[0].update(spectrum(model, probe, run.spectrum))
        found = revived(half, self._silent(k))
        if self._stage not in (None, "fresh"):
            found = [a | b for a, b in zip(found, came_back(model, probe, self._lost[k], run), strict=True)]
        for row, columns in zip(ends[1:], found, strict=True):
            row.update(columns)


def _part(arrays: Mapping[str, np.ndarray], name: str) -> Arrays:
    return {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}


def _named(name: str, arrays: Arrays) -> Arrays:
    return {f"{name}/{key}": array for key, array in arrays.items()}


EXPERIMENT = Experiment("escape", COLUMNS, Simulation, alike, label)
