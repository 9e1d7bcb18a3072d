"""The closure of an optimiser's step."""

from collections.abc import Callable

import torch


def loss_of(closure: Callable[[], float] | None) -> float | None:
    """What the closure returns, called with gradients on; ``None`` without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
