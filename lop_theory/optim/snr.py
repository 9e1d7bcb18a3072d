"""SNR, self-normalised resets: reset a unit when its silence is longer than its own past makes likely."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.companion import Companion, State
from lop_theory.optim.layer import INITIALISATIONS
from lop_theory.optim.ranges import require_between, require_choice, require_count


class Silence(NamedTuple):
    """``percentile`` of a unit's times between firings beyond which it is reset; thresholds begin at ``threshold``
    samples, are set anew every ``update`` steps (longer by ``expansion`` if the percentile is not below them) and stay
    between a batch and ``longest``. The threshold of a unit that fired in every step becomes the batch, as published,
    so that its first silent step resets it; with ``grow`` it is expanded."""

    percentile: float = 0.95
    threshold: int = 2000
    update: int = 1000
    expansion: float = 2.0
    longest: int = 20_000
    grow: bool = False


DEFAULT = Silence()


class SNR(Companion):
    """A unit fires in a step if some h > 0; its age is the samples since it fired. When the age reaches the unit's
    threshold, a percentile of the ages at which it used to fire, it gets fresh incoming and zero outgoing weights.

    Farias and Jozefiak, *Self-normalized resets for plasticity in continual learning* (arXiv 2410.20098), Algorithm 1;
    ages, histograms and thresholds as in the authors' code (github.com/ajozefiak/SelfNormalizedResets). The counts are
    read on the host every step. Raises ``InvalidInput``.
    """

    watched = ("alive",)

    def __init__(
        self,
        optimiser: Optimizer,
        model: nn.Module,
        *,
        example_input: Any,
        silence: Silence = DEFAULT,
        init: str = "own",
        seed: int = 0,
    ) -> None:
        _check(silence)
        require_choice("init", init, INITIALISATIONS)
        self.silence, self.init, self.steps = silence, init, 0
        super().__init__(optimiser, model, example_input=example_input, seed=seed)
        sizes = [layer.size for layer in self.layers]
        self.age = [np.zeros(size, np.int64) for size in sizes]
        self.threshold = [np.full(size, silence.threshold, np.int64) for size in sizes]
        self.histogram = [np.zeros((size, silence.longest + 1), np.int32) for size in sizes]

    def act(self) -> list[list[int]]:
        self.summed()
        self.steps += 1
        chosen = [self._silent(k) for k in range(len(self.layers))]
        for layer, units in zip(self.layers, chosen, strict=True):
            if len(units):
                self.replace(layer, torch.from_numpy(units).to(layer.device), self.init)
        self.clear()
        return [units.tolist() for units in chosen]

    def _silent(self, k: int) -> np.ndarray:
        (watch,) = self.watches[k]
        batch = int(watch.count)
        if not batch:
            return np.zeros(0, np.int64)
        alive = watch.by_unit(watch.sums["alive"]).cpu().numpy() > 0
        units, age = np.arange(len(alive)), self.age[k]
        np.add.at(self.histogram[k], (units[alive], np.minimum(age[alive], self.silence.longest)), 1)
        self.age[k] = np.where(alive, 0, age + batch)
        due = np.flatnonzero(self.age[k] >= self.threshold[k])
        np.add.at(self.histogram[k], (due, np.minimum(self.age[k][due], self.silence.longest)), 1)
        self.age[k][due] = 0
        if self.steps % self.silence.update == 0:
            self.threshold[k] = thresholds(self.histogram[k], self.threshold[k], self.silence, batch)
            self.histogram[k][:] = 0
        return due

    def method_state(self) -> dict[str, Any]:
        parts = {name: [torch.from_numpy(a.copy()) for a in getattr(self, name)] for name in ARRAYS}
        return {"steps": self.steps, **parts}

    def load_method_state(self, state: State) -> None:
        self.steps = state["steps"]
        for name in ARRAYS:
            setattr(self, name, [t.cpu().numpy().copy() for t in state[name]])


def _check(silence: Silence) -> None:
    require_between("percentile", silence.percentile, 0, 1, ends="()")
    require_between("expansion", silence.expansion, 1)
    for name in ("threshold", "update", "longest"):
        require_count(name, getattr(silence, name))
    if silence.threshold > silence.longest:
        raise InvalidInput("threshold", silence.threshold, f"must be at most the longest, {silence.longest}")


ARRAYS = ("age", "threshold", "histogram")


def thresholds(histogram: np.ndarray, threshold: np.ndarray, how: Silence, batch: int) -> np.ndarray:
    """New thresholds of a layer, from the ages (units × ages) at which its units fired or were reset since the last
    time; age 0, two firings in a row, does not count. A unit that fired in every step has no other ages: see
    :class:`Silence`."""
    counts = histogram[:, 1:].cumsum(1)
    total = counts[:, -1:]
    place = (counts / np.maximum(total, 1) >= how.percentile).argmax(1) + 1
    always = how.longest if how.grow else 1
    place = np.where(total[:, 0] == 0, always, place)
    new = np.where(place < threshold, place, how.expansion * threshold)
    return np.clip(new, batch, max(batch, how.longest)).astype(np.int64)
