"""Escape as a group of runs: continual training, then every branch of stage 2 from its starts, one after the other.

Both stages are :class:`empirical.continual.simulation.Simulation`; a branch begins with the weights and the
optimiser's memory of stage 1, and differs in its options, or in what is done to the network at the start of a task,
before the output layer becomes zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from empirical.continual import simulation as continual
from empirical.continual.records import END, FIRST_STEP
from empirical.escape.metrics import COLUMNS, Lost, came_back, found_lost, revived, silent, spectrum
from empirical.escape.options import STAGE_1, STARTS, EscapeRun, Stage, Start, half_lost, label
from empirical.escape.perturb import leave_clones
from empirical.runs.execution import Engine
from empirical.runs.run import Advance, Experiment, alike
from empirical.runs.saved import NETWORK
from empirical.runs.store import Row
from empirical.training import begun, build
from lop_theory.optim import shrink_and_perturb

Arrays = dict[str, np.ndarray]
NOW, STAGE_1_ACCURACY = "now", "accuracy"


class Place(NamedTuple):
    """Where a step of the run lies: the stage, and the step of its continual training."""

    stage: Stage
    step: int


def place(run: EscapeRun, step: int) -> Place:
    """The place of a step; the last one is the end of the last branch."""
    first = run.before * run.steps
    if step < first:
        return Place(STAGE_1, step)
    length = run.after * run.steps
    number = min((step - first) // length, len(run.stages) - 1)
    return Place(run.stages[number], step - number * length)


class Simulation:
    """One group in memory; :meth:`advance` trains one task."""

    def __init__(
        self,
        runs: Sequence[EscapeRun],
        arrays: Sequence[Arrays] | None = None,
        step: int = 0,
        device: str = "cpu",
        engine: Engine = "auto",
        drawers: int = 0,
    ) -> None:
        self.runs, self.run, self.step, self.device = runs, runs[0], step, device
        self._how = (device, engine, drawers)
        self._first = self.run.before * self.run.steps
        saved = arrays or [{}] * len(runs)
        self._accuracies = [_part(a, STAGE_1_ACCURACY).get("", np.empty(0)).tolist() for a in saved]
        self._starts: dict[Start, list[Arrays]] = {start: [_part(a, start) for a in saved] for start in STARTS}
        self._lost: tuple[Start, list[Lost]] | None = None
        self._failed: dict[int, str] = {}
        self._stage, self._inner = self._begin([_part(a, NOW) for a in saved] if arrays else None)

    def _begin(self, arrays: Sequence[Arrays] | None = None) -> tuple[Stage, continual.Simulation]:
        """The continual training of the present place: where it was (``arrays``), or at its beginning."""
        stage, step = place(self.run, self.step)
        runs = [run.continual(stage.branch) for run in self.runs]
        if stage.start is None or step > self._first:
            return stage, continual.Simulation(runs, arrays, step, *self._how)
        inner = continual.Simulation(runs, None, step, *self._how)
        for k, saved in enumerate(self._starts[stage.start]):
            own = inner.trainer.state(k)
            kept = saved | begun(float(saved["optimiser/moments/2"])) if "optimiser/moments/3" in own else saved
            inner.trainer.load(k, {n: np.broadcast_to(kept.get(n, array), array.shape) for n, array in own.items()})
        return stage, inner

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of the training; branches may differ in it, the last one counts."""
        return self._inner.facts

    def states(self) -> list[Arrays]:
        """The checkpoints: of the network that trains now, and of the starts that were reached."""
        now = self._inner.states()
        return [
            {
                **_named(NOW, now[k]),
                **{name: array for start in STARTS for name, array in _named(start, self._starts[start][k]).items()},
                f"{STAGE_1_ACCURACY}/": np.array(self._accuracies[k]),
            }
            for k in range(len(self.runs))
        ]

    def first_rows(self) -> list[list[Row]]:
        """The networks before training."""
        return [[{**row, **STAGE_1.numbers} for row in rows] for rows in self._inner.first_rows()]

    def advance(self) -> list[Advance]:
        """Train one task. A run whose loss is not finite has failed."""
        stage, start = place(self.run, self.step)
        if stage != self._stage:
            self._stage, self._inner = self._begin()
        shifts = [self._perturbed(k) for k in range(len(self.runs))]
        rows: list[list[Row]] = [[] for _ in self.runs]
        self._train(rows, start + self.run.half)
        half = [self._silent(k) for k in range(len(self.runs))]
        self._train(rows, start + self.run.steps)
        self._failed |= {k: cause for k, cause in self._inner.failed.items() if k not in self._failed}
        if stage == STAGE_1:
            self._keep_starts(rows)
        for k, own in enumerate(rows):
            self._complete(own, k, shifts[k], half[k])
            own[:] = [{**row, "step": row["step"] + self.step - start, **stage.numbers} for row in own]
        self.step += self.run.steps
        return [Advance(own, self._failed.get(k)) for k, own in enumerate(rows)]

    def _keep_starts(self, rows: list[list[Row]]) -> None:
        """Keep the network of a task of stage 1 if stage 2 begins from it."""
        states, ended = self._inner.states(), self._inner.step == self._first
        task = {"task": np.array(self._inner.step // self.run.steps - 1)}
        for k, own in enumerate(rows):
            self._accuracies[k].append(
                float(np.mean([row["train_accuracy"] for row in own if row["layer"] == NETWORK]))
            )
            fallen = half_lost(self._accuracies[k], 1 / self.run.classes_per_task)
            if not self._starts["half"][k] and (fallen or ended):
                self._starts["half"][k] = states[k] | task
            if ended:
                self._starts["end"][k] = states[k] | task

    def _train(self, rows: list[list[Row]], stop: int) -> None:
        """Train up to a step of the stage, collecting rows."""
        while self._inner.step < stop:
            for own, brought in zip(rows, self._inner.advance(), strict=True):
                own += [row for row in brought.rows if row["moment"] != FIRST_STEP]

    def _silent(self, k: int) -> list[Tensor]:
        """Units of one run's network that are zero on every training image of the task that it has trained on."""
        task = (self._inner.step - 1) // self.run.steps
        return silent(self._inner.trainer.models[k], self._inner.tasks(task)[k].inputs())

    def _units_at_start(self, start: Start) -> list[Lost]:
        """What had become of the units of every run by the start of stage 2."""
        if self._lost is None or self._lost[0] != start:
            found = []
            for run, saved in zip(self.runs, self._starts[start], strict=True):
                state = dict(saved)
                task = int(state.pop("task"))
                own = continual.Simulation([run.continual(None)], [state], (task + 1) * run.steps, self.device)
                found.append(found_lost(own.trainer.models[0], own.tasks(task)[0].probe, run))
            self._lost = start, found
        return self._lost[1]

    def _perturbed(self, k: int) -> Row:
        """Change the network of one run as its branch wants it before a task; what there is to record of it."""
        branch = self._stage.branch
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
        start, branch = self._stage
        last = run.before if start is None else run.before + run.after
        if run.spectrum and task == last - 1:
            ends[0].update(spectrum(model, probe, run.spectrum))
        found = revived(half, self._silent(k))
        if start is not None and branch != "fresh":
            back = came_back(model, probe, self._units_at_start(start)[k], run)
            found = [a | b for a, b in zip(found, back, strict=True)]
        for row, columns in zip(ends[1:], found, strict=True):
            row.update(columns)


def _part(arrays: Mapping[str, np.ndarray], name: str) -> Arrays:
    return {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}


def _named(name: str, arrays: Arrays) -> Arrays:
    return {f"{name}/{key}": array for key, array in arrays.items()}


EXPERIMENT = Experiment("escape", COLUMNS, Simulation, alike, label, engines=True)
