"""L2-init: regularise towards the initial parameters instead of zero (Kumar et al. 2023)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput


class L2Init:
    """Wraps an optimiser: before each step adds 2 · strength · (w − w_0) to the gradients, w_0 the values at
    construction.

    This is the gradient of strength · ‖w − w_0‖². Parameters without a gradient are pulled back as well.
    """

    def __init__(self, optimiser: Optimizer, *, strength: float = 1e-3) -> None:
        if strength < 0:
            raise InvalidInput("strength", strength, "must not be negative")
        self.optimiser, self.strength = optimiser, strength
        self.initial = [parameter.detach().clone() for parameter in self._parameters()]

    def _parameters(self) -> Iterable[torch.Tensor]:
        return (parameter for group in self.optimiser.param_groups for parameter in group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, start in zip(self._parameters(), self.initial, strict=True):
            pull = 2 * self.strength * (parameter - start)
            if parameter.grad is None:
                parameter.grad = pull
            else:
                parameter.grad += pull
        self.optimiser.step()
        return loss

    def zero_grad(self) -> None:
        self.optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"optimiser": self.optimiser.state_dict(), "initial": [t.clone() for t in self.initial]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimiser.load_state_dict(state["optimiser"])
        self.initial = [t.clone() for t in state["initial"]]
