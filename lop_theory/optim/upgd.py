"""UPGD: utility-based perturbed gradient descent (Elsayed and Mahmood 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.closure import loss_of
from lop_theory.optim.ranges import require_between, require_choice

SCOPES = ("global", "local")


class UPGD(Optimizer):
    """w ← (1 − η·decay) w − η (g + ξ)(1 − σ(û/scale)), ξ ~ N(0, σ²), û the bias-corrected running mean of the
    first-order utility −g·w (arXiv 2404.00781, Algorithm 1).

    ``scope="global"``: scale is the largest running utility of all weights; ``"local"``: the norm of û along the last
    dimension. ``protecting=False``: utility gates the noise alone, not the gradient. In the authors' code
    (github.com/mohmdelsayed/upgd) the global scale is the largest mean *before* its bias correction, so that û/scale
    exceeds 1 early on: ``published=True``, the default, does the same; ``published=False`` corrects both. The noise has
    its own generator.
    """

    def __init__(  # noqa: PLR0913 - the authors' signature
        self,
        params: Iterable[Any],
        lr: float = 1e-5,
        weight_decay: float = 0.0,
        beta_utility: float = 0.0,
        sigma: float = 1.0,
        *,
        scope: str = "global",
        protecting: bool = True,
        published: bool = True,
        seed: int = 0,
    ) -> None:
        for name, value in {"lr": lr, "weight_decay": weight_decay, "sigma": sigma}.items():
            require_between(name, value)
        require_between("beta_utility", beta_utility, 0, 1)
        require_choice("scope", scope, SCOPES)
        options = {"lr": lr, "weight_decay": weight_decay, "beta_utility": beta_utility, "sigma": sigma}
        super().__init__(params, {**options, "scope": scope, "protecting": protecting, "published": published})
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = loss_of(closure)
        found = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        utilities = [self._utility(parameter, group) for parameter, group in found]
        if not found:
            return loss
        largest = torch.stack([self._peak(p, group).to(found[0][0].device) for p, group in found]).max()
        for (parameter, group), utility in zip(found, utilities, strict=True):
            self._move(parameter, group, _scaled(utility, group, largest.to(parameter)))
        return loss

    def _utility(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """û, after this step's gradient."""
        state, beta = self.state[parameter], group["beta_utility"]
        if not state:
            state.update(step=0, avg_utility=torch.zeros_like(parameter))
        state["step"] += 1
        state["avg_utility"].mul_(beta).add_(-parameter.grad * parameter, alpha=1 - beta)  # type: ignore[operator]
        return state["avg_utility"] / (1 - beta ** state["step"])

    def _peak(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        peak = state["avg_utility"].max()
        return peak if group["published"] else peak / (1 - group["beta_utility"] ** state["step"])

    def _move(self, parameter: Tensor, group: dict[str, Any], gate: Tensor) -> None:
        drawn = torch.randn(parameter.shape, generator=self._generator, dtype=parameter.dtype).to(parameter.device)
        noise, gradient = drawn * group["sigma"], parameter.grad
        assert gradient is not None
        free = 1 - gate
        direction = (gradient + noise) * free if group["protecting"] else gradient + noise * free
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "generator" not in state_dict:
            raise InvalidInput("state_dict", "generator", "is missing: it is no state of UPGD")
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        self._generator.set_state(state_dict["generator"].cpu())


def _scaled(utility: Tensor, group: dict[str, Any], largest: Tensor) -> Tensor:
    """The gate σ(û/scale); ½ where no weight has a utility (the published code has 0/0 there)."""
    if group["scope"] == "global":
        return torch.sigmoid(torch.where(largest == 0, 0, utility / largest))
    return torch.sigmoid(nn.functional.normalize(utility, dim=-1))
