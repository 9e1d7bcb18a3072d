"""The optimiser's side of the batch engine: one ``torch.optim`` step for all models, and what each model remembers.

SGD and Adam work on rows: one parameter per model, all its numbers. Both are elementwise, so this equals an optimiser
per tensor, and a model's clock is its own. Noise is scaled tensor by tensor, so it sees the modules' parameters, which
are the same memory.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from empirical.training.noise import Noise
from empirical.training.options import OptimiserOptions
from empirical.training.stack import Stack
from lop_theory.errors import InvalidInput
from lop_theory.optim import AdamGnT, Companion, ContinualBackprop, L2Init, ReDo, find_units
from lop_theory.optim.continual_backprop import Settings

BETAS, EPSILON = (0.9, 0.999), 1e-8
RENEWING = ("cbp", "redo")
"""Repairs by which single weights begin anew."""


class Moments(NamedTuple):
    """Adam's memory, rows as in the stack; ``clock`` is the steps a model has made, (S,)."""

    first: Tensor
    second: Tensor
    clock: Tensor


class Begun(NamedTuple):
    """The same where single weights begin anew: for a count of steps, 1 − βᵗ of every weight, in rows."""

    first: Tensor
    second: Tensor
    first_begun: Tensor
    second_begun: Tensor


MEMORIES: dict[type, tuple[str, ...]] = {
    Moments: ("exp_avg", "exp_avg_sq", "step"),
    Begun: ("exp_avg", "exp_avg_sq", "first_begun", "second_begun"),
}
"""The names by which ``torch.optim.Adam`` and :class:`lop_theory.optim.AdamGnT` know them."""


class Own(Optimizer):
    """One model's part of the optimiser that steps all: groups and state for a companion; a step does nothing. ``kind``
    is the class of that optimiser."""

    def __init__(self, parameters: list[nn.Parameter], state: dict[Tensor, dict[str, Tensor]], kind: type) -> None:
        super().__init__(parameters, {})
        self.state.update(state)
        self.kind = kind

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Done for all models at once."""


class Rows(Optimizer):
    """Several optimisers as one, for L2-init: it pulls whole rows."""

    def __init__(self, rows: list[nn.Parameter], steps: Callable[[], None]) -> None:
        super().__init__(rows, {})
        self.steps = steps

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Of all of them."""
        self.steps()


class Update:
    """What turns gradients into weights: ``step`` for all models at once."""

    def __init__(
        self,
        stacked: Stack,
        models: Sequence[nn.Module],
        options: OptimiserOptions,
        seeds: Sequence[int],
        image: Sequence[int] | None = None,
    ) -> None:
        self._stack, self._values = stacked, stacked.values
        self._rows = [nn.Parameter(row) for row in stacked.values]
        for row, gradient in zip(self._rows, stacked.gradients, strict=True):
            row.grad = gradient
        self.moments: Moments | Begun | None = None
        self.noisy: list[Noise] = []
        self._options = options
        self._optimiser = optimiser = self._made(options, seeds)
        self.pull = L2Init(optimiser) if options.repair == "l2_init" else None
        self._advance: Callable[[], object] = (self.pull or optimiser).step
        self._fresh = self._companion(models, options, seeds, image) if options.repair in RENEWING else None
        self.companions = [] if self._fresh is None else [self._fresh(k) for k in range(len(models))]

    def _companion(
        self, models: Sequence[nn.Module], options: OptimiserOptions, seeds: Sequence[int], image: Sequence[int] | None
    ) -> Callable[[int], Companion]:
        """What makes the companion of model k."""
        if image is None:
            raise InvalidInput("image", image, f"must be given with {options.repair}, which traces the model")
        size = 2 * prod(image)
        example = torch.linspace(-1, 1, size, device=self._stack.values.device).view(2, *image)
        units = find_units(models[0], example.to(self._stack.values))

        def fresh(k: int) -> Companion:
            own = Own(self._stack.of_model[k], self._state_by_parameter(k), AdamGnT if self.moments else SGD)
            if options.repair == "redo":
                return ReDo(own, models[k], example_input=units, init="kaiming", seed=seeds[k])
            settings = Settings(init="kaiming", seed=seeds[k])
            return ContinualBackprop(own, models[k], example_input=units, settings=settings)

        return fresh

    def step(self) -> None:
        """Gradients are those of the stack."""
        if self.moments is not None:
            for noise in self.noisy:
                noise.add_noise()
        self._advance()
        for companion in self.companions:
            companion.step()

    def keep_static(self) -> None:
        """From now on steps are :meth:`advance_static`: Adam may be recorded."""
        if self._values.device.type != "cpu" and self.moments is not None:
            for group in self._optimiser.param_groups:
                group["capturable"] = True
            self._optimiser._warned_capturable_if_run_uncaptured = True  # the steps before the recording are meant

    def advance_static(self) -> None:
        """:meth:`step` for gradients that have their noise, without a question to the host. CBP and ReDo ask."""
        if self.pull is not None:
            self.pull.graded()
        if self.moments is not None:
            self._optimiser.step()
        else:
            self._values.add_(self._stack.gradients, alpha=-self._options.step_size)

    def count(self, steps: int) -> None:
        """Steps were made by :meth:`advance_static`."""
        for noise in self.noisy:
            noise.steps += steps

    def _made(self, options: OptimiserOptions, seeds: Sequence[int]) -> Any:
        if options.name == "sgd":
            return SGD(self._rows, lr=options.step_size)
        if options.name != "adam":
            pairs = zip(self._stack.of_model, seeds, strict=True)
            self.noisy = [Noise(own, options, seed) for own, seed in pairs]
        if options.name in ("adam", "noisy_adam"):
            return self._adam(options)
        return Rows(self._rows, self._noisy_step)

    def _noisy_step(self) -> None:
        for optimiser in self.noisy:
            optimiser.step()

    def _adam(self, options: OptimiserOptions) -> Optimizer:
        values = self._stack.values
        if options.repair in RENEWING:
            self.moments = Begun(*(torch.zeros_like(values) for _ in Begun._fields))
            optimiser: Optimizer = AdamGnT(self._rows, options.step_size, BETAS, EPSILON)
        else:
            self.moments = Moments(*(torch.zeros_like(values) for _ in range(2)), torch.zeros_like(values[:, 0]))
            optimiser = Adam(self._rows, lr=options.step_size, betas=BETAS, eps=EPSILON, fused=True)
        for row, *memories in zip(self._rows, *self.moments, strict=True):
            optimiser.state[row] = dict(zip(MEMORIES[type(self.moments)], memories, strict=True))
        return optimiser

    def _state_by_parameter(self, k: int) -> dict[Tensor, dict[str, Tensor]]:
        if self.moments is None:
            return {}
        state: dict[Tensor, dict[str, Tensor]] = {}
        for parameter in self._stack.of_model[k]:
            start = parameter.storage_offset() - self._stack.values[k].storage_offset()
            part = slice(start, start + parameter.numel())
            memories = (moment[k, part].view(parameter.shape) for moment in self.moments)
            state[parameter] = dict(zip(MEMORIES[type(self.moments)], memories, strict=True))
        return state

    def forget(self, k: int) -> None:
        """Model k begins anew: no moments, clocks at 0, utilities 0, L2-init pulls to the present weights.

        Generators go on, so that a second fresh model does not see the first one's noise.
        """
        if self.moments is not None:
            for part in self.moments:
                part[k] = 0
        if self.noisy:
            self.noisy[k].steps = 0
        if self.pull is not None:
            self.pull.initial[k].copy_(self._stack.values[k])
        if self._fresh is not None:
            self.companions[k].detach()
            generator, self.companions[k] = self.companions[k].generator, self._fresh(k)
            self.companions[k].generator = generator

    def state(self, k: int) -> dict[str, np.ndarray]:
        """All that model k's next updates depend on, besides weights and gradients."""
        return arrays("optimiser", self._memory(k))

    def load(self, k: int, saved: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`state`."""
        memory = restored("optimiser", self._memory(k), saved)
        if self.moments is not None:
            for part, value in zip(self.moments, memory["moments"], strict=True):
                part[k].copy_(value)
        if self.noisy:
            self.noisy[k].load_state_dict({**self.noisy[k].state_dict(), **memory["noise"]})
        if self.pull is not None:
            self.pull.initial[k].copy_(memory["initial"])
        if self.companions:
            self.companions[k].load_companion_state(memory["companion"])

    def _memory(self, k: int) -> dict[str, Any]:
        memory: dict[str, Any] = {}
        if self.moments is not None:
            memory["moments"] = [part[k] for part in self.moments]
        if self.noisy:
            memory["noise"] = {name: self.noisy[k].state_dict()[name] for name in ("steps", "generator")}
        if self.pull is not None:
            memory["initial"] = self.pull.initial[k]
        if self.companions:
            memory["companion"] = self.companions[k].companion_state()
        return memory


def begun(clock: float) -> dict[str, float]:
    """What :class:`Begun` holds for a weight that ``clock`` steps have moved, by the name in a checkpoint."""
    return {f"optimiser/moments/{2 + k}": 1 - beta**clock for k, beta in enumerate(BETAS)}


def arrays(name: str, value: Any) -> dict[str, np.ndarray]:
    """Nested dictionaries and lists of tensors and numbers as flat arrays, named by their path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: array for key, part in items for path, array in arrays(f"{name}/{key}", part).items()}
    return {name: value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)}


def restored(name: str, template: Any, saved: dict[str, np.ndarray]) -> Any:
    """What :func:`arrays` flattened, in the nesting, the types and on the devices of ``template``."""
    if isinstance(template, dict):
        return {key: restored(f"{name}/{key}", part, saved) for key, part in template.items()}
    if isinstance(template, list):
        return [restored(f"{name}/{key}", part, saved) for key, part in enumerate(template)]
    if isinstance(template, Tensor):
        return torch.from_numpy(np.array(saved[name])).to(template)
    return type(template)(saved[name])
