"""What a user can set of the comparison of remedies.

Every remedy has one strength. On the tuning seeds each of its few settings is tried; the one with the largest training
accuracy over all tasks is then run on seeds that tuning has not seen.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from empirical.runs.checks import check_choice, check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from empirical.training.options import DataOptions, check_data
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop"]
Name = Literal[
    "plain", "fresh", "weight_decay", "dropout", "gradient_noise", "layer_norm", "project", "l2_init", "parseval",
    "spectral", "crelu", "fourier", "smooth_leaky", "shrink_perturb", "dash", "fire", "upgd", "cbp", "ccbp", "redo",
    "regrama", "snr", "lazy",
]  # fmt: skip
NAMES: tuple[Name, ...] = get_args(Name)
CONTROLS: tuple[Name, ...] = ("plain", "fresh")
"""No remedy; and a new network for every task, the aim."""


class Remedy(NamedTuple):
    """A remedy in words, what its strength is, and the strengths that are tried. Predicted from theory: ``unclones``,
    whether it can take a network off a manifold of clones; ``unfreezes``, whether it moves the weights of a layer whose
    pre-activations are far below 0 on all data (a ReLU then has no gradient)."""

    words: str
    strength: str
    tried: tuple[float, ...]
    unclones: bool
    unfreezes: bool


REMEDIES: dict[Name, Remedy] = {
    "plain": Remedy("plain Adam", "none", (0.0,), unclones=False, unfreezes=False),
    "fresh": Remedy("fresh network every task", "none", (0.0,), unclones=True, unfreezes=True),
    "weight_decay": Remedy("weight decay (AdamW)", "decay", (0.1, 1.0), unclones=False, unfreezes=True),
    "dropout": Remedy("dropout", "share", (0.05, 0.1), unclones=True, unfreezes=False),
    "gradient_noise": Remedy("gradient noise", "σ", (0.01, 0.1), unclones=True, unfreezes=False),
    "layer_norm": Remedy("LayerNorm", "none", (0.0,), unclones=False, unfreezes=False),
    "project": Remedy("NaP (LayerNorm, weights projected)", "none", (0.0,), unclones=False, unfreezes=False),
    "l2_init": Remedy("L2-init", "strength", (1e-4, 1e-3), unclones=False, unfreezes=True),
    "parseval": Remedy("Parseval", "strength", (1e-3, 1e-2), unclones=False, unfreezes=True),
    "spectral": Remedy("spectral regularisation", "strength", (1e-3, 1e-2), unclones=False, unfreezes=True),
    "crelu": Remedy("CReLU", "none", (0.0,), unclones=False, unfreezes=True),
    "fourier": Remedy("deep Fourier features", "none", (0.0,), unclones=False, unfreezes=True),
    "smooth_leaky": Remedy("smooth leaky ReLU", "α", (0.1, 0.3), unclones=False, unfreezes=True),
    "shrink_perturb": Remedy("shrink and perturb (p = 0.1)", "shrink", (0.8, 0.5), unclones=True, unfreezes=True),
    "dash": Remedy("DASH", "floor", (0.3, 0.7), unclones=False, unfreezes=True),
    "fire": Remedy("FIRE", "none", (0.0,), unclones=False, unfreezes=True),
    "upgd": Remedy("UPGD (σ = 0.001)", "step size", (0.01, 0.1), unclones=True, unfreezes=True),
    "cbp": Remedy("continual backprop", "rate", (1e-4, 1e-3), unclones=True, unfreezes=True),
    "ccbp": Remedy("CCBP", "rate", (0.015, 0.1), unclones=True, unfreezes=True),
    "redo": Remedy("ReDo", "τ", (0.025, 0.1), unclones=True, unfreezes=True),
    "regrama": Remedy("ReGraMa", "τ", (0.01, 0.1), unclones=True, unfreezes=True),
    "snr": Remedy("SNR", "percentile", (0.95, 0.99), unclones=True, unfreezes=True),
    "lazy": Remedy("lazy training", "α", (10.0, 100.0), unclones=False, unfreezes=False),
}
"""Every remedy by name. Companions act every fifty steps, remedies between tasks at the start of every task.
Lazy training multiplies the output by α and divides Adam's step size by it: the output moves as fast, the weights α
times less."""


@dataclass(frozen=True)
class NetworkOptions:
    """The MLP."""

    width: int = 64
    """Units of a hidden layer (CReLU and Fourier features: half as many, of which each gives two)."""
    depth: int = 5
    """Hidden layers."""


@dataclass(frozen=True)
class RemedyRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    remedy: Name
    strength: float
    network: NetworkOptions
    data: DataOptions
    step_size: float
    tasks: int
    classes_per_task: int
    steps: int
    batch: int
    window: int
    experiment: str = "remedies"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run."""
        return self.tasks * self.steps


@dataclass(frozen=True)
class Remedies:
    """Which remedy helps: an MLP that loses plasticity learns task after task with each of them, beside plain training
    and a fresh network for every task.

    Every remedy gets the same small budget: its settings on the tuning seeds, then the best of them on fresh seeds.
    Finished runs are skipped, interrupted ones go on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (a minute) or laptop (half an hour)."""
    remedies: tuple[Name, ...] = NAMES
    """Which remedies; plain and fresh are the controls."""
    tuning: tuple[int, ...] = (30, 31)
    """Seeds on which the settings of a remedy are compared."""
    seeds: tuple[int, ...] = (40, 41, 42, 43, 44)
    """Seeds of the runs that count; none of them may be a tuning seed."""
    network: NetworkOptions = NetworkOptions()
    side: int = 16
    """Pixels on a side of the glyphs, whose pixels every task permutes anew."""
    pixel_noise: float = 0.3
    """Standard deviation of pixel noise, in units of black to white."""
    per_class: int = 50
    """Training images of a class."""
    step_size: float = 5e-3
    """Learning rate of Adam."""
    tasks: int = 25
    classes_per_task: int = 5
    steps: int = 120
    """Steps a task."""
    batch: int = 32
    window: int = 40
    """Steps between two measurements of the training accuracy; it must divide the steps."""
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, get_args(Preset))
        check_given(self, "remedies", "seeds", "tuning")
        check_choices(self, {"remedies": NAMES})
        check_counts(self, "tasks", "classes_per_task", "steps", "batch", "window")
        check_counts(self.network, "width", "depth")
        if self.network.width % 2:
            raise InvalidInput("width", self.network.width, "must be even, for CReLU and Fourier features")
        if self.steps % self.window:
            raise InvalidInput("window", self.window, f"does not divide the {self.steps} steps of a task")
        if set(self.seeds) & set(self.tuning):
            raise InvalidInput("seeds", self.seeds, "must not be seeds that settings were chosen on", "give others")
        check_data(self._data)

    @property
    def _data(self) -> DataOptions:
        return DataOptions("glyphs", self.side, True, self.per_class, 1, self.pixel_noise)

    def tuned(self, remedy: Name) -> list[RemedyRun]:
        """The runs on the tuning seeds: none where there is nothing to choose."""
        tried = REMEDIES[remedy].tried
        return [self._run(remedy, s, seed) for s in tried for seed in dict.fromkeys(self.tuning) if len(tried) > 1]

    def final(self, remedy: Name, strength: float) -> list[RemedyRun]:
        """The runs that count."""
        return [self._run(remedy, strength, seed) for seed in dict.fromkeys(self.seeds)]

    def _run(self, remedy: Name, strength: float, seed: int) -> RemedyRun:
        names = ("network", "step_size", "tasks", "classes_per_task", "steps", "batch", "window")
        return RemedyRun(seed, remedy, strength, data=self._data, **{name: getattr(self, name) for name in names})


def label(run: RemedyRun) -> str:
    """The run on the screen."""
    remedy = REMEDIES[run.remedy]
    strength = f", {remedy.strength} {run.strength:g}" if len(remedy.tried) > 1 else ""
    return f"{remedy.words}{strength}, seed {run.seed}"


LAPTOP = Remedies(preset="laptop")
REMEDIES_PRESETS: dict[str, Remedies] = {
    "smoke": replace(
        LAPTOP, preset="smoke", tuning=(30,), seeds=(40,), network=NetworkOptions(16, 2), side=8, per_class=10, tasks=3,
        steps=20, batch=16, window=10,
    ),
    "laptop": LAPTOP,
}  # fmt: skip
"""The presets by name."""
