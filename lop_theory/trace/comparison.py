"""A trace against the model it was taken from: outputs, new buffers, gradients of parameters and inputs.

Both run the same kernels in the same order on the same random numbers, so they agree up to the rounding of sums taken
in another order. Whatever differs by more is not the model, and no certificate may rest on it.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.trace.caches import attributes_kept, caches_off
from lop_theory.trace.eager import as_written
from lop_theory.trace.modes import watched_mode
from lop_theory.trace.passes import keep, kept
from lop_theory.trace.program import Program, run, state_of
from lop_theory.trace.random import random_state
from lop_theory.trace.unseen import (
    GradientFlags,
    HookWatch,
    NotTraceable,
    custom_function,
    floating,
    one_line,
    outputs_of_modules,
)

SLACK = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Receiver = Callable[[str, Tensor], None]
BLOCK = 1 << 18  # entries that are compared at once: what stays in a cache


class Pass(NamedTuple):
    """One forward and backward pass: what a user of the model can see of it."""

    outputs: list[Any]
    buffers: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor | None]  # by parameter name
    input_gradients: list[Tensor | None]
    structure: Any = None  # of the outputs, as a pytree


def compare(model: nn.Module, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise :class:`NotTraceable` unless ``program`` is ``model`` in its present mode: on the given call, and on one
    with another batch size if the trace says that it describes those, too."""
    given: Arguments = (args, kwargs)
    with attributes_kept(model):  # as the first call leaves them, so that the second shows what the model remembers
        theirs = _first_pass(model, given)
        _refuse_custom(model, given, theirs)
        _refuse_memory(model, given, theirs)
    _agree(model, program, given, theirs)
    another = another_call(program, given)
    if another is not None:
        with _silenced() as raised:
            theirs = model_pass(model, another)
        if not raised:
            _agree(model, program, another, theirs)


def _first_pass(model: nn.Module, given: Arguments) -> Pass:
    watch = HookWatch()
    with watch, _raising(model, "the model itself raises in a forward and backward pass"):
        found = _own_pass(model, given, 0)
    if watch.seen:
        raise NotTraceable(type(model).__name__, "its forward registers a hook on a tensor", "remove the hook")
    return found


@contextmanager
def _raising(model: nn.Module, reason: str) -> Generator[None]:
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        raise NotTraceable(type(model).__name__, f"{reason}: {one_line(error)}") from error


@contextmanager
def _silenced() -> Generator[list[Exception]]:
    """The model itself may refuse the other batch size; then there is nothing to compare."""
    raised: list[Exception] = []
    try:
        yield raised
    except Exception as error:
        raised.append(error)


def model_pass(model: nn.Module, given: Arguments, seed: int = 0, *, parameters: bool = True) -> Pass:
    """The model's own forward and backward pass; gradients, buffers, plain attributes and random states of the model
    stay as they are. Without ``parameters``: only the gradients of the inputs, and perhaps of a pass that was taken
    before (:func:`~lop_theory.trace.passes.passes_kept`)."""
    found = None if parameters else kept(model, given, seed)
    with attributes_kept(model):
        return _own_pass(model, given, seed, parameters=parameters) if found is None else found


def _own_pass(model: nn.Module, given: Arguments, seed: int, *, parameters: bool = True) -> Pass:
    wanted = _trainable(model) if parameters else {}
    with random_state(seed, python=seed), caches_off(model), _own_buffers(model):
        found = _pass(lambda args, kwargs: model(*args, **kwargs), given, wanted)
        found = found._replace(buffers=dict(model.named_buffers(remove_duplicate=False)))
    outputs = [t.detach() if isinstance(t, Tensor) else t for t in found.outputs]
    keep(model, given, seed, found._replace(outputs=outputs, gradients={}))
    return found


def asks(model: nn.Module, given: Arguments) -> bool:
    """Whether a pass of the model, which serves nothing else, asks for its mode; one that fails when watched may."""
    as_it_was = attributes_kept(model)
    try:
        with random_state(0, python=0), as_it_was, _own_buffers(model), as_written(), watched_mode(model) as asked:
            _pass(lambda args, kwargs: model(*args, **kwargs), given, {})
    except Exception:
        return True
    return bool(asked)


@contextmanager
def _own_buffers(model: nn.Module) -> Generator[None]:
    """Within: calls write into copies of the buffers, and may put others there."""
    tables = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    buffers = [buffer for _, table in tables for buffer in table.values() if buffer is not None]
    copies = {id(buffer): buffer.detach().clone() for buffer in buffers}
    for table, before in tables:
        table.update({name: copies.get(id(buffer)) for name, buffer in before.items()})
    try:
        yield
    finally:
        for table, before in tables:
            table.clear()
            table.update(before)


def program_pass(
    model: nn.Module, program: Program, given: Arguments, seed: int = 0, receive: Receiver | None = None
) -> Pass:
    """The same of the trace. ``receive(name, gradient)`` takes every parameter's gradient as soon as it is known; none
    is kept then."""
    leaves = {id(t): _own_leaf(t) for t in state_of(model).values()}
    state = {name: leaves[id(t)] for name, t in state_of(model).items()}

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return run(program, state, program.flat(args, kwargs), update=True)

    with random_state(seed):
        found = _pass(call, given, {name: leaves[id(p)] for name, p in _trainable(model).items()}, receive)
    told = {id(state[program.state[holder]]) for holder in program.updates if holder in program.state}
    for name, tensor in state_of(model).items():
        if id(state[name]) not in told and difference(state[name].detach(), tensor.detach()) is not None:
            raise NotTraceable(name, "the trace is not the model: it writes into this tensor and does not say so")
    return found._replace(buffers=state)


def _own_leaf(tensor: Tensor) -> Tensor:
    """A parameter's values as another leaf of autograd; a copy of a buffer, into which the program writes."""
    if isinstance(tensor, nn.Parameter):
        return tensor.detach().requires_grad_(tensor.requires_grad)
    return tensor.detach().clone()


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _pass(
    call: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    given: Arguments,
    parameters: Mapping[str, Tensor],
    receive: Receiver | None = None,
) -> Pass:
    """All but the buffers."""
    roots: list[Tensor] = []

    def fresh(value: Any) -> Any:
        """A copy that may be written into; floating ones ask for a gradient."""
        if not isinstance(value, Tensor):
            return value
        if not value.is_floating_point():
            return value.detach().clone()
        roots.append(value.detach().clone().requires_grad_())
        return roots[-1].clone()

    with torch.enable_grad():
        args, kwargs = pytree.tree_map(fresh, given)
        with GradientFlags():
            output = call(args, kwargs)
        if receive is not None:
            _send(parameters, receive)
        gradients = _gradients(floating(output), [*parameters.values(), *roots])
    outputs, structure = pytree.tree_flatten(output)
    named = dict(zip(parameters, gradients, strict=False))
    return Pass(outputs, {}, named, gradients[len(parameters) :], structure)


def _gradients(outputs: list[Tensor], wanted: list[Tensor]) -> list[Tensor | None]:
    """Those of a random linear function of the outputs (None if nothing in them can be differentiated)."""
    outputs = [t for t in outputs if t.requires_grad]
    if not wanted:
        return []
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float32).to(t) for t in outputs]
    return list(torch.autograd.grad(outputs, wanted, weights, allow_unused=True))


def _send(parameters: Mapping[str, Tensor], receive: Receiver) -> None:
    """``receive`` sees gradients as they are computed, and they take no memory afterwards."""

    def given(name: str) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            receive(name, gradient)
            return gradient.new_zeros(()).expand_as(gradient)

        return hook

    for name, parameter in parameters.items():
        parameter.register_hook(given(name))


def _refuse_custom(model: nn.Module, given: Arguments, seen: Pass) -> None:
    name = custom_function(floating(seen.outputs))
    if name is None:
        return
    found = outputs_of_modules(model, lambda: model_pass(model, given))
    where = next((path for path, tensors in found if custom_function(tensors)), "")
    raise NotTraceable(
        where or type(model).__name__,
        f"torch.autograd.Function {name} has a backward of its own, which no rule covers",
        "use the differentiable form of the operator",
    )


def answer(model: nn.Module, given: Arguments, *, seed: int = 0, python: int = 0) -> list[Any]:
    """What a call returns; ``seed`` is that of PyTorch's random numbers, ``python`` of Python's and NumPy's."""
    args, kwargs = pytree.tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, given)
    with random_state(seed, python=python), caches_off(model), _own_buffers(model):
        return pytree.tree_leaves(model(*args, **kwargs))


def _refuse_memory(model: nn.Module, given: Arguments, first: Pass) -> None:
    """Call the model a second time with other random numbers of Python and NumPy."""
    second = answer(model, given, python=1)
    if len(first.outputs) != len(second) or any(
        difference(a, b) is not None for a, b in zip(first.outputs, second, strict=True)
    ):
        raise NotTraceable(
            type(model).__name__,
            "the same call gives another output: it depends on random numbers of Python or NumPy, or on earlier calls",
            "use PyTorch's random numbers, and buffers for state",
        )


def _agree(model: nn.Module, program: Program, given: Arguments, theirs: Pass) -> None:
    """``theirs`` loses its gradients of parameters: each is compared as soon as the program has its own."""
    open_, reasons = dict(theirs.gradients), dict[str, str | None]()
    cast("dict[str, Any]", theirs.gradients).clear()

    def receive(name: str, gradient: Tensor) -> None:
        reasons[name] = difference(gradient, open_.pop(name))

    order = list(reversed(open_))
    with _raising(model, "the trace is not the model: it raises where the model does not"):
        mine = program_pass(model, program, given, receive=receive)
    reasons |= {name: difference(None, gradient) for name, gradient in open_.items()}
    if mine.structure != theirs.structure:
        raise NotTraceable(type(model).__name__, "the trace is not the model: its outputs have another structure")
    for k, (a, b) in enumerate(zip(mine.outputs, theirs.outputs, strict=True)):
        reason = difference(a, b)
        if reason is not None:
            where = _first_module(model, program, given) or type(model).__name__
            raise NotTraceable(where, f"the trace is not the model: output {k} {reason}")
    for name in filter(mine.buffers.__contains__, theirs.buffers):  # the call may give one another name, too
        reason = difference(mine.buffers[name], theirs.buffers[name])
        if reason is not None:
            raise NotTraceable(name, f"the trace is not the model: this buffer {reason} after a call")
    for k, (a, b) in enumerate(zip(mine.input_gradients, theirs.input_gradients, strict=True)):
        reasons[f"input {k}"] = difference(a, b)
    for name in (*order, *reasons):
        if reasons[name] is not None:
            raise NotTraceable(name, f"the trace is not the model: the gradient of {name} {reasons[name]}")


def difference(mine: Any, theirs: Any) -> str | None:
    """What two leaves differ by beyond rounding (a missing gradient is a zero one), or None."""
    if not isinstance(mine, Tensor) and not isinstance(theirs, Tensor):
        return None if mine is theirs or mine == theirs else f"is {mine!r}, not {theirs!r}"
    if mine is None or theirs is None:
        absent = not any(isinstance(t, Tensor) and bool(t.detach().abs().any()) for t in (mine, theirs))
        return None if absent else "is there for one of them only"
    if not isinstance(mine, Tensor) or not isinstance(theirs, Tensor) or mine.shape != theirs.shape:
        return f"has the shape {getattr(mine, 'shape', mine)}, not {getattr(theirs, 'shape', theirs)}"
    if mine.dtype != theirs.dtype:
        return f"is {mine.dtype}, not {theirs.dtype}"
    if mine.is_meta and theirs.is_meta:
        return None  # nothing is in them
    return _distance(_dense(mine.detach()), _dense(theirs.detach()))


def _dense(tensor: Tensor) -> Tensor:
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _distance(mine: Tensor, theirs: Tensor) -> str | None:
    if torch.equal(mine, theirs):
        return None
    if not mine.is_floating_point():
        return "differs"
    worst = largest = 0.0
    for a, b in zip(mine.reshape(-1).split(BLOCK), theirs.reshape(-1).split(BLOCK), strict=True):
        x, y = a.double(), b.double()
        finite = x.isfinite() & y.isfinite()
        if not torch.equal(torch.where(finite, 0.0, x).nan_to_num(9.0), torch.where(finite, 0.0, y).nan_to_num(9.0)):
            return "is not finite in the same places"
        worst = max(worst, float(torch.where(finite, x - y, 0.0).abs().max()))
        largest = max(largest, float(torch.where(finite, y, 0.0).abs().max()))
    if worst <= SLACK.get(mine.dtype, 1e-1) * largest:
        return None
    return f"differs by {worst:.2e} (largest entry {largest:.2e})"


def another_call(program: Program, given: Arguments) -> Arguments | None:
    """The call with every symbolic size one larger (rows are repeated); None if all sizes are fixed."""
    symbols = sorted({e for i in program.inputs for e in i.shape or () if isinstance(e, str)})
    if not symbols or any(s not in program.ranges for s in symbols):
        return None
    leaves, structure = pytree.tree_flatten(given)
    grown = [
        leaf if expected.shape is None else _grown(leaf, expected.shape)
        for leaf, expected in zip(leaves, program.inputs, strict=True)
    ]
    return pytree.tree_unflatten(grown, structure)


def _grown(tensor: Tensor, shape: tuple[Any, ...]) -> Tensor:
    for dim, extent in enumerate(shape):
        if isinstance(extent, str):
            n = tensor.shape[dim]
            tensor = tensor.index_select(dim, torch.arange(n + 1, device=tensor.device) % n)
    return tensor


def _first_module(model: nn.Module, program: Program, given: Arguments) -> str:
    """The first module whose output is not found among the values that the trace has for it; "" where that is the
    model itself, or none."""
    values: dict[str, list[Tensor]] = {}

    def observe(node: Any, value: Any) -> Any:
        path = program.modules.get(node.name, "")
        for part in {"", *accumulate(path.split("."), "{}.{}".format)}:
            values.setdefault(part, []).extend(floating(value))
        return value

    with torch.no_grad():
        theirs = list(outputs_of_modules(model, lambda: model_pass(model, given)))
        with random_state(0):
            run(program, {n: t.detach() for n, t in state_of(model).items()}, program.flat(*given), observe)
    for path, outputs in theirs:
        mine = values.get(path)
        if mine is not None and any(all(difference(m, t) is not None for m in mine) for t in outputs):
            return path
    return ""
