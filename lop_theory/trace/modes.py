"""Training and evaluation: every module's own mode, and whether a forward pass asks for it."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import RLock
from typing import Any

from torch import nn

from lop_theory.trace.unseen import NotTraceable, one_line

SWITCHING = frozenset("train training children named_children __setattr__ __getattribute__".split())
_WATCHING = RLock()


def everyone(model: nn.Module) -> list[nn.Module]:
    """The model's modules, each once, where ``train`` finds them (a class may say otherwise, or that two are equal)."""
    found, waiting = dict[int, nn.Module](), [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [child for child in reversed(module._modules.values()) if child is not None]
    return list(found.values())


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Generator[None]:
    """Within: training or evaluation mode; afterwards every module's own mode again."""
    before = [(module, module.training) for module in everyone(model)]
    try:
        with nullcontext() if training == model.training else _switched(model, training):
            yield
    finally:
        for module, was in before:
            if module.training != was:
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
    return tuple(map(_mode_of, everyone(model)))


def _mode_of(module: nn.Module) -> bool:
    try:
        return vars(module)["training"]
    except KeyError:  # a property of its class
        return module.training


class _Noted:
    """A mode that notes who looks at it."""

    def __init__(self, mode: bool, note: Callable[[], None]) -> None:
        self.mode, self.note = mode, note

    def __bool__(self) -> bool:
        self.note()
        return self.mode

    def __eq__(self, other: object) -> bool:
        self.note()
        return self.mode == other

    def __hash__(self) -> int:
        self.note()
        return hash(self.mode)

    def __repr__(self) -> str:
        self.note()
        return repr(self.mode)


class _Asked(property, _Noted):
    """What a static look-up finds in place of the mode."""

    def __init__(self, ask: Any, tell: Any, note: Callable[[], None]) -> None:
        property.__init__(self, ask, tell)
        _Noted.__init__(self, True, note)


def _said(value: Any) -> Any:
    return value.mode if isinstance(value, _Noted) else value


class _Attributes(dict[str, Any]):
    """A module's own: by name they are found as ever, but who looks into the table for the mode is noted."""

    def __init__(self, held: dict[str, Any], note: Callable[[], None]) -> None:
        super().__init__(held)
        self.note = note

    def _noted(self, key: str = "training") -> None:
        if key == "training":
            self.note()

    def __getitem__(self, key: str) -> Any:
        self._noted(key)
        return _said(super().__getitem__(key))

    def get(self, key: str, default: Any = None) -> Any:
        self._noted(key)
        return _said(super().get(key, default))

    def pop(self, key: str, *default: Any) -> Any:
        self._noted(key)
        return _said(super().pop(key, *default))

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._noted(key)
        return _said(super().setdefault(key, default))

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


@contextmanager
def watched_mode(model: nn.Module) -> Generator[list[type]]:
    """Gives the classes of all modules that are asked for their mode within, whoever holds them, and of the model's in
    whose tables of attributes it is looked up. What is computed within is good for nothing else: not all that looks
    finds what it would elsewhere."""
    asked: list[type] = []

    def ask(module: nn.Module) -> Any:
        asked.append(type(module))
        found = dict.get(vars(module), "training", module)
        if found is module:
            raise AttributeError("training")  # perhaps its class answers that
        return _said(found)

    def tell(module: nn.Module, training: bool) -> None:
        dict.__setitem__(vars(module), "training", training)

    with _WATCHING, _watched_tables(model, asked):
        before = vars(nn.Module).get("training")
        nn.Module.training = _Asked(ask, tell, partial(asked.append, nn.Module))  # type: ignore[assignment]
        try:
            yield asked
        finally:
            if before is None:
                del nn.Module.training
            else:
                nn.Module.training = before


@contextmanager
def _watched_tables(model: nn.Module, asked: list[type]) -> Generator[None]:
    """Within, a mode is noted in the tables and in what is kept of them from before."""
    modules = everyone(model)
    tables = {id(module): vars(module) for module in modules}
    modes: dict[int, Any] = {id(table): dict.get(table, "training") for table in tables.values()}
    watched = dict[int, _Attributes]()
    try:
        for module in modules:
            table, note = tables[id(module)], partial(asked.append, type(module))
            if isinstance(modes[id(table)], bool):
                table["training"] = _Noted(modes[id(table)], note)
            watched.setdefault(id(table), _Attributes(table, note))
            object.__setattr__(module, "__dict__", watched[id(table)])
        yield
    finally:
        for module in modules:
            table = tables[id(module)]
            now = dict(dict.items(watched.get(id(table), {})))
            if now:
                table.clear()
                table.update(now)
            if isinstance(dict.get(table, "training"), _Noted):
                table["training"] = modes[id(table)]
            object.__setattr__(module, "__dict__", table)


def only_asks(model: nn.Module) -> bool:
    """Whether all that ``train()`` does to its modules is to set their attribute."""
    return not any(map(_switches, everyone(model)))


def _switches(module: nn.Module) -> bool:
    kinds = [kind for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    return any(SWITCHING & vars(kind).keys() for kind in kinds) or bool(SWITCHING & vars(module).keys() - {"training"})
