"""Training and evaluation: every module's own mode, and whether a forward pass asks for it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn

from lop_theory.trace.unseen import NotTraceable, one_line


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Generator[None]:
    """Within: training or evaluation mode; afterwards every module's own mode again."""
    before = {module: module.training for module in model.modules()}
    try:
        if training != model.training:
            _switch(model, training)
        yield
    finally:
        for module, was in before.items():
            module.training = was


def _switch(model: nn.Module, training: bool) -> None:
    try:
        model.train(training)
    except NotImplementedError as error:  # what torch.export made knows one mode alone
        raise NotTraceable(
            "(top)", f"has no other mode ({one_line(error)})", "pass the module it was made of"
        ) from error


def modes_of(model: nn.Module) -> tuple[bool, ...]:
    """Every module's mode, looked up where nobody is asked for it."""
    return tuple(map(_mode_of, model.modules()))


def _mode_of(module: nn.Module) -> bool:
    try:
        return vars(module)["training"]
    except KeyError:  # a property of its class
        return module.training


@contextmanager
def watched_mode(model: nn.Module) -> Generator[list[type]]:
    """Gives the classes of the modules that are asked for their mode within; beforehand, of those that do more than to
    note a change of it."""
    own = {id(vars(module)) for module in model.modules()}  # torch.export calls other objects with the same attributes
    asked = [type(module) for module in model.modules() if not _only_notes(module)]

    def ask(module: nn.Module) -> Any:
        if id(vars(module)) in own:
            asked.append(type(module))
        return vars(module)["training"]

    def note(module: nn.Module, training: bool) -> None:
        vars(module)["training"] = training

    before = vars(nn.Module).get("training")
    nn.Module.training = property(ask, note)  # type: ignore[assignment]  # a class's property goes before an attribute
    try:
        yield asked
    finally:
        if before is None:
            del nn.Module.training
        else:
            nn.Module.training = before


def _only_notes(module: nn.Module) -> bool:
    """Whether all that ``train()`` does to it is to set its attribute."""
    kinds = [vars(kind) for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    told = {"train", "training", "__setattr__", "__getattribute__"}
    return not any(told & kind.keys() for kind in kinds) and "train" not in vars(module)
