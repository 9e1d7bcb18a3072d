"""Shrink and perturb (Ash and Adams 2020, Algorithm 1): w ← λ w + noise."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.ranges import require_between
from lop_theory.optim.wrapping import innermost

Fresh = Callable[[], nn.Module] | Mapping[str, Tensor] | None


@torch.no_grad()
def shrink_and_perturb(
    model: nn.Module,
    fresh: Fresh = None,
    *,
    shrink: float = 0.8,
    perturb: float = 0.1,
    optimiser: Optimizer | None = None,
    seed: int = 0,
) -> None:
    """w ← shrink · w + perturb · w' for every parameter. Buffers stay.

    ``fresh``: a function that makes a freshly initialised model of the same shape; or a saved state (``state_dict`` at
    initialisation; the convention (1 − α) w + α w_0 is ``shrink=1 - α, perturb=α``); or ``None``, and w' is standard
    normal, so that ``perturb`` is the paper's deviation σ. ``optimiser`` forgets these parameters, steps included.
    Everything is checked before anything is changed. Raises ``InvalidInput``.
    """
    require_between("shrink", shrink, 0, 1, ends="[]")
    require_between("perturb", perturb)
    noise = _noise(model, fresh, seed)
    for name, parameter in model.named_parameters():
        if name not in noise or noise[name].shape != parameter.shape:
            raise InvalidInput("fresh", name, "must be a parameter of the fresh model too, of the same shape")
    for name, parameter in model.named_parameters():
        parameter.mul_(shrink).add_(noise[name].to(parameter), alpha=perturb)
        if optimiser is not None:
            innermost(optimiser).state.pop(parameter, None)


def _noise(model: nn.Module, fresh: Fresh, seed: int) -> Mapping[str, Tensor]:
    if isinstance(fresh, Mapping):
        return fresh
    if fresh is not None:
        return dict(fresh().named_parameters())
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in model.named_parameters()}
