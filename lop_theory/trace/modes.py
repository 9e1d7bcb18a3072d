"""Training and evaluation: every module's own mode, and whether a forward pass asks for it."""

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import RLock
from types import CellType, FunctionType
from typing import Any

from torch import nn

from lop_theory.trace.fingerprints import names_in
from lop_theory.trace.unseen import NotTraceable, one_line

COPYING = "torch.fx.graph_module"  # gives a graph the mode of what it was made of
SWITCHING = frozenset("train training children named_children __setattr__ __getattribute__".split())
LOOKING = frozenset("__dict__ vars __getstate__ __reduce__ __reduce_ex__ getattr_static".split())
_WATCHING = RLock()


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Generator[None]:
    """Within: training or evaluation mode; afterwards every module's own mode again."""
    before = {module: module.training for module in model.modules()}
    try:
        with nullcontext() if training == model.training else _switched(model, training):
            yield
    finally:
        for module, was in before.items():
            module.training = was


@contextmanager
def _switched(model: nn.Module, training: bool) -> Generator[None]:
    """There and back: a class may do more than to note its mode."""
    _switch(model, training)
    try:
        yield
    finally:
        _switch(model, not training)


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
def watched_mode() -> Generator[list[type]]:
    """Gives the classes of all modules that are asked for their mode within, whoever holds them."""
    asked: list[type] = []

    def ask(module: nn.Module) -> Any:
        if sys._getframe(1).f_globals.get("__name__") != COPYING:
            asked.append(type(module))
        if "training" not in vars(module):
            raise AttributeError("training")  # perhaps its class answers that
        return vars(module)["training"]

    def note(module: nn.Module, training: bool) -> None:
        vars(module)["training"] = training

    with _WATCHING:
        before = vars(nn.Module).get("training")
        nn.Module.training = property(ask, note)  # type: ignore[assignment]  # goes before an instance's attribute
        try:
            yield asked
        finally:
            if before is None:
                del nn.Module.training
            else:
                nn.Module.training = before


def only_asks(model: nn.Module) -> bool:
    """Whether all that ``train()`` does to its modules is to set their attribute, and their code can only ask for it:
    nothing in the functions that it names looks into an object's attributes."""
    return not any(map(_switches, model.modules())) and not LOOKING & _named_by(_functions(model))


def _switches(module: nn.Module) -> bool:
    kinds = [kind for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    return any(SWITCHING & vars(kind).keys() for kind in kinds) or bool(SWITCHING & vars(module).keys() - {"training"})


def _functions(model: nn.Module) -> list[FunctionType]:
    """Of all classes that PyTorch does not bring, and what their objects hold."""
    modules = list(model.modules())
    kinds = {kind for module in modules for kind in type(module).__mro__ if not _is_torch(kind)}
    values = [part for holder in (*kinds, *modules) for value in vars(holder).values() for part in _parts(value)]
    values += [getattr(value, "fget", None) or getattr(value, "__func__", None) for value in values]
    values += [vars(type(value)).get("__call__") for value in values]
    return [value for value in values if isinstance(value, FunctionType)]


def _parts(value: Any, depth: int = 4) -> Iterator[Any]:
    """The value, and what containers and partial calls hold. (Tables of transformers import entries when asked.)"""
    yield value
    inner: Iterable[Any] = ()
    if isinstance(value, partial):
        inner = (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, dict) and type(value).__module__.partition(".")[0] != "transformers":
        inner = list(value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = list(value)
    for item in inner if depth else ():
        yield from _parts(item, depth - 1)


def _is_torch(holder: Any) -> bool:
    return str(getattr(holder, "__module__", "")).partition(".")[0] == "torch"


def _named_by(functions: list[FunctionType]) -> set[str]:
    """All names in the code of functions, and of those that they name or hold."""
    names, met = set[str](), set[int]()
    while functions:
        function = functions.pop()
        if id(function) in met or _is_torch(function):
            continue
        met.add(id(function))
        own = names_in(function.__code__)
        held = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
        named = [function.__globals__[name] for name in own if name in function.__globals__]
        others = [part for value in (*held, *named) for part in _parts(value)]
        functions += [other for other in others if isinstance(other, FunctionType)]
        names |= own
    return names
