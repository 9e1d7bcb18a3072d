"""Training and evaluation: every module's own mode, and whether a forward pass asks for it."""

import sys
import sysconfig
from collections.abc import Generator, Mapping, Set
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import RLock
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from lop_theory.trace.fingerprints import names_in
from lop_theory.trace.unseen import NotTraceable, one_line

COPYING = "torch.fx.graph_module"  # gives a graph the mode of what it was made of
SWITCHING = frozenset("train training children named_children __setattr__ __getattribute__".split())
LOOKING = frozenset("__dict__ vars __getstate__ __reduce__ __reduce_ex__ getattr_static".split())
IMPLIED = frozenset[str]("__call__ __init__ forward func __wrapped__".split())  # what code runs without naming it
LIBRARY = sysconfig.get_path("stdlib")
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
    nothing in the functions that it may run looks into an object's attributes."""
    return not any(map(_switches, model.modules())) and not LOOKING & _names(model)


def _switches(module: nn.Module) -> bool:
    kinds = [kind for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    return any(SWITCHING & vars(kind).keys() for kind in kinds) or bool(SWITCHING & vars(module).keys() - {"training"})


def _names(model: nn.Module) -> set[str]:
    """All names in the code that a call of the model may run: methods of all classes of its modules, and what these
    name or hold; of other objects only what has a name that occurs there, and of those of libraries only calls."""
    modules = list(model.modules())
    holders = {*modules, *(kind for module in modules for kind in type(module).__mro__ if not _is_foreign(kind))}
    values = [value for holder in holders for value in vars(holder).values()]
    names = set(IMPLIED)
    while more := _named_by(list(values), names) - names:
        names |= more
    return names


def _named_by(values: list[Any], names: set[str]) -> set[str]:
    """All names in the code of functions among the values, and of those that they hold under one of the names."""
    found, met = set[str](), dict[int, Any]()
    while values:
        value = values.pop()
        if id(value) in met or (isinstance(value, FunctionType) and _is_foreign(value)):
            continue
        met[id(value)] = value
        if isinstance(value, FunctionType):
            found |= names_in(value.__code__)
        values += _held_by(value, names)
    return found


def _held_by(value: Any, names: set[str]) -> list[Any]:
    """What the value may call or pass on."""
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        return cells + _under(names_in(value.__code__), value.__globals__)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, dict):
        return list(dict.values(value))  # tables of transformers import entries when asked themselves
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        return [value.__func__]
    if isinstance(value, ModuleType):
        return [] if _is_installed(value.__name__) else _under(names, vars(value))
    kinds = (value if isinstance(value, type) else type(value)).__mro__
    tables = [(kinds[0], getattr(value, "__dict__", {})), *((kind, vars(kind)) for kind in kinds)]
    found = [(IMPLIED if _is_installed(kind.__module__) else names, table) for kind, table in tables]
    return [held for wanted, table in found for held in _under(wanted, table)]


def _under(names: Set[str], table: Mapping[str, Any]) -> list[Any]:
    return [table[name] for name in names if name in table]


def _is_installed(module: str) -> bool:
    """Whether it is of a library, of whose objects only calls are looked into."""
    return _is_known(module) or "site-packages" in str(getattr(sys.modules.get(module), "__file__", ""))


def _is_foreign(holder: Any) -> bool:
    """Whether PyTorch or Python brings it, which do not look a mode up unasked. (A wrapper has the ``__module__`` of
    what it wraps.)"""
    if isinstance(holder, FunctionType):
        return _is_known(holder.__globals__.get("__name__"))
    return _is_known(getattr(holder, "__module__", ""))


def _is_known(module: Any) -> bool:
    """Whether it is PyTorch's or Python's; a folder of the user's may be called as one of Python's."""
    package = str(module).partition(".")[0]
    origin = getattr(getattr(sys.modules.get(package), "__spec__", None), "origin", None) or ""
    pythons = package in sys.stdlib_module_names and (origin in ("built-in", "frozen") or origin.startswith(LIBRARY))
    return package == "torch" or pythons
