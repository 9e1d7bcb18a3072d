"""The first part of cloning: images and networks of a group, and the base that trains alone.

How a base trains alone depends on few of a run's options, so many settings share it; a process computes it once.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from empirical.cloning.metrics import ROLES, Sample, network_rows
from empirical.cloning.options import CloningRun
from empirical.runs.execution import Engine
from empirical.runs.store import Row
from empirical.streams.tasks import Task, as_inputs, batch_indices, open_source, task
from empirical.training.feed import Feed
from empirical.training.models import build
from empirical.training.options import DataOptions, ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer

Arrays = dict[str, np.ndarray]
Trainers = Mapping[str, Trainer]
SPAN = 100
"""Steps that a network makes before the next one makes them."""


class Place(NamedTuple):
    """Where networks train, and by which engine."""

    device: str = "cpu"
    engine: Engine = "auto"


class Images(NamedTuple):
    """Training images and held-out probe of every run of a group, on the device; the shape of an image."""

    seeds: tuple[int, ...]
    shape: tuple[int, int, int]
    train: list[Sample]
    probe: list[Sample]
    feed: Feed

    def numbers(self, steps: range, size: int) -> np.ndarray:
        """What every run trains on at these steps, (steps, runs, size)."""
        pairs = list(zip(self.seeds, self.train, strict=True))
        return np.array([[batch_indices(seed, 0, t, size, len(own.labels)) for seed, own in pairs] for t in steps])


class Alone(NamedTuple):
    """Bases that have trained alone: per run the rows, and the trainer's arrays at the end."""

    rows: list[list[Row]]
    states: list[Arrays]


@lru_cache(maxsize=1)
def load(seeds: tuple[int, ...], options: DataOptions, classes: int, precision: str, device: str) -> Images:
    """The one task of every seed. The last call is kept."""
    source = open_source(options)
    dtype = getattr(torch, precision)

    def sample(drawn: Task, images: np.ndarray, labels: np.ndarray) -> Sample:
        local = torch.from_numpy(np.searchsorted(drawn.classes, labels)).to(device)
        return Sample(as_inputs(images, device).to(dtype), local)

    drawn = [task(source, options, seed, 0, classes) for seed in seeds]
    train = [sample(t, t.images, t.labels) for t in drawn]
    probe = [sample(t, t.probe_images, t.probe_labels) for t in drawn]
    return Images(seeds, source.image, train, probe, Feed([tuple(own) for own in train]))


def images_of(runs: tuple[CloningRun, ...], device: str) -> Images:
    """The images of a group."""
    run = runs[0]
    return load(tuple(r.seed for r in runs), run.data, run.classes, run.precision, device)


def network(role: str, run: CloningRun, image: tuple[int, int, int]) -> nn.Module:
    """A fresh network: of the base's width, or of the clone's."""
    widen = 1 if role == "base" else run.factor
    return build(run.model, image, run.classes, seed_of(run, role), widen=widen).to(getattr(torch, run.precision))


@lru_cache(maxsize=4)
def mould(options: ModelOptions, image: tuple[int, int, int], classes: int, precision: str, device: str) -> nn.Module:
    """A network to put the weights of bases into: it is traced once for all bases that are built like it."""
    return build(options, image, classes, 0).to(device, getattr(torch, precision))


def fresh_bases(runs: tuple[CloningRun, ...], place: Place) -> Trainer:
    """The bases before they train alone."""
    models = [network("base", run, images_of(runs, place.device).shape) for run in runs]
    return Trainer(models, calm(runs[0]), [seed_of(run, "alone") for run in runs], **place._asdict())


def trained_alone(runs: tuple[CloningRun, ...], place: Place) -> Alone:
    """The bases of a group, trained alone with the run's update rule but without noise."""
    kept = (replace(run, optimiser=calm(run), matched=False, redistributed=False, control=False) for run in runs)
    return _trained_alone(tuple(kept), place)


@lru_cache(maxsize=16)
def _trained_alone(runs: tuple[CloningRun, ...], place: Place) -> Alone:
    run, device, trainers = runs[0], place.device, {"base": fresh_bases(runs, place)}
    rows: list[list[Row]] = [[] for _ in runs]
    for start in range(0, run.pretrain, run.window):
        stop = min(start + run.window, run.pretrain)
        losses = train(runs, trainers, start, stop, device)
        for k in range(len(runs)):
            rows[k] += measured(runs, trainers, k, (stop, {"base": losses["base"][k]}), device)
    return Alone(rows, [trainers["base"].state(k) for k in range(len(runs))])


def train(
    runs: tuple[CloningRun, ...], trainers: Trainers, start: int, stop: int, device: str
) -> dict[str, np.ndarray]:
    """Train from one step to another; mean losses by role, a number a run."""
    images = images_of(runs, device)
    total = {role: torch.zeros(len(runs), dtype=torch.float64, device=device) for role in trainers}
    for first in range(start, stop, SPAN):
        numbers = images.numbers(range(first, min(first + SPAN, stop)), runs[0].batch)
        for role, trainer in trainers.items():
            for losses in trainer.steps(images.feed, numbers):
                total[role] += losses
    return {role: (loss / (stop - start)).cpu().numpy() for role, loss in total.items()}


def measured(
    runs: tuple[CloningRun, ...], trainers: Trainers, k: int, now: tuple[int, dict[str, float]], device: str
) -> list[Row]:
    """Rows of run k at a step with the mean losses up to it: the whole networks first, then their layers."""
    images, (step, losses) = images_of(runs, device), now
    models = {role: trainers[role].models[k] for role in ROLES if role in trainers}
    network, *layers = network_rows(models, images.train[k], images.probe[k], runs[0].factor)
    network |= {f"{role}_loss": float(loss) for role, loss in losses.items() if role in ROLES}
    return [{"step": step, "layer": layer, **row} for layer, row in enumerate([network, *layers], start=-1)]


def calm(run: CloningRun) -> OptimiserOptions:
    """The update rule without noise."""
    own = run.optimiser
    if own.name != "noisy_sgd":
        return own
    return OptimiserOptions("sgd", own.step_size, precision=own.precision)


def seed_of(run: CloningRun, purpose: str) -> int:
    """The seed of a network, of its noise and dropout, or of a redistribution: unrelated for unrelated purposes."""
    number = (*ROLES, "alone", "redistribution", "twin").index(purpose)
    return int(np.random.SeedSequence([run.seed, number]).generate_state(1)[0])
