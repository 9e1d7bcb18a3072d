"""The hidden units of any model that can be replaced: what computes them, what reads them, what stands between.

    h = φ(W_in x + b),   y = W_out h + c:   unit i is row i of W_in and b, and what stems from it in W_out its columns.

Found on the traced graph, so that functional activations, pooling, reshapes, branches, gates, concatenation and the
values of attention are followed as they are, and what cannot be replaced is named with the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.optim.axis import OTHER, Axis, Owners
from lop_theory.optim.flow import SUMS, Flow, data_of, follow, learned, shape, weight_of
from lop_theory.optim.heads import Heads, attention_heads
from lop_theory.trace import Node, Program, operator_name, trace


class Producer(NamedTuple):
    """Row ``rows[i]`` along ``dim`` of a module's weight and bias computes unit i; of heads, all of ``rows[i]``."""

    module: str
    dim: int
    rows: Owners


class Point(NamedTuple):
    """The units in what a module is called with, which had ``rank`` dimensions; dimensions count from the last."""

    module: str
    axis: Axis
    rank: int


class Reader(NamedTuple):
    """Columns along ``dim`` of a module's weight read the units; ``owners[column]`` is the unit or −1."""

    module: str
    dim: int
    owners: Owners
    point: Point


class Norm(NamedTuple):
    """Scale, shift and running statistics of a normalisation at the places of the units, by full name."""

    names: tuple[str, ...]
    owners: Owners


class Units(NamedTuple):
    """A group of ``size`` units, named by the module that computes them (gated ones by all of them).

    ``activation``: the first one behind the producer, by its ATen name. ``observed``: where activations are seen, which
    is what the first reader is called with, or a normalisation between the two. ``coupled``: a normalisation or softmax
    that mixes the units, so that replacing one moves the others' values however its outgoing weights are set.
    """

    name: str
    size: int
    producers: tuple[Producer, ...]
    readers: tuple[Reader, ...]
    norms: tuple[Norm, ...]
    observed: Point
    activation: str | None
    coupled: str | None


class Found(NamedTuple):
    """Units in the order in which they are computed; ``skipped``: other weighted sums, with the reason."""

    units: tuple[Units, ...]
    skipped: dict[str, str]


def find_units(model: nn.Module, example_input: Any, *, heads: bool = False) -> Found:
    """All replaceable units of a model.

    ``example_input``: a tensor, a tuple of positional inputs or a mapping of keyword inputs, as for
    :func:`lop_theory.trace.trace`. ``heads``: whole attention heads (queries, keys and values) where they can be
    followed, instead of single values. Raises ``InvalidInput`` if the model cannot be traced or has no such units.
    """
    program = trace(model, example_input, training=True)
    sums = [node for node in program.graph.nodes if operator_name(node) in SUMS and weight_of(program, node)]
    flows = {node: follow(program, node) for node in sums}
    reasons = {node: flow.stop or _unfit(model, program, flow, sums) for node, flow in flows.items()}
    whole, refused = _whole_heads(model, program, flows) if heads else ([], {})
    taken = {producer for found in whole for producer in found.rows}
    free = [flow for node, flow in flows.items() if reasons[node] is None and node not in taken]
    skipped = {program.where(n): reason for n, reason in reasons.items() if reason and n not in taken} | refused
    groups = [(heads.values.producer, _headed(program, heads, flows)) for heads in whole]
    groups += [(group[0].producer, _described(model, program, group)) for group in _gated(free)]
    if not groups:
        why = "; ".join(f"{where}: {reason}" for where, reason in skipped.items()) or "it has no weighted sums"
        raise InvalidInput("model", type(model).__name__, f"must have hidden units that can be replaced ({why})")
    skipped |= {program.where(node): "its weight is computed, not a parameter" for node in _computed(program)}
    return Found(tuple(units for _, units in sorted(groups, key=lambda pair: sums.index(pair[0]))), skipped)


def _whole_heads(model: nn.Module, program: Program, flows: Mapping[Node, Flow]) -> tuple[list[Heads], dict[str, str]]:
    """Heads that can be replaced; the other attentions, with the reason."""
    found, refused = [], {}
    for node, heads in attention_heads(program, list(flows.values())):
        reason = heads if isinstance(heads, str) else heads.values.stop
        if isinstance(heads, Heads) and reason is None:
            reason = next(filter(None, (_unfit(model, program, flows[p], list(flows)) for p in heads.rows)), None)
        if isinstance(heads, Heads) and reason is None:
            found.append(heads)
        else:
            refused[program.where(node)] = reason or ""
    return found, refused


def _headed(program: Program, heads: Heads, flows: Mapping[Node, Flow]) -> Units:
    """The heads of an attention as units; what normalises queries or keys before they are split mixes them."""
    mixing = [(flows[p], node) for p in heads.rows for node in flows[p].couples]
    coupled = [node for flow, node in mixing if node not in flow.reached or len(flow.reached[node].dims) == 1]
    readers = tuple(_reader(program, heads.values, node, heads.number) for node in heads.values.readers)
    producers = tuple(Producer(_path(program, node), _row_dim(node), rows) for node, rows in heads.rows.items())
    name, mixer = f"heads of {', '.join(p.module for p in producers)}", next(map(program.where, coupled), None)
    return Units(name, int(heads.number.max()) + 1, producers, readers, (), readers[0].point, None, mixer)


def _computed(program: Program) -> list[Node]:
    """Sums whose weight depends on parameters alone, but is none (weight norm and other parametrisations)."""
    nodes = [n for n in program.graph.nodes if operator_name(n) in SUMS and weight_of(program, n) is None]
    fixed = learned(program)
    return [n for n in nodes if any(a in fixed and len(shape(a)) > 1 for a in n.all_input_nodes)]


def _unfit(model: nn.Module, program: Program, flow: Flow, sums: Sequence[Node]) -> str | None:
    """Why the modules around the units cannot be rewritten."""
    for node in (flow.producer, *flow.readers):
        name = weight_of(program, node)
        assert name is not None
        path = name.rpartition(".")[0]
        module = model.get_submodule(path)
        if program.modules.get(node.name) != path or not hasattr(module, "weight"):
            return f"{name} is not used by the module that holds it"
        if any(not p.requires_grad for p in module.parameters(recurse=False)):
            return f"{path} is frozen (requires_grad is False)"
        if sum(weight_of(program, other) == name for other in sums) > 1 or _shared(model, name):
            return f"{name} is used more than once"
        if getattr(module, "groups", 1) != 1:
            return f"{path} is a grouped convolution, which has no columns of single units"
    return None


def _shared(model: nn.Module, name: str) -> bool:
    tensor = model.get_parameter(name)
    return sum(other is tensor for _, other in model.named_parameters(remove_duplicate=False)) > 1


def _gated(flows: Sequence[Flow]) -> list[list[Flow]]:
    """Flows that meet in products are one group: unit i is what both compute."""
    groups: list[list[Flow]] = []
    for flow in flows:
        partners = [g for g in groups if any(_meets(flow, other) or _meets(other, flow) for other in g)]
        groups = [g for g in groups if g not in partners]
        groups.append([*(f for g in partners for f in g), flow])
    return groups


def _meets(one: Flow, other: Flow) -> bool:
    return any(
        gate in other.reached and value in other.reached and one.reached[gate].same(other.reached[gate])
        for gate, value in one.gates
    )


def _described(model: nn.Module, program: Program, group: Sequence[Flow]) -> Units:
    first = group[0]
    kept = np.unique(np.concatenate([_owners(first, r) for r in first.readers]))
    lost = [OTHER, *(unit for flow in group for unit in flow.lost)]
    kept = kept[~np.isin(kept, lost)]
    number = np.full(int(first.reached[first.producer].owners.max()) + 1, OTHER)
    number[kept] = np.arange(len(kept))
    readers = {node: _reader(program, first, node, number) for node in first.readers}
    for flow in group[1:]:
        readers |= {node: _reader(program, flow, node, number) for node in flow.readers if node not in readers}
    norms = {norm.names: norm for flow in group for node in flow.norms for norm in _norm(program, flow, node, number)}
    producers = [Producer(_path(program, flow.producer), _row_dim(flow.producer), kept) for flow in group]
    coupled = next((program.where(node) for flow in group for node in flow.couples), None)
    activation = next((operator_name(flow.activation) for flow in group if flow.activation is not None), None)
    name = ", ".join(p.module for p in producers)
    observed = _normalised(model, program, first, number) or next(iter(readers.values())).point
    return Units(
        name, len(kept), tuple(producers), tuple(readers.values()), tuple(norms.values()), observed, activation, coupled
    )


def _path(program: Program, node: Node) -> str:
    return (weight_of(program, node) or "").rpartition(".")[0]


def _transposed(node: Node) -> bool:
    """Weights of addmm, mm and matmul are inputs × outputs."""
    return operator_name(node) in ("addmm", "mm", "matmul")


def _row_dim(node: Node) -> int:
    return 1 if _transposed(node) else 0


def _owners(flow: Flow, reader: Node) -> Owners:
    return flow.reached[data_of(reader)].owners


def _numbered(owners: Owners, number: Owners) -> Owners:
    return np.where(owners == OTHER, OTHER, number[owners])


def _reader(program: Program, flow: Flow, node: Node, number: Owners) -> Reader:
    path = _path(program, node)
    point = _point(program, flow, path, data_of(node), number)
    return Reader(path, 0 if _transposed(node) else 1, _numbered(_owners(flow, node), number), point)


def _point(program: Program, flow: Flow, path: str, value: Node, number: Owners) -> Point:
    """What a module is called with, from a value inside of it."""
    while program.modules.get(value.name) == path and value.args:
        value = value.args[0]
    at = flow.reached[value]
    return Point(path, Axis(at.dims, _numbered(at.owners, number)), len(shape(value)))


def _normalised(model: nn.Module, program: Program, flow: Flow, number: Owners) -> Point | None:
    """What the first normalisation behind the activation is called with."""
    order = {node: k for k, node in enumerate(program.graph.nodes)}
    for node in flow.norms:
        path = program.modules.get(node.name, "")
        behind = flow.activation is not None and order[node] > order[flow.activation]
        if behind and path and not list(model.get_submodule(path).children()):
            return _point(program, flow, path, node.args[0], number)
    return None


def _norm(program: Program, flow: Flow, node: Node, number: Owners) -> list[Norm]:
    """The state of a normalisation whose places are the units'."""
    names = [program.state.get(a.name, "") for a in node.all_input_nodes]
    owned = tuple(name for name in names if name)
    own = flow.reached[node]
    return [Norm(owned, _numbered(own.owners, number))] if owned and len(own.dims) == 1 else []
