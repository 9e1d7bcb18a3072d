"""One run in memory: task after task, the output layer zero at a task's start, everything else as it was.

Random numbers of the passes (dropout) are a function of seed and task; the loss is masked to the task's classes.
"""

import io
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from empirical.remedies.methods import Batches, at_start, optimiser, penalty
from empirical.remedies.networks import build, network_seed
from empirical.remedies.options import RemedyRun, label
from empirical.runs.run import Advance, Arrays, Experiment
from empirical.runs.store import Row
from empirical.streams.tasks import as_inputs, batch_indices, open_source, task
from empirical.training import evaluating

COLUMNS = {
    "step": "int32",
    "task": "int16",
    "accuracy": "float32",
    "at_end": "float32",
    "loss": "float32",
    "cpu_milliseconds": "float32",
}
"""Columns, a row a task: training accuracy averaged over the task, and at its end; mean training loss; CPU time of a
training step on one thread, evaluation apart (the only column that a second run does not repeat)."""
LOOKED_AT = 5
"""Batches of a task that a remedy may see before it."""


class Simulation:
    """:meth:`advance` trains one task."""

    def __init__(
        self, runs: Sequence[RemedyRun], arrays: Sequence[Arrays] | None = None, step: int = 0, device: str = "cpu"
    ) -> None:
        (self.run,) = runs
        self.step, self.device = step, device
        self.source = open_source(self.run.data)
        self._new(0)
        if arrays:
            self._load(arrays[0])

    def _new(self, index: int) -> None:
        """A network that is new at a task, and its optimiser."""
        self.model = self._built(index)
        example = torch.linspace(-1, 1, 2 * int(np.prod(self.source.image)), device=self.device)
        self.optimiser = optimiser(self.model, self.run, example.view(2, *self.source.image))

    def _built(self, index: int) -> nn.Sequential:
        return build(self.run, self.source.image, self.source.classes, index).to(self.device)

    def first_rows(self) -> list[list[Row]]:
        return [[]]

    def states(self) -> list[Arrays]:
        """The checkpoint: what PyTorch makes of model and optimiser, as bytes."""
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}, buffer)
        return [{"state": np.frombuffer(buffer.getvalue(), np.uint8)}]

    def _load(self, arrays: Arrays) -> None:
        saved = torch.load(io.BytesIO(arrays["state"].tobytes()), map_location=self.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])

    def advance(self) -> list[Advance]:
        """Train one task. A run whose loss is not finite has failed."""
        run, index = self.run, self.step // self.run.steps
        images, labels, allowed = self._task(index)
        order = [batch_indices(run.seed, index, step, run.batch, len(labels)) for step in range(run.steps)]
        batches = [(images[numbers], labels[numbers]) for numbers in map(torch.from_numpy, order)]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(network_seed(run.seed, index))
            self._begin(index, batches, allowed)
            row = self._train(batches, allowed, images, labels)
        self.step += run.steps
        cause = None if np.isfinite(row["loss"]) else f"the loss of task {index} is not finite"
        return [Advance([] if cause else [{"step": self.step, "task": index, **row}], cause)]

    def _task(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Training images, labels and allowed classes."""
        drawn = task(self.source, self.run.data, self.run.seed, index, self.run.classes_per_task)
        allowed = torch.zeros(self.source.classes, dtype=torch.bool, device=self.device)
        allowed[list(drawn.classes)] = True
        return as_inputs(drawn.images, self.device), torch.from_numpy(drawn.labels).to(self.device), allowed

    def _begin(self, index: int, batches: Batches, allowed: Tensor) -> None:
        if index and self.run.remedy == "fresh":
            self._new(index)
        elif index:
            seen = batches[:LOOKED_AT], lambda output, y: masked(output, y, allowed)
            at_start(self.model, self.optimiser, self.run, lambda: self._built(index), seen)
        with torch.no_grad():
            for parameter in self.model[-1].parameters():
                parameter.zero_()

    def _train(self, batches: Batches, allowed: Tensor, images: Tensor, labels: Tensor) -> Row:
        window, losses, accuracies, seconds = self.run.window, [], [], 0.0
        for first in range(0, len(batches), window):
            begun = time.process_time()
            losses += [self._step(x, y, allowed) for x, y in batches[first : first + window]]
            seconds += time.process_time() - begun
            with torch.no_grad(), evaluating(self.model):
                found = self.model(images).masked_fill(~allowed, -torch.inf).argmax(1)
            accuracies.append(float((found == labels).double().mean()))
        return {
            "accuracy": float(np.mean(accuracies)),
            "at_end": accuracies[-1],
            "loss": float(torch.stack(losses).double().mean()),
            "cpu_milliseconds": 1e3 * seconds / len(batches),
        }

    def _step(self, x: Tensor, y: Tensor, allowed: Tensor) -> Tensor:
        """One step; its loss, without the remedy's penalty."""
        self.optimiser.zero_grad()
        loss = masked(self.model(x), y, allowed)
        (loss + penalty(self.model, self.run)).backward()
        self.optimiser.step()
        return loss.detach()


def masked(output: Tensor, labels: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy over the allowed classes."""
    return cross_entropy(output.masked_fill(~allowed, -torch.inf), labels)


EXPERIMENT = Experiment("remedies", COLUMNS, Simulation, label=label)
