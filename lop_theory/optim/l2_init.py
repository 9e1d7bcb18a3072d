"""L2-init: regularise towards the initial parameters instead of zero (Kumar et al. 2023, Eq. 2)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.companion import State
from lop_theory.optim.ranges import require_between
from lop_theory.optim.wrapping import Wrapping


class L2Init(Wrapping):
    """Adds the gradient of strength · ‖w − w_0‖², 2 · strength · (w − w_0), before each step; w_0 are the values at
    construction (of a group added later, those when it was added).

    ``half=True`` is the convention of weight decay, strength/2 · ‖w − w_0‖²: half the pull. The paper (arXiv
    2308.11958) writes the penalty without ½. Parameters without a gradient are pulled back as well. Raises
    ``InvalidInput``.
    """

    def __init__(self, optimiser: Optimizer, *, strength: float = 1e-3, half: bool = False) -> None:
        require_between("strength", strength)
        super().__init__(optimiser)
        self.strength, self.half = strength, half
        self.initial = [parameter.detach().clone() for parameter in self._parameters()]

    def _parameters(self) -> Iterable[Tensor]:
        return (parameter for group in self.param_groups for parameter in group["params"])

    @torch.no_grad()
    def graded(self) -> None:
        factor = self.strength if self.half else 2 * self.strength
        for parameter, start in zip(self._parameters(), self.initial, strict=True):
            pull = factor * (parameter - start)
            if parameter.grad is None:
                parameter.grad = pull
            else:
                parameter.grad += pull

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.initial += [p.detach().clone() for p in self.param_groups[-1]["params"]]

    def companion_state(self) -> dict[str, Any]:
        return {"initial": [t.clone() for t in self.initial]}

    def check_companion_state(self, state: State) -> None:
        shapes = [tuple(t.shape) for t in self.initial]
        if [tuple(t.shape) for t in state.get("initial", [])] != shapes:
            raise InvalidInput("state_dict", "initial", "does not have the shapes of these parameters")

    def load_companion_state(self, state: State) -> None:
        for own, saved in zip(self.initial, state["initial"], strict=True):
            own.copy_(saved)
