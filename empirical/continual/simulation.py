"""Continual classification as a group of runs: all seeds of a configuration in memory, task after task.

At the start of a task the output layer becomes zero; everything else goes on, the optimiser's memory included (also
that of the output layer: the authors' scripts zero the weights and keep their optimiser). The control arm starts every
task with a new network and a new optimiser. The loss is masked to the task's classes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from empirical.continual import together
from empirical.continual.metrics import COLUMNS, Probe, accuracies, checked, layer_rows, network_row
from empirical.continual.options import ContinualRun
from empirical.continual.records import END, FIRST_STEP, INITIALISATION, TRAINING, label
from empirical.runs.execution import Engine
from empirical.runs.run import Advance, Experiment, alike
from empirical.runs.store import Row
from empirical.streams.ahead import Ahead
from empirical.streams.tasks import Task, as_bytes, as_inputs, batch_indices, open_source, task, unpermuted
from empirical.training.feed import Feed, normalised
from empirical.training.models import build
from empirical.training.trainer import Trainer

CHECKS = 10
"""How often a run checks the theory, at most."""
GLIMPSE = 512
"""Training images, evenly spread, for the accuracy during a task; at its end it is of all of them."""


class Loaded(NamedTuple):
    """A task of one seed on the device: all training images (bytes on a GPU) and labels, the probe, allowed classes
    (mask)."""

    images: Tensor
    labels: Tensor
    probe: Probe
    allowed: Tensor

    def inputs(self, seen: slice = slice(None)) -> Tensor:
        """Training images as networks take them."""
        return normalised(self.images[seen])

    def pictures(self, seen: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Training images as networks take them, their labels, and the allowed classes."""
        return self.inputs(seen), self.labels[seen], self.allowed


class Simulation:
    """One group in memory; :meth:`advance` trains to the end of a window."""

    def __init__(
        self,
        runs: Sequence[ContinualRun],
        arrays: Sequence[dict[str, np.ndarray]] | None = None,
        step: int = 0,
        device: str = "cpu",
        engine: Engine = "auto",
        drawers: int = 0,
    ) -> None:
        self.runs, self.run, self.step, self.device = runs, runs[0], step, device
        self.source = open_source(self.run.data)
        models = [self._fresh(run, 0) for run in runs]
        seeds = [run.seed for run in runs]
        self.trainer = Trainer(models, self.run.optimiser, seeds, device=device, engine=engine, image=self.source.image)
        for k, saved in enumerate(arrays or ()):
            self.trainer.load(k, saved)
        self._bytes = device != "cpu" or engine == "graph"
        self._ahead = Ahead(self._drawn, seeds, self.run.tasks, drawers)
        self.failed: dict[int, str] = {}
        self._loaded: tuple[int, list[Loaded]] | None = None

    def _fresh(self, run: ContinualRun, index: int) -> torch.nn.Module:
        return build(run.model, self.source.image, self.source.classes, model_seed(run.seed, index))

    def tasks(self, index: int) -> list[Loaded]:
        """The task of every seed. The last one is kept."""
        if self._loaded is None or self._loaded[0] != index:
            loaded = [self._on_device(*drawn) for drawn in self._ahead.tasks(index)]
            self._loaded = index, loaded
            self._feed = Feed([(one.images, one.labels) for one in loaded])
            self._masks = torch.stack([one.allowed for one in loaded])
        return self._loaded[1]

    def _drawn(self, seed: int, index: int) -> tuple[Task, np.ndarray | None]:
        """A task; if pictures stay bytes, with the permutation that their pixels are still to have."""
        wanted = self.source, self.run.data, seed, index, self.run.classes_per_task
        return unpermuted(*wanted) if self._bytes else (task(*wanted), None)

    def _on_device(self, drawn: Task, order: np.ndarray | None) -> Loaded:
        if self._bytes:
            images = as_bytes(drawn.images, order, self.device)
            probe_images = normalised(as_bytes(drawn.probe_images, order, self.device))
        else:
            images, probe_images = (as_inputs(a, self.device) for a in (drawn.images, drawn.probe_images))
        labels, probe_labels = (torch.from_numpy(a).to(self.device) for a in (drawn.labels, drawn.probe_labels))
        allowed = torch.zeros(self.source.classes, dtype=torch.bool, device=self.device)
        allowed[list(drawn.classes)] = True
        return Loaded(images, labels, Probe(probe_images, probe_labels, allowed), allowed)

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of the training."""
        return {} if self.trainer.choice is None else {"engine": self.trainer.choice.facts()}

    def states(self) -> list[dict[str, np.ndarray]]:
        """The checkpoint of every run."""
        return [self.trainer.state(k) for k in range(len(self.runs))]

    def first_rows(self) -> list[list[Row]]:
        """The networks before training, on the first task's probe."""
        return self._all_measured(list(range(len(self.runs))), INITIALISATION)

    def advance(self) -> list[Advance]:
        """Train to the end of the window, or of the task. A run whose loss is not finite has failed."""
        run = self.run
        index, within = divmod(self.step, run.steps)
        rows: list[list[Row]] = [[] for _ in self.runs]
        losses: list[Tensor] = []
        steps = range(within, min(within + run.window, run.steps))
        numbers = self._numbers(index, steps)
        if within == 0:
            self._begin_task(index)
            losses.append(self._trained(numbers[:1]))
            self._collect(rows, FIRST_STEP, losses)
        if len(numbers) > len(losses):
            losses.append(self._trained(numbers[len(losses) :]))
        self._collect(rows, END if self.step % run.steps == 0 else TRAINING, losses)
        return [Advance(rows[k], self.failed.get(k)) for k in range(len(self.runs))]

    def _begin_task(self, index: int) -> None:
        if self.run.fresh and index:
            for k, run in enumerate(self.runs):
                self.trainer.reinitialise(k, self._fresh(run, index))
        self.trainer.reset_head()

    def _trained(self, numbers: np.ndarray) -> Tensor:
        """The losses of these steps."""
        losses = self.trainer.steps(self._feed, numbers, self._masks)
        self.step += len(numbers)
        return losses

    def _numbers(self, index: int, steps: range) -> np.ndarray:
        """Which images every run trains on, (steps, runs, batch)."""
        sizes = [len(loaded.labels) for loaded in self.tasks(index)]
        numbers = [
            [batch_indices(run.seed, index, step, run.batch, size) for run, size in zip(self.runs, sizes, strict=True)]
            for step in steps
        ]
        return np.array(numbers)

    def _collect(self, rows: list[list[Row]], moment: int, losses: list[Tensor]) -> None:
        """Add the rows of a moment to those of every run that has not failed."""
        every = torch.cat(losses)
        mean = every.double().mean(0).cpu().numpy()
        for k in range(len(self.runs)):
            if not np.isfinite(mean[k]):
                self.failed.setdefault(k, f"the loss of the {len(every)} steps up to {self.step} is not finite")
        going = [k for k in range(len(self.runs)) if k not in self.failed]
        for k, found in zip(going, self._all_measured(going, moment), strict=True):
            found[0]["loss"] = float(mean[k])
            rows[k] += found

    def _all_measured(self, which: list[int], moment: int) -> list[list[Row]]:
        """Rows of these runs' networks now: one after the other, or where pictures are bytes in one pass."""
        index = max(self.step - 1, 0) // self.run.steps
        if not self._bytes or not which:
            return [self._measured(k, moment) for k in which]
        loaded, models = self.tasks(index), [self.trainer.models[k] for k in which]
        own = [loaded[k] for k in which]
        networks = together.accuracy_rows(models, [partial(one.pictures, self._seen(one, moment)) for one in own])
        layers: list[list[Row]] = [[] for _ in which]
        if moment != TRAINING:
            probes = [one.probe for one in own]
            for network, row in zip(networks, together.network_rows(models, probes), strict=True):
                network.update(row)
            layers = together.layer_rows(models, probes)
            if self._is_checked(index, moment):
                for network, model, probe in zip(networks, models, probes, strict=True):
                    network.update(checked(model, probe))
        place = {"step": self.step, "task": index, "moment": moment}
        return [
            [{**place, "layer": layer, **row} for layer, row in enumerate([network, *rows], start=-1)]
            for network, rows in zip(networks, layers, strict=True)
        ]

    def _seen(self, loaded: Loaded, moment: int) -> slice:
        """The training images that an accuracy is of."""
        return slice(None) if moment == END else slice(None, None, -(-len(loaded.labels) // GLIMPSE))

    def _measured(self, k: int, moment: int) -> list[Row]:
        """Rows of one run's network now: the whole network first, then its layers (not during a task)."""
        index = max(self.step - 1, 0) // self.run.steps
        loaded, model = self.tasks(index)[k], self.trainer.models[k]
        place = {"step": self.step, "task": index, "moment": moment}
        pictures = loaded.pictures(self._seen(loaded, moment))
        network = dict(zip(("train_accuracy", "train_accuracy_all"), accuracies(model, *pictures), strict=True))
        layers: list[Row] = []
        if moment != TRAINING:
            network |= network_row(model, loaded.probe, theory=self._is_checked(index, moment))
            layers = layer_rows(model, loaded.probe)
        return [{**place, "layer": layer, **row} for layer, row in enumerate([network, *layers], start=-1)]

    def _is_checked(self, index: int, moment: int) -> bool:
        """Whether the theory is checked now: after the last of every tenth of the tasks."""
        return self.run.theory and moment == END and (index + 1) % -(-self.run.tasks // CHECKS) == 0


def model_seed(seed: int, index: int) -> int:
    """The seed of the network that is new at task ``index``: that of the first task is the run's own network."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


EXPERIMENT = Experiment("continual", COLUMNS, Simulation, alike, label, engines=True)
