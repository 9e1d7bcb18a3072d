"""ReGraMa: reset units whose gradients are small, whatever their activations (Liu et al. 2025)."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS


class ReGraMa(Companion):
    """Every ``period`` steps, units with mean|∂L/∂w_in| / (mean over the layer) ≤ τ get fresh incoming and zero
    outgoing weights, and the optimiser forgets them.

    GraMa of arXiv 2505.24061, Definition 1, on the gradients of a unit's incoming weights, as public implementations
    take it. It needs no activations, and under DDP gradients are those of all ranks. Raises ``InvalidInput``.
    """

    watched = None

    def __init__(  # noqa: PLR0913 - the method's own two parameters beside those that all companions have
        self,
        optimiser: Optimizer,
        model: nn.Module,
        *,
        example_input: Any,
        tau: float = 0.01,
        period: int = 1000,
        init: str = "own",
        seed: int = 0,
    ) -> None:
        if tau < 0 or period < 1:
            raise InvalidInput("tau, period", (tau, period), "must be at least 0 and 1")
        if init not in INITIALISATIONS:
            raise InvalidInput("init", init, f"must be one of {', '.join(INITIALISATIONS)}")
        self.tau, self.period, self.init, self.steps = tau, period, init, 0
        super().__init__(optimiser, model, example_input=example_input, seed=seed)
        self._sizes: list[torch.Tensor] = []

    @torch.no_grad()
    def graded(self) -> None:
        super().graded()
        due = (self.steps + 1) % self.period == 0
        self._sizes = [layer.incoming_gradient() for layer in self.layers] if due else []

    def act(self) -> list[list[int]]:
        self.steps += 1
        if not self._sizes:
            return [[] for _ in self.layers]
        chosen = [torch.nonzero(size <= self.tau * size.mean()).flatten() for size in self._sizes]
        for layer, units in zip(self.layers, chosen, strict=True):
            if len(units):
                self.replace(layer, units, self.init)
        self._sizes = []
        return [units.tolist() for units in chosen]

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_method_state(self, state: State) -> None:
        self.steps = state["steps"]
