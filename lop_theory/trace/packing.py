"""A traced graph as plain data, so that ``torch.save`` and ``pickle`` can hold it: operators and values by name."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg

from lop_theory.errors import InvalidInput

Node = Any
_map_nodes: Any = map_arg  # both map into anything, though their types say nodes
_map_leaves: Any = map_aggregate


@dataclass(frozen=True)
class Reference:
    """Another step's value."""

    name: str


class Step(NamedTuple):
    """A node: ``target`` names an operator of ``torch.ops``, or is a function; ``dtype`` is that of its tensor."""

    op: str
    name: str
    target: str | Callable[..., Any]
    args: Any
    kwargs: Any
    dtype: torch.dtype | None


def packed(graph: fx.Graph) -> tuple[Step, ...]:
    """All nodes in order."""
    return tuple(_step(node) for node in graph.nodes)


def _step(node: Node) -> Step:
    value = node.meta.get("val")
    args, kwargs = _map_nodes((node.args, node.kwargs), lambda other: Reference(other.name))
    return Step(
        node.op, node.name, _named(node), args, dict(kwargs), value.dtype if isinstance(value, Tensor) else None
    )


def _named(node: Node) -> str | Callable[..., Any]:
    if node.op in ("placeholder", "output"):
        return str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    if node.op == "call_function" and not isinstance(node.target, torch._ops.OperatorBase):
        return node.target
    raise InvalidInput("clone", node.name, f"cannot be saved: {node.target} runs a graph of its own")


def unpacked(steps: tuple[Step, ...]) -> fx.Graph:
    """The graph; of the values' descriptions only the dtypes are left."""
    graph, made = fx.Graph(), dict[str, Node]()
    for step in steps:
        target = _operator(step.target) if step.op == "call_function" else step.target
        args, kwargs = _map_leaves(
            (step.args, step.kwargs), lambda leaf: made[leaf.name] if isinstance(leaf, Reference) else leaf
        )
        node = graph.create_node(step.op, target, args, kwargs, step.name)
        if step.dtype is not None:
            node.meta["val"] = torch.empty(0, dtype=step.dtype, device="meta")
        made[step.name] = node
    return graph


def _operator(target: str | Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(target, str):
        return target
    namespace, packet, overload = target.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), overload)


def without_annotations(signature: Signature | None) -> Signature | None:
    """Annotations may be local classes, which no file can hold; binding a call does not need them."""
    if signature is None:
        return None
    bare = [p.replace(annotation=Parameter.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=Signature.empty)
