"""Cloning as a group of runs: a base trains alone, is widened into a clone, and both train on, a control beside them.

Base, clone and control see the same batches and have fresh optimisers when the clone is made; the base trains alone
with the same update rule but without noise.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from empirical.engine.batch import Trainer
from empirical.experiments.cloning_metrics import (
    COLUMNS,
    ROLES,
    Sample,
    cloning_row,
    function_gap,
    layer_rows,
    manifold_row,
    scores,
)
from empirical.experiments.continual_metrics import evaluating
from empirical.models import build
from empirical.options.cloning import CloningRun, setting
from empirical.run import Advance, Experiment
from empirical.store import Row
from empirical.streams.tasks import Task, as_inputs, batch_indices, open_source, task
from empirical.theory import Dynamics, check_clone, counts, matched_rates
from lop_theory.modules import Clone, expand

GLIMPSE = 512
"""Training images, evenly spread, for losses and accuracies in evaluation mode."""
Arrays = dict[str, np.ndarray]


class Simulation:
    """One group in memory; :meth:`advance` trains to the next measurement."""

    def __init__(
        self, runs: Sequence[CloningRun], arrays: Sequence[Arrays] | None = None, step: int = 0, device: str = "cpu"
    ) -> None:
        self.runs, self.run, self.step, self.device = runs, runs[0], step, device
        self.dtype = getattr(torch, self.run.precision)
        self.source = open_source(self.run.data)
        drawn = [task(self.source, self.run.data, run.seed, 0, self.run.classes) for run in runs]
        self.train = [self._sample(t, t.images, t.labels) for t in drawn]
        self.probe = [self._sample(t, t.probe_images, t.probe_labels) for t in drawn]
        calm = replace(self.run.optimiser, name="sgd") if self.run.optimiser.name == "noisy_sgd" else self.run.optimiser
        bases = [self._network("base", run) for run in runs]
        self.trainers = {"base": Trainer(bases, calm, [seed_of(run, "alone") for run in runs], device=device)}
        self.clones: list[Clone] = []
        self.failed: dict[int, str] = {}
        if step >= self.run.pretrain:
            self._widen()
        for role, trainer in self.trainers.items():
            for k, saved in enumerate(arrays or ()):
                trainer.load(k, _of_role(saved, role))

    def _sample(self, drawn: Task, images: np.ndarray, labels: np.ndarray) -> Sample:
        local = torch.from_numpy(np.searchsorted(drawn.classes, labels)).to(self.device)
        return Sample(as_inputs(images, self.device).to(self.dtype), local)

    def _network(self, role: str, run: CloningRun) -> nn.Module:
        widen = 1 if role == "base" else run.factor
        model = build(run.model, self.source.image, run.classes, seed_of(run, role), widen=widen)
        return model.to(self.dtype)

    def _widen(self) -> None:
        """Make the clones and the controls; every network begins with a fresh optimiser."""
        bases = self.trainers["base"].models
        self.clones = [self._clone(run, base, k) for k, (run, base) in enumerate(zip(self.runs, bases, strict=True))]
        copies = [self._network("clone", run) for run in self.runs]
        for model, clone in zip(copies, self.clones, strict=True):
            model.load_state_dict(clone.state_dict())
        models = {"base": bases, "clone": copies}
        if self.run.control:
            models["control"] = [self._network("control", run) for run in self.runs]
        rates = {name: float(rate) for name, rate in matched_rates(self.clones[0]).items()}
        self.trainers = {
            role: Trainer(
                networks,
                self.run.optimiser,
                [seed_of(run, role) for run in self.runs],
                device=self.device,
                rates=rates if role == "clone" and self.run.matched else None,
            )
            for role, networks in models.items()
        }

    def _clone(self, run: CloningRun, base: nn.Module, k: int) -> Clone:
        noise = seed_of(run, "redistribution") if run.redistributed else None
        example = self.probe[k].images[:2]
        return expand(base, run.factor, example_input=example, redistribute=noise).to(self.device)

    def states(self) -> list[Arrays]:
        """The checkpoint of every run."""
        return [
            {f"{role}/{name}": array for role, t in self.trainers.items() for name, array in t.state(k).items()}
            for k in range(len(self.runs))
        ]

    def first_rows(self) -> list[list[Row]]:
        """The base before training."""
        return [self._measured(k, {}) for k in range(len(self.runs))]

    def advance(self) -> list[Advance]:
        """Train to the next measurement; the base alone is widened as soon as it is trained. A run in which a loss is
        not finite has failed."""
        alone = self.step < self.run.pretrain
        stop = self.step + self.run.measure_every
        losses = self._train(min(stop, self.run.pretrain) if alone else stop)
        if alone and self.step == self.run.pretrain:
            self._widen()
        return [
            self._advance(k, {role: float(mean[k]) for role, mean in losses.items()}) for k in range(len(self.runs))
        ]

    def _advance(self, k: int, losses: dict[str, float]) -> Advance:
        for role, loss in losses.items():
            if not np.isfinite(loss):
                step_size = self.run.optimiser.step_size
                self.failed.setdefault(
                    k, f"the {role}'s loss is not finite at step {self.step} (step size {step_size})"
                )
        return Advance([] if k in self.failed else self._measured(k, losses), self.failed.get(k))

    def _train(self, stop: int) -> dict[str, np.ndarray]:
        """Train to ``stop``; mean losses by role, a number a run."""
        total = {role: torch.zeros(len(self.runs), dtype=torch.float64, device=self.device) for role in self.trainers}
        start = self.step
        while self.step < stop:
            images, labels = self._batch()
            for role, trainer in self.trainers.items():
                total[role] += trainer.step(images, labels)
            self.step += 1
        return {role: (loss / (stop - start)).cpu().numpy() for role, loss in total.items()}

    def _batch(self) -> tuple[Tensor, Tensor]:
        images, labels = [], []
        for run, sample in zip(self.runs, self.train, strict=True):
            chosen = batch_indices(run.seed, 0, self.step, run.batch, len(sample.labels))
            at = torch.from_numpy(chosen).to(self.device)
            images.append(sample.images[at])
            labels.append(sample.labels[at])
        return torch.stack(images), torch.stack(labels)

    def _measured(self, k: int, losses: dict[str, float]) -> list[Row]:
        """Rows of one run now: the whole networks first, then the layers, of all roles in one row."""
        train, probe = self.train[k], self.probe[k]
        every = -(-len(train.labels) // GLIMPSE)
        glimpse = Sample(train.images[::every], train.labels[::every])
        network: Row = {f"{role}_loss": loss for role, loss in losses.items()}
        layers: list[Row] = []
        for role, trainer in self.trainers.items():
            model = trainer.models[k]
            network[f"{role}_train_loss"], network[f"{role}_train_accuracy"] = scores(model, glimpse)
            network[f"{role}_probe_loss"], network[f"{role}_probe_accuracy"] = scores(model, probe)
            found = layer_rows(model, probe, role, self.run.factor)
            layers = [{**a, **b} for a, b in zip(layers, found, strict=True)] if layers else found
        if self.clones:
            network |= {**cloning_row(layers), **self._compared(k)}
        return [{"step": self.step, "layer": layer, **row} for layer, row in enumerate([network, *layers], start=-1)]

    def _compared(self, k: int) -> Row:
        """Clone against base and manifold."""
        base, clone = (self.trainers[role].models[k] for role in ("base", "clone"))
        row = manifold_row(clone, self.clones[k].profile.state)
        row["function_gap"] = function_gap(clone, base, self.probe[k].images)
        if self.run.optimiser.name == "noisy_sgd":
            row |= {f"{role}_noise_ratio": self.trainers[role].noise_ratio(k) for role in ("base", "clone")}
        return row | (self._checked(k, base, clone) if self.run.theory else {})

    def _checked(self, k: int, base: nn.Module, clone: nn.Module) -> Row:
        twin = self.clones[k].eval()
        twin.load_state_dict(clone.state_dict())
        with evaluating(base):
            found = counts(check_clone(base, twin, *self.probe[k], dynamics=dynamics(self.run)))
        return {name: value for name, value in found.items() if name in COLUMNS}


def dynamics(run: CloningRun) -> Dynamics:
    """What the theory has to know of the training."""
    linear = "elementwise" if run.optimiser.name == "adam" else "linear"
    noisy = run.optimiser.name == "noisy_sgd" or run.model.dropout > 0
    return Dynamics("asymmetric" if noisy else linear, "none", run.matched, not run.redistributed)


def seed_of(run: CloningRun, purpose: str) -> int:
    """The seed of a network, of its noise and dropout, or of a redistribution: unrelated for unrelated purposes."""
    number = (*ROLES, "alone", "redistribution").index(purpose)
    return int(np.random.SeedSequence([run.seed, number]).generate_state(1)[0])


def _of_role(arrays: Arrays, role: str) -> Arrays:
    return {name.removeprefix(f"{role}/"): array for name, array in arrays.items() if name.startswith(f"{role}/")}


def alike(run: CloningRun) -> Hashable:
    """What runs that train together have in common: all but the seed."""
    return replace(run, seed=0)


def label(run: CloningRun) -> str:
    """The run on the screen."""
    model, arm, sigma, decay, dropout = setting(run)
    noise = f" σ {sigma:g} λ {decay:g}" if arm == "noisy_sgd" else ""
    return f"{model} {arm}{noise}{f' {dropout:g}' if dropout else ''} seed {run.seed}"


EXPERIMENT = Experiment("cloning", COLUMNS, Simulation, alike, label)
