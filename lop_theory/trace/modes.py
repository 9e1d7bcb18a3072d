"""Training and evaluation: every module's own mode, and whether a forward pass asks for it."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import RLock
from typing import Any, NamedTuple

from torch import nn

from lop_theory.trace.unseen import NotTraceable, one_line

COPYING = "torch.fx.graph_module"  # gives a graph the mode of what it was made of
SWITCHING = frozenset("train training children named_children __setattr__ __getattribute__".split())
OURS = frozenset(("torch", "lop_theory"))
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


class _Attributes(dict[str, Any]):
    """A module's own: by name they are found as ever, but who looks into the table for the mode is noted."""

    def __init__(self, held: dict[str, Any], note: Callable[[], None]) -> None:
        super().__init__(held)
        self.note = note

    def _noted(self, key: str = "training") -> None:
        asks = str(sys._getframe(2).f_globals.get("__name__")).partition(".")[0]
        if key == "training" and asks not in OURS:
            self.note()

    def __getitem__(self, key: str) -> Any:
        self._noted(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._noted(key)
        return super().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._noted(key)
        return super().setdefault(key, default)

    def __iter__(self) -> Iterator[str]:  # also of dict(…), {**…} and what pickles
        self._noted()
        return super().__iter__()

    def items(self) -> Any:
        self._noted()
        return super().items()

    def values(self) -> Any:
        self._noted()
        return super().values()

    def copy(self) -> dict[str, Any]:
        self._noted()
        return super().copy()


class _Asking(property):
    """What a static look-up finds in place of the mode."""

    found = False

    def __bool__(self) -> bool:
        self.found = True
        return True


class Watch(NamedTuple):
    """The classes of modules that were ``asked`` for their mode; ``misled``: whether someone took the watch for it."""

    asked: list[type]
    asking: _Asking

    @property
    def misled(self) -> bool:
        return self.asking.found


@contextmanager
def watched_mode(model: nn.Module) -> Generator[Watch]:
    """Notes which modules are asked for their mode within, whoever holds them, and in whose tables of attributes, of
    the model's, it is looked up."""
    asked: list[type] = []

    def ask(module: nn.Module) -> Any:
        if sys._getframe(1).f_globals.get("__name__") != COPYING:
            asked.append(type(module))
        try:
            return dict.__getitem__(vars(module), "training")
        except KeyError:
            raise AttributeError("training") from None  # perhaps its class answers that

    def tell(module: nn.Module, training: bool) -> None:
        vars(module)["training"] = training

    def state(module: nn.Module) -> Any:
        asked.append(type(module))
        return own_state(module)

    own_state = nn.Module.__getstate__
    watch = Watch(asked, _Asking(ask, tell))
    with _WATCHING, _watched_tables(model, asked), _instead(training=watch.asking, __getstate__=state):
        yield watch


@contextmanager
def _instead(**attributes: Any) -> Generator[None]:
    """Within, all modules have these; a property goes before what an instance has."""
    before = {name: vars(nn.Module)[name] for name in attributes if name in vars(nn.Module)}
    for name, attribute in attributes.items():
        setattr(nn.Module, name, attribute)
    try:
        yield
    finally:
        for name in attributes:
            setattr(nn.Module, name, before[name]) if name in before else delattr(nn.Module, name)


@contextmanager
def _watched_tables(model: nn.Module, asked: list[type]) -> Generator[None]:
    own = {module: vars(module) for module in model.modules()}
    try:
        for module, table in own.items():
            object.__setattr__(module, "__dict__", _Attributes(table, partial(asked.append, type(module))))
        yield
    finally:
        for module, table in own.items():
            now = dict(dict.items(vars(module)))
            table.clear()
            table.update(now)
            object.__setattr__(module, "__dict__", table)


def only_asks(model: nn.Module) -> bool:
    """Whether all that ``train()`` does to its modules is to set their attribute."""
    return not any(map(_switches, model.modules()))


def _switches(module: nn.Module) -> bool:
    kinds = [kind for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    return any(SWITCHING & vars(kind).keys() for kind in kinds) or bool(SWITCHING & vars(module).keys() - {"training"})
