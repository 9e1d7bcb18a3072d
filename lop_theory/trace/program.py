"""A traced model: a pure graph of ATen calls from state and inputs to outputs and new buffers."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.trace.arguments import as_arguments, defaults, leaves
from lop_theory.trace.packing import Step, packed, unpacked, without_annotations

Node = Any  # an fx.Node; its arguments are a union too wide for a type checker
Observer = Callable[[Node, Any], Any]
Extent = int | str  # the size of a dimension, or the symbol of one that may vary from call to call


class Input(NamedTuple):
    """One tensor or Python value that a trace is called with, and what a call may put in its place."""

    path: str  # name of the argument, then the place in it
    placeholder: str
    shape: tuple[Extent, ...] | None  # None: not a tensor, and then ``value`` is the only one allowed
    dtype: torch.dtype | None
    value: Any


class Program(NamedTuple):
    """One traced mode of a model: ``graph`` maps state and flat inputs to flat outputs; no call in it overwrites
    anything, and every node's value stays what it was."""

    graph: fx.Graph
    state: Mapping[str, str]  # placeholder name -> parameter or buffer name
    constants: Mapping[str, Tensor]  # placeholder name -> tensor that belongs to no module
    inputs: tuple[Input, ...]  # in the order of the placeholders
    out_spec: pytree.TreeSpec
    modules: Mapping[str, str]  # node name -> path of the innermost module
    updates: Mapping[str, str]  # placeholder name -> node that holds its tensor's new value after the run
    signature: Signature | None
    ranges: Mapping[str, tuple[int, int]]  # symbol -> smallest and largest size

    def __reduce__(self) -> tuple[Any, ...]:
        """A graph is saved as its steps (:mod:`~lop_theory.trace.packing`)."""
        _, *rest = self._replace(signature=without_annotations(self.signature))
        return _restored, (packed(self.graph), *rest)

    @property
    def user_inputs(self) -> tuple[str, ...]:
        """Placeholder names of the inputs."""
        return tuple(i.placeholder for i in self.inputs)

    def where(self, node: Node | str) -> str:
        """Readable place of a node: module path, then operator."""
        name = node if isinstance(node, str) else node.name
        return f"{self.modules.get(name, '') or '(top)'}:{name}"

    def flat(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The values of a call in the order of ``inputs``, however it is spelt.

        Raises ``InvalidInput`` for a call that the trace does not describe: other Python values, shapes or dtypes.
        """
        given = leaves(self.signature, tuple(args), kwargs)
        known, usual = {i.path for i in self.inputs}, defaults(self.signature)
        for path in given.keys() - known:
            if not _same(given[path], usual.get(path, _ABSENT)):
                raise _other_call(path, given[path], "was left out when the model was traced")
        bound: dict[Extent, int] = {}
        return [self._fitting(i, given.get(i.path, usual.get(i.path, _ABSENT)), bound) for i in self.inputs]

    def _fitting(self, expected: Input, value: Any, bound: dict[Extent, int]) -> Any:
        if expected.shape is None:
            if not _same(value, expected.value):
                raise _other_call(expected.path, value, f"was {expected.value!r} when the model was traced")
            return value
        if not isinstance(value, Tensor) or value.dim() != len(expected.shape):
            raise _other_call(expected.path, value, f"must be a tensor of {len(expected.shape)} dimensions")
        assert expected.dtype is not None  # as its shape is
        if not _alike(value.dtype, expected.dtype):
            raise _other_call(expected.path, value.dtype, f"must be of dtype {expected.dtype}")
        for extent, size in zip(expected.shape, value.shape, strict=True):
            low, high = self.ranges[extent] if isinstance(extent, str) else (extent, extent)
            if not low <= size <= high or bound.setdefault(extent, size) != size:
                raise _other_call(expected.path, tuple(value.shape), f"must have the shape {expected.shape}")
        return value


def _restored(steps: tuple[Step, ...], *rest: Any) -> Program:
    return Program(unpacked(steps), *rest)


_ABSENT = object()


def _alike(one: torch.dtype, other: torch.dtype) -> bool:
    """One dtype, or two precisions of real or of complex numbers."""
    kinds = (one.is_floating_point, one.is_complex)
    return one == other or (any(kinds) and kinds == (other.is_floating_point, other.is_complex))


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor):
        return value is other
    return value is other or (type(value) is type(other) and bool(value == other))


def _other_call(path: str, value: object, requirement: str) -> InvalidInput:
    shown = f"tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else value
    shown = "(nothing)" if value is _ABSENT else shown
    return InvalidInput(
        path, shown, f"this trace does not describe the call: {path} {requirement}", "pass such a call as example_input"
    )


def flat_inputs(program: Program, example_input: Any) -> list[Any]:
    """:meth:`Program.flat` of a tensor, a tuple of positional inputs or a mapping of keyword inputs."""
    return program.flat(*as_arguments(example_input))


def operator_name(node: Node) -> str:
    """``linear`` for ``aten.linear.default``."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", "")


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones under every name."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


class Deferred:
    """State that is made anew for every use, and not kept: ``run`` takes it in place of a tensor."""

    def __init__(self, device: torch.device, make: Callable[[], Tensor]) -> None:
        self.device = device
        self.make = make


def run(
    program: Program,
    state: Mapping[str, Tensor],
    flat_inputs: Sequence[Any],
    observe: Observer | None = None,
    *,
    precision: torch.dtype | None = None,
    update: bool = False,
) -> Any:
    """Execute ``program``; ``observe(node, value)`` sees every value, and its result replaces the value.

    ``precision``: compute with this dtype throughout, whatever dtypes the model casts to (floating ones only).
    ``update``: write the new values of buffers into ``state`` (as the model itself does); by default nothing is
    overwritten.
    ``state`` may hold :class:`Deferred` parameters.
    """
    values = _bind(program, state, flat_inputs, precision)
    device = next((t.device for t in state.values()), None)
    release = _last_uses(program)
    for node in program.graph.nodes:
        if node.op == "output":
            if update:
                _write_back(program, state, flat_inputs, values)
            return _structured(program, node, values)
        if node.op == "call_function":
            values[node] = _executed(node, values, device, precision)
        if observe is not None:
            values[node] = observe(node, values[node])
        for dead in release.get(node, ()):
            del values[dead]
    raise AssertionError("a traced graph always has an output")


def _executed(node: Node, values: Mapping[Node, Any], device: Any, precision: torch.dtype | None) -> Any:
    args, kwargs = (fx.map_arg(value, lambda n: _made(values[n])) for value in (node.args, node.kwargs))
    if device is not None and kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": device}
    if precision is None:
        return node.target(*args, **kwargs)
    args, kwargs = pytree.tree_map(lambda value: _in(precision, value), (args, dict(kwargs)))
    return pytree.tree_map(lambda value: _in(precision, value), node.target(*args, **kwargs))


def _made(value: Any) -> Any:
    return value.make() if isinstance(value, Deferred) else value


def _in(precision: torch.dtype, value: Any) -> Any:
    """Floating tensors and dtypes in ``precision``, all else as it is."""
    if isinstance(value, torch.dtype):
        return precision if value.is_floating_point else precision.to_complex() if value.is_complex else value
    return value.to(precision) if isinstance(value, Tensor) and value.is_floating_point() else value


def _structured(program: Program, node: Node, values: Mapping[Node, Any]) -> Any:
    found = [_made(values[item]) if isinstance(item, fx.Node) else item for item in node.args[0]]
    return pytree.tree_unflatten(found, program.out_spec)


def _write_back(
    program: Program, state: Mapping[str, Tensor], flat_inputs: Sequence[Any], values: Mapping[Node, Any]
) -> None:
    given = dict(zip(program.user_inputs, flat_inputs, strict=True))
    fresh = {node.name: value for node, value in values.items()}
    for placeholder, source in program.updates.items():
        if placeholder in given:
            given[placeholder].copy_(fresh[source])
        else:
            with torch.no_grad():
                state[program.state[placeholder]].copy_(fresh[source])


def _bind(
    program: Program, state: Mapping[str, Tensor], flat_inputs: Sequence[Any], precision: torch.dtype | None
) -> dict[Node, Any]:
    given = dict(zip(program.user_inputs, flat_inputs, strict=True))
    device = next((t.device for t in state.values()), None)
    values: dict[Node, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            break
        if node.name in program.state:
            value = state[program.state[node.name]]
        elif node.name in program.constants:
            value = program.constants[node.name].to(device=device)
        else:
            value = given[node.name]
        if node.name in program.updates:
            value = value.clone()  # what autograd saves of it must not be overwritten at the end
        values[node] = value if precision is None else _in(precision, value)
    return values


def _last_uses(program: Program) -> dict[Node, list[Node]]:
    """Node -> values that nothing after it needs."""
    last: dict[Node, Node] = {}
    kept = set(program.updates.values())
    for node in program.graph.nodes:
        last[node] = node
        for argument in node.all_input_nodes:
            last[argument] = node
    release: dict[Node, list[Node]] = {}
    for value, user in last.items():
        if value.name not in kept:
            release.setdefault(user, []).append(value)
    return release
