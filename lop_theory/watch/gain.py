"""How much one gradient step is guaranteed to gain, and the curvature on the normal space of the clones.
[later-one-step-gain] [normal-splitting: Definition A.2]

    E[L(w) − L(w − ηg)] ≥ η‖G‖² − ½ S η² E‖g‖²,  largest ‖G‖⁴/(2 S E‖g‖²) at η = ‖G‖²/(S E‖g‖²)

(:mod:`lop_theory.stability.one_step`), G the gradient on the probe, S the smoothness: here |vᵀH²v|^½ after a few power
steps of the Hessian from v = G/‖G‖, which is at most ‖H‖ at w. So the gain is an estimate: with a larger curvature it
is smaller. E‖g‖² needs one loss a sample (:class:`~lop_theory.watch.probe.Probe`): its mean over :data:`GROUPS` parts
of the probe; with a scalar loss g = G.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.equitable import Structure
from lop_theory.stability import best_step, clones_of_structure, curvature, normal, normal_extremes
from lop_theory.stability.normal_hessian import Curvature, Extremes
from lop_theory.watch.probe import Probe, output_of

GROUPS, POWER_STEPS, LANCZOS_STEPS = 8, 6, 12
MOST = 2**28
"""Numbers that Lanczos vectors may hold."""


class Gain(NamedTuple):
    """``bound`` at the step size ``step``; ``smoothness`` S; 0 where the gradient is 0."""

    bound: float
    step: float
    smoothness: float


class Draws(NamedTuple):
    """The mean gradient by parameter, ‖G‖², E‖g‖², and the probe's loss."""

    mean: dict[str, Tensor]
    square_of_mean: float
    mean_of_square: float
    loss: float


def draws(model: nn.Module, probe: Probe) -> Draws:
    """Gradients of parts of the probe, one backward pass each."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    losses = probe.losses(output_of(model, probe))
    parts = losses.reshape(-1).tensor_split(min(GROUPS, losses.numel()))
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    squares = 0.0
    for part in parts:
        found = torch.autograd.grad(part.mean(), list(named.values()), retain_graph=True, materialize_grads=True)
        present = dict(zip(named, found, strict=True))
        squares += square(present) / len(parts)
        for name, g in present.items():
            total[name].add_(g, alpha=1 / len(parts))
    return Draws(total, square(total), squares, float(losses.mean().detach()))


def square(tensors: dict[str, Tensor]) -> float:
    """Sum of squares, in float64."""
    return float(sum((t.detach().double() ** 2).sum() for t in tensors.values()))


def best_gain(at: Curvature, found: Draws) -> Gain:
    """The best step and what it guarantees, with the measured smoothness."""
    if not math.isfinite(found.square_of_mean):
        raise InvalidInput("gradient", found.square_of_mean, "is not finite", "the loss is NaN or infinite")
    smooth = smoothness(at)
    if found.square_of_mean == 0 or smooth == 0:
        return Gain(0.0 if found.square_of_mean == 0 else math.nan, math.nan, smooth)
    best = best_step(found.square_of_mean, max(found.square_of_mean, found.mean_of_square), smooth)
    return Gain(float(best.gain), float(best.step), smooth)


def smoothness(at: Curvature, steps: int = POWER_STEPS) -> float:
    """‖Hv‖ for the unit v that power steps from the gradient lead to: at most ‖H‖."""
    size, vector = 0.0, at.gradient
    for _ in range(steps):
        length = float(vector.norm())
        if length == 0:
            break
        vector = at.product(vector / length)
        size = float(vector.norm())
    return size


def normal_curvature(at: Curvature, known: Structure) -> Extremes | None:
    """Extreme curvatures on the normal space of the clones; ``None`` if nothing is cloned or it is too large."""
    clones = clones_of_structure(known, at.coordinates)
    space = normal(clones, at.coordinates)
    if not space.dimension:
        return None
    steps = min(LANCZOS_STEPS, MOST // (2 * at.coordinates.dimension))
    return normal_extremes(at, space, steps=steps) if steps > 1 else None


def curvature_at(model: nn.Module, probe: Probe) -> Curvature:
    """Second-order information of the probe's loss."""
    return curvature(model, probe.inputs, probe.total)
