"""The paper's grid of continual and cloning runs, as data.

The paper (appendix B.1.3) speaks of "approximately 2,000 individual runs (counting each random seed separately)" for
continual learning and cloning, 10,000 A100-hours, without a list. What its text and figures name is in the first
parts; the rest are the settings that experiments.md lists, crossed until nothing named is left out. The paper's own
list cannot be recovered exactly: the values of its learning-rate grid for cloning are lost with its formulas, so the
three of the continual runs stand in for them. Every part is built from the experiments' own options: a run of the
grid is the same run, with the same id, as that of ``python -m empirical continual`` or ``cloning``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from empirical.cloning.options import CLONING
from empirical.continual.options import CONTINUAL

SEEDS = (40, 41, 42, 43, 44)
MODELS = ("mlp", "cnn", "resnet18", "vit")
NORMALISATIONS = ("none", "batch", "layer")
STEP_SIZES = (1e-2, 1e-3, 1e-4)
SIGMA = (0.01, 0.02, 0.05)
NOISE_DECAY = (1.0, 0.999, 0.99, 0.9, 0.0)

CONTINUAL_PARTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "figures": ("Figures 3.1, 3.2, 4.1, B.3–B.6, with the fresh control and CBP", [{}]),
    "settings": (
        "normalisation × affine × dropout {0, 0.1} × learning rate {1e-2, 1e-3, 1e-4}, every architecture",
        [{"cross": "all", "normalisations": NORMALISATIONS, "affine": (True, False), "dropout": (0.0, 0.1),
          "step_sizes": STEP_SIZES, "arms": ("continual",)}],
    ),
    "controls": (
        "fresh networks and companions (CBP, ReDo, L2-init), every normalisation",
        [{"cross": "all", "normalisations": NORMALISATIONS, "affine": (True, False), "dropout": (0.0,),
          "arms": ("fresh", "cbp", "redo", "l2_init")}],
    ),
}  # fmt: skip
"""Part → what of the paper, and the changes of the continual preset's options that it consists of."""

_ARMS = {"arms": ("sgd", "adam", "dropout"), "dropout": (0.1, 0.2), "grid_models": MODELS}
CLONING_PARTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "figures": ("Figures 2.1, B.7–B.14", [{}]),
    "step sizes": (
        "SGD, Adam and dropout {0.1, 0.2} × learning rate {1e-2, 1e-3, 1e-4}, every architecture",
        [{**_ARMS, "step_size": rate} for rate in STEP_SIZES],
    ),
    "noise": (
        "noise scale {0.01, 0.02, 0.05} × decay {0, 0.9, 0.99, 0.999, 1}, both scalings, every architecture",
        [{"arms": ("noisy_sgd",), "sigma": SIGMA, "noise_decay": NOISE_DECAY, "grid_models": MODELS, "cross": "all",
          "noise_scaling": scaling} for scaling in ("element", "norm")],
    ),
    "normalisation": (
        "SGD, Adam and dropout under every normalisation and none, every architecture",
        [{**_ARMS, "normalisation": n} for n in NORMALISATIONS],
    ),
}  # fmt: skip
"""The same for cloning."""


class Part(NamedTuple):
    """Runs of one experiment that are not in a part before."""

    experiment: str
    name: str
    source: str
    runs: list[Any]

    @property
    def label(self) -> str:
        return f"{self.experiment}: {self.name}"


def paper_grid(preset: str, seeds: tuple[int, ...], changes: Mapping[str, Any] = {}) -> list[Part]:
    """Every part at a preset's sizes, with other values of options if need be (precision, execution, source)."""
    seen: set[Any] = set()
    given = {"seeds": seeds, **changes}
    return [
        *_parts("continual", replace(CONTINUAL[preset], **given), CONTINUAL_PARTS, seen),
        *_parts("cloning", replace(CLONING[preset], **given), CLONING_PARTS, seen),
    ]


def _parts(
    experiment: str, options: Any, parts: dict[str, tuple[str, list[dict[str, Any]]]], seen: set[Any]
) -> Iterator[Part]:
    for name, (source, changes) in parts.items():
        runs = [run for change in changes for run in replace(options, **change).runs()]
        new = [run for run in dict.fromkeys(runs) if run not in seen]
        seen.update(new)
        yield Part(experiment, name, source, new)
