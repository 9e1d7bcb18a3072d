"""Engines: ways in which S models make their steps. All give the same numbers, to rounding; which is fastest depends on
model and device, and is measured.

``eager``: one model after the other. ``vmap``: one vectorised call for all. ``graph``: a static step, on a GPU recorded
as one CUDA graph in which every model has a stream of its own and its passes are compiled.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from empirical.runs.execution import Engine
from empirical.training.feed import Feed
from empirical.training.gradients import has_dropout
from empirical.training.options import OptimiserOptions
from empirical.training.static_step import WINDOW, Parts, StaticStep
from empirical.training.streams import recorded

Steps = Callable[[Feed, np.ndarray, Tensor | None], Tensor]
"""(feed, numbers (T, S, B), mask) → losses (T, S), on the device."""
ENGINES: tuple[Engine, ...] = ("eager", "vmap", "graph")


class Choice(NamedTuple):
    """The engine of a trainer, why, and the milliseconds a step that a trial took of each; what the manifest says."""

    name: Engine
    because: str
    milliseconds: Mapping[str, float] = {}

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        times = {name: round(value, 4) for name, value in self.milliseconds.items()}
        return {"name": self.name, "because": self.because, **({"trial_milliseconds": times} if times else {})}


def excluded(model: nn.Module, optimiser: OptimiserOptions) -> dict[Engine, str]:
    """The engines that cannot train so, and why."""
    found: dict[Engine, str] = {}
    if optimiser.repair in ("cbp", "redo"):
        why = f"{optimiser.repair} watches every pass and decides on the host"
        return {"vmap": why, "graph": why}
    if has_dropout(model):
        found["vmap"] = "vmap has no dropout of each model's own"
        if any(isinstance(m, nn.MultiheadAttention) and m.dropout > 0 for m in model.modules()):
            found["graph"] = "dropout inside attention has no generator of the model's own"
    if optimiser.name == "noisy_sgd" and optimiser.repair != "none":
        found["graph"] = "its noise is a share of a gradient with the pull in it"
    return found


class Graph:
    """Steps by a static step: recorded on a GPU, carried out as it is on the CPU."""

    def __init__(self, parts: Parts, made: Callable[[], list[int]], backend: str | None) -> None:
        self._parts, self._made, self._backend = parts, made, backend
        self._step: StaticStep | None = None
        self._replay: Callable[[], object] = lambda: None

    def __call__(self, feed: Feed, numbers: np.ndarray, mask: Tensor | None) -> Tensor:
        step = self._ready(feed, numbers.shape[2], mask)
        places, losses, made = feed.places(numbers), [], self._made()
        with self._parts.passes.step(places.device):
            for start in range(0, len(places), WINDOW):
                window = places[start : start + WINDOW]
                step.begin(window)
                for t in range(start, start + len(window)):
                    step.seed([done + t for done in made])
                    self._replay()
                self._parts.update.count(len(window))
                losses.append(step.losses[: len(window)].clone())
        return torch.cat(losses)

    def _ready(self, feed: Feed, size: int, mask: Tensor | None) -> StaticStep:
        """The static step, with this data in its memory."""
        if self._step is None or not self._step.fits(feed, size, mask):
            self._parts.update.keep_static()
            self._step = StaticStep(self._parts, feed, size, mask, self._backend)
            self._replay = recorded(self._step) if feed.labels.is_cuda else self._step
        else:
            self._step.load(feed, mask)
        return self._step
