"""Sizes that a model's code reads from plain attributes (``num_heads``, ``hidden_size``, a configuration's fields), and
what each may become when widths change.

Which attribute means which width is not written anywhere. We note what a forward pass reads, take as candidates the
integers that equal a size that changed within that module, and offer the likeliest choices first: who calls keeps the
first whose result is right.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from itertools import combinations, product
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from lop_theory.trace import as_arguments
from lop_theory.trace.caches import attributes_kept
from lop_theory.trace.comparison import answer

TRIALS = 40
FIXED = frozenset("head_dim head_size attention_head_size kernel_size num_layers".split())
WIDTHS = tuple("hidden intermediate inner ffn head embd embed dim width channel feature unit filter plane".split())
Within = Callable[[str, Any], bool]
"""Whether the sizes of an object (its path, itself) may change."""


def names_a_width(name: str) -> bool:
    """Whether an attribute says that it is a width; ``sliding_window`` may equal one by chance."""
    return any(part in name.lower() for part in WIDTHS)


def anywhere(_path: str, _thing: Any) -> bool:
    return True


class Size(NamedTuple):
    """An attribute that holds a size, or several, on all objects of one class."""

    owner: str
    name: str
    value: Any


def put(places: Mapping[Size, list[Any]], values: Mapping[Size, Any]) -> None:
    """Set sizes on the objects that hold them."""
    for size, value in values.items():
        for thing in places[size]:
            setattr(thing, size.name, value)


def put_back(sizes: Iterable[Size], places: Mapping[Size, list[Any]], right: Callable[[], bool]) -> None:
    """Give each size its old value again, unless that is not right: a number that equals a width by chance (Mistral's
    ``sliding_window``) means something else."""
    for size in sizes:
        things = places[size]
        new = [getattr(thing, size.name) for thing in things]
        for thing, value in zip(things, new, strict=True):
            setattr(thing, size.name, size.value if isinstance(value, int) else type(value)(size.value))
        if not right():
            for thing, value in zip(things, new, strict=True):
                setattr(thing, size.name, value)


class Growth(NamedTuple):
    """A size in the trace that grew (or did not) within a module."""

    module: str
    old: int
    new: int


def _objects(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Modules with their paths, and the plain objects (configurations) that they hold, with an empty path."""
    met: set[int] = set()

    def held(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        plain = (
            hasattr(value, "__dict__")
            and not isinstance(value, (Tensor, nn.Module, Enum, type))
            and not callable(value)
        )
        if not plain or id(value) in met or type(value).__module__.startswith(("torch", "builtins")):
            return
        met.add(id(value))
        yield "", value
        for inner in vars(value).values() if depth else ():
            yield from held(inner, depth - 1)

    for path, module in model.named_modules():
        yield path, module
        for value in vars(module).values():
            yield from held(value, 3)


def _is_size(value: Any) -> bool:
    return type(value) is int or (isinstance(value, (tuple, list)) and all(type(item) is int for item in value))


@contextmanager
def _watched(model: nn.Module, read: set[tuple[type, str]]) -> Generator[None]:
    """Within: notes the class and name of every size that is read from the model's objects."""
    swapped: list[tuple[Any, type]] = []

    @cache
    def watching(kind: type) -> type:
        def get(self: Any, name: str) -> Any:
            value = cast(Any, kind).__getattribute__(self, name)
            if _is_size(value):
                read.add((kind, name))
            return value

        return type(kind.__name__, (kind,), {"__getattribute__": get, "__module__": kind.__module__})

    try:
        for _, thing in _objects(model):
            kind = type(thing)
            try:
                thing.__class__ = watching(kind)
                swapped.append((thing, kind))
            except (
                Exception
            ):  # what its metaclass or __init_subclass__ raises: it allows no such class, so it is not read
                continue
        yield
    finally:
        for thing, kind in swapped:
            thing.__class__ = kind


def sizes_read(model: nn.Module, example_input: Any) -> set[tuple[type, str]]:
    read: set[tuple[type, str]] = set()
    with _watched(model, read), attributes_kept(model):
        answer(model, as_arguments(example_input))
    return read


def options_of(
    model: nn.Module, read: set[tuple[type, str]], growth: set[Growth], within: Within = anywhere
) -> dict[Size, tuple[Any, ...]]:
    """What each size that was read may become, the likeliest first."""
    found: dict[Size, tuple[Any, ...]] = {}
    for path, thing in _objects(model):
        if not within(path, thing):
            continue
        inside = {(g.old, g.new) for g in growth if not path or g.module == path or g.module.startswith(path + ".")}
        for kind, name in sorted(read, key=lambda item: item[1]):
            if type(thing) is kind:
                value: Any = getattr(thing, name, None)
                if not _is_size(value):
                    continue
                key = Size(kind.__qualname__, name, tuple(value) if not isinstance(value, int) else value)
                become = _become(name, value, inside)
                found[key] = _distinct((*found.get(key, ()), *become))
    return {size: values for size, values in found.items() if len(values) > 1}


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each once (lists among them), in order."""
    return tuple(value for place, value in enumerate(values) if value not in values[:place])


def _become(name: str, value: Any, inside: set[tuple[int, int]]) -> tuple[Any, ...]:
    if isinstance(value, (tuple, list)):
        each = [max((new for old, new in inside if old == v != new), default=v) for v in value]
        return (type(value)(each), value) if name not in FIXED else (value, type(value)(each))
    grown = sorted({new for old, new in inside if old == value and new != value})
    likely = name not in FIXED and ((value, value) not in inside or "head" in name or "hidden" in name)
    return (*grown, value) if likely else (value, *grown)


def choices(options: Mapping[Size, tuple[Any, ...]]) -> Iterator[dict[Size, Any]]:
    """The likeliest choice first, then those that differ from it in one, two or three sizes."""
    likeliest = {size: values[0] for size, values in options.items()}
    others = [
        {**likeliest, **changes}
        for count in range(1, 4)
        for changes in _changes(options, count)
    ]  # fmt: skip
    return iter([likeliest, *others][:TRIALS])


def _changes(options: Mapping[Size, tuple[Any, ...]], count: int) -> list[dict[Size, Any]]:
    found = ([(size, value) for value in values[1:]] for size, values in options.items())
    return [
        dict(choice)
        for group in combinations(list(found), count)
        for choice in product(*group)
    ]  # fmt: skip


def places_of(wide: nn.Module, options: Mapping[Size, Any], within: Within = anywhere) -> dict[Size, list[Any]]:
    """The objects of the copy that hold each size, before anything is changed."""
    found: dict[Size, list[Any]] = {size: [] for size in options}
    for path, thing in _objects(wide):
        for size in options if within(path, thing) else ():
            if size.owner == type(thing).__qualname__:
                value = getattr(thing, size.name, None)
                if (tuple(value) if isinstance(value, (tuple, list)) else value) == size.value:
                    found[size].append(thing)
    return found
