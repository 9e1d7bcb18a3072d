"""Cloning as a group of runs: a base trains alone, is widened into a clone, and both train on, a control beside them.

Base, clone and control see the same batches and have fresh optimisers when the clone is made. Where the theory says
that the clone follows the base, a twin of the base, one rounding away, shows how far rounding alone leads.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from empirical.cloning.base import (
    Arrays,
    Place,
    fresh_bases,
    images_of,
    measured,
    mould,
    network,
    seed_of,
    train,
    trained_alone,
)
from empirical.cloning.metrics import COLUMNS, cloning_row, function_gap, manifold_row
from empirical.cloning.options import CloningRun, name, setting
from empirical.runs.execution import Engine
from empirical.runs.run import Advance, Experiment, alike
from empirical.runs.store import Row
from empirical.theory import Dynamics, check_clone, counts, nudged
from empirical.training.evaluation import evaluating
from empirical.training.trainer import Trainer
from lop_theory.modules import Clone, expand
from lop_theory.modules.rates import matched_rates


class Simulation:
    """One group in memory; :meth:`advance` trains the bases alone, then all networks to the next measurement."""

    def __init__(
        self,
        runs: Sequence[CloningRun],
        arrays: Sequence[Arrays] | None = None,
        step: int = 0,
        device: str = "cpu",
        engine: Engine = "auto",
        drawers: int = 0,  # noqa: ARG002 - one task, drawn once
    ) -> None:
        self.runs, self.run, self.step, self.device = tuple(runs), runs[0], step, device
        self._place = Place(device, engine)
        self.trainers = {"base": fresh_bases(self.runs, self._place)}
        self.clones: list[Clone] = []
        self.failed: dict[int, str] = {}
        if step >= self.run.pretrain:
            self._widen()
        for role, trainer in self.trainers.items():
            for k, saved in enumerate(arrays or ()):
                trainer.load(k, _of_role(saved, role))

    def _widen(self) -> None:
        """Make the clones and the controls; every network begins with a fresh optimiser."""
        bases, image = self.trainers["base"].models, images_of(self.runs, self.device).shape
        self.clones = [self._clone(run, base, k) for k, (run, base) in enumerate(zip(self.runs, bases, strict=True))]
        copies = [network("clone", run, image) for run in self.runs]
        for model, clone in zip(copies, self.clones, strict=True):
            model.load_state_dict(clone.state_dict())
        models = {"base": bases, "clone": copies}
        if self.run.control:
            models["control"] = [network("control", run, image) for run in self.runs]
        if self.run.theory and self.run.matched:
            models["twin"] = [nudged(base) for base in bases]
        rates = {name: float(rate) for name, rate in matched_rates(self.clones[0]).items()}
        self.trainers = {
            role: Trainer(
                networks,
                self.run.optimiser,
                [seed_of(run, role) for run in self.runs],
                **self._place._asdict(),
                rates=rates if role == "clone" and self.run.matched else None,
            )
            for role, networks in models.items()
        }

    def _clone(self, run: CloningRun, base: nn.Module, k: int) -> Clone:
        noise = seed_of(run, "redistribution") if run.redistributed else None
        images = images_of(self.runs, self.device)
        model = mould(run.model, images.shape, run.classes, run.precision, self.device)
        model.load_state_dict(base.state_dict())
        example = images.probe[k].images[:2]
        return expand(model, run.factor, example_input=example, redistribute=noise, traced=True).to(self.device)

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of the training: the engine of the widest network there is."""
        choice = self.trainers.get("clone", self.trainers["base"]).choice
        return {} if choice is None else {"engine": choice.facts()}

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
        """Train to the next measurement: the base alone to its end, where it is widened, or all networks. A run in
        which a loss is not finite has failed."""
        earlier: list[list[Row]] = [[] for _ in self.runs]
        if self.step < self.run.pretrain:
            alone = trained_alone(self.runs, self._place)
            for k, saved in enumerate(alone.states):
                self.trainers["base"].load(k, saved)
            # The last measurement is made anew: by then there is a clone.
            earlier = [[row for row in rows if row["step"] < self.run.pretrain] for rows in alone.rows]
            losses = {"base": np.array([rows[-1 - _layers(rows)]["base_loss"] for rows in alone.rows])}
            self.step = self.run.pretrain
            self._widen()
        else:
            stop = self.step + self.run.measure_every
            losses = train(self.runs, self.trainers, self.step, stop, self.device)
            self.step = stop
        return [
            self._advance(k, earlier[k], {role: float(x[k]) for role, x in losses.items()})
            for k in range(len(self.runs))
        ]

    def _advance(self, k: int, earlier: list[Row], losses: dict[str, float]) -> Advance:
        for role, loss in losses.items():
            if not np.isfinite(loss):
                size = self.run.optimiser.step_size
                self.failed.setdefault(k, f"the {role}'s loss is not finite at step {self.step} (step size {size})")
        return Advance([] if k in self.failed else [*earlier, *self._measured(k, losses)], self.failed.get(k))

    def _measured(self, k: int, losses: dict[str, float]) -> list[Row]:
        """Rows of one run now: the whole networks first, then the layers, of all roles in one row."""
        whole, *layers = measured(self.runs, self.trainers, k, (self.step, losses), self.device)
        if self.clones:
            whole |= {**cloning_row(layers), **self._compared(k)}
        return [whole, *layers]

    def _compared(self, k: int) -> Row:
        """Clone against base and manifold."""
        base, clone = (self.trainers[role].models[k] for role in ("base", "clone"))
        row = manifold_row(clone, self.clones[k].profile.state)
        row["function_gap"] = function_gap(clone, base, images_of(self.runs, self.device).probe[k].images)
        if self.run.optimiser.name == "noisy_sgd":
            row |= {f"{role}_noise_ratio": self.trainers[role].noise_ratio(k) for role in ("base", "clone")}
        return row | (self._checked(k, base, clone) if self.run.theory else {})

    def _checked(self, k: int, base: nn.Module, clone: nn.Module) -> Row:
        traced = self.clones[k].eval()
        traced.load_state_dict(clone.state_dict())
        twin = self.trainers["twin"].models[k] if self.run.matched else None
        with evaluating(base), evaluating(twin or base):
            probe = images_of(self.runs, self.device).probe[k]
            found = counts(check_clone(base, traced, *probe, dynamics=dynamics(self.run, twin)))
        return {name: value for name, value in found.items() if name in COLUMNS}


def _layers(rows: list[Row]) -> int:
    """Hidden layers of the network that rows are about."""
    return rows[-1]["layer"] + 1


def dynamics(run: CloningRun, twin: nn.Module | None = None) -> Dynamics:
    """What the theory has to know of the training."""
    linear = "elementwise" if run.optimiser.name == "adam" else "linear"
    noisy = run.optimiser.name == "noisy_sgd" or run.model.dropout > 0
    return Dynamics("asymmetric" if noisy else linear, "none", run.matched, not run.redistributed, twin)


def _of_role(arrays: Arrays, role: str) -> Arrays:
    return {name.removeprefix(f"{role}/"): array for name, array in arrays.items() if name.startswith(f"{role}/")}


def label(run: CloningRun) -> str:
    """The run on the screen."""
    return f"{name(setting(asdict(run)))} seed {run.seed}"


EXPERIMENT = Experiment("cloning", COLUMNS, Simulation, alike, label, engines=True)
