"""What a user can set of the cloning experiment.

A base network is trained alone, then widened into a clone of itself; base, clone and (as a control) a fresh network of
the clone's size then train side by side on the same batches. An *arm* is a way of training them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

from empirical.runs.checks import check_choice, check_choices, check_counts, check_given
from empirical.runs.execution import Execution
from empirical.training.options import (
    DataOptions,
    ModelBatch,
    ModelName,
    ModelOptions,
    ModelScale,
    Normalisation,
    OptimiserOptions,
    PassPrecision,
    PerClass,
    Source,
    check_training,
    chosen,
    precision_of,
)
from lop_theory.errors import InvalidInput

Preset = Literal["smoke", "laptop", "paper"]
Arm = Literal["sgd", "matched", "adam", "noisy_sgd", "dropout", "redistributed", "redistributed64"]
OWN: dict[ModelName, Normalisation] = {"mlp": "batch", "cnn": "batch", "resnet18": "batch", "vit": "layer"}
"""The paper's normalisations."""


class Size(NamedTuple):
    """Sizes that differ from model to model: divisor of all widths, side of an image, images a step, steps of the base
    alone, steps side by side, measurements of these, step sizes of SGD and of Adam, side of a ViT's patches."""

    scale: int
    side: int
    batch: int
    pretrain: int
    steps: int
    measurements: int
    sgd: float = 0.01
    adam: float = 1e-3
    patch: int = 8


@dataclass(frozen=True)
class CloningRun:
    """One run: all that determines its result. Its hash is the run's id."""

    seed: int
    model: ModelOptions
    data: DataOptions
    optimiser: OptimiserOptions
    matched: bool
    """Whether the clone has the step sizes with which it follows the base; else base and clone have the same."""
    redistributed: bool
    """Clones are not copies: random weights inside RE∩CE are added."""
    precision: Literal["float32", "float64"]
    factor: int
    control: bool
    classes: int
    batch: int
    pretrain: int
    steps: int
    measure_every: int
    theory: bool
    experiment: str = "cloning"
    protocol: int = 1

    @property
    def length(self) -> int:
        """Steps of the run: of the base alone, then side by side."""
        return self.pretrain + self.steps

    @property
    def window(self) -> int:
        """Steps between measurements of the base alone."""
        return max(self.measure_every, -(-self.pretrain // 5))


@dataclass(frozen=True)
class Cloning:
    """Cloning: a trained base network is widened into a clone of itself, and both train on; does the clone leave the
    manifold on which its units are copies?

    Every model is combined with every arm and seed. Finished runs are skipped, interrupted ones go on.
    """

    preset: Preset = "smoke"
    """Sizes: smoke (a minute), laptop (half an hour), paper (CIFAR-10, 20 epochs alone and 500 side by side)."""
    seeds: tuple[int, ...] = (40,)
    """Seeds; each fixes the networks, the images, the batches and the noise."""
    models: tuple[ModelName, ...] = ("mlp", "cnn", "resnet18", "vit")
    """Networks, with the paper's normalisation: batch, for a ViT layer."""
    arms: tuple[Arm, ...] = ("sgd", "matched", "adam", "noisy_sgd", "dropout")
    """sgd, adam, noisy_sgd, dropout (SGD with dropout): the authors', base and clone with one step size; matched: SGD,
    the clone with the step sizes that make it follow the base; redistributed: SGD from clones that are not copies, in
    float32 or (redistributed64) float64."""
    normalisation: Normalisation | None = None
    """Another normalisation than the paper's, for every model."""
    sigma: tuple[float, ...] = (0.01,)
    """Noisy SGD: scales σ₀ of the noise."""
    noise_decay: tuple[float, ...] = (1.0,)
    """Noisy SGD: decays λ of the noise, σ_t = σ₀·λ^t; 0 is a single noisy step."""
    noise_scaling: Literal["element", "norm"] = "element"
    """Noisy SGD: σ‖g‖ for every element (the authors'), or for the noise of a whole tensor."""
    cross: Literal["one", "all"] = "one"
    """Scales and decays other than the first: one at a time, or every combination."""
    grid_models: tuple[ModelName, ...] = ("mlp", "vit")
    """Models with every noise and every dropout; the others have the first scale, decay and dropout."""
    float_models: tuple[ModelName, ...] = ("mlp",)
    """Models with the arms redistributed and redistributed64."""
    dropout: tuple[float, ...] = (0.1,)
    """Shares of activations dropped in the dropout arm."""
    step_size: float | None = None
    """Learning rate of every arm; none: the preset's (paper: SGD 0.01, Adam 1e-3)."""
    factor: int = 2
    """Clones of every unit."""
    source: Source = "glyphs"
    permuted: bool = False
    """Whether the pixels are permuted (another permutation for every seed)."""
    classes: int = 10
    """Classes of the one task."""
    per_class: PerClass = 500
    probe_per_class: int = 20
    """Held-out images of a class: the fixed balanced batch for metrics and accuracies."""
    scale: ModelScale = None
    side: int | None = None
    """Pixels on a side; none: the preset's for the model (paper 32)."""
    batch: ModelBatch = None
    pretrain: int | None = None
    """Steps of the base alone; none: the preset's for the model."""
    steps: int | None = None
    """Steps side by side; none: the preset's for the model."""
    measurements: int | None = None
    """Measurements (and checkpoints), evenly spaced over the steps side by side, which they must divide; none: the
    preset's for the model."""
    theory: bool = True
    """Whether the theory's predictions for clones are checked at every measurement."""
    precision: PassPrecision = None
    execution: Execution = Execution()

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_sizes(self)
        self.runs()

    def runs(self) -> list[CloningRun]:
        """Every run; those that differ in the seed only stand together."""
        return [run for setting in _settings(self) for run in self._seeds(setting)]

    def size(self, model: ModelName) -> Size:
        """The model's sizes: the preset's, but for what is set."""
        own = chosen(self, ("scale", "side", "batch", "pretrain", "steps", "measurements"))
        return SIZES[self.preset][model]._replace(**own)

    def _seeds(self, setting: "Setting") -> Iterator[CloningRun]:
        size = self.size(setting.model)
        shared = self._shared(setting, size)
        for seed in dict.fromkeys(self.seeds):
            yield CloningRun(seed=seed, **shared)

    def _shared(self, setting: "Setting", size: Size) -> dict[str, Any]:
        """What the runs of a setting have in common."""
        normalisation = self.normalisation or OWN[setting.model]
        model = ModelOptions(setting.model, normalisation, True, setting.dropout, size.scale, size.patch)
        optimiser = self._optimiser(setting, size)
        data = DataOptions(self.source, size.side, self.permuted, self.per_class, self.probe_per_class)
        check_training(model, data, optimiser)
        every, rest = divmod(size.steps, size.measurements)
        if rest:
            raise InvalidInput("measurements", size.measurements, f"does not divide the {size.steps} steps")
        return {
            "model": model, "data": data, "optimiser": optimiser,
            "matched": setting.arm == "matched", "redistributed": setting.arm.startswith("redistributed"),
            "precision": "float64" if setting.arm == "redistributed64" else "float32",
            "factor": self.factor, "control": setting.controlled, "classes": self.classes, "batch": size.batch,
            "pretrain": size.pretrain, "steps": size.steps, "measure_every": every, "theory": self.theory,
        }  # fmt: skip

    def _optimiser(self, setting: "Setting", size: Size) -> OptimiserOptions:
        precision = "fp32" if setting.arm == "redistributed64" else precision_of(self)  # autocast leaves float64 alone
        if setting.arm == "adam":
            return OptimiserOptions("adam", self.step_size or size.adam, precision=precision)
        found = OptimiserOptions("sgd", self.step_size or size.sgd, precision=precision)
        if setting.arm != "noisy_sgd":
            return found
        scaling = self.noise_scaling
        return replace(found, name="noisy_sgd", sigma=setting.sigma, noise_decay=setting.decay, noise_scaling=scaling)


class Setting(NamedTuple):
    """One configuration, all seeds. Noise and dropout are 0 where they play no part."""

    model: ModelName
    arm: Arm
    sigma: float = 0.0
    decay: float = 0.0
    dropout: float = 0.0

    @property
    def controlled(self) -> bool:
        """Whether a fresh wide network trains beside: not in the arms that differ from SGD's in the clone alone."""
        return self.arm in ("sgd", "adam", "dropout")


def setting(config: Mapping[str, Any]) -> Setting:
    """The setting of a run's configuration, as its manifest has it."""
    model, optimiser = config["model"], config["optimiser"]
    arm = _arm(config)
    noise = (optimiser["sigma"], optimiser["noise_decay"]) if arm == "noisy_sgd" else (0.0, 0.0)
    return Setting(model["name"], arm, *noise, model["dropout"])


def _arm(config: Mapping[str, Any]) -> Arm:
    if config["redistributed"]:
        return "redistributed" if config["precision"] == "float32" else "redistributed64"
    if config["model"]["dropout"] > 0:
        return "dropout"
    return "matched" if config["matched"] else config["optimiser"]["name"]


def name(key: Setting) -> str:
    """The setting in a few words."""
    noise = f" σ₀ {key.sigma:g} λ {key.decay:g}" if key.arm == "noisy_sgd" else ""
    return f"{key.model} {key.arm}{noise}{f' {key.dropout:g}' if key.dropout else ''}"


def _settings(options: Cloning) -> Iterator[Setting]:
    """Every configuration once."""
    for model in dict.fromkeys(options.models):
        for arm in dict.fromkeys(options.arms):
            if arm == "noisy_sgd":
                yield from _noises(options, model)
            elif arm == "dropout":
                rates = options.dropout if model in options.grid_models else options.dropout[:1]
                yield from (Setting(model, arm, dropout=p) for p in dict.fromkeys(rates))
            elif not arm.startswith("redistributed") or model in options.float_models:
                yield Setting(model, arm)


def _noises(options: Cloning, model: ModelName) -> Iterator[Setting]:
    first = (options.sigma[0], options.noise_decay[0])
    grid = product(options.sigma, options.noise_decay) if model in options.grid_models else [first]
    for sigma, decay in dict.fromkeys(grid):
        if options.cross == "all" or first[0] == sigma or first[1] == decay:
            yield Setting(model, "noisy_sgd", sigma, decay)


def _check_choices(options: Cloning) -> None:
    check_choice("preset", options.preset, tuple(SIZES))
    check_given(options, "seeds", "models", "arms", "sigma", "noise_decay", "dropout")
    models = get_args(ModelName)
    check_choices(options, {"models": models, "arms": get_args(Arm), "grid_models": models, "float_models": models})
    check_choice("cross", options.cross, ("one", "all"))
    if "dropout" in options.arms and not all(0 < p < 1 for p in options.dropout):
        raise InvalidInput("dropout", options.dropout, "must lie in (0, 1)", "the arm sgd has none")


def _check_sizes(options: Cloning) -> None:
    check_counts(options, "classes", "batch", "pretrain", "steps", "measurements")
    if options.factor < 2:
        raise InvalidInput("factor", options.factor, "must be at least 2")
    if options.step_size is not None and not 0 < options.step_size < float("inf"):
        raise InvalidInput("step_size", options.step_size, "must be positive and finite")


_EPOCH = 391  # steps of an epoch of CIFAR-10: 50,000 images in batches of 128
SIZES: dict[str, dict[ModelName, Size]] = {
    "smoke": {
        "mlp": Size(4, 16, 32, 40, 80, 4),
        "cnn": Size(16, 8, 32, 20, 40, 4),
        "resnet18": Size(16, 8, 16, 8, 16, 2),
        "vit": Size(32, 8, 16, 16, 32, 2, patch=4),
    },
    "laptop": {
        "mlp": Size(4, 32, 128, 300, 500, 10),
        "cnn": Size(4, 16, 64, 100, 120, 6, sgd=0.02),
        "resnet18": Size(16, 16, 32, 200, 100, 5, sgd=0.05),
        "vit": Size(16, 16, 32, 400, 120, 6, sgd=0.1, patch=8),
    },
    "paper": {name: Size(1, 32, 128, 20 * _EPOCH, 500 * _EPOCH, 100) for name in get_args(ModelName)},
}
"""Preset → model → sizes."""

_GRID: dict[str, Any] = {
    "sigma": (0.05, 0.02, 0.01),
    "noise_decay": (1.0, 0.999, 0.99, 0.9, 0.0),
    "dropout": (0.1, 0.2),
    "arms": get_args(Arm),
    "theory": False,
}
_LAPTOP = Cloning(preset="laptop", seeds=(40, 41, 42, 43, 44), per_class=1_000, **_GRID)
CLONING: dict[str, Cloning] = {
    "smoke": Cloning(per_class=40),
    "laptop": _LAPTOP,
    "paper": replace(
        _LAPTOP, preset="paper", source="cifar10", per_class=5_000, probe_per_class=100,
        cross="all", grid_models=get_args(ModelName),
    ),
}  # fmt: skip
"""The presets by name."""
