"""A training step of S models that never asks the host: the same operations on the same memory every time.

So a CUDA graph can record it, and the CPU can carry it out as it is. What changes from step to step — which samples,
how much noise — is written into its memory before, for a window of steps at once.
"""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.func import functional_call

from empirical.training.dropout import Masks, without_dice
from empirical.training.feed import Feed, normalised
from empirical.training.gradients import dropout_seed, layout_of, masked_cross_entropy
from empirical.training.passes import Passes
from empirical.training.stack import Stack
from empirical.training.update import Update

WINDOW = 128
"""Steps whose numbers are written at once."""
Branches = Callable[[Callable[[int], Tensor], int], list[Tensor]]


class Parts(NamedTuple):
    """What a trainer consists of."""

    stack: Stack
    models: Sequence[nn.Module]
    seeds: Sequence[int]
    update: Update
    rates: Tensor | None
    passes: Passes


def in_turn(work: Callable[[int], Tensor], count: int) -> list[Tensor]:
    """Model after model."""
    return [work(k) for k in range(count)]


class StaticStep:
    """One step a call, on batches of ``size`` samples from ``feed``; ``branches`` carries out the models' passes, each
    of them apart from the others; ``backend`` compiles them. The data are copied: a feed is never written to."""

    def __init__(self, parts: Parts, feed: Feed, size: int, mask: Tensor | None, backend: str | None) -> None:
        self.parts, count, device = parts, len(parts.models), feed.labels.device
        self.inputs, self.labels, self._loaded = feed.inputs.clone(), feed.labels.clone(), ref(feed)
        self.mask = None if mask is None else mask.clone()
        self.places = torch.zeros(WINDOW, count, size, dtype=torch.int64, device=device)
        self.sigmas = parts.stack.values.new_zeros(WINDOW, count)
        self.losses = parts.stack.values.new_zeros(WINDOW, count)
        self.cursor = torch.zeros(1, dtype=torch.int64, device=device)
        self._layout = layout_of(parts.models[0])
        skeleton = without_dice(parts.models[0], self._batch(self.places[0, 0])[0])
        self.masks = Masks(skeleton, count, device)
        self._pure = _pure(skeleton, backend)
        self._states: list[dict[str, Any]] = [
            {**dict(model.named_parameters()), **dict(model.named_buffers()), **masks}
            for model, masks in zip(parts.models, self.masks.of_model, strict=True)
        ]
        self.branches: Branches = in_turn

    @property
    def generators(self) -> list[torch.Generator]:
        """Those that a step draws from."""
        return [*self.masks.generators, *(noise.generator for noise in self.parts.update.noisy)]

    def fits(self, feed: Feed, size: int, mask: Tensor | None) -> bool:
        """Whether the step can work on this data, in the memory that it has."""
        pairs = (self.inputs, feed.inputs), (self.labels, feed.labels)
        same = all(own.shape == new.shape and own.dtype == new.dtype for own, new in pairs)
        return same and self.places.shape[2] == size and (mask is None) == (self.mask is None)

    def load(self, feed: Feed, mask: Tensor | None) -> None:
        """Take over data."""
        if self._loaded() is not feed:
            self.inputs.copy_(feed.inputs)
            self.labels.copy_(feed.labels)
            self._loaded = ref(feed)
        if self.mask is not None and mask is not None:
            self.mask.copy_(mask)

    def begin(self, places: Tensor) -> None:
        """Write what a window of steps is to do, (steps, S, B) places; steps begin with its first."""
        self.places[: len(places)].copy_(places)
        noisy = self.parts.update.noisy
        sigmas = [[noise.sigma_at(noise.steps + t) for noise in noisy] for t in range(len(places))]
        if noisy:
            self.sigmas[: len(places)].copy_(torch.tensor(sigmas, dtype=self.sigmas.dtype))
        self.cursor.zero_()

    def seed(self, steps: Sequence[int]) -> None:
        """Dropout's numbers are a function of a model's seed and of how many steps it has made."""
        if self.masks.generators:
            self.masks.seed([dropout_seed(seed, step) for seed, step in zip(self.parts.seeds, steps, strict=True)])

    def __call__(self) -> None:
        place, sigma = self.places.index_select(0, self.cursor)[0], self.sigmas.index_select(0, self.cursor)[0]
        losses = self.branches(lambda k: self._pass(k, place[k], sigma[k]), len(self.parts.models))
        self.losses.index_copy_(0, self.cursor, torch.stack(losses)[None].to(self.losses.dtype))
        self.cursor.add_(1)
        self.parts.update.advance_static()

    def _batch(self, place: Tensor) -> tuple[Tensor, Tensor]:
        inputs = normalised(self.inputs.index_select(0, place)).contiguous(memory_format=self._layout)
        return inputs, self.labels.index_select(0, place)

    def _pass(self, k: int, place: Tensor, sigma: Tensor) -> Tensor:
        """Gradients of model k, noise included; its loss."""
        stack, passes = self.parts.stack, self.parts.passes
        inputs, labels = self._batch(place)
        self.masks.draw(k)
        with passes.forward(place.device):
            logits = self._pure(self._states[k], inputs)
        loss = masked_cross_entropy(logits, labels, None if self.mask is None else self.mask[k])
        stack.keep(torch.autograd.grad(loss, stack.of_model[k], materialize_grads=True), k)
        if self.parts.rates is not None:
            stack.gradients[k].mul_(self.parts.rates)
        if self.parts.update.noisy:
            self.parts.update.noisy[k].add_static(sigma)
        return loss.detach()


def _pure(skeleton: nn.Module, backend: str | None) -> Callable[[dict[str, Any], Tensor], Tensor]:
    """The model as a function of its weights and input, compiled if a backend is named. Its code is its own: PyTorch
    counts what it compiled by code, and gives up after a few."""

    def pure(state: dict[str, Any], x: Tensor) -> Tensor:
        return functional_call(skeleton, state, (x,))

    if backend is None:
        return pure
    own = FunctionType(pure.__code__.replace(), pure.__globals__, pure.__name__, None, pure.__closure__)
    return torch.compile(own, backend=backend, dynamic=False)
