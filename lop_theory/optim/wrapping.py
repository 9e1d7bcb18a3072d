"""An optimiser around an optimiser: it shares groups and state with the one inside, so that it is one itself."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from lop_theory.errors import InvalidInput


class Wrapping(Optimizer):
    """``step`` is the inner optimiser's, with :meth:`before` and :meth:`after` around it; schedulers, scalers and
    trainers see the inner one's ``param_groups``, ``state`` and ``defaults``.

    ``state_dict`` is the inner one's with an entry ``companion``; so a checkpoint of the inner optimiser alone can be
    told apart, and is refused. Raises ``InvalidInput`` if ``optimiser`` is none.
    """

    def __init__(self, optimiser: Optimizer) -> None:
        if not isinstance(optimiser, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput("optimiser", type(optimiser).__name__, "must be a torch.optim.Optimizer")
        self.optimiser = optimiser
        super().__setstate__({})  # hooks, and a profiled step, without groups of its own

    def before(self) -> None:
        """Called before the inner step."""

    def graded(self) -> None:
        """Called when the step's gradients are at hand, with a closure every time that it has been called."""

    def after(self) -> None:
        """Called after the inner step."""

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        self.before()
        if closure is None:
            self.graded()
            loss = self.optimiser.step()
        else:
            loss = self.optimiser.step(lambda: self._called(closure))
        self.after()
        return loss

    def _called(self, closure: Callable[[], float]) -> float:
        loss = closure()
        self.graded()
        return loss

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return self.optimiser.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.optimiser.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        return self.optimiser.defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimiser.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.optimiser.add_param_group(param_group)

    def companion_state(self) -> dict[str, Any]:
        """What this object adds to the inner state: nested dictionaries and lists of tensors and numbers."""
        return {}

    def check_companion_state(self, state: Mapping[str, Any]) -> None:
        """Raises ``InvalidInput`` if ``state`` is of another kind or model; changes nothing."""

    def load_companion_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state that was checked."""

    def state_dict(self) -> dict[str, Any]:
        inside = self.optimiser.state_dict()
        own = {"kind": type(self).__name__, **self.companion_state()}
        if "companion" in inside:  # a wrapping in a wrapping
            own["inside"] = inside["companion"]
        return {**inside, "companion": own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`. Raises ``InvalidInput`` before anything is changed."""
        own = state_dict.get("companion")
        if not isinstance(own, Mapping) or own.get("kind") != type(self).__name__:
            kind = own.get("kind") if isinstance(own, Mapping) else "no companion"
            raise InvalidInput(
                "state_dict", kind, f"must be that of a {type(self).__name__}", "or load the inner optimiser by itself"
            )
        self.check_companion_state(own)
        inside = {k: v for k, v in state_dict.items() if k != "companion"}
        self.optimiser.load_state_dict(inside | ({"companion": own["inside"]} if "inside" in own else {}))
        self.load_companion_state(own)

    def __getstate__(self) -> dict[str, Any]:
        """All but what PyTorch hangs on an optimiser from outside: hooks, and a step that a scheduler has wrapped."""
        return {k: v for k, v in self.__dict__.items() if k != "step" and not k.startswith(("_optimizer_", "_opt_"))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimiser!r})"


def innermost(optimiser: Optimizer) -> Optimizer:
    """The optimiser inside all wrappings."""
    while isinstance(optimiser, Wrapping):
        optimiser = optimiser.optimiser
    return optimiser
