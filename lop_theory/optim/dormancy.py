"""What ReDo and ReGraMa share: every so many steps, the units of a layer that are small beside its mean begin anew."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS
from lop_theory.optim.ranges import require_between, require_choice, require_count


class DormancyReset(Companion):
    """Every ``period`` steps, units with size/(mean over the layer) ≤ τ get fresh incoming and zero outgoing weights; a
    subclass says what the size of a unit is.
    """

    default_tau: ClassVar[float]

    def __init__(  # noqa: PLR0913 - the method's own two parameters beside those that all companions have
        self,
        optimiser: Optimizer,
        model: nn.Module,
        *,
        example_input: Any,
        tau: float | None = None,
        period: int = 1000,
        init: str = "own",
        seed: int = 0,
    ) -> None:
        tau = self.default_tau if tau is None else tau
        require_between("tau", tau)
        require_count("period", period)
        require_choice("init", init, INITIALISATIONS)
        self.tau, self.period, self.init, self.steps = tau, period, init, 0
        super().__init__(optimiser, model, example_input=example_input, seed=seed)

    @property
    def due(self) -> bool:
        """Whether the step under way is one that resets."""
        return (self.steps + 1) % self.period == 0

    def reset(self, chosen: list[Tensor]) -> list[list[int]]:
        """Replace the chosen units of every layer."""
        for layer, units in zip(self.layers, chosen, strict=True):
            if len(units):
                self.replace(layer, units, self.init)
        return [units.tolist() for units in chosen]

    def small(self, size: Tensor) -> Tensor:
        """Which units of a layer are small beside its mean."""
        return size <= self.tau * size.mean()

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_method_state(self, state: State) -> None:
        self.steps = state["steps"]


def places(chosen: Tensor) -> Tensor:
    return torch.nonzero(chosen).flatten()
