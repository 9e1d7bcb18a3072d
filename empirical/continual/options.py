"""What a user can set of the continual classification experiment.

``steps`` is what the paper's text says of a task (500 steps); the authors' scripts train 500 epochs of 2,500 images in
batches of 128, which is 10,000 steps: the preset paper-epochs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

from empirical.runs.checks import check_choice, check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from empirical.training.options import (
    ClassesPerTask,
    DataOptions,
    ModelBatch,
    ModelName,
    ModelOptions,
    ModelScale,
    Normalisation,
    OptimiserOptions,
    PassPrecision,
    Source,
    check_training,
    chosen,
    precision_of,
)
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop", "paper", "paper-epochs"]
Arm = Literal["continual", "fresh", "cbp", "redo", "l2_init"]
PLAIN_STACKS: tuple[ModelName, ...] = ("mlp", "cnn")
"""Models that CBP and ReDo know how to repair."""
REPAIRS: tuple[Arm, ...] = ("cbp", "redo")
"""Arms of protocol 2: a replaced weight begins with a step count of its own in Adam (before, with the tensor's)."""


class Size(NamedTuple):
    """What differs from model to model: divisor of all widths, side of an image, batch, steps a task, step size of
    Adam, side of a patch; images of a class, and held out; pixel noise, and whether pixels are permuted; tasks."""

    scale: int
    side: int
    batch: int
    steps: int
    step_size: float
    patch: int = 8
    per_class: int = 500
    probe_per_class: int = 100
    noise: float = 0.0
    permuted: bool = True
    tasks: int = 40


@dataclass(frozen=True)
class ContinualRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    model: ModelOptions
    data: DataOptions
    optimiser: OptimiserOptions
    fresh: bool
    """A new network at the start of every task: the control."""
    tasks: int
    classes_per_task: int
    steps: int
    batch: int
    window: int
    theory: bool
    experiment: str = "continual"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run."""
        return self.tasks * self.steps


@dataclass(frozen=True)
class Continual:
    """Continual classification: a network learns task after task, each of classes it has not seen, and may lose the
    ability to.

    Models, normalisations and seeds are combined; dropout, step sizes and arms are varied one at a time from their
    first value (see --cross). Finished runs are skipped, interrupted ones go on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (a minute), laptop (an hour or two; those models whose fresh networks learn a task at a size that
    two cores carry), paper (Tiny ImageNet, 40 tasks of 500 steps) or paper-epochs (of 500 epochs)."""
    seeds: tuple[int, ...] = (40, 41)
    """Seeds; each fixes the networks, the order of classes, the permutations and the batches."""
    models: tuple[ModelName, ...] = ("mlp", "cnn", "resnet18", "vit")
    """Networks."""
    normalisations: tuple[Normalisation, ...] = ("none", "batch", "layer")
    """Normalisations; the first one is what the other settings are varied from."""
    affine: tuple[bool, ...] = (True,)
    """Whether normalisation has trained scales and shifts."""
    dropout: tuple[float, ...] = (0.0,)
    """Shares of activations dropped."""
    step_sizes: tuple[float, ...] = ()
    """Learning rates of Adam; empty: the preset's for the model (paper 1e-3, for a ViT 1e-4)."""
    arms: tuple[Arm, ...] = ("continual", "fresh")
    """continual: plain training; fresh: a new network for every task (the control); cbp, redo (both MLP and CNN only)
    and l2_init: with that companion."""
    cross: Literal["one", "all"] = "one"
    """Dropout, step size, arm and normalisation other than the first: one at a time, or every combination."""
    source: Source = "glyphs"
    tasks: int | None = None
    """Tasks, one after the other; none: the preset's for the model (paper 40)."""
    classes_per_task: ClassesPerTask = 5
    steps: int | None = None
    """Steps a task; none: the preset's for the model (paper 500, laptop 100 to 500)."""
    batch: ModelBatch = None
    side: int | None = None
    """Pixels on a side; none: the preset's for the model (paper 64)."""
    scale: ModelScale = None
    per_class: int | None = None
    """Training images of a class, at most what real data have; none: the preset's for the model (paper 500)."""
    probe_per_class: int | None = None
    """Held-out images of a class, the fixed balanced batch of a task for metrics and accuracies; none: the preset's for
    the model (paper 100)."""
    permuted: bool | None = None
    """Whether every task has a fresh permutation of the pixels; none: the preset's for the model (paper: no)."""
    noise: float | None = None
    """Glyphs, scenes: standard deviation of pixel noise, black to white being 1; none: the preset's for the model."""
    window: int | None = None
    """Steps over which the training loss is averaged, and between checkpoints; none: a fifth of a task."""
    theory: bool = True
    """Whether the theory's predictions are checked, at the end of ten tasks spread over the run."""
    precision: PassPrecision = None
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_sizes(self)
        self.runs()

    def runs(self) -> list[ContinualRun]:
        """Every run; those that differ in the seed only stand together."""
        return [run for settings in _settings(self) for run in self._seeds(settings)]

    def _seeds(self, settings: "Settings") -> Iterator[ContinualRun]:
        size = self.size(settings.model)
        model = ModelOptions(
            settings.model, settings.normalisation, settings.affine, settings.dropout, size.scale, size.patch
        )
        optimiser = OptimiserOptions(
            step_size=settings.step_size or size.step_size,
            repair="none" if settings.arm in ("continual", "fresh") else settings.arm,
            precision=precision_of(self),
        )
        data = DataOptions(self.source, size.side, size.permuted, size.per_class, size.probe_per_class, size.noise)
        check_training(model, data, optimiser)
        for seed in dict.fromkeys(self.seeds):
            yield ContinualRun(
                seed=seed,
                model=model,
                data=data,
                optimiser=optimiser,
                fresh=settings.arm == "fresh",
                tasks=size.tasks,
                classes_per_task=self.classes_per_task,
                steps=size.steps,
                batch=size.batch,
                window=self.window or max(1, size.steps // 5),
                theory=self.theory,
                protocol=2 if settings.arm in REPAIRS else 1,
            )

    def size(self, model: ModelName) -> Size:
        """The model's sizes: the preset's, but for what is set."""
        return SIZES[self.preset][model]._replace(**chosen(self, SIZES_SET))


SIZES_SET = ("scale", "side", "batch", "steps", "per_class", "probe_per_class", "permuted", "noise", "tasks")
"""Fields of ``Size`` that can be set for all models."""


class Settings(NamedTuple):
    """One configuration, all seeds. ``step_size`` 0 is the model's own."""

    model: ModelName
    normalisation: Normalisation
    affine: bool
    dropout: float
    step_size: float
    arm: Arm


def _settings(options: Continual) -> Iterator[Settings]:
    """Every configuration once: without normalisation there is nothing affine, and only plain stacks are repaired."""
    steps = options.step_sizes or (0.0,)
    grid = product(options.models, options.normalisations, options.affine, options.dropout, steps, options.arms)
    first = (options.normalisations[0], options.dropout[0], steps[0], options.arms[0])
    for settings in dict.fromkeys(Settings(*values) for values in grid):
        changed = sum(a != b for a, b in zip(_varied(settings), first, strict=True))
        if (
            (options.cross == "all" or changed <= 1)
            and (settings.normalisation != "none" or settings.affine == options.affine[0])
            and (settings.arm not in REPAIRS or settings.model in PLAIN_STACKS)
        ):
            yield settings


def _varied(settings: Settings) -> tuple[str, float, float, str]:
    return settings.normalisation, settings.dropout, settings.step_size, settings.arm


def _check_choices(options: Continual) -> None:
    check_given(options, "seeds", "models", "normalisations", "affine", "dropout", "arms")
    known = {"models": ModelName, "normalisations": Normalisation, "arms": Arm}
    check_choices(options, {name: get_args(kind) for name, kind in known.items()})
    check_choice("preset", options.preset, tuple(SIZES))
    check_choice("cross", options.cross, ("one", "all"))


def _check_sizes(options: Continual) -> None:
    check_counts(options, "tasks", "classes_per_task", "steps", "batch", "window")
    for value in options.step_sizes:
        if not 0 < value < float("inf"):
            raise InvalidInput("step_sizes", value, "must be positive and finite")


_PAPER = {name: Size(1, 64, 128, 500, 1e-4 if name == "vit" else 1e-3, permuted=False) for name in get_args(ModelName)}
_FEW: dict[str, Any] = {"per_class": 30, "probe_per_class": 20}
_PLAIN: dict[str, Any] = {"per_class": 100, "probe_per_class": 20, "permuted": False, "tasks": 16}
SIZES: dict[str, dict[ModelName, Size]] = {
    "smoke": {
        "mlp": Size(2, 16, 32, 30, 1e-3, **_FEW),
        "cnn": Size(16, 8, 32, 20, 1e-3, **_FEW),
        "resnet18": Size(16, 8, 16, 10, 1e-3, **_FEW),
        "vit": Size(16, 8, 16, 10, 1e-3, 4, **_FEW),
    },
    "laptop": {
        "mlp": Size(1, 16, 64, 500, 1e-3, noise=0.3),
        "cnn": Size(8, 16, 64, 250, 5e-3, per_class=100, probe_per_class=20, noise=0.1, tasks=30),
        "resnet18": Size(16, 16, 64, 400, 2e-3, **_PLAIN),
        "vit": Size(16, 16, 64, 300, 1e-3, **{**_PLAIN, "tasks": 4}),
    },
    "paper": _PAPER,
    "paper-epochs": {name: size._replace(steps=10_000) for name, size in _PAPER.items()},
}
"""Preset → model → sizes. On a laptop an MLP and a CNN learn permuted noisy glyphs. A small ResNet or ViT cannot within
a few hundred steps a task (a ResNet averages over places), so they learn plain ones."""

_SEEDS = (40, 41, 42, 43, 44)
_PAPER_OPTIONS = Continual(
    preset="paper", seeds=_SEEDS, source="tiny-imagenet", arms=("continual", "fresh", "cbp"), dropout=(0.0, 0.1),
    theory=False,
)  # fmt: skip
CONTINUAL: dict[str, Continual] = {
    "smoke": Continual(seeds=(40,), tasks=3, arms=("continual", "fresh", "cbp")),
    "laptop": Continual(
        preset="laptop",
        seeds=_SEEDS,
        models=("mlp", "cnn", "vit"),
        arms=("continual", "fresh", *REPAIRS),
        theory=False,
    ),
    "paper": _PAPER_OPTIONS,
    "paper-epochs": replace(_PAPER_OPTIONS, preset="paper-epochs"),
}
"""The presets by name."""
