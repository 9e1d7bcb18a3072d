"""Update maps of remedies against loss of plasticity, w' = f(w, g, w_0), for the optimiser table.

η is the step size, λ the strength. Those of matrices leave vectors to gradient descent. ``lop_theory.optim`` has the
remedies themselves; tests compare the two.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

RATE, STRENGTH, FLOOR, ITERATIONS = 0.02, 0.5, 0.3, 10
Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


class Remedied(optim.Optimizer):
    """Applies a rule to every parameter; ``matrices_only``: vectors take w − η g; ``once``: so does everything after
    the first step, as for what is done between tasks."""

    def __init__(self, params: Any, rule: Rule, *, matrices_only: bool = False, once: bool = False) -> None:
        super().__init__(params, {})
        self.rule, self.matrices_only, self.once = rule, matrices_only, once

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        for p in (p for group in self.param_groups for p in group["params"]):
            plain = (self.matrices_only and p.ndim < 2) or (self.once and p in self.state)
            start = self.state[p].setdefault("start", p.detach().clone())
            rule = descent if plain else self.rule
            p.data.copy_(rule(p.detach(), p.grad, start))
        return loss


def descent(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    return w - RATE * g


def l2_init(w: Tensor, g: Tensor, start: Tensor) -> Tensor:
    """w − η (g + λ (w − w_0))."""
    return w - RATE * (g + STRENGTH * (w - start))


def shrink(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """(1 − λη) w − η g: shrink and perturb without its noise."""
    return (1 - RATE * STRENGTH) * w - RATE * g


def projected(w: Tensor, g: Tensor, start: Tensor) -> Tensor:
    """NaP: w − η g, with the norm of w_0."""
    moved = w - RATE * g
    return moved * start.norm() / moved.norm()


def polar(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """FIRE: ten steps X ← 1.5 X − 0.5 X XᵀX towards the polar factor of w − η g, times √(out/in)."""
    x = w - RATE * g
    x = x / x.norm()
    for _step in range(ITERATIONS):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x * (len(w) / w.shape[1]) ** 0.5


def parseval(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """w − η (g + 4λ (W Wᵀ − I) W)."""
    return w - RATE * (g + 4 * STRENGTH * (w @ w.mT @ w - w))


def spectral(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """w − η (g + 4λ (σ² − 1) σ u vᵀ) with the largest singular value σ and its vectors."""
    u, s, v = torch.linalg.svd(w, full_matrices=False)
    return w - RATE * (g + 4 * STRENGTH * (s[0] ** 2 - 1) * s[0] * torch.outer(u[:, 0], v[0]))


def dash(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """w clamp(cos(w, −g), floor, 1) − η g, row by row; a vector as a whole."""
    cosine = torch.cosine_similarity(w, -g, dim=-1).clamp(FLOOR, 1)
    return w * (cosine[:, None] if w.ndim > 1 else cosine) - RATE * g


def upgd(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
    """w − η g (1 − σ(u/max u)), u = −g w: UPGD without its noise."""
    utility = -g * w
    return w - RATE * g * (1 - torch.sigmoid(utility / utility.max()))


def replaced(generator: torch.Generator) -> Rule:
    """w − η g, and one row of a matrix is drawn anew: the resets of continual backprop, ReDo, ReGraMa and SNR."""

    def rule(w: Tensor, g: Tensor, _: Tensor) -> Tensor:
        moved = w - RATE * g
        moved[0] = torch.randn(moved[0].shape, generator=generator, dtype=w.dtype)
        return moved

    return rule
