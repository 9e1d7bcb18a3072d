"""Adam with a step count for every weight, for generate and test (Dohare et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lop_theory.optim.closure import loss_of
from lop_theory.optim.ranges import require_between

MEMORIES = ("exp_avg", "exp_avg_sq", "first_begun", "second_begun")


class AdamGnT(Optimizer):
    """Adam whose weights can begin anew one by one: for a count t of steps it keeps 1 − βᵗ of every weight
    (``first_begun`` ← β₁·itself + 1 − β₁ from 0), and zeros in all four memories make a weight new.

    ``published=False``: w ← w − η m̂/(√v̂ + ε) with the count t of each weight (Kingma and Ba 2015, Algorithm 1): what
    :class:`torch.optim.Adam` does to a newly made parameter. ``published=True``: the rule of the code beside *Loss of
    plasticity in deep continual learning* (Nature 632, 2024), whose first bias correction is computed and discarded,
    and whose second one multiplies: w ← w − η (1 − β₂ᵗ) m/(√v + ε), a warm-up of about 1/(1 − β₂) steps for every new
    weight.
    Weight decay is coupled (an L2 penalty). Raises ``InvalidInput``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        published: bool = False,
    ) -> None:
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            require_between(name, value)
        for beta in betas:
            require_between("betas", beta, 0, 1, ends="()")
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "published": published}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = loss_of(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state.update({name: torch.zeros_like(parameter) for name in MEMORIES})
        gradient = parameter.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        mean = state["exp_avg"].lerp_(gradient, 1 - first)
        size = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second).sqrt()
        first_begun = state["first_begun"].mul_(first).add_(1 - first)
        second_begun = state["second_begun"].mul_(second).add_(1 - second)
        if group["published"]:
            parameter.addcdiv_(mean * second_begun, size.add_(group["eps"]), value=-group["lr"])
            return
        size.div_(second_begun.sqrt()).add_(group["eps"]).mul_(first_begun)
        parameter.addcdiv_(mean, size, value=-group["lr"])
