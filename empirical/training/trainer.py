"""The batch engine: all seeds of a configuration trained together, on data resident on the device.

The models share memory (:mod:`empirical.training.stack`), so one optimiser step serves them all; their gradients come
one by one, from one vectorised call, or from a static step (:mod:`empirical.training.engines`). A model's numbers do
not depend on its neighbours: beyond rounding between engines, S models together are S models alone, dropout and noise
included. Nothing waits for the device inside a step, except where CBP or ReDo decide on the host.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from empirical.runs.execution import Engine
from empirical.training.engines import ENGINES, Choice, Graph, Steps, excluded
from empirical.training.feed import Feed
from empirical.training.gradients import Gradients, dropout_seed, has_dropout, one_by_one, vectorised
from empirical.training.memory import too_little
from empirical.training.options import OptimiserOptions
from empirical.training.passes import Passes, check_device
from empirical.training.stack import stack_models
from empirical.training.static_step import Parts
from empirical.training.trial import fastest
from empirical.training.update import Update, arrays, restored
from lop_theory.errors import InvalidInput

ON_CPU = Choice("eager", "on a CPU: the same bits, whoever trains beside")


class Trainer:
    """S models side by side, trained by ``step`` on S batches, or by ``steps`` on those that a feed has.

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
        engine: Engine = "auto",
        rates: Mapping[str, float] | None = None,
        image: Sequence[int] | None = None,
        backend: str | None = None,
    ) -> None:
        """An engine that cannot train so is replaced by eager, and :attr:`choice` says why; ``auto`` is eager on the
        CPU, and measured on the first batch on a GPU. ``backend`` compiles the passes of a graph (on a GPU inductor).
        ``rates`` multiplies the gradient of each parameter by name: under SGD, its step size. ``image``, (channels,
        height, width), is for CBP and ReDo, which trace the model. Raises ``InvalidInput``."""
        assert len(models) == len(seeds) > 0
        self.models = [model.to(device).train() for model in models]
        self.seeds, self._optimiser, self._given_rates, self._image = list(seeds), optimiser, rates, image
        self._stack = stack_models(self.models)
        self._device = self._stack.values.device
        check_device(optimiser.precision, self._device)
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # measurements are in float32, whatever the passes
        self._update = Update(self._stack, self.models, optimiser, self.seeds, image)
        self._steps = [0] * len(models)
        self._passes = Passes(optimiser.precision)
        self._rates = None if rates is None else self._stack.row(rates)
        self._backend = backend or ("inductor" if self._device.type == "cuda" else None)
        self.choice = self._at_once(engine)
        self._tries = self.choice is None
        self._gradients: Gradients | None = None
        self._engine: Steps | None = None

    def _at_once(self, engine: Engine) -> Choice | None:
        """The engine, if no trial is needed."""
        cannot = excluded(self.models[0], self._optimiser)
        if engine in cannot:
            return Choice("eager", f"not {engine}: {cannot[engine]}")
        if engine != "auto":
            return Choice(engine, "asked for")
        if self._device.type == "cpu":
            return ON_CPU
        if len(cannot) == len(ENGINES) - 1:
            return Choice("eager", f"no other can: {next(iter(cannot.values()))}")
        return None

    def steps(self, feed: Feed, numbers: np.ndarray, mask: Tensor | None = None) -> Tensor:
        """One update after the other of every model, on the samples with these numbers (steps, S, B); losses before
        each, (steps, S), on the device. Raises ``InvalidInput`` if the device has too little memory."""
        try:
            if self.choice is None:
                self.choice = self._tried(feed, numbers, mask)
            if self._engine is None:
                self._engine = self._begun(self.choice.name)
            losses = self._engine(feed, numbers, mask)
        except torch.cuda.OutOfMemoryError:
            raise too_little(self.models, self._optimiser, feed, numbers.shape[2]) from None
        self._steps = [step + len(numbers) for step in self._steps]
        return losses

    def step(self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """One update of every model on its batch; losses before the update, (S,), on the device.

        Shapes (S, B, …), (S, B) and, of booleans, (S, classes): cross-entropy is over the allowed classes only.
        """
        count, size = labels.shape
        numbers = np.broadcast_to(np.arange(size), (1, count, size))
        return self.steps(Feed(list(zip(inputs, labels, strict=True))), numbers, mask)[0]

    def _begun(self, name: Engine) -> Steps:
        if name == "graph":
            parts = Parts(self._stack, self.models, self.seeds, self._update, self._rates, self._passes)
            return Graph(parts, lambda: self._steps, self._backend)
        if name == "vmap":
            self._gradients = vectorised(self._stack, self.models, self._passes)
        else:
            dice = (lambda k: dropout_seed(self.seeds[k], self._now[k])) if has_dropout(self.models[0]) else None
            self._gradients = one_by_one(self._stack, self.models, dice, self._passes)
        return self._stepwise

    def _stepwise(self, feed: Feed, numbers: np.ndarray, mask: Tensor | None) -> Tensor:
        """The optimiser's step after the gradients of each batch."""
        assert self._gradients is not None
        losses = []
        for t, (inputs, labels) in enumerate(feed.batches(numbers)):
            self._now = [step + t for step in self._steps]
            with self._passes.step(self._device):
                losses.append(self._gradients(inputs, labels, mask))
            if self._rates is not None:
                self._stack.gradients.mul_(self._rates)
            self._update.step()
        return torch.stack(losses)

    def _tried(self, feed: Feed, numbers: np.ndarray, mask: Tensor | None) -> Choice:
        """A trial of every engine that can, on copies."""
        cannot = excluded(self.models[0], self._optimiser)
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"
        own = self._optimiser
        kind = (
            name,
            repr(self.models[0]),
            own.name,
            own.repair,
            own.precision,
            feed.inputs.shape[1:],
            numbers.shape[1:],
        )
        return fastest(
            kind,
            {e: lambda e=e: self._copied(e, feed, numbers[:1], mask) for e in ENGINES if e not in cannot},
        )

    def _copied(self, engine: Engine, feed: Feed, numbers: np.ndarray, mask: Tensor | None):
        """What makes one step of a copy with this engine, and waits for it."""
        how = {"device": self._device, "engine": engine, "rates": self._given_rates, "image": self._image}
        copy = Trainer(deepcopy(self.models), self._optimiser, self.seeds, **how, backend=self._backend)
        return lambda: float(copy.steps(feed, numbers, mask).sum())

    def noise_ratio(self, k: int) -> float:
        """‖noise‖/‖gradient‖ of model k's last step; 0 if there was no noise."""
        return self._update.noisy[k].noise_ratio if self._update.noisy else 0.0

    def state(self, k: int) -> dict[str, np.ndarray]:
        """All that decides model k's future: weights, buffers, optimiser, companion, random streams, and on a GPU the
        engine that a trial chose."""
        found = {**arrays("model", self._model_state(k)), **self._update.state(k)}
        if self._tries and self.choice is not None:
            found["engine"] = np.array(self.choice.name)
        return found

    def load(self, k: int, saved: dict[str, np.ndarray]) -> None:
        """Go on where :meth:`state` was taken, bit for bit. Raises ``InvalidInput`` if it is of another configuration.

        The engine and, without noise, the device may differ; then results agree up to rounding.
        """
        present = self.state(k)
        if self.choice is None and "engine" in saved:
            self.choice = Choice(str(saved["engine"]), "chosen by a trial before the checkpoint")  # type: ignore[arg-type]
        for name in (present.keys() ^ saved.keys()) - {"engine"}:
            raise InvalidInput("checkpoint", name, "is in one of checkpoint and trainer only", "use the same options")
        for name, array in present.items():
            if name != "engine" and array.shape != saved[name].shape:
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
