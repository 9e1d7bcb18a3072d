"""Where the units of a weighted sum go in a traced model: through what, to which readers, and what stops them.

A walk over the graph from one producer, with an :class:`~lop_theory.optim.axis.Axis` for every value that its units
reach. Units may be replaced if all that becomes of them ends in weighted sums, whose columns can be zeroed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import fx

from lop_theory.optim import axis as axes
from lop_theory.optim.axis import OTHER, Axis
from lop_theory.trace import Node, Program, operator_name

POINTWISE = frozenset(
    """
    relu gelu silu tanh sigmoid elu leaky_relu hardtanh hardswish hardsigmoid relu6 softplus mish selu celu prelu
    softsign log_sigmoid clamp clamp_min clamp_max pow abs neg exp log sqrt rsqrt reciprocal sin cos square erf sign
    threshold hardshrink softshrink rrelu dropout native_dropout feature_dropout alpha_dropout clone contiguous to
    _to_copy alias detach type_as lift_fresh_copy mul div sub add maximum minimum where masked_fill""".split()
)
ACTIVATIONS = frozenset(
    "relu gelu silu tanh sigmoid elu leaky_relu hardtanh hardswish hardsigmoid relu6 softplus mish selu celu prelu "
    "softsign sin".split()
)
SPATIAL = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d _adaptive_avg_pool2d upsample_nearest2d "
    "upsample_bilinear2d constant_pad_nd".split()
)
BATCH_NORMS = frozenset(
    "batch_norm _native_batch_norm_legit_functional _native_batch_norm_legit_no_training native_batch_norm "
    "cudnn_batch_norm _native_batch_norm_legit".split()
)
ACROSS = frozenset("layer_norm native_layer_norm group_norm native_group_norm softmax _softmax rms_norm".split())
REDUCING = frozenset("mean sum amax amin var".split())
SUMS = frozenset("linear conv1d conv2d conv3d convolution addmm mm matmul".split())
ADDING = frozenset("add sub".split())
SCORES = "its units enter attention scores"
"""Why queries and keys are lost."""


@dataclass
class Flow:
    """What became of a producer's units. ``readers`` are weighted sums that read them, ``gates`` products with other
    values, ``norms`` nodes that scale units one by one, ``couples`` those that mix them, ``activation`` the first one;
    ``lost`` are the units that cannot be replaced, with the reason."""

    producer: Node
    reached: dict[Node, Axis] = field(default_factory=dict)
    readers: list[Node] = field(default_factory=list)
    gates: list[tuple[Node, Node]] = field(default_factory=list)
    norms: list[Node] = field(default_factory=list)
    couples: list[Node] = field(default_factory=list)
    activation: Node | None = None
    lost: dict[int, str] = field(default_factory=dict)

    def lose(self, values: Iterable[Node], reason: str) -> None:
        """No unit of these values can be replaced. Of several reasons the first that is not attention's is kept, for
        whole heads may enter scores."""
        for value in values:
            for unit in np.unique(self.reached[value].owners).tolist():
                if unit != OTHER and self.lost.get(unit, SCORES) == SCORES:
                    self.lost[unit] = reason

    @property
    def stop(self) -> str | None:
        """Why none of the units can be replaced, if so."""
        if not self.readers:
            return next(iter(self.lost.values()), "nothing reads its units")
        read = {unit for node in self.readers for unit in np.unique(self.reached[data_of(node)].owners).tolist()}
        left = read - self.lost.keys() - {OTHER}
        return None if left else next(iter(self.lost.values()))


def shape(node: Node) -> list[int]:
    """The sizes of a value in the traced call."""
    return [size if isinstance(size, int) else int(size.node.hint) for size in node.meta["val"].shape]


def weight_of(program: Program, node: Node) -> str | None:
    """The name of the parameter that a weighted sum takes as weight, as it is."""
    place = 2 if operator_name(node) == "addmm" else 1
    weight = node.args[place] if len(node.args) > place else None
    return program.state.get(weight.name) if isinstance(weight, fx.Node) else None


def data_of(node: Node) -> Node:
    """What a weighted sum reads."""
    return node.args[1 if operator_name(node) == "addmm" else 0]


def follow(program: Program, producer: Node) -> Flow:
    """The flow of the units of a weighted sum."""
    flow = Flow(producer)
    flow.reached[producer] = _units(producer)
    fixed = learned(program)
    after = False
    for node in program.graph.nodes:
        if node is producer:
            after = True
        elif after and any(argument in flow.reached for argument in node.all_input_nodes):
            reason = _pass(program, flow, node, fixed)
            if reason:
                flow.lose([a for a in node.all_input_nodes if a in flow.reached], reason)
    return flow


def _units(producer: Node) -> Axis:
    sizes = shape(producer)
    dim = 1 if operator_name(producer).startswith("conv") else len(sizes) - 1
    return axes.line(sizes[dim], dim)


def learned(program: Program) -> set[Node]:
    """Values that depend on no input."""
    found: set[Node] = set()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in program.state or node.name in program.constants:
                found.add(node)
        elif all(argument in found for argument in node.all_input_nodes):
            found.add(node)
    return found


def _pass(program: Program, flow: Flow, node: Node, fixed: set[Node]) -> str | None:
    """Carry the axis through one node; why not, if not."""
    if node.op == "output":
        return "its units are an output of the model"
    name, data = operator_name(node), [a for a in node.all_input_nodes if a in flow.reached]
    own = flow.reached[data[0]]
    if name in SUMS:
        return _read(program, flow, node, data)
    if name in POINTWISE:
        return _pointwise(flow, node, data, fixed)
    if name in BATCH_NORMS or name in ACROSS or name in SPATIAL or name in REDUCING:
        return _normal(flow, node, own, name)
    if name == "scaled_dot_product_attention":
        return _attention(flow, node, data)
    rule = RULES.get(name)
    if rule is None:
        return f"its units pass through {name}, which has no rule"
    moved = rule(node, own, flow.reached)
    if moved == TORN:
        return f"its units are torn by {name}"
    if isinstance(moved, Axis):
        flow.reached[node] = moved
    return None


TORN = "torn"


def _read(program: Program, flow: Flow, node: Node, data: list[Node]) -> str | None:
    if operator_name(node) in ("matmul", "mm") and weight_of(program, node) is None:
        return _mixed(flow, node, data)
    if data != [data_of(node)] or weight_of(program, node) is None:
        return f"its units are read by {program.where(node)}, whose weight is no parameter as it is"
    dim = 1 if operator_name(node).startswith("conv") else len(shape(data[0])) - 1
    if flow.reached[data[0]].dims != (dim,):
        return f"its units are not the inputs of {program.where(node)}"
    flow.readers.append(node)
    return None


def _attention(flow: Flow, node: Node, data: list[Node]) -> str | None:
    """Values are averaged over tokens, unit by unit; queries and keys enter scores."""
    flow.lose([value for value in data if value is not node.args[2]], SCORES)
    if node.args[2] in data:
        flow.reached[node] = flow.reached[node.args[2]]
    return None


def _mixed(flow: Flow, node: Node, data: list[Node]) -> str | None:
    """A product with scores, as attention written out: tokens are summed, units stay."""
    own = flow.reached[data[0]]
    summed = len(shape(data[0])) - 2
    if data != [node.args[1]] or summed in own.dims or operator_name(node) == "mm":
        return "its units enter a product of two values"
    flow.reached[node] = own
    return None


def _pointwise(flow: Flow, node: Node, data: list[Node], fixed: set[Node]) -> str | None:
    name, sizes = operator_name(node), shape(_tensor(node))
    aligned = [_aligned(flow.reached[a], len(shape(a)), len(sizes)) for a in data]
    if not all(aligned[0].same(other) for other in aligned):
        return f"its units meet one another in {name}"
    if any(sizes[d] != size for d, size in zip(aligned[0].dims, aligned[0].owners.shape, strict=True)):
        return f"its units are repeated by {name}"
    foreign = [a for a in node.all_input_nodes if a not in flow.reached and a not in fixed]
    if foreign and name in ADDING:
        return "its units are added to other values (a residual stream)"
    flow.gates += [(node, other) for other in foreign]
    if name in ACTIVATIONS and flow.activation is None:
        flow.activation = node
    flow.reached[node] = aligned[0]
    return None


def _tensor(node: Node) -> Node:
    """The node itself, or where it has several results (a dropout and its mask) its input, which has their shape."""
    return node.all_input_nodes[0] if isinstance(node.meta["val"], tuple | list) else node


def _aligned(axis: Axis, own: int, rank: int) -> Axis:
    """As broadcasting lines it up: from the last dimension."""
    return Axis(tuple(d + rank - own for d in axis.dims), axis.owners)


def _normal(flow: Flow, node: Node, own: Axis, name: str) -> str | None:
    if name in REDUCING:
        return _reduced(flow, node, own)
    if name in SPATIAL and own.dims != (1,):
        return f"its units are torn by {name}"
    if name in BATCH_NORMS and own.dims == (1,):
        flow.norms.append(node)
    elif name in BATCH_NORMS:
        return f"its units are torn by {name}"
    if name in ACROSS:
        flow.couples.append(node)
        if "norm" in name:
            flow.norms.append(node)
    flow.reached[node] = own
    return None


def _reduced(flow: Flow, node: Node, own: Axis) -> str | None:
    """A mean over other dimensions keeps units apart; one over units mixes them, as normalisations do."""
    rank = len(shape(node.args[0]))
    given = node.args[1] if len(node.args) > 1 else None
    gone = [d % rank for d in ([given] if isinstance(given, int) else given or range(rank))]
    if set(gone) & set(own.dims):
        flow.couples.append(node)
        return None
    keep = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim"))
    moved = own if keep else axes.without(own, gone)
    assert moved is not None
    flow.reached[node] = moved
    return None


Rule = Callable[[Node, Axis, Mapping[Node, Axis]], Any]


def _view(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    return axes.reshaped(own, shape(node.args[0]), shape(node))


def _permute(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    rank = len(shape(node))
    return axes.permuted(own, [d % rank for d in node.args[1]])


def _transpose(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    order = list(range(len(shape(node))))
    a, b = (node.args[1], node.args[2]) if len(node.args) > 2 else (0, 1)
    order[a], order[b] = order[b], order[a]
    return axes.permuted(own, order)


def _unsqueeze(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    return axes.with_new(own, node.args[1] % len(shape(node)))


def _expand(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    return _aligned(own, len(shape(node.args[0])), len(shape(node)))


def _select(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    return axes.cut(own, node.args[1] % len(shape(node.args[0])), int(node.args[2]))


def _slice(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    """``slice(x, dim=0, start=None, end=None, step=1)``."""
    given: list[Any] = [*node.args[1:], *(0, None, None, 1)[len(node.args) - 1 :]]
    dim, size = given[0] % len(shape(node.args[0])), shape(node.args[0])[given[0]]
    last = None if given[2] is None else min(given[2], size)
    return axes.cut(own, dim, slice(given[1], last, given[3]))


def _getitem(node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    """One of several results: of a split or unbind its part, of a normalisation or dropout the first."""
    source, number = node.args
    name = operator_name(source)
    if name not in ("split", "split_with_sizes", "chunk", "unbind"):
        return own if number == 0 else None
    dim = source.args[2] if name != "unbind" and len(source.args) > 2 else source.kwargs.get("dim", 0)
    if name == "unbind":
        dim = source.args[1] if len(source.args) > 1 else 0
        return axes.cut(own, dim % len(shape(source.args[0])), number)
    dim %= len(shape(source.args[0]))
    sizes = [shape_of(value)[dim] for value in source.meta["val"]]
    return axes.cut(own, dim, slice(sum(sizes[:number]), sum(sizes[: number + 1])))


def shape_of(value: Any) -> list[int]:
    """As :func:`shape`, of a fake tensor."""
    return [size if isinstance(size, int) else int(size.node.hint) for size in value.shape]


def _cat(node: Node, _: Axis, reached: Mapping[Node, Axis]) -> Any:
    parts = list(node.args[0])
    dim = (node.args[1] if len(node.args) > 1 else 0) % len(shape(node))
    return axes.joined([reached.get(p, 0) for p in parts], dim, [shape(p) for p in parts]) or TORN


def _same(_node: Node, own: Axis, _: Mapping[Node, Axis]) -> Any:
    return own


RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze"), _view),
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "select": _select,
    "slice": _slice,
    "getitem": _getitem,
    "cat": _cat,
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind"), _same),
}
