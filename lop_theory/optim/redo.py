"""ReDo: reset dormant units (Sokar et al. 2023, Algorithm 1)."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS


class ReDo(Companion):
    """Every ``period`` steps, units with mean|h_i| / (mean over the layer) ≤ τ (Eq. 1 of arXiv 2302.12902) get fresh
    incoming and zero outgoing weights, and the optimiser forgets them.

    Means are over the training passes of that step. Nothing takes over what the units gave (as in the published code):
    a dormant unit gives little, a dead one nothing. Where a new unit feeds another, the weight between them is fresh.
    """

    watched = ("size",)

    def __init__(  # noqa: PLR0913 - the method's own two parameters beside those that all companions have
        self,
        optimiser: Optimizer,
        model: nn.Module,
        *,
        example_input: Any,
        tau: float = 0.025,
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
        self._wake()

    def _wake(self) -> None:
        """Watch only the passes of the step that is due."""
        for (watch,) in self.watches:
            watch.active = (self.steps + 1) % self.period == 0

    def act(self) -> list[list[int]]:
        self.steps += 1
        due = self.steps % self.period == 0
        found = self._reset() if due else [[] for _ in self.layers]
        self._wake()
        return found

    def _reset(self) -> list[list[int]]:
        self.summed()
        chosen = []
        for (watch,) in self.watches:
            size = watch.by_unit(watch.mean("size"))
            dormant = (size <= self.tau * size.mean()) & (watch.count > 0)
            chosen.append(torch.nonzero(dormant).flatten())
        for layer, units in zip(self.layers, chosen, strict=True):
            if len(units):
                self.replace(layer, units, self.init)
        self.clear()
        return [units.tolist() for units in chosen]

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_method_state(self, state: State) -> None:
        self.steps = state["steps"]
        self._wake()
