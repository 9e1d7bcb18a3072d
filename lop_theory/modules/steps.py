"""How far entries of a gradient or of an optimizer's state may be apart before a step tells clones apart.

The gradient of an attention's key biases is 0, of biases before a normalisation too: what is computed of it is
rounding, which differs between clones. A step of SGD makes nothing of it; of Adam's steps, m/(√v + ε), ε decides.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.modules.terms import tolerance_of

ADDED = {"SGD": ("gradient", "momentum_buffer"), "ASGD": ("gradient",), "RMSprop": ("momentum_buffer",)}
"""What is multiplied by the step size and added to the weight."""
DIVIDED = {
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "RAdam", "Adamax"), ("gradient", "exp_avg")),
    "RMSprop": ("gradient",),  # not grad_avg, whose square is taken from square_avg
    "Adagrad": ("gradient",),
}
"""What is first divided by a size of itself, and ε."""
USUAL = {"added": 0.1, "divided": 1e-3}
"""Step sizes that a smaller one may yet become (in a warm-up, in a cycle)."""
SIZES = {"exp_avg_sq": 2, "max_exp_avg_sq": 2, "square_avg": 2, "exp_inf": 1}
"""Sizes beside ε, and the power of the gradient that they are."""


class Step(NamedTuple):
    """One parameter's step: the optimizer's name, its group of options, and a change of an entry that is none."""

    optimizer: str
    group: Mapping[str, Any]
    none: float

    def apart(self, key: str) -> float:
        """The largest difference in ``key`` of which this and all later steps make nothing, at the largest step size
        that the group names or a usual one; 0 if that is not known."""
        eps = _number(self.group.get("eps"))
        added, divided = (key in table.get(self.optimizer, ()) for table in (ADDED, DIVIDED))
        if added or divided:
            named = (_number(self.group.get(name)) for name in ("lr", "initial_lr", "max_lr"))
            rate = max(*named, USUAL["added" if added else "divided"])
            lasting = 1 - _number(self.group.get("betas", (self.group.get("momentum"),))[0])
            corrected = lasting if key == "exp_avg" else 1.0  # a moment is divided by 1 − βᵗ
            return self.none * lasting * corrected / rate * (1.0 if added else eps)
        return (self.none * eps) ** SIZES[key] if self.optimizer in DIVIDED and key in SIZES else 0.0


def _number(option: object) -> float:
    plain = isinstance(option, (int, float)) or (isinstance(option, Tensor) and option.numel() == 1)
    return float(option) if plain else 0.0  # pyright: ignore[reportArgumentType]


def step_of(model: nn.Module, name: str, optimizer: torch.optim.Optimizer) -> Step:
    """Of the parameter of this name. None is the tolerance of weights × the largest entry of the module's
    parameters."""
    module, parameter = model.get_submodule(name.rpartition(".")[0]), model.get_parameter(name)
    largest = max(float(p.detach().abs().max()) if p.numel() else 0.0 for p in module.parameters(recurse=False))
    group = next((g for g in optimizer.param_groups if any(p is parameter for p in g["params"])), {})
    kind = type(optimizer)
    ours = kind.__name__ if kind.__module__.startswith("torch.optim") else ""
    return Step(ours, group, tolerance_of(parameter) * largest if math.isfinite(largest) else 0.0)
