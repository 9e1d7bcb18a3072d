"""ReDo: reset dormant units (Sokar et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.clocks import Memory, attached
from lop_theory.optim.units import UnitLayer, per_unit, places, reinitialise, unit_layers, watch


class ReDo:
    """Every ``period`` steps, units with mean|h_i| / (mean over the layer) ≤ τ get fresh incoming and zero outgoing
    weights."""

    def __init__(
        self,
        model: nn.Sequential | Sequence[UnitLayer],
        optimiser: Optimizer | Memory | None = None,
        *,
        tau: float = 0.025,
        period: int = 1000,
        seed: int = 0,
    ) -> None:
        if tau < 0 or period < 1:
            raise InvalidInput("tau, period", (tau, period), "must be at least 0 and 1")
        self.layers = unit_layers(model) if isinstance(model, nn.Sequential) else list(model)
        self.tau, self.period, self.steps = tau, period, 0
        self.clocks = attached(optimiser, (place for layer in self.layers for place in places(layer, layer.every)))
        self._generator = torch.Generator().manual_seed(seed)
        self._seen, self.detach = watch(self.layers)

    @torch.no_grad()
    def step(self) -> list[list[int]]:
        """Count a step; on every ``period``-th reset the dormant units of the last training forward pass."""
        self.steps += 1
        if self.steps % self.period or not self._seen:
            return [[] for _ in self.layers]
        reset = []
        for k, layer in enumerate(self.layers):
            size = per_unit(self._seen[k]).abs().double().mean(0)
            units = torch.nonzero(size <= self.tau * size.mean()).flatten()
            reinitialise(layer, units, self._generator)
            if self.clocks is not None:
                self.clocks.renew(places(layer, units))
            reset.append(units.tolist())
        return reset

    def state_dict(self) -> dict[str, Any]:
        clocks = {} if self.clocks is None else self.clocks.state_dict()
        return {"steps": self.steps, "generator": self._generator.get_state(), "clocks": clocks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self._generator.set_state(state["generator"])
        if self.clocks is not None:
            self.clocks.load_state_dict(state["clocks"])
