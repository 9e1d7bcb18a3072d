"""Trace a model with ``torch.export``, make the graph pure, compare it with the model.

We trace with ``torch.export`` (non-strict), not with ``torch.fx`` symbolic tracing, because

* it runs the real ``forward`` on fake tensors, so free functions, shape arithmetic, Python control flow and Hugging
  Face models need no special case, while ``fx.symbolic_trace`` stops at the first ``if`` on a shape;
* every parameter, also one outside a module or used under two names, becomes a named input of one graph;
* its functionalisation turns writes on views, in-place operators and buffer updates into pure calls, and keeps
  ``linear``, ``conv2d``, ``layer_norm`` and ``scaled_dot_product_attention`` as one call each.

The first dimension of every input tensor is left symbolic where the model allows it; training and evaluation are two
traces, unless nothing asks for the mode (:mod:`~lop_theory.trace.modes`). What the functionalisation would lose
(``no_grad`` regions) is written into the graph first; what no trace can hold is refused
(:mod:`~lop_theory.trace.unseen`); then the trace must agree with the model (:mod:`~lop_theory.trace.comparison`).
"""

import logging
import re
import warnings
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from inspect import Parameter, Signature
from io import StringIO
from typing import Any, NamedTuple, cast
from unittest.mock import patch
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.fx import config as fx_config
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.trace.arguments import as_arguments, leaves, positions, signature_of
from lop_theory.trace.caches import attributes_kept, caches_off
from lop_theory.trace.comparison import asks, compare
from lop_theory.trace.fingerprints import fingerprint
from lop_theory.trace.modes import mode, modes_of, only_asks
from lop_theory.trace.program import Input, Node, Program, operator_name, state_of
from lop_theory.trace.purity import purified
from lop_theory.trace.random import random_state
from lop_theory.trace.unseen import (
    NotTraceable,
    one_line,
    refuse_hooks,
    refuse_objects,
    refuse_scripts,
    refuse_shared_memory,
    refuse_unmade,
)


class _Kept(NamedTuple):
    """A trace, how its model was built then, every module's mode, and whether something asked for it."""

    built: Any
    modes: tuple[bool, ...]
    program: Program
    modal: bool


_TRACES: MutableMapping[nn.Module, dict[bool, _Kept]] = WeakKeyDictionary()
ASSERTIONS = frozenset("_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range".split())
PREFIX = "model."
REPEATED = 80  # modules: from so many on the cache of fake tensors pays


class _Whole(nn.Module):
    """Calls the model as a user does, so that its own hooks run, too. Its signature is the call's: where keywords are
    gathered in ``**kwargs``, ``torch.export`` finds no shape for them."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model

        def forward(*args: Any, **kwargs: Any) -> Any:
            return self.model(*args, **kwargs)

        places = [Parameter(f"args_{k}", Parameter.POSITIONAL_ONLY) for k in range(len(args))]
        names = [Parameter(name, Parameter.KEYWORD_ONLY) for name in kwargs]
        cast(Any, forward).__signature__ = Signature([*places, *names])
        self.forward = forward


Export = Callable[[_Whole, tuple[Any, ...], dict[str, Any]], torch.export.ExportedProgram]


def trace(model: nn.Module, example_input: Any, *, training: bool | None = None) -> Program:
    """Trace ``model`` in its present mode, or in the given one; modes, buffers and random states stay as they were.

    ``example_input``: a tensor, a tuple of positional inputs or a mapping of keyword inputs. The result agrees with
    the model on it and on another batch size: outputs, new buffers, gradients of parameters and inputs.
    The last trace of each mode is kept as long as the model lives, and used again for the same kind of input while
    :func:`~lop_theory.trace.fingerprints.fingerprint` says that the model is built as it was then, and every module has
    the mode that it had.

    Raises :class:`~lop_theory.trace.unseen.NotTraceable` where the trace is not the model, ``InvalidInput`` for a bad
    input and for one without entries, on which nothing could be compared.
    """
    wanted = model.training if training is None else training
    return _traces(model, example_input, (wanted,))[wanted]


def traces(model: nn.Module, example_input: Any) -> dict[bool, Program]:
    """:func:`trace` in training and in evaluation mode: one program where nothing asks for the mode."""
    return _traces(model, example_input, (True, False))


def _traces(model: nn.Module, example_input: Any, modes: tuple[bool, ...]) -> dict[bool, Program]:
    args, kwargs = as_arguments(example_input)
    _require_entries((args, kwargs))
    refuse_scripts(model)
    refuse_unmade(model)
    found, unknown = {}, object()  # how a model without a fingerprint is built: as it is in this call, and no other
    for training in modes:
        with mode(model, training=training):
            built = fingerprint(model, (args, kwargs))
            found[training] = _in_this_mode(model, args, kwargs, unknown if built is None else built)
    return found


def _in_this_mode(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], built: Any) -> Program:
    kept, modes = _TRACES.setdefault(model, {}), modes_of(model)
    alike = [known for known in kept.values() if known.built == built]
    for known in alike:
        if known.modes == modes:
            return known.program
    refuse_hooks(model)
    with caches_off(model):
        free = (known for known in alike if not known.modal and _describes(model, known.program, args, kwargs))
        shared = next(free, None)
        kept[model.training] = _taken(model, args, kwargs, built) if shared is None else shared._replace(modes=modes)
    return kept[model.training].program


def _describes(model: nn.Module, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a trace in which nothing asked for the mode is the model in this one, too."""
    try:
        compare(model, program, args, kwargs)
    except NotTraceable:
        return False
    return True


def _taken(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], built: Any) -> _Kept:
    modal = not only_asks(model) or asks(model, (args, kwargs))  # before anyone keeps what it found
    return _Kept(built, modes_of(model), _agreeing(model, args, kwargs), modal)


def _require_entries(given: Any) -> None:
    shapes = [tuple(leaf.shape) for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
    if shapes and all(0 in shape for shape in shapes):
        raise InvalidInput(
            "example_input", shapes, "has no entries: nothing can be compared", "give at least one sample"
        )


def _agreeing(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
    """The trace of every batch size or, where that is not the model, of this one."""
    try:
        return _compared(model, args, kwargs, _of_any_batch)
    except NotTraceable:
        return _compared(model, args, kwargs, _of_this_batch)


def _compared(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], export: Export) -> Program:
    with attributes_kept(model):
        program = _traced(model, args, kwargs, export)
    compare(model, program, args, kwargs)
    return program


@contextmanager
def _quiet() -> Generator[None]:
    """``torch.export`` logs and prints hundreds of lines before it raises; one line of ours says what matters. Its
    structured log would collect a stack a record as long as it has a handler, which a disabled logger never removes."""
    level, structured = logging.root.manager.disable, logging.getLogger("torch.__trace")
    handlers, structured.handlers = structured.handlers, []
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        structured.handlers = handlers


def _without_stacks() -> AbstractContextManager[Any]:
    """Nodes do not note the lines that made them, which nothing here reads: walking the call stack for each is a tenth
    of a trace, and more where that is deep. Versions of PyTorch that always note them do not ask."""
    return patch.object(fx_config, "do_not_emit_stack_traces", True, create=True)


def _traced(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], export: Export) -> Program:
    positions(signature_of(model), args, kwargs)  # a call that forward does not take is said before export says it
    # A view of another input comes alone: export takes the sizes of what it is a view of for those of inputs, too.
    args, kwargs = pytree.tree_map_only(Tensor, Tensor.detach, (args, kwargs))
    with _quiet(), _without_stacks(), random_state():
        try:
            pure = purified(export(_Whole(model, args, kwargs), args, kwargs))
        except Exception as error:
            raise NotTraceable(
                type(model).__name__,
                f"torch.export cannot trace it: {one_line(error)}",
                "see torch.export's documentation",
            ) from error
    refuse_objects(model, pure)
    return _program(model, pure, args, kwargs)


def _of_this_batch(whole: _Whole, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.export.ExportedProgram:
    return torch.export.export(whole, args, kwargs, strict=False)


def _of_any_batch(whole: _Whole, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.export.ExportedProgram:
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    shapes = torch.export.ShapesCollection()
    for tensor in tensors:
        shapes[tensor] = {0: torch.export.Dim.AUTO}  # where it has such a dimension
    dynamic = shapes.dynamic_shapes(whole, args, kwargs)
    with _cache_of_fake_tensors(whole):
        exported = torch.export.export(whole, args, kwargs, dynamic_shapes=dynamic, strict=False)
    _require_ranges(exported)
    return exported


@contextmanager
def _cache_of_fake_tensors(whole: _Whole) -> Generator[None]:
    """Off for small models: with symbolic sizes no entry outlives its trace, and one costs more than an operator. One
    layer of a transformer is traced in 0.6 of the time; from eight equal ones on the cache pays."""
    from torch._dynamo import config

    pays = sum(1 for _ in whole.modules()) > REPEATED
    with config.patch(fake_tensor_cache_enabled=config.fake_tensor_cache_enabled and pays):
        yield


SIZE = r"L(\['[^']*'\]|\[\d+\])+\.size\(\)\[\d+\]"
RANGE = re.compile(rf"{SIZE} (<=?|>=?|==) \d+|\d+ (<=?|>=?|==) {SIZE}|{SIZE} == {SIZE}")


def _require_ranges(exported: torch.export.ExportedProgram) -> None:
    """Ranges of sizes, and sizes that are equal, are all that the program may suppose: a branch on one size, on a
    remainder or on a square leaves gaps in them."""
    for guard in getattr(exported, "_guards_code", None) or ():
        if not RANGE.fullmatch(guard):
            raise ValueError(f"it supposes {guard}")


def _program(
    model: nn.Module, exported: torch.export.ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Program:
    graph = deepcopy(exported.graph)
    # A copied graph avoids Python's builtin names; names are then stable under every further copy.
    renamed = {old.name: new.name for old, new in zip(exported.graph.nodes, graph.nodes, strict=True)}
    state, constants = _lifted(model, exported, renamed)
    _replace_views(graph)
    _replace_copies(graph)
    updates = _updates(exported, graph, renamed)
    _refuse_impure(model, graph)
    tensors = {**state_of(model), **constants}
    refuse_shared_memory(tensors, [state.get(name, name) for name in updates if name in {**state, **constants}])
    graph, updates = _numbered(graph, updates)
    placeholders = [n for n in graph.nodes if n.op == "placeholder" and n.name not in {**state, **constants}]
    modules = {node.name: _path(node) for node in graph.nodes if node.op == "call_function"}
    assert exported.call_spec.out_spec is not None
    signature = signature_of(model)
    return Program(
        graph,
        state,
        constants,
        _inputs(placeholders, positions(signature, args, kwargs), leaves(signature, args, kwargs)),
        exported.call_spec.out_spec,
        modules,
        updates,
        signature,
        {str(s): _range(r) for s, r in exported.range_constraints.items()},
    )


def _lifted(
    model: nn.Module, exported: torch.export.ExportedProgram, renamed: dict[str, str]
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Placeholders of the model's own tensors (by name), and of tensors that belong to no module."""
    signature, owned = exported.graph_signature, state_of(model)
    state: dict[str, str] = {}
    constants: dict[str, Any] = {}
    for group in (
        signature.inputs_to_parameters, signature.inputs_to_buffers, signature.inputs_to_lifted_tensor_constants
    ):  # fmt: skip
        for name, target in group.items():
            if target.removeprefix(PREFIX) in owned:
                state[renamed[name]] = target.removeprefix(PREFIX)
            else:
                constants[renamed[name]] = exported.constants[target]
    return state, constants


def _replace_views(graph: fx.Graph) -> None:
    """``view`` asks for strides, which kernels lay out otherwise than their descriptions say; in a pure graph
    ``reshape`` means the same."""
    for node in graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default


def _replace_copies(graph: fx.Graph) -> None:
    """``copy(target, source)`` is the source in the target's shape and dtype; PyTorch has no derivative for it."""
    ops = torch.ops.aten
    for node in [n for n in graph.nodes if operator_name(n) == "copy"]:
        target, source, *_ = node.args
        with graph.inserting_before(node):
            cast = graph.call_function(ops.to.dtype, (source, target.meta["val"].dtype))
            shaped = graph.call_function(ops.expand_as.default, (cast, target))
        cast.meta, shaped.meta = dict(node.meta), dict(node.meta)
        node.replace_all_uses_with(shaped)


def _updates(exported: torch.export.ExportedProgram, graph: fx.Graph, renamed: dict[str, str]) -> dict[str, str]:
    """Placeholder -> node with its new value; these leave the outputs, and assertions leave the graph."""
    signature = exported.graph_signature
    holder = {target: name for name, target in signature.inputs_to_buffers.items()}
    output = next(reversed(graph.nodes))
    targets = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    found = {
        renamed[holder.get(target, target)]: node.name for target, node in zip(targets, output.args[0], strict=False)
    }
    for node in list(graph.nodes):
        if operator_name(node) in ASSERTIONS:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    assert exported.call_spec.out_spec is not None
    results = output.args[0]
    output.args = (tuple(results[len(results) - exported.call_spec.out_spec.num_leaves :]),)  # type: ignore[index]
    return found


def _numbered(graph: fx.Graph, updates: dict[str, str]) -> tuple[fx.Graph, dict[str, str]]:
    """The graph with calls named by operator and number: export also counts what it has thrown away, the arithmetic
    of sizes above all, so the traces of a model and of its clone would name the same call differently."""
    fresh, copies = fx.Graph(), dict[Node, Node]()
    for node in graph.nodes:
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), copies.__getitem__)
        name = operator_name(node) or node.name
        copies[node] = fresh.create_node(node.op, node.target, args, kwargs, name, node.type)
        copies[node].meta = node.meta
    names = {old.name: new.name for old, new in copies.items()}
    return fresh, {holder: names[value] for holder, value in updates.items()}


def _refuse_impure(model: nn.Module, graph: fx.Graph) -> None:
    for node in graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            where = _path(node) or type(model).__name__
            raise NotTraceable(where, f"{node.target} overwrites a tensor where the trace cannot follow")


def _inputs(placeholders: list[Node], places: dict[str, int], given: dict[str, Any]) -> tuple[Input, ...]:
    paths = sorted(places, key=places.__getitem__)
    return tuple(_input(path, node, given[path]) for path, node in zip(paths, placeholders, strict=True))


def _input(path: str, node: Node, value: Any) -> Input:
    if not isinstance(value, Tensor):
        return Input(path, node.name, None, None, value)
    sizes = map(str, node.meta["val"].shape)
    shape = tuple(int(size) if size.isdigit() else size for size in sizes)
    return Input(path, node.name, shape, value.dtype, None)


def _range(sizes: Any) -> tuple[int, int]:
    """As of a size of which export has supposed that it is neither 0 nor 1, whatever range it says."""
    return int(max(sizes.lower, 2)), int(min(sizes.upper, 2**62))


def _path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path.startswith(PREFIX)]
    return paths[-1].removeprefix(PREFIX) if paths else ""
