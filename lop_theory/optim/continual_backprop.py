"""Continual backprop: replace the least useful mature units, a few at a time (Dohare et al. 2024, Algorithm 1)."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS, Layer
from lop_theory.optim.ranges import require_between, require_choice, require_count
from lop_theory.optim.watch import Watch

UTILITIES = ("contribution", "adaptable")


class Settings(NamedTuple):
    """``rate`` is the expected share of mature units replaced a step; ``accumulate`` carries fractions over, else
    they are drawn. ``init`` is that of fresh weights (:func:`lop_theory.optim.layer.bound`). ``absorb=False`` is what
    the published code does: it forgets the mean before the bias could take it over."""

    rate: float = 1e-4
    decay: float = 0.99
    maturity: int = 100
    utility: str = "adaptable"
    accumulate: bool = True
    seed: int = 0
    init: str = "own"
    absorb: bool = True


DEFAULT = Settings()


class ContinualBackprop(Companion):
    """``ContinualBackprop(torch.optim.AdamW(model.parameters()), model, example_input=x)``: an optimiser like the one
    inside that also replaces units.

    utility u ← β u + (1 − β) y with y = mean|h|·mean|w_out| (contribution) or mean|h − ĥ|·mean|w_out| / mean|w_in|
    (adaptable, Eq. 5 to 7 of Dohare et al., arXiv 2306.13812), û = u/(1 − β^age), and likewise the running mean ĥ;
    means are over all training passes since the last step. A replaced unit gets fresh incoming weights, zero bias and
    zero outgoing weights; the readers' biases first absorb w_out ĥ, of what each of them reads (pooled, normalised);
    age, utility, mean and the optimiser's memory of its weights start anew. Units younger than ``maturity`` steps are
    never eligible. All layers are scored before any is changed; where a new unit feeds another, the weight between
    them is a fresh one (as in the published code, which goes through the layers in order).
    """

    def __init__(
        self, optimiser: Optimizer, model: nn.Module, *, example_input: Any, settings: Settings = DEFAULT
    ) -> None:
        require_choice("utility", settings.utility, UTILITIES)
        require_between("rate", settings.rate, 0, 1, ends="[]")
        require_between("decay", settings.decay, 0, 1)
        require_count("maturity", settings.maturity, 0)
        require_choice("init", settings.init, INITIALISATIONS)
        self.settings = settings
        super().__init__(optimiser, model, example_input=example_input, seed=settings.seed)
        self.age = [_zeros(layer.size, layer.device) for layer in self.layers]
        self.utility = [_zeros(layer.size, layer.device) for layer in self.layers]
        self.mean = [[_zeros(len(w.owners), layer.device) for w in ws] for layer, ws in self._pairs()]
        self.accumulated = [0.0] * len(self.layers)
        self._steps = [np.zeros(layer.size) for layer in self.layers]  # ages, if every step has a training pass
        self._centre()

    def _pairs(self) -> list[tuple[Layer, list[Watch]]]:
        return list(zip(self.layers, self.watches, strict=True))

    def _watches(self, layer: Layer) -> list[Watch]:
        """The activations first, then what readers read, where that is something else."""
        units, wanted = layer.units, "size" if self.settings.utility == "contribution" else "spread"
        found = [Watch(layer.observed, units.observed, layer.device, wanted)]
        for reader, outgoing in zip(units.readers, layer.outgoing, strict=True):
            if reader.point.module != units.observed.module:
                found.append(Watch(outgoing.module, reader.point, layer.device))
        return found

    def _centre(self) -> None:
        for k, own in enumerate(self.watches):
            own[0].centre = lambda mean, k=k: self._corrected_mean(k, mean)

    def _corrected_mean(self, k: int, now: Tensor) -> Tensor:
        """ĥ with the present passes, as it will be after this step."""
        beta, watch = self.settings.decay, self.watches[k][0]
        weight = 1 - beta ** (watch.by_place(self.age[k]) + 1)
        return (beta * self.mean[k][0] + (1 - beta) * now) / weight

    def act(self) -> list[list[int]]:
        self.summed()
        for k, layer in enumerate(self.layers):
            self._update(k, layer)
        chosen = [self._chosen(k) for k in range(len(self.layers))]
        for k, units in enumerate(chosen):
            if units is not None and len(units):
                self._renew(k, self.layers[k], units)
        self.clear()
        return [[] if units is None else units.tolist() for units in chosen]

    def _update(self, k: int, layer: Layer) -> None:
        beta, (watch, *_) = self.settings.decay, self.watches[k]
        seen = (watch.count > 0).double()
        kept = 1 - seen * (1 - beta)
        self.age[k] += seen
        self._steps[k] += 1
        for mean, own in zip(self.mean[k], self.watches[k], strict=True):
            mean.mul_(kept).add_(own.mean() * (1 - kept))
        if self.settings.utility == "contribution":
            score = watch.by_unit(watch.mean("size")) * layer.outgoing_size()
        else:
            spread = watch.by_unit(watch.mean("spread"))
            score = spread * layer.outgoing_size() / layer.incoming_size().clamp_min(1e-12)
        self.utility[k].mul_(kept).add_(score * (1 - kept))

    def corrected(self, average: Tensor, k: int) -> Tensor:
        """Adam-style bias correction; 0 at age 0, where nothing has been averaged yet."""
        return _corrected(average, self.age[k], self.settings.decay)

    def _chosen(self, k: int) -> Tensor | None:
        """Units to replace; only where some are due the device is waited for."""
        expected = self.settings.rate * int((self._steps[k] > self.settings.maturity).sum())
        if self.settings.accumulate:
            self.accumulated[k] += expected
            count = int(self.accumulated[k])
            self.accumulated[k] -= count
        else:
            count = int(expected)
            if expected:
                drawn = torch.rand((), generator=self.generator, dtype=torch.float64)
                count += int(float(drawn) < expected - count)
        if not count:
            return None
        eligible = torch.nonzero(self.age[k] > self.settings.maturity).flatten()
        order = self.corrected(self.utility[k], k)[eligible].argsort(stable=True)
        return eligible[order[:count]]

    def take_over(self, k: int, units: Tensor) -> None:
        if self.settings.absorb:
            self.layers[k].absorb(units, self._read(k))

    def _renew(self, k: int, layer: Layer, units: Tensor) -> None:
        self.take_over(k, units)
        self.replace(layer, units, self.settings.init)
        self.age[k][units] = self.utility[k][units] = 0
        self._steps[k][units.cpu().numpy()] = 0
        for mean, watch in zip(self.mean[k], self.watches[k], strict=True):
            mean[torch.isin(watch.owners, units)] = 0

    def _read(self, k: int) -> list[Tensor]:
        """The mean of what every reader reads, per column."""
        layer, further = self.layers[k], iter(zip(self.mean[k][1:], self.watches[k][1:], strict=True))
        found = []
        for reader in layer.units.readers:
            same = reader.point.module == layer.units.observed.module
            mean, watch = (self.mean[k][0], self.watches[k][0]) if same else next(further)
            found.append(_corrected(mean, watch.by_place(self.age[k]), self.settings.decay))
        return found

    def method_state(self) -> dict[str, Any]:
        return {
            "age": [t.clone() for t in self.age],
            "utility": [t.clone() for t in self.utility],
            "mean": [[t.clone() for t in means] for means in self.mean],
            "accumulated": list(self.accumulated),
            "steps": [torch.from_numpy(ages.copy()) for ages in self._steps],
        }

    def load_method_state(self, state: State) -> None:
        for name in ("age", "utility"):
            for own, saved in zip(getattr(self, name), state[name], strict=True):
                own.copy_(saved)
        for own, saved in zip(self.mean, state["mean"], strict=True):
            for mean, value in zip(own, saved, strict=True):
                mean.copy_(value)
        self.accumulated = list(state["accumulated"])
        self._steps = [ages.cpu().numpy().copy() for ages in state["steps"]]
        self._centre()


def _corrected(average: Tensor, age: Tensor, decay: float) -> Tensor:
    weight = 1 - decay**age
    return torch.where(age > 0, average / weight.clamp_min(1e-12), torch.zeros_like(average))


def _zeros(size: int, device: torch.device) -> Tensor:
    return torch.zeros(size, dtype=torch.float64, device=device)
