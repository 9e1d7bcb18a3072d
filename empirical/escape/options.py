"""What a user can set of the escape experiment.

Stage 1 is continual training. Stage 2 begins from one of its networks, the *start*, once for every *branch*: the same
network goes on over new tasks, perturbed or not, beside the control of a fresh network for every task. All branches see
the same new tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from empirical.continual.options import PLAIN_STACKS, REPAIRS, ContinualRun
from empirical.runs.checks import check_choice, check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from empirical.training.options import (
    ClassesPerTask,
    DataOptions,
    ModelName,
    ModelOptions,
    Normalisation,
    OptimiserOptions,
    PassPrecision,
    PerClass,
    Permuted,
    Side,
    Source,
    check_training,
    precision_of,
)
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop", "paper"]
Branch = Literal["none", "fresh", "noise", "dropout", "cbp", "redo", "shrink_perturb", "escape"]
Start = Literal["half", "end"]
BRANCHES: tuple[Branch, ...] = get_args(Branch)
CONTROLS: tuple[Branch, ...] = ("none", "fresh")
"""Branches that others are compared with: no perturbation, and a new network for every task."""
STARTS: tuple[Start, ...] = get_args(Start)


class Stage(NamedTuple):
    """A branch from a start."""

    start: Start | None
    branch: Branch | None

    @property
    def numbers(self) -> dict[str, int]:
        """The columns ``start`` and ``branch`` of its rows: places in :data:`STARTS` and :data:`BRANCHES`, −1 in stage
        1."""
        if self.start is None or self.branch is None:
            return {"start": -1, "branch": -1}
        return {"start": STARTS.index(self.start), "branch": BRANCHES.index(self.branch)}


STAGE_1 = Stage(None, None)
FIRST_TASKS = 5
"""Tasks of stage 1 whose accuracy is what can be lost."""


@dataclass(frozen=True)
class Perturbations:
    """How strong the perturbations are."""

    sigma: float = 0.01
    """noise: deviation σ of the gradients' noise in units of the gradient's norm, per tensor."""
    noise_scaling: Literal["element", "norm"] = "element"
    """noise: σ‖g‖ for every element (the authors'), or for the noise of a whole tensor."""
    dropout: float = 0.1
    """dropout: share of activations dropped in stage 2."""
    shrink: float = 0.8
    """shrink_perturb: factor of all weights at the start of a task."""
    perturb: float = 0.1
    """shrink_perturb: share of fresh weights that is added."""
    escape: float = 0.1
    """escape: length of the step along the escape direction at the start of a task, in units of the norm of all
    weights."""


@dataclass(frozen=True)
class EscapeRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    model: ModelOptions
    data: DataOptions
    optimiser: OptimiserOptions
    perturbations: Perturbations
    starts: tuple[Start, ...]
    branches: tuple[Branch, ...]
    before: int
    after: int
    classes_per_task: int
    steps: int
    batch: int
    window: int
    spectrum: int
    theory: bool
    experiment: str = "escape"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run: stage 1, then every branch from every start."""
        return (self.before + self.after * len(self.stages)) * self.steps

    @property
    def stages(self) -> list[Stage]:
        """Stage 2, in order. Fresh networks do not depend on the start: they come once."""
        return [Stage(s, b) for s in self.starts for b in self.branches if b != "fresh" or s == self.starts[0]]

    @property
    def half(self) -> int:
        """The end of the window in which a task is half done."""
        return -(-self.steps // (2 * self.window)) * self.window

    def continual(self, branch: Branch | None) -> ContinualRun:
        """The continual training that stage 1 (``None``) or a branch is."""
        return ContinualRun(
            seed=self.seed,
            model=replace(self.model, dropout=self.perturbations.dropout) if branch == "dropout" else self.model,
            data=self.data,
            optimiser=self._optimiser(branch),
            fresh=branch == "fresh",
            tasks=self.before + self.after,
            classes_per_task=self.classes_per_task,
            steps=self.steps,
            batch=self.batch,
            window=self.window,
            theory=self.theory,
        )

    def _optimiser(self, branch: Branch | None) -> OptimiserOptions:
        match branch:
            case "noise":
                scaling = self.perturbations.noise_scaling
                return replace(self.optimiser, name="noisy_adam", sigma=self.perturbations.sigma, noise_scaling=scaling)
            case "cbp" | "redo":
                return replace(self.optimiser, repair=branch)
            case _:
                return self.optimiser


@dataclass(frozen=True)
class Escape:
    """Escape: a network is trained task after task until it has lost plasticity; then it goes on over new tasks with a
    perturbation or without, and the share of a fresh network's speed that comes back is reported.

    A run is one seed: stage 1 once, then every branch from every start. Finished runs are skipped, interrupted ones go
    on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (a minute), laptop (20 minutes), paper (Tiny ImageNet, 40 tasks of 500 steps before)."""
    seeds: tuple[int, ...] = (40, 41)
    """Seeds; each fixes the network, the order of classes, the permutations, the batches and the perturbations."""
    model: ModelName = "mlp"
    """The network: mlp or cnn, plain stacks of layers."""
    normalisation: Normalisation = "none"
    """Normalisation before activations."""
    starts: tuple[Start, ...] = STARTS
    """half: the network after the first task of stage 1 with less than half of the first tasks' accuracy above chance
    (the last one, if there is none); end: the network at the end of stage 1."""
    branches: tuple[Branch, ...] = BRANCHES
    """none and fresh (a new network for every task): the controls. noise: Gaussian noise on the gradients that Adam
    reads. dropout. cbp, redo: continual backprop and ReDo beside Adam. shrink_perturb and escape (the analytic escape
    direction of the clones found): at the start of every task."""
    perturbations: Perturbations = Perturbations()
    step_size: float = 1e-3
    """Learning rate of Adam."""
    source: Source = "glyphs"
    permuted: Permuted = True
    pixel_noise: float = 0.0
    """Glyphs and scenes: standard deviation of pixel noise, black to white being 1; without it they are learnt too
    easily for plasticity to matter."""
    side: Side = 16
    per_class: PerClass = 500
    probe_per_class: int = 100
    """Held-out images of a class: the fixed balanced batch of a task for metrics, clones and curvatures."""
    before: int = 40
    """Tasks of stage 1."""
    after: int = 6
    """Tasks of stage 2, the same in every branch."""
    classes_per_task: ClassesPerTask = 5
    steps: int = 500
    """Steps a task."""
    batch: int = 64
    """Images a step."""
    scale: int = 1
    """All widths are divided by this."""
    window: int = 25
    """Steps between two measurements of the training accuracy; it must divide the steps."""
    spectrum: int = 15
    """Lanczos steps for the extreme curvatures normal to the clones' manifold, at the end of stage 1 and of every
    branch; 0: none."""
    theory: bool = False
    """Whether the theory's predictions are checked at the end of every task."""
    precision: PassPrecision = None
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_sizes(self)
        _check_perturbations(self.perturbations)
        self.runs()

    def runs(self) -> list[EscapeRun]:
        """A run for every seed."""
        model = ModelOptions(self.model, self.normalisation, scale=self.scale)
        data = DataOptions(
            self.source, self.side, self.permuted, self.per_class, self.probe_per_class, self.pixel_noise
        )
        optimiser = OptimiserOptions("adam", self.step_size, precision=precision_of(self))
        check_training(model, data, optimiser)
        names = ("perturbations", "before", "after", "classes_per_task", "steps", "batch", "window", "spectrum")
        shared = {name: getattr(self, name) for name in (*names, "theory")}
        shared |= {name: tuple(dict.fromkeys(getattr(self, name))) for name in ("starts", "branches")}
        protocol = 2 if set(REPAIRS) & set(self.branches) else 1
        return [
            EscapeRun(seed=seed, model=model, data=data, optimiser=optimiser, protocol=protocol, **shared)
            for seed in dict.fromkeys(self.seeds)
        ]


def half_lost(accuracies: Sequence[float], chance: float) -> bool:
    """Whether the last task's accuracy (its mean over the task) is nearer to chance than to that of the first tasks."""
    first = accuracies[:FIRST_TASKS]
    return len(accuracies) > FIRST_TASKS and accuracies[-1] < (sum(first) / FIRST_TASKS + chance) / 2


def label(run: EscapeRun) -> str:
    """The run on the screen."""
    return f"{run.model.name} {run.data.source}, {len(run.stages)} branches, seed {run.seed}"


def _check_choices(options: Escape) -> None:
    check_choice("preset", options.preset, get_args(Preset))
    check_given(options, "seeds", "starts", "branches")
    check_choices(options, {"starts": STARTS, "branches": BRANCHES})
    if options.model not in PLAIN_STACKS:
        raise InvalidInput("model", options.model, "is not a plain stack of layers", "give mlp or cnn")


def _check_sizes(options: Escape) -> None:
    check_counts(options, "before", "after", "classes_per_task", "steps", "batch", "window")
    if options.steps % options.window:
        raise InvalidInput("window", options.window, f"does not divide the {options.steps} steps of a task")
    if options.spectrum < 0:
        raise InvalidInput("spectrum", options.spectrum, "must not be negative")


def _check_perturbations(options: Perturbations) -> None:
    for name in ("sigma", "perturb", "escape"):
        if not 0 <= getattr(options, name) < float("inf"):
            raise InvalidInput(name, getattr(options, name), "must be finite and not negative")
    if not 0 <= options.dropout < 1 or not 0 <= options.shrink <= 1:
        raise InvalidInput("dropout, shrink", (options.dropout, options.shrink), "must lie in [0, 1) and in [0, 1]")
    check_choice("noise_scaling", options.noise_scaling, ("element", "norm"))


ESCAPE: dict[str, Escape] = {
    "smoke": Escape(
        seeds=(40,), scale=2, per_class=40, probe_per_class=20, before=4, after=2, steps=60, batch=32,
        window=20, spectrum=6, starts=("end",), theory=True,
    ),
    "laptop": Escape(preset="laptop", seeds=(40, 41, 42, 43, 44), pixel_noise=0.3),
    "paper": Escape(
        preset="paper", seeds=(40, 41, 42, 43, 44), source="tiny-imagenet", permuted=False, side=64, batch=128
    ),
}  # fmt: skip
"""The presets by name."""
