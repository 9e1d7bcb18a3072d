"""The MLP of the comparison: flatten; linear, normalisation, activation, dropout a layer; then the classifier."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from empirical.remedies.options import Name, RemedyRun
from lop_theory.optim import CReLU, DeepFourier, SmoothLeakyReLU

PAIRED: dict[Name, Callable[[], nn.Module]] = {"crelu": CReLU, "fourier": DeepFourier}
"""Activations that make two features of a unit."""
NORMALISED: tuple[Name, ...] = ("layer_norm", "project")


class ScaledLinear(nn.Linear):
    """α(Wx + b)."""

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__(inputs, outputs)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        return self.scale * super().forward(input)


def build(run: RemedyRun, image: tuple[int, int, int], classes: int, index: int = 0) -> nn.Sequential:
    """A network for a run that is new at task ``index``; a function of the run's seed and the index alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(network_seed(run.seed, index))
        return _build(run, image[0] * image[1] * image[2], classes)


def network_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def _build(run: RemedyRun, inputs: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    width = run.network.width
    units = width // 2 if run.remedy in PAIRED else width
    for fan_in in [inputs, *[width] * (run.network.depth - 1)]:
        layers.append(nn.Linear(fan_in, units))
        if run.remedy in NORMALISED:
            layers.append(nn.LayerNorm(units))
        layers.append(_activation(run))
        if run.remedy == "dropout":
            layers.append(nn.Dropout(run.strength))
    head = nn.Linear(width, classes) if run.remedy != "lazy" else ScaledLinear(width, classes, run.strength)
    return nn.Sequential(*layers, head)


def _activation(run: RemedyRun) -> nn.Module:
    if run.remedy == "smooth_leaky":
        return SmoothLeakyReLU(run.strength)
    return PAIRED.get(run.remedy, nn.ReLU)()
