"""NaP, normalise and project: weights keep the norm that they began with (Lyle et al. 2024)."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.ranges import require_count
from lop_theory.optim.wrapping import Wrapping


class Project(Wrapping):
    """After every ``period`` steps, w ← w ‖w_0‖/‖w‖ for every weight of ``model`` with two dimensions or more: with a
    normalisation behind each of these layers the function stays and the effective learning rate does not decay
    (arXiv 2407.01800, Algorithm 1). The normalisations are the model's own. Raises ``InvalidInput``."""

    def __init__(self, optimiser: Optimizer, model: nn.Module, *, period: int = 1) -> None:
        require_count("period", period)
        super().__init__(optimiser)
        self.period, self.steps = period, 0
        self.weights = [p for p in model.parameters() if p.ndim > 1 and p.requires_grad]
        if not self.weights:
            raise InvalidInput("model", type(model).__name__, "must have trained weights of two dimensions or more")
        self.norms = [w.detach().norm() for w in self.weights]

    @torch.no_grad()
    def after(self) -> None:
        self.steps += 1
        if self.steps % self.period == 0:
            for weight, norm in zip(self.weights, self.norms, strict=True):
                weight.mul_(norm / weight.norm().clamp_min(torch.finfo(weight.dtype).tiny))

    def companion_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "norms": [norm.clone() for norm in self.norms]}

    def check_companion_state(self, state: Mapping[str, Any]) -> None:
        if len(state.get("norms", [])) != len(self.norms):
            raise InvalidInput("state_dict", "norms", f"must be of {len(self.norms)} weights")

    def load_companion_state(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        norms: Iterable[Tensor] = state["norms"]
        self.norms = [norm.to(weight) for norm, weight in zip(norms, self.weights, strict=True)]
