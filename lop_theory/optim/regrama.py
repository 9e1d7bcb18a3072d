"""ReGraMa: reset units whose gradients are small, whatever their activations (Liu et al. 2025)."""

import torch
from torch import Tensor

from lop_theory.optim.dormancy import DormancyReset, places


class ReGraMa(DormancyReset):
    """Every ``period`` steps, units with mean|∂L/∂w_in| / (mean over the layer) ≤ τ get fresh incoming and zero
    outgoing weights, and the optimiser forgets them. τ is 0.01 by default.

    GraMa of arXiv 2505.24061, Definition 1, on the gradients of a unit's incoming weights, as public implementations
    take it. It needs no activations, and under DDP gradients are those of all ranks. Raises ``InvalidInput``.
    """

    watched = None
    default_tau = 0.01

    def watch(self) -> None:
        super().watch()
        self._sizes: list[Tensor] = []

    @torch.no_grad()
    def graded(self) -> None:
        super().graded()
        self._sizes = [layer.incoming_gradient() for layer in self.layers] if self.due else []

    def act(self) -> list[list[int]]:
        self.steps += 1
        if not self._sizes:
            return [[] for _ in self.layers]
        found = self.reset([places(self.small(size)) for size in self._sizes])
        self._sizes = []
        return found
