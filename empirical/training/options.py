"""Options that cloning, continual learning and escape share: model, data, optimiser.

No PyTorch here: a command line is read, and refused, before anything heavy is imported.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from typing_extensions import Doc

from empirical.runs.checks import check_choice, check_counts
from empirical.runs.store import LATER
from lop_theory.errors import InvalidInput

ModelName = Literal["mlp", "cnn", "resnet18", "vit"]
Normalisation = Literal["none", "batch", "layer"]
SourceName = Literal["glyphs", "scenes", "gmm", "mnist", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet"]
OptimiserName = Literal["sgd", "adam", "noisy_sgd", "noisy_adam"]
Repair = Literal["none", "cbp", "redo", "l2_init"]
Precision = Literal["fp32", "tf32", "bf16"]
Source = Annotated[
    SourceName,
    Doc(
        "glyphs, scenes (two characters on a texture among clutter: harder) and gmm are made here; the others are real "
        "and fetched with ``python -m empirical data fetch NAME``."
    ),
]
Side = Annotated[int, Doc("Pixels on a side.")]
Permuted = Annotated[bool, Doc("Whether every task has a fresh permutation of the pixels.")]
PerClass = Annotated[int, Doc("Training images of a class; at most what real data have.")]
ClassesPerTask = Annotated[int, Doc("Classes of a task; the loss is masked to them.")]
ModelScale = Annotated[int | None, Doc("All widths are divided by this; none: the preset's for the model (paper 1).")]
ModelBatch = Annotated[int | None, Doc("Images a step; none: the preset's for the model (paper 128).")]
PassPrecision = Annotated[
    Precision | None,
    Doc(
        "Forward and backward passes in float32, on tensor cores as TF32, or in bfloat16 by autocast (weights, "
        "optimiser and metrics stay float32); none: bf16 on a GPU, fp32 on the CPU. It is part of a run's identity."
    ),
]
"""Options that several experiments have, with the text that ``--help`` shows: said once."""
MODELS: dict[ModelName, str] = {"mlp": "MLP", "cnn": "CNN", "resnet18": "ResNet-18", "vit": "ViT"}
"""Models in words, in the paper's order."""
DRAWN = ("glyphs", "scenes")
"""Sources that are pictures drawn here, in any size and with noise if wanted."""
LOUDEST = 2.0
NARROWEST = 64
"""The scale at which a ResNet starts with one channel and a ViT's heads have one dimension each."""


@dataclass(frozen=True)
class ModelOptions:
    """The network; the sizes of scale 1 are the paper's."""

    name: ModelName = "mlp"
    """MLP 5×128, CNN 64-128-256 + 512, ResNet-18 of base width 64, or ViT of width 384, depth 6, 6 heads."""
    normalisation: Normalisation = "none"
    """Normalisation before activations (a ViT: before attention and MLP)."""
    affine: bool = True
    """Whether normalisation has trained scales and shifts."""
    dropout: float = 0.0
    """Share of activations dropped; the authors' 0.1 (MLP 0.2) where on."""
    scale: int = 1
    """All widths are divided by this, a divisor of 64; the depth never changes."""
    patch: int = 8
    """Side of a ViT's patches in pixels."""


@dataclass(frozen=True)
class DataOptions:
    """Where images come from."""

    source: Source = "glyphs"
    side: Side = 32
    permuted: Permuted = True
    per_class: PerClass = 500
    probe_per_class: int = 100
    """Held-out images of a class for metrics and accuracies."""
    noise: float = 0.0
    """Glyphs and scenes: standard deviation of pixel noise beside the little that they have, black to white being 1."""


@dataclass(frozen=True)
class OptimiserOptions:
    """The update rule and what works beside it."""

    name: OptimiserName = "adam"
    """SGD and Adam are torch.optim's without weight decay; the noisy ones add Gaussian noise to the gradient."""
    step_size: float = 1e-3
    """Learning rate."""
    sigma: float = 0.01
    """Noise: deviation σ₀ of the noise in units of the gradient's norm, per tensor."""
    noise_decay: float = 1.0
    """Noise: σ_t = σ₀·λ^t with this λ; 0 is a single noisy step."""
    noise_scaling: Literal["element", "norm"] = "element"
    """Noise: σ‖g‖ for every element (the authors'), or for the noise of a whole tensor."""
    repair: Repair = "none"
    """Continual backprop and ReDo (MLP and CNN only) renew units; L2-init pulls weights to their first values."""
    precision: Precision = field(default="fp32", metadata=LATER)
    """Of forward and backward passes."""


def check_training(model: ModelOptions, data: DataOptions, optimiser: OptimiserOptions) -> None:
    """What a run trains, on what, and how. Raises ``InvalidInput``."""
    check_model(model)
    check_data(data)
    check_optimiser(optimiser, model)


def precision_of(options: Any) -> Precision:
    """The precision that was asked for, or the device's own. Raises ``InvalidInput`` for TF32 on the CPU."""
    found = options.precision or ("bf16" if options.execution.on_gpu else "fp32")
    check_choice("precision", found, get_args(Precision))
    if found == "tf32" and not options.execution.on_gpu:
        raise InvalidInput("precision", found, "needs the tensor cores of a GPU", "give fp32, bf16 or --device cuda")
    return found


def precision_shown(config: Mapping[str, Any]) -> str:
    """What captions and claims add about the precision of a run's configuration; of fp32 nothing."""
    precision = config["optimiser"].get("precision", "fp32")
    return "" if precision == "fp32" else f" in {precision}"


def chosen(options: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields among ``names`` that are set; what is None is left to the preset's sizes of the model."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def check_model(options: ModelOptions) -> None:
    """Raises ``InvalidInput``."""
    check_choice("name", options.name, get_args(ModelName))
    check_choice("normalisation", options.normalisation, get_args(Normalisation))
    if options.scale < 1 or NARROWEST % options.scale:
        raise InvalidInput("scale", options.scale, f"must divide {NARROWEST}", "give 1, 2, 4, … or 64")
    if not 0 <= options.dropout < 1:
        raise InvalidInput("dropout", options.dropout, "must lie in [0, 1)")
    if options.patch < 1:
        raise InvalidInput("patch", options.patch, "must be at least 1")


def check_data(options: DataOptions) -> None:
    """Raises ``InvalidInput``."""
    check_choice("source", options.source, get_args(SourceName))
    check_counts(options, "side", "per_class", "probe_per_class")
    if not 0 <= options.noise <= LOUDEST or (options.noise and options.source not in DRAWN):
        raise InvalidInput(
            "noise", options.noise, f"must lie in [0, {LOUDEST:g}], and is for {' and '.join(DRAWN)} only"
        )


def check_optimiser(options: OptimiserOptions, model: ModelOptions) -> None:
    """Raises ``InvalidInput``."""
    check_choice("name", options.name, get_args(OptimiserName))
    check_choice("repair", options.repair, get_args(Repair))
    check_choice("noise_scaling", options.noise_scaling, ("element", "norm"))
    check_choice("precision", options.precision, get_args(Precision))
    if not 0 < options.step_size < math.inf:
        raise InvalidInput("step_size", options.step_size, "must be positive and finite")
    if not 0 <= options.sigma < math.inf or not 0 <= options.noise_decay <= 1:
        raise InvalidInput(
            "sigma, noise_decay", (options.sigma, options.noise_decay), "must be finite from 0 on, and lie in [0, 1]"
        )
    if options.repair in ("cbp", "redo") and model.name not in ("mlp", "cnn"):
        raise InvalidInput(
            "repair", options.repair, f"needs a plain stack of layers, which {model.name} is not", "give mlp or cnn"
        )


def check_image(model: ModelOptions, image: tuple[int, int, int]) -> None:
    """That the model can read images of (channels, height, width). Raises ``InvalidInput``."""
    side = min(image[1:])
    if model.name == "cnn" and side < 8:
        raise InvalidInput("side", side, "is too small for a CNN that halves it three times", "give at least 8")
    if model.name == "vit" and any(length % model.patch for length in image[1:]):
        raise InvalidInput("patch", model.patch, f"does not divide images of {image[1]}×{image[2]}")
