"""The base of optimisers that replace units: any optimiser around any model, units from its traced graph."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_theory.errors import InvalidInput
from lop_theory.optim.clocks import Clocks
from lop_theory.optim.layer import Layer
from lop_theory.optim.movement import movements
from lop_theory.optim.ranges import require_count
from lop_theory.optim.units import Found, find_units
from lop_theory.optim.watch import Watch
from lop_theory.optim.wrapping import Wrapping, innermost

State = Mapping[str, Any]


class Companion(Wrapping, ABC):
    """An optimiser that also looks after the hidden units of ``model``; a subclass says when and which in :meth:`act`.

    Every step is the inner optimiser's, exact for weights that were replaced (:class:`lop_theory.optim.clocks.Clocks`).
    ``layers`` are the groups of units that can be replaced, ``skipped`` the other weighted sums with the reason
    (residual streams, outputs, frozen, tied or reparametrised weights), ``replaced`` the units of the last step, a list
    a layer. Under ``torch.distributed`` statistics are summed over all processes, so that every rank replaces the same
    units by the same weights. :meth:`detach` ends the watching.

    Raises ``InvalidInput`` for a model without such units, an optimiser without a rule, and sharded parameters.
    """

    watched: tuple[str, ...] | None = ()
    """Which statistics of :class:`lop_theory.optim.watch.Watch` the method wants of activations; ``None``: it does not
    look at them."""

    def __init__(self, optimiser: Optimizer, model: nn.Module, *, example_input: Any, seed: int = 0) -> None:
        super().__init__(optimiser)
        require_count("seed", seed, 0)
        inside = unwrapped(model)
        found = example_input if isinstance(example_input, Found) else find_units(inside, example_input)
        self.skipped, self.layers = found.skipped, [Layer(inside, units) for units in found.units]
        _require_owned(optimiser, self.layers)
        self.clocks = Clocks(innermost(optimiser))
        self.clocks.prepare(place for layer in self.layers for place in layer.places(layer.every))
        self.generator = torch.Generator().manual_seed(seed)
        self.replaced: list[list[int]] = [[] for _ in self.layers]
        self.watch()

    def watch(self) -> None:
        """Begin to watch the activations, and what further readers read if :attr:`absorbs`."""
        self.watches = [self._watches(layer) for layer in self.layers]
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()  # what was compiled before does not know of the hooks

    def _watches(self, layer: Layer) -> list[Watch]:
        if self.watched is None:
            return []
        return [Watch(layer.observed, layer.units.observed, layer.device, *self.watched)]

    def before(self) -> None:
        self.clocks.before()

    @torch.no_grad()
    def after(self) -> None:
        self.clocks.after()
        self.replaced = self.act()

    @abstractmethod
    def act(self) -> list[list[int]]:
        """Called after every step; returns the replaced units of every layer."""

    def replace(self, layer: Layer, units: Tensor, init: str) -> None:
        """Fresh weights for units, and an optimiser that has not seen them."""
        layer.renew(units, init, self.generator)
        self.clocks.renew(layer.places(units))

    def summed(self) -> None:
        """Sum the statistics over all processes."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        watches = [watch for own in self.watches for watch in own]
        parts = [t for w in watches for t in (w.count.view(1), *w.sums.values())]
        flat = torch.cat(parts)
        torch.distributed.all_reduce(flat)
        for part, value in zip(parts, flat.split([len(p) for p in parts]), strict=True):
            part.copy_(value)

    def clear(self) -> None:
        for own in self.watches:
            for watch in own:
                watch.clear()

    def detach(self) -> None:
        """No longer watch the model; steps are then the inner optimiser's."""
        for own in self.watches:
            for watch in own:
                watch.detach()

    def take_over(self, k: int, units: Tensor) -> None:
        """Called before units of layer k are replaced, for their readers to take over what they gave; here nothing."""

    def describe(self, model: nn.Module | None = None, example_input: Any = None) -> str:
        """A line for every layer: units, readers, and whether the function moves when a unit is replaced; with the
        model and a batch of inputs also by how much (:func:`lop_theory.optim.movement.movements`)."""
        lines = [
            f"{layer.name}: {layer.size} units, read by {', '.join(r.module for r in layer.units.readers)}"
            + (f"; the function moves: {layer.moves()}" if layer.moves() else "")
            for layer in self.layers
        ]
        if model is not None:
            moved = movements(self, unwrapped(model), example_input)
            lines = [f"{line}; replacing a unit moves {by}" for line, by in zip(lines, moved, strict=True)]
        return "\n".join(lines)

    def companion_state(self) -> dict[str, Any]:
        own = {"generator": self.generator.get_state(), "clocks": self.clocks.state_dict()}
        sums = [[{"count": w.count.clone(), **_copied(w.sums)} for w in ws] for ws in self.watches]
        return {**own, "pending": sums, "units": [layer.size for layer in self.layers], **self.method_state()}

    def method_state(self) -> dict[str, Any]:
        """What the method remembers: tensors, numbers, lists and dictionaries of them, of constant shapes."""
        return {}

    def load_method_state(self, state: State) -> None:
        """The inverse of :meth:`method_state`; ``state`` has its shapes."""

    def check_companion_state(self, state: State) -> None:
        sizes = [layer.size for layer in self.layers]
        if state.get("units") != sizes:
            raise InvalidInput("state_dict", state.get("units"), f"must be of layers of {sizes} units")
        self.clocks.check(state["clocks"])
        present = self.companion_state()
        for name in present.keys() - {"clocks", "generator"}:
            if _shapes(state.get(name)) != _shapes(present[name]):
                raise InvalidInput("state_dict", name, "does not have the shape that this model needs")

    def load_companion_state(self, state: State) -> None:
        self.generator.set_state(state["generator"].cpu())
        self.clocks.load_state_dict(state["clocks"])
        for own, saved in zip(self.watches, state["pending"], strict=True):
            for watch, sums in zip(own, saved, strict=True):
                watch.count.copy_(sums["count"])
                for name, values in watch.sums.items():
                    values.copy_(sums[name])
        self.load_method_state(state)

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in super().__getstate__().items() if k not in ("watches", "generator")}
        return {**state, "_own": self.companion_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = state.pop("_own", None)
        super().__setstate__(state)
        if own is not None:
            self.generator = torch.Generator()
            self.watch()
            self.load_companion_state(own)


def _require_owned(optimiser: Optimizer, layers: Sequence[Layer]) -> None:
    """Raise ``InvalidInput`` if the optimiser holds no weight of any unit: it is that of another model."""
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    if not any(id(weights.weight) in held for layer in layers for weights in layer.incoming):
        raise InvalidInput(
            "optimiser", type(optimiser).__name__, "must hold weights of the model's units",
            "make it from the parameters of this model",
        )  # fmt: skip


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile`` and ``DistributedDataParallel``. Raises ``InvalidInput`` for sharded ones."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if inner is None:
            break
        model = inner
    sharded = [n for n, p in model.named_parameters() if hasattr(p, "to_local") or "Sharded" in type(p).__name__]
    if sharded or type(model).__name__ == "FullyShardedDataParallel":
        raise InvalidInput(
            "model", type(model).__name__, "must have whole parameters: a unit's rows lie on several ranks under FSDP",
            "use DistributedDataParallel, or make the companion before fully_shard and replace units between shardings",
        )  # fmt: skip
    return model


def _copied(sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in sums.items()}


def _shapes(value: Any) -> Any:
    """Nesting and shapes of a state."""
    if isinstance(value, Mapping):
        return {name: _shapes(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_shapes(part) for part in value]
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
