"""Continual backprop: replace the least useful mature units, a few at a time (Generate and Test)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.clocks import Clocks, Memory, attached
from lop_theory.optim.units import UnitLayer, per_unit, places, reinitialise, unit_layers, watch

UTILITIES = ("contribution", "adaptable")


class Settings(NamedTuple):
    """``rate`` is the expected share of mature units replaced a step; ``accumulate`` carries fractions over, else
    they are drawn."""

    rate: float = 1e-4
    decay: float = 0.99
    maturity: int = 100
    utility: str = "adaptable"
    accumulate: bool = True
    seed: int = 0


DEFAULT = Settings()


class ContinualBackprop:
    """Callback: build it on a model (forward hooks observe h), call :meth:`step` after ``optimiser.step()``.

    utility u ← β u + (1 − β) y with y = mean|h|·mean|w_out| (contribution) or mean|h − ĥ|·mean|w_out| / mean|w_in|
    (adaptable),
    û = u / (1 − β^age), and likewise the running mean ĥ. A replaced unit gets fresh Kaiming-uniform incoming weights,
    zero bias and
    zero outgoing weights; the outgoing layer's bias first absorbs w_out ĥ with the bias-corrected mean; age, utility
    and mean start anew, and so does the optimiser's memory of its weights, step counts included (see
    :class:`lop_theory.optim.clocks.Clocks`). Units younger than ``maturity`` steps are never eligible. All layers are
    scored before any is changed; where a new unit feeds another, the weight between them is a fresh one.
    """

    def __init__(
        self,
        model: nn.Sequential | Sequence[UnitLayer],
        optimiser: Optimizer | Memory | None = None,
        settings: Settings = DEFAULT,
    ) -> None:
        if settings.utility not in UTILITIES:
            raise InvalidInput("utility", settings.utility, f"must be one of {', '.join(UTILITIES)}")
        if not 0 <= settings.rate <= 1 or not 0 <= settings.decay < 1:
            raise InvalidInput("rate, decay", (settings.rate, settings.decay), "must lie in [0, 1] and [0, 1)")
        self.layers = unit_layers(model) if isinstance(model, nn.Sequential) else list(model)
        self.settings = settings
        self.clocks = attached(optimiser, (place for layer in self.layers for place in places(layer, layer.every)))
        self._generator = torch.Generator().manual_seed(settings.seed)
        self.age = [_zeros(layer) for layer in self.layers]
        self.utility = [_zeros(layer) for layer in self.layers]
        self.mean = [_zeros(layer) for layer in self.layers]
        self.accumulated = [0.0] * len(self.layers)
        self._seen, self.detach = watch(self.layers)

    @torch.no_grad()
    def step(self) -> list[list[int]]:
        """Update utilities from the last training forward pass and replace units; the replaced ones by layer."""
        for k, h in self._seen.items():
            self._update(k, self.layers[k], per_unit(h).double())
        chosen = {k: self._chosen(k) for k in sorted(self._seen)}
        for k, units in chosen.items():
            if len(units):
                self._replace(k, self.layers[k], units)
        self._seen.clear()
        return [chosen[k].tolist() if k in chosen else [] for k in range(len(self.layers))]

    def _update(self, k: int, layer: UnitLayer, h: Tensor) -> None:
        beta = self.settings.decay
        self.age[k] += 1
        self.mean[k].mul_(beta).add_(h.mean(0), alpha=1 - beta)
        outgoing = layer.outgoing_weights().double().abs().mean((0, 2))
        if self.settings.utility == "contribution":
            score = h.abs().mean(0) * outgoing
        else:
            incoming = layer.incoming.weight.double().abs().flatten(1).mean(1)
            score = (h - self.corrected(self.mean[k], k)).abs().mean(0) * outgoing / incoming.clamp_min(1e-12)
        self.utility[k].mul_(beta).add_(score, alpha=1 - beta)

    def corrected(self, average: Tensor, k: int) -> Tensor:
        """Adam-style bias correction; 0 at age 0, where nothing has been averaged yet."""
        weight = 1 - self.settings.decay ** self.age[k]
        return torch.where(self.age[k] > 0, average / weight.clamp_min(1e-12), torch.zeros_like(average))

    def _chosen(self, k: int) -> Tensor:
        eligible = torch.nonzero(self.age[k] > self.settings.maturity).flatten()
        if not len(eligible):
            return eligible
        expected = self.settings.rate * len(eligible)
        if self.settings.accumulate:
            self.accumulated[k] += expected
            count = int(self.accumulated[k])
            self.accumulated[k] -= count
        else:
            count = int(expected)
            count += int(float(torch.rand((), generator=self._generator, dtype=torch.float64)) < expected - count)
        order = self.corrected(self.utility[k], k)[eligible].argsort(stable=True)
        return eligible[order[:count]]

    def _replace(self, k: int, layer: UnitLayer, units: Tensor) -> None:
        mean = self.corrected(self.mean[k], k)[units]
        if layer.outgoing.bias is not None:
            weights = layer.outgoing_weights()[:, units].double().sum(2)
            layer.outgoing.bias.add_((weights @ mean).to(layer.outgoing.bias))
        reinitialise(layer, units, self._generator)
        if self.clocks is not None:
            self.clocks.renew(places(layer, units))
        for values in (self.age[k], self.utility[k], self.mean[k]):
            values[units] = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "age": [t.clone() for t in self.age],
            "utility": [t.clone() for t in self.utility],
            "mean": [t.clone() for t in self.mean],
            "accumulated": list(self.accumulated),
            "generator": self._generator.get_state(),
            "clocks": {} if self.clocks is None else self.clocks.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("age", "utility", "mean"):
            setattr(self, name, [t.clone() for t in state[name]])
        self.accumulated = list(state["accumulated"])
        self._generator.set_state(state["generator"])
        if self.clocks is not None:
            self.clocks.load_state_dict(state["clocks"])


def _zeros(layer: UnitLayer) -> Tensor:
    return torch.zeros(layer.units, dtype=torch.float64, device=layer.incoming.weight.device)
