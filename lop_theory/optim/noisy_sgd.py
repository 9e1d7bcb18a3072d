"""SGD with Gaussian gradient noise whose scale decays."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.closure import loss_of
from lop_theory.optim.ranges import require_between, require_choice

SCALINGS = ("element", "norm")
NOISE = ("sigma", "decay", "scaling")


class NoisySGD(Optimizer):
    """w ← w − η (g + ε), ε ~ N(0, σ_t² ‖g‖² I) per tensor, σ_t = σ_0 λ^t.

    ``scaling="element"`` is the paper's: every element has deviation σ_t‖g‖, so the noise is σ_t √n times as long as
    the gradient.
    ``scaling="norm"`` uses σ_t‖g‖/√n: noise as long as σ_t‖g‖.
    λ = 0 gives one noisy step. The noise has its own generator, so the data's random stream is untouched.

    ``momentum``, ``dampening``, ``weight_decay``, ``nesterov`` and ``maximize`` are those of ``torch.optim.SGD``, to
    which it is equal for σ = 0; g is the gradient as it comes, without decay. A state dict of ``torch.optim.SGD`` is
    loaded as it is, and the decay of the noise then begins; groups keep their own σ, λ and scaling. Raises
    ``InvalidInput``.
    """

    def __init__(  # noqa: PLR0913
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        *,
        sigma: float = 0.01,
        decay: float = 1.0,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        scaling: str = "element",
        seed: int = 0,
    ) -> None:
        for name, value in {"lr": lr, "sigma": sigma, "momentum": momentum, "weight_decay": weight_decay}.items():
            require_between(name, value)
        require_between("dampening", dampening, 0, 1)
        require_between("decay", decay, 0, 1, ends="[]")
        require_choice("scaling", scaling, SCALINGS)
        if nesterov and (momentum == 0 or dampening != 0):
            raise InvalidInput("nesterov", nesterov, "needs a momentum, and a dampening of 0")
        plain = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        noise = {"sigma": sigma, "decay": decay, "scaling": scaling}
        super().__init__(params, {"lr": lr, **noise, **plain, "maximize": maximize})
        self.steps = 0
        self._squares: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = loss_of(closure)
        for group, parameter, noise in self._noises():
            assert parameter.grad is not None
            gradient = parameter.grad + noise
            direction = (-gradient if group["maximize"] else gradient).add(parameter, alpha=group["weight_decay"])
            parameter.add_(self._smoothed(parameter, direction, group), alpha=-group["lr"])
        return loss

    @torch.no_grad()
    def add_noise(self) -> None:
        """Instead of a step: g ← g + ε in place, for another optimiser to use. It counts as a step of the decay."""
        for _, parameter, noise in self._noises():
            assert parameter.grad is not None
            parameter.grad.add_(noise)

    def _noises(self) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
        """(group, parameter, ε) of a step; counts it and measures the ratio."""
        noise_square: Tensor | float = 0.0
        gradient_square: Tensor | float = 0.0
        for group in self.param_groups:
            sigma = group["sigma"] * group["decay"] ** self.steps
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                noise = self._noise(parameter.grad, sigma, group["scaling"])
                noise_square = noise_square + (noise**2).sum().double()
                gradient_square = gradient_square + (parameter.grad**2).sum().double()
                yield group, parameter, noise
        self._squares = noise_square, gradient_square
        self.steps += 1

    @property
    def noise_ratio(self) -> float:
        """‖ε‖/‖g‖ of the last step over all tensors; 0 before it. Only asking waits for the device."""
        noise, gradient = map(float, self._squares)
        return (noise / gradient) ** 0.5 if gradient else 0.0

    def _noise(self, gradient: Tensor, sigma: float, scaling: str) -> Tensor:
        if sigma == 0:
            return torch.zeros_like(gradient)
        drawn_on = self._generator.device
        draw = torch.randn(gradient.shape, generator=self._generator, dtype=gradient.dtype, device=drawn_on)
        draw = draw.to(gradient.device)
        deviation = sigma * gradient.norm() / (gradient.numel() ** 0.5 if scaling == "norm" else 1.0)
        return draw * deviation

    def _smoothed(self, parameter: Tensor, direction: Tensor, group: dict[str, Any]) -> Tensor:
        """v ← μ v + (1 − dampening) d, but v = d at the first step; v, or d + μ v with Nesterov."""
        momentum = group["momentum"]
        if momentum == 0:
            return direction
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = direction.clone()
        else:
            state["momentum_buffer"].mul_(momentum).add_(direction, alpha=1 - group["dampening"])
        velocity = state["momentum_buffer"]
        return direction.add(velocity, alpha=momentum) if group["nesterov"] else velocity

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "steps": self.steps, "generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; also takes one of ``torch.optim.SGD``."""
        own = [{name: group[name] for name in NOISE} for group in self.param_groups]
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        for group, noise in zip(self.param_groups, own, strict=True):
            group.update({name: group.get(name, value) for name, value in noise.items()})
        self.steps = state_dict.get("steps", 0)
        if "generator" in state_dict:
            self._generator.set_state(state_dict["generator"].cpu())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # of older pickles
            for name in ("dampening", "weight_decay", "nesterov", "maximize"):
                group.setdefault(name, 0)
