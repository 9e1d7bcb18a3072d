"""The batch engine: all seeds of a configuration trained together, on data resident on the device.

The models share memory (:mod:`empirical.training.stack`), so one optimiser step serves them all, and their
gradients come one by one or from one vectorised call (:mod:`empirical.training.gradients`), whichever is faster.
A model's numbers do not depend on its neighbours: beyond rounding between strategies, S models together are S models
alone, dropout and noise included. Nothing waits for the device inside a step, except where CBP, ReDo or Noisy SGD
decide on the host.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from empirical.training.gradients import Gradients, Precision, dropout_seed, has_dropout, one_by_one, vectorised
from empirical.training.options import OptimiserOptions
from empirical.training.stack import stack_models
from empirical.training.update import Update, arrays, restored
from lop_theory.errors import InvalidInput

Strategy = Literal["auto", "vmap", "each"]


class Trainer:
    """S models side by side, trained by ``step`` on S batches.

    ``models[k]`` is an ordinary module whose parameters, ``.grad`` and buffers are views of slice k of the stack, so
    metrics, certification and cloning read and change the live weights of one seed with lop_theory's own code (in
    place: a rebound parameter leaves the stack). The modules passed in are taken over, in training mode.
    """

    models: list[nn.Module]

    def __init__(  # noqa: PLR0913 - the signature that experiments are written against
        self,
        models: Sequence[nn.Module],
        optimiser: OptimiserOptions,
        seeds: Sequence[int],
        *,
        device: str | torch.device = "cpu",
        strategy: Strategy = "auto",
        compile: bool = False,
        bf16: bool = False,
        rates: Mapping[str, float] | None = None,
        image: Sequence[int] | None = None,
    ) -> None:
        """``compile`` and ``bf16`` (autocast) speed up GPUs. ``rates`` multiplies the gradient of each parameter by
        name: under SGD, its step size. ``image``, (channels, height, width), is for CBP and ReDo, which trace the
        model. Raises ``InvalidInput`` for what cannot be combined."""
        assert len(models) == len(seeds) > 0
        self.models = [model.to(device).train() for model in models]
        self.seeds = list(seeds)
        self.strategy: Literal["vmap", "each"] = _chosen(strategy, self.models[0], optimiser, compile=compile)
        self._stack = stack_models(self.models)
        self._update = Update(self._stack, self.models, optimiser, self.seeds, image)
        self._steps = [0] * len(models)
        self._gradients = self._passes(Precision(compile, bf16))
        self._rates = None if rates is None else self._stack.row(rates)

    def _passes(self, precision: Precision) -> Gradients:
        if self.strategy == "vmap":
            return vectorised(self._stack, self.models, precision)
        dice = (lambda k: dropout_seed(self.seeds[k], self._steps[k])) if has_dropout(self.models[0]) else None
        return one_by_one(self._stack, self.models, dice, precision)

    def step(self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """One update of every model on its batch; losses before the update, (S,), on the device.

        Shapes (S, B, …), (S, B) and, of booleans, (S, classes): cross-entropy is over the allowed classes only.
        """
        losses = self._gradients(inputs, labels, mask)
        if self._rates is not None:
            self._stack.gradients.mul_(self._rates)
        self._update.step()
        self._steps = [step + 1 for step in self._steps]
        return losses

    def noise_ratio(self, k: int) -> float:
        """‖noise‖/‖gradient‖ of model k's last step; 0 if there was no noise."""
        return self._update.noisy[k].noise_ratio if self._update.noisy else 0.0

    def state(self, k: int) -> dict[str, np.ndarray]:
        """All that decides model k's future: weights, buffers, optimiser, companion, random streams."""
        return {**arrays("model", self._model_state(k)), **self._update.state(k)}

    def load(self, k: int, saved: dict[str, np.ndarray]) -> None:
        """Go on where :meth:`state` was taken, bit for bit. Raises ``InvalidInput`` if it is of another configuration.

        The strategy and the device may differ; then results agree up to rounding.
        """
        present = self.state(k)
        for name in present.keys() ^ saved.keys():
            raise InvalidInput("checkpoint", name, "is in one of checkpoint and trainer only", "use the same options")
        for name, array in present.items():
            if array.shape != saved[name].shape:
                raise InvalidInput("checkpoint", name, f"has shape {saved[name].shape} instead of {array.shape}")
        model = restored("model", self._model_state(k), saved)
        self._stack.values[k].copy_(model["values"])
        for name, buffer in self._stack.buffers.items():
            buffer[k].copy_(model["buffers"][name])
        self._steps[k] = model["steps"]
        self._update.load(k, saved)

    def _model_state(self, k: int) -> dict[str, object]:
        buffers = {name: buffer[k] for name, buffer in self._stack.buffers.items()}
        return {"values": self._stack.values[k], "buffers": buffers, "steps": self._steps[k]}

    @torch.no_grad()
    def reset_head(self) -> None:
        """Zero weights and bias of every classifier, as the paper does between tasks.

        It says nothing about the optimiser's memory of them, which stays (as it would in a script that zeroes them).
        """
        for model in self.models:
            for parameter in classifier(model).parameters():
                parameter.zero_()

    @torch.no_grad()
    def reinitialise(self, k: int, model: nn.Module) -> None:
        """Model k takes the weights and buffers of ``model``; its optimiser and companion begin anew."""
        for own, new in zip(self._stack.of_model[k], model.parameters(), strict=True):
            own.copy_(new)
        for name, buffer in self._stack.buffers.items():
            buffer[k].copy_(model.get_buffer(name))
        self._update.forget(k)


def classifier(model: nn.Module) -> nn.Linear:
    """The last linear layer, which is the head of every model of the zoo."""
    linear = [module for module in model.modules() if type(module) is nn.Linear]
    assert linear, "the model has no linear layer"
    return linear[-1]


def _chosen(
    strategy: Strategy, model: nn.Module, optimiser: OptimiserOptions, *, compile: bool
) -> Literal["vmap", "each"]:
    hooked = optimiser.repair in ("cbp", "redo")
    if compile and hooked:
        raise InvalidInput("compile", compile, f"does not go with {optimiser.repair}, which watches every pass")
    alone = hooked or has_dropout(model)
    if strategy == "vmap" and alone:
        raise InvalidInput("strategy", strategy, "cannot carry dropout, CBP or ReDo", "use each or auto")
    if strategy != "auto":
        return strategy
    return "each" if alone or next(model.parameters()).device.type == "cpu" else "vmap"
