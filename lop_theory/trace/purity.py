"""An exported graph without writes: by rewriting those that nobody else sees, else by export's own functionalisation,
which traces a second time."""

from operator import getitem
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import fx, nn
from torch.export.graph_signature import OutputKind, OutputSpec, TensorArgument

from lop_theory.trace.program import Node, operator_name

WRITES_UNSEEN = frozenset("batch_norm instance_norm".split())  # running statistics, which their schemas do not declare
KEPT = frozenset("reshape flatten unflatten contiguous chunk dropout to".split())  # aliases that rules know as they are

FRESH = frozenset("linear conv1d conv2d conv3d batch_norm layer_norm group_norm instance_norm".split())  # new tensors


def purified(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program, pure; the argument may be changed."""
    _write_elsewhere(exported)
    if _is_pure(exported.graph):
        return exported
    _cut_gradients(exported)
    return _functionalised(exported)


def _is_pure(graph: fx.Graph) -> bool:
    """Whether functionalisation, which traces a second time, would change nothing that matters."""
    return all(_is_pure_call(node) for node in graph.nodes if node.op not in ("placeholder", "output"))


def _is_pure_call(node: Node) -> bool:
    """An operator that writes nothing, and that functionalisation leaves or that has a rule as it is."""
    target, name = node.target, operator_name(node)
    if not isinstance(target, torch._ops.OpOverload):
        return getattr(target, "__module__", "") in ("_operator", "math")
    aliases = any(result.alias_info is not None for result in target._schema.returns)
    changed = aliases and _is_composite(target) and name not in KEPT
    writes = target._schema.is_mutable or (name in WRITES_UNSEEN and _updates_statistics(node))
    return not (writes or changed or name.startswith("lift"))


def _updates_statistics(node: Node) -> bool:
    """``batch_norm`` and ``instance_norm(input, weight, bias, mean, variance, training, …)`` read their statistics in
    evaluation, if they have any."""
    return node.args[3] is not None and node.args[5] is not False


class _Rewriting(NamedTuple):
    """An exported program on its way to a pure one."""

    exported: torch.export.ExportedProgram
    order: dict[Node, int]
    holders: dict[Node, Node]  # where a buffer's present value stands -> its placeholder

    def replace(self, old: Node, new: Node, after: Node) -> None:
        """``new`` for who asks for ``old`` after a write."""
        old.replace_all_uses_with(new, delete_user_cb=lambda user: self.order[user] > self.order[after])
        if old in self.holders:
            self.holders[new] = self.holders.pop(old)


def _write_elsewhere(exported: torch.export.ExportedProgram) -> None:
    """Calls such as ``relu_`` on a fresh value or a buffer of which nobody holds a view: the pure call, and who asks
    later for the value gets its result. Other writes are left to the functionalisation."""
    nodes = list(exported.graph.nodes)
    buffers = exported.graph_signature.inputs_to_buffers
    now = _Rewriting(
        exported,
        {node: place for place, node in enumerate(nodes)},
        {node: node for node in nodes if node.name in buffers},
    )
    for node in nodes:
        pure = _pure_form(node)
        if operator_name(node) == "dropout_" and node.args[2] is False:  # in evaluation it is its argument
            now.replace(node, node.args[0], after=node)
            exported.graph.erase_node(node)
        elif pure is not None and _nobody_else_sees(node, node.args[0], now):
            node.target = pure
            now.replace(node.args[0], node, after=node)
        elif _writes_alone(node, now):
            (_update_batch if operator_name(node) == "batch_norm" else _update_instances)(node, now)
    _return_buffers(now)


def _writes_alone(node: Node, now: _Rewriting) -> bool:
    """Whether it writes running statistics, of which nobody holds a view."""
    writes = operator_name(node) in WRITES_UNSEEN and _updates_statistics(node)
    return writes and all(_nobody_else_sees(node, kept, now) for kept in node.args[3:5])


def _update_batch(node: Node, now: _Rewriting) -> None:
    """``batch_norm`` with its new running statistics as results."""
    ops, graph, (_, _, _, mean, variance, *_) = torch.ops.aten, now.exported.graph, node.args
    with graph.inserting_before(node):
        call = graph.call_function(ops._native_batch_norm_legit_functional.default, node.args[:8])
        results = [graph.call_function(getitem, (call, place)) for place in (0, 3, 4)]
    values = [kept.meta["val"] for kept in (node, mean, mean, mean, variance)]
    for made, value in zip((call, *results), (tuple(values), values[0], *values[3:]), strict=True):
        made.meta = {**node.meta, "val": value}
        now.order[made] = now.order[node]
    now.replace(node, results[0], after=node)
    graph.erase_node(node)
    for old, new in zip((mean, variance), results[1:], strict=True):
        now.replace(old, new, after=call)


def _update_instances(node: Node, now: _Rewriting) -> None:
    """``instance_norm``, whose outputs do not depend on its running statistics: these go towards the means, over the
    batch, of those of the instances; variances are unbiased."""
    ops, values, (_, _, _, *kept, _, momentum, _, _) = torch.ops.aten, node.args[0], node.args
    space = list(range(2, values.meta["val"].dim()))

    def call(target: Any, *args: Any) -> Node:
        with now.exported.graph.inserting_before(node):
            made = now.exported.graph.call_function(target, args)
        made.meta = {**node.meta, "val": target(*fx.map_arg(args, lambda given: given.meta["val"]))}
        now.order[made] = now.order[node]
        return made

    values = call(ops.detach.default, values)
    seen = call(ops.mean.dim, values, [0, *space]), call(ops.mean.dim, call(ops.var.dim, values, space), [0])
    for old, new in zip(kept, seen, strict=True):
        now.replace(old, call(ops.lerp.Scalar, old, new, momentum), after=node)
    node.args = (*node.args[:3], None, None, *node.args[5:])


def _return_buffers(now: _Rewriting) -> None:
    """The new values of buffers as further results, as the functionalisation gives them."""
    signature, output = now.exported.graph_signature, next(n for n in now.exported.graph.nodes if n.op == "output")
    written = [(node, kept) for node, kept in now.holders.items() if node is not kept]
    output.args = ((*(node for node, _ in written), *output.args[0]),)
    signature.output_specs[:0] = [
        OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(node.name), signature.inputs_to_buffers[kept.name])
        for node, kept in written
    ]


def _pure_form(node: Node) -> Any:
    """The operator that computes what an in-place one writes into its first argument, in the precision of that."""
    target, name = node.target, operator_name(node)
    if not isinstance(target, torch._ops.OpOverload) or not name.endswith("_") or name.startswith("_"):
        return None
    pure = getattr(getattr(torch.ops.aten, name[:-1], None), target._overloadname, None)
    return pure if _signature(pure) == _signature(target) and _keeps_dtype(pure, node) else None


def _keeps_dtype(pure: Any, node: Node) -> bool:
    """Not so of comparisons, and of sums of whole numbers."""
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda given: given.meta["val"])
    with torch.no_grad():
        return pure(*args, **kwargs).dtype == args[0].dtype


def _signature(target: Any) -> list[tuple[str, str]] | None:
    """Names and types of an operator's arguments: ``pow.Scalar`` takes a number to the power of a tensor."""
    return None if target is None else [(argument.name, str(argument.type)) for argument in target._schema.arguments]


def _nobody_else_sees(node: Node, target: Node, now: _Rewriting) -> bool:
    """Whether what the node writes into is a buffer, or the result of a call that aliases nothing, and no view of it
    was taken before."""
    before = [user for user in target.users if now.order[user] < now.order[node]]
    return (target in now.holders or _is_fresh(target)) and not any(map(_may_alias, before))


def _is_fresh(value: Node) -> bool:
    return not _may_alias(value.args[0] if value.target is getitem else value)


def _may_alias(node: Node) -> bool:
    """Kernels declare what they alias; composites may return a view, or their input (dropout in evaluation, einsum,
    broadcast_tensors), without saying so."""
    schema = getattr(node.target, "_schema", None)
    declared = schema is None or any(a.alias_info is not None for a in (*schema.arguments, *schema.returns))
    return declared or (_is_composite(node.target) and operator_name(node) not in FRESH)


def _is_composite(target: Any) -> bool:
    return target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


def _functionalised(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The graph without writes; no operator is decomposed. PyTorch would prepare each of its thousand composite
    operators to stay whole, which takes longer than the work; those of the graph are enough. Guards on the example's
    sizes are left out: a program has ranges of its own."""
    from torch._export.utils import _is_preservable_cia_op as preservable
    from torch.export import exported_program as export

    calls = {node.target for graph in _graphs(exported.graph_module) for node in graph.nodes}
    kept = {op for op in calls if isinstance(op, torch._ops.OpOverload) and preservable(op)}
    exported.example_inputs = None
    with patch.object(export, "_collect_all_valid_cia_ops", lambda: kept):
        return exported.run_decompositions({})


def _graphs(module: nn.Module) -> list[fx.Graph]:
    """Also those of regions that have a graph of their own."""
    return [part.graph for part in module.modules() if isinstance(part, fx.GraphModule)]


def _cut_gradients(exported: torch.export.ExportedProgram) -> None:
    """Detach what comes out of ``no_grad`` regions: the functionalisation inlines them and forgets what they were."""
    graph = exported.graph
    for region in [n for n in graph.nodes if operator_name(n) == "wrap_with_set_grad_enabled" and n.args[0] is False]:
        for value in list(region.users):
            with graph.inserting_after(value):
                cut = graph.call_function(torch.ops.aten.detach.default, (value,))
            cut.meta = dict(value.meta)
            value.replace_all_uses_with(cut, delete_user_cb=lambda user, cut=cut: user is not cut)
    exported.graph_module.recompile()
