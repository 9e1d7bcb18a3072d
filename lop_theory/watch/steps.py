"""Counting optimiser steps without touching the loop: a hook that every ``torch.optim`` optimiser calls after a step.

Only steps of an optimiser that holds parameters of the model count, and of several only those of the first that is
seen. A step that a gradient scaler skips, or that accumulation leaves out, is none.
"""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

Step = Callable[[Optimizer], None]


class StepHook:
    """While attached, ``step(optimiser)`` is called after every step that counts."""

    def __init__(self, model: nn.Module, optimiser: Optimizer | None, step: Step) -> None:
        self._step = step
        self._own = {id(p) for p in model.parameters()}
        self._counted: int | None = None if optimiser is None else id(optimiser)
        self._others: set[int] = set()
        self._handle: Any = (
            register_optimizer_step_post_hook(self._after)
            if optimiser is None
            else optimiser.register_step_post_hook(self._after)
        )

    def _after(self, optimiser: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._counts(optimiser):
            self._step(optimiser)

    def _counts(self, optimiser: Optimizer) -> bool:
        if self._counted is None and id(optimiser) not in self._others:
            if any(id(p) in self._own for group in optimiser.param_groups for p in group["params"]):
                self._counted = id(optimiser)
            else:
                self._others.add(id(optimiser))
        return self._counted == id(optimiser)

    def detach(self) -> None:
        """No longer count."""
        self._handle.remove()
