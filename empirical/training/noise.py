"""Gradient noise of one model, drawn on its device; as a fixed sequence of operations if need be."""

from typing import Any

import torch
from torch import Tensor, nn

from empirical.training.options import OptimiserOptions
from lop_theory.optim import NoisySGD


class Noise(NoisySGD):
    """:class:`lop_theory.optim.NoisySGD`, on a GPU with a generator there."""

    def __init__(self, parameters: list[nn.Parameter], options: OptimiserOptions, seed: int) -> None:
        noise: dict[str, Any] = {
            "sigma": options.sigma, "decay": options.noise_decay, "scaling": options.noise_scaling,
        }  # fmt: skip
        super().__init__(parameters, options.step_size, seed=seed, **noise)
        self._own, self._scaling = parameters, options.noise_scaling
        if parameters[0].device.type != "cpu":
            self._generator = torch.Generator(parameters[0].device).manual_seed(seed)

    @property
    def generator(self) -> torch.Generator:
        return self._generator

    def sigma_at(self, step: int) -> float:
        """σ₀ λ^step."""
        group = self.param_groups[0]
        return group["sigma"] * group["decay"] ** step

    @torch.no_grad()
    def add_static(self, sigma: Tensor) -> None:
        """:meth:`add_noise` for a σ on the device, drawn even if it is 0; it does not count as a step."""
        squares = []
        for parameter in self._own:
            gradient = parameter.grad
            assert gradient is not None
            draw = torch.randn(
                gradient.shape, generator=self._generator, dtype=gradient.dtype, device=self._generator.device
            )
            length = gradient.norm() / (gradient.numel() ** 0.5 if self._scaling == "norm" else 1.0)
            noise = draw * (sigma.to(gradient.dtype) * length)
            squares.append(torch.stack([(noise**2).sum().double(), (gradient**2).sum().double()]))
            gradient.add_(noise)
        self._kept().copy_(torch.stack(squares).sum(0))

    def _kept(self) -> Tensor:
        """Where ‖ε‖² and ‖g‖² of the last step are, always the same memory."""
        if not isinstance(self._squares, Tensor):
            self._squares = torch.zeros(2, dtype=torch.float64, device=self._own[0].device)
        return self._squares
