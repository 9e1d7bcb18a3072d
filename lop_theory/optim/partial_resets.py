"""CCBP: every unit is reset a little, the less useful the more (Continuous Continual Backpropagation)."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS
from lop_theory.optim.ranges import require_between, require_choice, require_count

TRANSFORMS = ("sigmoid", "exp", "softplus", "linear")


class Softness(NamedTuple):
    """``rate`` is the share of a useless unit that is reset each ``period`` steps; ``sharpness`` and ``threshold`` of
    the transform of utilities, whose mean over a layer is 1; ``decay`` of their running mean."""

    rate: float = 0.015
    sharpness: float = 16.0
    threshold: float = 1.0
    decay: float = 0.99
    transform: str = "sigmoid"


DEFAULT = Softness()


def share(utility: Tensor, how: Softness) -> Tensor:
    """How much of a unit is reset, in [0, rate]: rate·min(1, T(u)) with x = sharpness·(u − threshold) and T = 2σ(−x),
    e⁻ˣ, softplus(−x)/log 2 or max(0, 1 − x)."""
    x = how.sharpness * (utility - how.threshold)
    match how.transform:
        case "sigmoid":
            full = 2 * torch.sigmoid(-x)
        case "exp":
            full = torch.exp(-x)
        case "softplus":
            full = nn.functional.softplus(-x) / math.log(2)
        case "linear":
            full = 1 - x
        case _:
            raise InvalidInput("transform", how.transform, f"must be one of {', '.join(TRANSFORMS)}")
    return how.rate * full.clamp(0, 1)


class CCBP(Companion):
    """Utility-scaled partial resets: w_in ← (1 − p) w_in + p·fresh, w_out ← (1 − p) w_out with p = :func:`share` of the
    unit's utility, a running mean of mean|∂L/∂w_in| over its mean in the layer.

    Every ``period`` steps; utilities then start anew at 1, their mean. Biases and the optimiser's memory stay, for no
    weight begins anew. Rules and defaults are those of the authors' code (github.com/LucMc/continual-learning,
    ``optim/cpr.py``), beside the ICLR 2026 submission UJqXhFFzKu. Raises ``InvalidInput``.
    """

    watched = None

    def __init__(  # noqa: PLR0913 - what all companions have, and the method's softness
        self,
        optimiser: Optimizer,
        model: nn.Module,
        *,
        example_input: Any,
        softness: Softness = DEFAULT,
        period: int = 1000,
        init: str = "kaiming",
        seed: int = 0,
    ) -> None:
        require_between("rate", softness.rate, 0, 1, ends="[]")
        require_between("decay", softness.decay, 0, 1)
        require_between("sharpness", softness.sharpness)
        require_between("threshold", softness.threshold)
        require_choice("transform", softness.transform, TRANSFORMS)
        require_count("period", period)
        require_choice("init", init, INITIALISATIONS)
        self.softness, self.period, self.init, self.steps = softness, period, init, 0
        super().__init__(optimiser, model, example_input=example_input, seed=seed)
        self.utility = [torch.ones(layer.size, dtype=torch.float64, device=layer.device) for layer in self.layers]

    @torch.no_grad()
    def graded(self) -> None:
        super().graded()
        for utility, layer in zip(self.utility, self.layers, strict=True):
            size = layer.incoming_gradient()
            utility.mul_(self.softness.decay).add_(size / (size.mean() + 1e-8), alpha=1 - self.softness.decay)

    def act(self) -> list[list[int]]:
        self.steps += 1
        if self.steps % self.period == 0:
            for utility, layer in zip(self.utility, self.layers, strict=True):
                layer.mix(share(utility, self.softness), self.init, self.generator)
                utility.fill_(1.0)
        return [[] for _ in self.layers]

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "utility": [t.clone() for t in self.utility]}

    def load_method_state(self, state: State) -> None:
        self.steps = state["steps"]
        for own, saved in zip(self.utility, state["utility"], strict=True):
            own.copy_(saved)
