"""A model as a flat list of ATen calls: the form in which profiles are propagated.  [composition: Theorem A.2]

We trace with ``torch.export`` (non-strict), not with ``torch.fx`` symbolic tracing, because

* it runs the real ``forward`` on fake tensors, so free functions, shape arithmetic, Python control flow and Hugging
  Face models need no special case, while ``fx.symbolic_trace`` stops at the first ``if`` on a shape;
* every parameter, also one outside a module or used under two names, becomes a named input of one graph;
* its training IR keeps ``linear``, ``conv2d``, ``batch_norm``, ``layer_norm`` and ``scaled_dot_product_attention`` as
  one call each, so that one rule per operator family is enough.

The first dimension of every input tensor is left symbolic where the model allows it; training and evaluation are two
traces.
"""

from collections.abc import Callable, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.modules.fingerprint import fingerprint

Node = Any  # an fx.Node; its arguments are a union too wide for a type checker
Observer = Callable[[Node, Any], Any]


class Program(NamedTuple):
    """One traced mode of a model: ``graph`` maps state and flat user inputs to flat outputs."""

    graph: fx.Graph
    state: Mapping[str, str]  # placeholder name -> parameter or buffer name
    constants: Mapping[str, Tensor]  # placeholder name -> tensor that belongs to no module
    user_inputs: tuple[str, ...]  # placeholder names in flat order
    out_spec: pytree.TreeSpec
    modules: Mapping[str, str]  # node name -> path of the innermost module

    def where(self, node: Node | str) -> str:
        """Readable place of a node: module path, then operator."""
        name = node if isinstance(node, str) else node.name
        return f"{self.modules.get(name, '') or '(top)'}:{name}"


_TRACES: MutableMapping[nn.Module, dict[bool, tuple[Any, Program]]] = WeakKeyDictionary()


def as_arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tensor, a tuple of positional inputs or a dict of keyword inputs, as (args, kwargs)."""
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, (tuple, list)):
        return tuple(example_input), {}
    if isinstance(example_input, Tensor):
        return (example_input,), {}
    raise InvalidInput(
        "example_input", example_input, "must be a tensor, a tuple of inputs or a dict of keyword inputs"
    )


def trace(model: nn.Module, example_input: Any, *, training: bool | None = None) -> Program:
    """Trace ``model`` in its present mode, or in the given one; modes and buffers are left as they were.

    The last trace of each mode is kept as long as the model lives, and used again for the same kind of input while
    :func:`~lop_theory.modules.fingerprint.fingerprint` says that the model is built as it was then.
    """
    args, kwargs = as_arguments(example_input)
    mode = model.training if training is None else training
    built = fingerprint(model, (args, kwargs))
    kept = _TRACES.setdefault(model, {})
    if built is None or mode not in kept or kept[mode][0] != built:
        kept[mode] = (built, _traced(model, args, kwargs, mode))
    return kept[mode][1]


def _traced(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool) -> Program:
    modes = {module: module.training for module in model.modules()}
    if training != model.training:
        model.train(training)
    try:
        with torch.random.fork_rng(devices=[]):
            exported = _export(model, args, kwargs)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return _program(model, exported)


def _export(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.export.ExportedProgram:
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    shapes = torch.export.ShapesCollection()
    for tensor in tensors:
        if tensor.dim() and tensor.shape[0] > 1:
            shapes[tensor] = {0: torch.export.Dim.AUTO}
    try:
        dynamic = shapes.dynamic_shapes(model, args, kwargs)
        return torch.export.export(model, args, kwargs, dynamic_shapes=dynamic, strict=False)
    except Exception:
        try:
            return torch.export.export(model, args, kwargs, strict=False)
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise InvalidInput(
                "model",
                type(model).__name__,
                f"torch.export cannot trace it: {reason}",
                "see torch.export's documentation",
            ) from error


def _program(model: nn.Module, exported: torch.export.ExportedProgram) -> Program:
    signature = exported.graph_signature
    owned = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    graph = deepcopy(exported.graph)
    # A copied graph avoids Python's builtin names; names are then stable under every further copy.
    renamed = {old.name: new.name for old, new in zip(exported.graph.nodes, graph.nodes, strict=True)}
    state = {renamed[name]: target for name, target in lifted.items() if target in owned}
    constants: dict[str, Any] = {
        renamed[name]: exported.constants[target] for name, target in lifted.items() if target not in owned
    }
    _drop_mutation(graph, set(state))
    modules = {node.name: _path(node) for node in graph.nodes if node.op == "call_function"}
    inputs = tuple(n.name for n in graph.nodes if n.op == "placeholder" and n.name not in {**state, **constants})
    assert exported.call_spec.out_spec is not None
    return Program(graph, state, constants, inputs, exported.call_spec.out_spec, modules)


def _path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _drop_mutation(graph: fx.Graph, state: set[str]) -> None:
    """Replace in-place calls on activations by their pure forms, so that every recorded value stays what it was."""
    seen: set[Node] = set()
    for node in list(graph.nodes):
        seen.add(node)
        pure = _pure_form(node.target) if node.op == "call_function" else None
        target = node.args[0] if node.args else None
        if pure is None or not isinstance(target, fx.Node) or target.name in state:
            continue
        node.target = pure
        target.replace_all_uses_with(node, delete_user_cb=lambda user: user not in seen)


def _pure_form(target: Any) -> Any:
    packet = getattr(target, "overloadpacket", None)
    name = packet.__name__ if packet is not None else ""
    if not name.endswith("_") or name.endswith("__"):
        return None
    pure = getattr(torch.ops.aten, name[:-1], None)
    return getattr(pure, target._overloadname, None) if pure is not None else None


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones under every name."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


def own_state(program: Program, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detached state that ``program`` may run on: what it could overwrite is copied, parameters only where needed."""
    overwrites = any(
        getattr(getattr(node.target, "_schema", None), "is_mutable", False) for node in program.graph.nodes
    )
    copied: dict[int, Tensor] = {}
    for tensor in state.values():
        shared = isinstance(tensor, nn.Parameter) and not overwrites
        copied.setdefault(id(tensor), tensor.detach() if shared else tensor.detach().clone())
    return {name: copied[id(tensor)] for name, tensor in state.items()}


def run(program: Program, state: Mapping[str, Tensor], flat_inputs: list[Any], observe: Observer | None = None) -> Any:
    """Execute ``program``; ``observe(node, value)`` sees every value and its result replaces the value."""
    values = _bind(program, state, flat_inputs)
    device = next((t.device for t in state.values()), None)
    release = _last_uses(program.graph)
    for node in program.graph.nodes:
        if node.op == "output":
            flat = pytree.tree_leaves(fx.map_arg(node.args[0], values.__getitem__))
            outputs = list(flat) if len(flat) == program.out_spec.num_leaves else _flat_outputs(node, values)
            return pytree.tree_unflatten(outputs, program.out_spec)
        if node.op == "call_function":
            args = fx.map_arg(node.args, values.__getitem__)
            kwargs = fx.map_arg(node.kwargs, values.__getitem__)
            if device is not None and kwargs.get("device") is not None:
                kwargs = {**kwargs, "device": device}
            values[node] = node.target(*args, **kwargs)
        if observe is not None:
            values[node] = observe(node, values[node])
        for dead in release.get(node, ()):
            del values[dead]
    raise AssertionError("a traced graph always has an output")


def _flat_outputs(node: Node, values: dict[Node, Any]) -> list[Any]:
    return [values[item] if isinstance(item, fx.Node) else item for item in node.args[0]]  # type: ignore[union-attr]


def _bind(program: Program, state: Mapping[str, Tensor], flat_inputs: list[Any]) -> dict[Node, Any]:
    given = dict(zip(program.user_inputs, flat_inputs, strict=True))
    device = next((t.device for t in state.values()), None)
    values: dict[Node, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            break
        if node.name in program.state:
            values[node] = state[program.state[node.name]]
        elif node.name in program.constants:
            values[node] = program.constants[node.name].to(device) if device else program.constants[node.name]
        else:
            values[node] = given[node.name]
    return values


def _last_uses(graph: fx.Graph) -> dict[Node, list[Node]]:
    """Node -> values that nothing after it needs."""
    last: dict[Node, Node] = {}
    for node in graph.nodes:
        last[node] = node
        for argument in node.all_input_nodes:
            last[argument] = node
    release: dict[Node, list[Node]] = {}
    for value, user in last.items():
        if user.op != "output":
            release.setdefault(user, []).append(value)
    return release


def flat_inputs(example_input: Any) -> list[Any]:
    """The flat inputs in the order of ``Program.user_inputs``."""
    args, kwargs = as_arguments(example_input)
    return pytree.tree_leaves((args, kwargs))
