"""The widened model as an instance of the user's own class: its ``forward``, keywords, shapes, hooks, ``state_dict``.

The trace says which axes grow. A deep copy of the model gets the wide parameters and buffers; then the plain sizes that
its code reads (``num_heads``, ``hidden_size``, a configuration's fields) must grow with them. Which attribute means
which size is not written anywhere, so we note what a forward pass reads, take as candidates the integers that equal a
size that grew within that module, and let the result decide: it must compute the base's outputs, on other batch sizes
and lengths, too. A model whose code has its widths as numbers stays with the rewritten trace.
"""

import copy
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from itertools import combinations, product
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.modules.clone import Clone
from lop_theory.trace import Program, as_arguments, trace
from lop_theory.trace.comparison import Pass, model_pass
from lop_theory.trace.tracing import mode

CLOSE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
TRIALS = 40
FIXED = frozenset("head_dim head_size attention_head_size kernel_size num_layers".split())
LINEAR = {"in_features": 1, "out_features": 0, "in1_features": 1, "in2_features": 2, "embedding_dim": 1}


class Scaled:
    """A forward pre-hook: the module's first input times a constant."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __call__(self, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0] * self.gain, *args[1:])


class Size(NamedTuple):
    """An attribute that holds a size, or several, on all objects of one class."""

    owner: str
    name: str
    value: Any


class Growth(NamedTuple):
    """A size in the trace that grew (or did not) within a module."""

    module: str
    old: int
    new: int


class NotNativeError(Exception):
    """Why the model's own class cannot hold the clone."""


def native(
    model: nn.Module, traced: Clone, base: Mapping[bool, Program], example_input: Any
) -> tuple[nn.Module, dict[str, float]]:
    """The clone in the model's own class, and its scaled modules. Raises :class:`NotNativeError`."""
    scaled = _scaled_modules(model, traced)
    options = _options(model, _sizes_read(model, example_input), _growth(base, traced))
    try:
        wide = copy.deepcopy(model)
    except Exception as error:
        raise NotNativeError(f"{type(model).__name__} cannot be copied: {error}") from error
    places = _places(wide, options)
    _fill(wide, traced.state())
    for path, gain in scaled.items():
        wide.get_submodule(path).register_forward_pre_hook(Scaled(gain))
    slack = _slack(base)
    calls = _calls(model, example_input, slack)
    for chosen in _choices(options):
        for size, value in chosen.items():
            for thing in places[size]:
                setattr(thing, size.name, value)
        agree = all(_agrees(wide, (training, given), expected, slack) for training, given, expected in calls)
        if calls and agree and _traceable(wide, example_input):
            return wide, scaled
    raise NotNativeError(
        "no choice of the sizes that its code reads gives the base's function: it has widths as numbers"
    )


def _scaled_modules(model: nn.Module, traced: Clone) -> dict[str, float]:
    """Modules whose input the rewritten graphs multiply by a constant."""
    found: dict[str, float] = {}
    for program in traced.programs.values():
        for node in program.graph.nodes:
            if "like" not in node.meta:
                continue
            user = next(iter(node.users), None)
            path = program.modules.get(user.name, "") if user is not None else ""
            weighted = bool(path) and getattr(model.get_submodule(path), "weight", None) is not None
            if not isinstance(node.args[1], float) or not weighted or user is None or user.args[0] is not node:
                raise NotNativeError(f"a sum of activations needs a correction at {program.where(user or node)}")
            found[path] = node.args[1]
    return found


def _fill(wide: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Wide parameters and buffers in place of the narrow ones, and the sizes that standard layers remember."""
    for path, module in wide.named_modules():
        for table in (module._parameters, module._buffers):
            for key in table:
                name = f"{path}.{key}" if path else key
                if table[key] is not None and name in state:
                    cast("dict[str, Any]", table)[key] = state[name]
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
        weight = module._parameters.get("weight")
        sizes = () if weight is None else tuple(weight.shape)
        for name, dim in LINEAR.items():
            if isinstance(vars(module).get(name), int) and len(sizes) > dim:
                setattr(module, name, sizes[dim])


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
    several = isinstance(value, (tuple, list)) and len(value) > 0
    return type(value) is int or (several and all(type(item) is int for item in value))


@contextmanager
def _watched(model: nn.Module, read: set[tuple[type, str]]) -> Generator[None]:
    """Within: notes the class and name of every size that is read from the model's objects."""
    classes: dict[type, type] = {}
    swapped: list[tuple[Any, type]] = []

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
                if kind not in classes:
                    classes[kind] = watching(kind)
                thing.__class__ = classes[kind]
                swapped.append((thing, kind))
            except (
                Exception
            ):  # what its metaclass or __init_subclass__ raises: it allows no such class, so it is not read
                continue
        yield
    finally:
        for thing, kind in swapped:
            thing.__class__ = kind


def _sizes_read(model: nn.Module, example_input: Any) -> set[tuple[type, str]]:
    read: set[tuple[type, str]] = set()
    with _watched(model, read):
        model_pass(model, as_arguments(example_input))
    return read


def _growth(base: Mapping[bool, Program], traced: Clone) -> set[Growth]:
    """Every literal size of the traces, and every parameter's, before and after."""
    found: set[Growth] = set()
    for training, program in base.items():
        wide = {node.name: node for node in traced.programs[training].graph.nodes}
        for node in program.graph.nodes:
            if node.op == "call_function":
                old, new = (pytree.tree_leaves((n.args, n.kwargs)) for n in (node, wide[node.name]))
                module = program.modules.get(node.name, "")
                found |= {Growth(module, a, b) for a, b in zip(old, new, strict=False) if type(a) is type(b) is int}
        axes = traced.profiles[training].values
        found |= {
            Growth(program.modules.get(name, ""), int(index.max(initial=-1)) + 1, len(index))
            for name, maps in axes.items()
            for index in maps
        }
    for name, maps in traced.profiles[True].state.items():
        module = name.rpartition(".")[0]
        found |= {Growth(module, int(index.max(initial=-1)) + 1, len(index)) for index in maps}
    return found


def _options(model: nn.Module, read: set[tuple[type, str]], growth: set[Growth]) -> dict[Size, tuple[Any, ...]]:
    """What each size that was read may become, the likeliest first."""
    found: dict[Size, tuple[Any, ...]] = {}
    for path, thing in _objects(model):
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
        each = [max((new for old, new in inside if old == v), default=v) for v in value]
        return (type(value)(each), value) if name not in FIXED else (value, type(value)(each))
    grown = sorted({new for old, new in inside if old == value and new != value})
    likely = name not in FIXED and ((value, value) not in inside or "head" in name or "hidden" in name)
    return (*grown, value) if likely else (value, *grown)


def _choices(options: Mapping[Size, tuple[Any, ...]]) -> Iterator[dict[Size, Any]]:
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


def _places(wide: nn.Module, options: Mapping[Size, Any]) -> dict[Size, list[Any]]:
    """The objects of the copy that hold each size, before anything is changed."""
    found: dict[Size, list[Any]] = {size: [] for size in options}
    for _, thing in _objects(wide):
        for size in options:
            if size.owner == type(thing).__qualname__:
                value = getattr(thing, size.name, None)
                if (tuple(value) if isinstance(value, (tuple, list)) else value) == size.value:
                    found[size].append(thing)
    return found


def _slack(base: Mapping[bool, Program]) -> float:
    """A coarse tolerance, that of the coarsest precision that flows through the trace."""
    values = [node.meta.get("val") for program in base.values() for node in program.graph.nodes]
    dtypes = {value.dtype for value in values if isinstance(value, Tensor) and value.is_floating_point()}
    return max((CLOSE.get(dtype, 1e-1) for dtype in dtypes), default=1e-9)


def _calls(model: nn.Module, example_input: Any, slack: float) -> list[tuple[bool, Any, Pass]]:
    """Calls that the base takes, in both modes, and what it answers: the example, another batch size and length."""
    args, kwargs = as_arguments(example_input)
    found: list[tuple[bool, Any, Pass]] = []
    for training, given in product((False, True), ((args, kwargs), *_others(args, kwargs))):
        with mode(model, training=training):
            try:
                expected = model_pass(model, given)
                if training and not _same(expected, model_pass(model, given, seed=1), slack):
                    continue  # random masks: a wider layer draws others
            except Exception:
                continue
            found.append((training, given, expected))
    return found


def _others(*given: Any) -> list[Any]:
    """One more row of every tensor; one more position of every sequence."""
    first = next((t for t in pytree.tree_leaves(given) if isinstance(t, Tensor) and t.dim()), None)
    if first is None:
        return []
    sizes = tuple(first.shape)
    longer = [0] if len(sizes) == 1 else [0, 1]
    return [pytree.tree_map(lambda t, dim=dim: _longer(t, dim, sizes[dim]), given) for dim in longer]


def _longer(value: Any, dim: int, size: int) -> Any:
    if not isinstance(value, Tensor) or value.dim() <= dim or value.shape[dim] != size:
        return value
    return value.index_select(dim, torch.arange(size + 1, device=value.device) % size)


def _agrees(wide: nn.Module, call: tuple[bool, Any], expected: Pass, slack: float) -> bool:
    training, given = call
    try:
        with mode(wide, training=training):
            return _same(model_pass(wide, given), expected, slack)
    except Exception:
        return False


def _traceable(wide: nn.Module, example_input: Any) -> bool:
    """Whether ``certify`` will be able to look at it: eager kernels accept sizes that a trace does not."""
    try:
        trace(wide, example_input)
    except InvalidInput:
        return False
    return True


def _same(mine: Pass, theirs: Pass, slack: float) -> bool:
    """Equal outputs and gradients of the inputs, within a coarse tolerance: ``certify`` has the last word."""
    pairs = [*zip(mine.outputs, theirs.outputs, strict=False)]
    pairs += [*zip(mine.input_gradients, theirs.input_gradients, strict=False)]
    return len(mine.outputs) == len(theirs.outputs) and all(_close(a, b, slack) for a, b in pairs)


def _close(a: Any, b: Any, slack: float) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and bool(a == b))
    if a.shape != b.shape or not a.is_floating_point():
        return a.shape == b.shape and bool((a == b).all())
    a, b = a.detach().double(), b.detach().double()
    scale = float(b.nan_to_num(0.0, 0.0, 0.0).abs().max()) if b.numel() else 0.0
    return bool(((a - b).abs() <= slack * scale)[a != b].all())
