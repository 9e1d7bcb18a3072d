"""Conversions: PyTorch MLPs, NetworkX graphs, DOT. Both packages are imported only by the functions that need them."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import isinf
from typing import TYPE_CHECKING, Any

import numpy as np

from lop_theory.activations.catalogue import ALIASES, CATALOGUE, Activation, activation
from lop_theory.balls import fmpq, parse_fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Network, Node, RawGraph, assemble, build_network
from lop_theory.graph.dense import Layer, Mlp
from lop_theory.graph.names import shown
from lop_theory.graph.scalars import to_float

if TYPE_CHECKING:
    import networkx as nx
    from torch import nn


def read_number(value: object, owner: str) -> object:
    """A weight or bias as a user writes it; a string becomes the rational it denotes.

    Raises ``InvalidInput`` that names the ``owner`` for what is no number, or is beyond the range of doubles.
    """
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, str):
        return _read_rational(value, owner)
    if isinstance(value, bool) or not isinstance(value, int | float | fmpq | Fraction | np.integer):
        raise InvalidInput(owner, value, "must be a number", 'write 0.25 or "1/4"')
    return value


def _read_rational(text: str, owner: str) -> fmpq:
    try:
        number = parse_fmpq(text)  # bounds the exponent and the digits, where Fraction would hang
    except ValueError:
        number = None
    if number is None or isinf(to_float(number)):
        raise InvalidInput(owner, text, "must be a finite number of moderate size", 'write "0.25", "1e-3" or "1/4"')
    return number


def from_layers(layers: Sequence[Layer], hidden: str | Activation, last: str | Activation = "identity") -> Network:
    """The DAG of an MLP; nodes are called ``l{layer}.{unit}``, the inputs ``x.{unit}``."""
    return network_of(mlp_of(layers, hidden, last))


def mlp_of(layers: Sequence[Layer], hidden: str | Activation, last: str | Activation = "identity") -> Mlp:
    """The same as arrays. Raises ``InvalidInput`` for layers that do not fit together."""
    _check_layers(layers)
    read = (read_activation(a, "activation") if isinstance(a, str) else a for a in (hidden, last))
    return Mlp(tuple(layers), *read)


def network_of(mlp: Mlp) -> Network:
    """The DAG of dense layers."""
    layers, sizes = mlp.layers, mlp.sizes
    first = np.cumsum([0, *sizes])
    sources = [first[k] + np.tile(np.arange(sizes[k]), sizes[k + 1]) for k in range(len(layers))]
    targets = [first[k + 1] + np.repeat(np.arange(sizes[k + 1]), sizes[k]) for k in range(len(layers))]
    outputs = list(range(int(first[-2]), int(first[-1])))
    ends = (np.concatenate(sources), np.concatenate(targets))
    raw = RawGraph(mlp.names, *ends, sizes[0], outputs, mlp.activations, mlp.activation_of)
    return assemble(raw, np.concatenate([layer.weight.ravel() for layer in layers]), mlp.bias)


def _check_layers(layers: Sequence[Layer]) -> None:
    columns = layers[0].weight.shape[1]
    for k, (weight, bias) in enumerate(layers):
        if 0 in weight.shape:
            raise InvalidInput(f"weight of layer {k}", weight.shape, "is empty", "every layer needs a unit")
        if weight.shape[1] != columns:
            raise InvalidInput(f"weight of layer {k}", weight.shape, f"must have {columns} columns", "keep the order")
        columns = len(weight)
        if bias.shape != (columns,):
            raise InvalidInput(f"bias of layer {k}", bias.shape, f"must have shape ({columns},)", "one bias a unit")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise InvalidInput(f"layer {k}", "weights", "must be finite", "the network has diverged")


def from_torch(model: "nn.Module") -> Network:
    """The DAG of an ``nn.Sequential`` of ``Linear`` layers with one kind of catalogue activation between them.

    Raises ``InvalidInput`` for every module that the catalogue does not reproduce.
    """
    from torch import nn

    layers, between, pending = list[Layer](), list[Activation](), None
    for module in _modules(model):
        if isinstance(module, nn.Linear):
            if pending is not None and not layers:
                raise InvalidInput("model", pending.label, "comes before the first Linear", "apply it to the data")
            if layers:
                between.append(pending or activation("identity"))
            layers.append(_torch_layer(module))
            pending = None
        elif not _passes_through(module):
            if pending is not None:
                raise InvalidInput("model", type(module).__name__, f"follows {pending.label} with no Linear between")
            pending = torch_activation(module)
    if not layers or len(set(between)) > 1:
        kinds = sorted({phi.label for phi in between}) or type(model).__name__
        raise InvalidInput("model", kinds, "must be Linear layers with one kind of activation between")
    return from_layers(layers, between[0] if between else "identity", pending or "identity")


def _modules(model: "nn.Module") -> list["nn.Module"]:
    from torch import nn

    if not isinstance(model, nn.Sequential):
        return [model]
    if type(model).forward is not nn.Sequential.forward:
        raise InvalidInput("model", type(model).__name__, "has a forward of its own", "give a plain nn.Sequential")
    return list(model)


def _passes_through(module: "nn.Module") -> bool:
    """Whether the module is the identity on rows of features."""
    from torch import nn

    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        raise InvalidInput("model", str(module), "does not keep the rows apart", "use nn.Flatten()")
    return isinstance(module, nn.Flatten | nn.Identity)


def _torch_layer(module: "nn.Linear") -> Layer:
    from torch import nn

    own: Any = module.bias  # None without bias
    if type(module).forward is not nn.Linear.forward or not module.weight.is_floating_point():
        raise InvalidInput("model", type(module).__name__, "is no real-valued nn.Linear", "give plain Linear layers")
    weight = module.weight.detach().cpu().double().numpy()
    return Layer(weight, np.zeros(len(weight)) if own is None else own.detach().cpu().double().numpy())


# Settings of torch modules that the catalogue's formula fixes.
_FIXED: dict[str, dict[str, float]] = {"Hardtanh": {"min_val": -1, "max_val": 1}, "Softplus": {"threshold": 20}}


def torch_activation(module: "nn.Module") -> Activation:
    """The catalogue's activation that a torch module computes. Raises ``InvalidInput`` if there is none."""
    from torch import nn

    kind = type(module).__name__
    own_class = type(module) is not getattr(nn, kind, None)  # a user's class that borrows the name
    name = f"{kind}(approximate='tanh')" if getattr(module, "approximate", None) == "tanh" else kind
    found = next((key for key, entry in CATALOGUE.items() if entry.torch == name), None)
    if found is None or own_class:
        raise InvalidInput("model", kind, "is neither Linear nor an activation of the catalogue", "see the catalogue")
    for field, fixed in _FIXED.get(kind, {}).items():
        if getattr(module, field) != fixed:
            raise InvalidInput(
                "model", str(module), f"has {field} other than {fixed}", "the catalogue knows the default only"
            )
    fields = {"slope": "negative_slope", "alpha": "alpha", "beta": "beta", "lambd": "lambd"}
    own = {key: getattr(module, fields[key]) for key in CATALOGUE[found].defaults if hasattr(module, fields[key])}
    return activation(found, **own)


def read_activation(spec: Any, owner: str) -> Activation:
    """An activation as a user writes it: a name, or an object of a name and parameters."""
    if isinstance(spec, str):
        return _by_name(spec)
    if isinstance(spec, dict) and isinstance(spec.get("name"), str):
        return activation(_catalogue_name(spec["name"]), **{str(k): v for k, v in spec.items() if k != "name"})
    raise InvalidInput(owner, spec, "must be a name or an object with a name", 'such as "tanh"')


@lru_cache(maxsize=64)
def _by_name(name: str) -> Activation:
    return activation(_catalogue_name(name))


def _catalogue_name(name: str) -> str:
    """The catalogue's name for one in capitals, or for PyTorch's (``ReLU``, ``LeakyReLU``)."""
    lower = name.lower()
    if lower in CATALOGUE or lower in ALIASES:
        return lower
    return next((key for key, entry in CATALOGUE.items() if (entry.torch or "").lower() == lower), name)


def written_parameters(phi: Activation) -> dict[str, str]:
    """The parameters with which ``activation(phi.name, …)`` gives φ again. Raises ``InvalidInput`` if none does."""
    parameters = {key: str(value) for key, value in phi.parameters}
    if phi.name not in CATALOGUE or activation(phi.name, **parameters) != phi:
        raise InvalidInput("activation", phi.label, "is not in the catalogue", "files hold catalogue activations only")
    return parameters


def refuse_parameters(name: object, phi: object, bias: object) -> None:
    """Raise ``InvalidInput`` if the input ``name`` is given an activation or a bias."""
    none = phi is None or str(phi).lower() in ("identity", "linear", "input")
    if not none or (bias is not None and read_number(bias, f"bias of node {shown(name)}") != 0):
        raise InvalidInput("nodes", name, "is an input with an activation or a bias", "inputs have neither")


def from_networkx(graph: "nx.DiGraph[Any]") -> Network:
    """The network of a graph.

    Node attributes ``activation``, ``parameters`` (of the activation, as JSON text), ``bias`` (default 0) and ``role``
    ("input", "hidden", "output" or "input output"); edge attribute ``weight`` (default 1); any other is refused.
    Integers and strings are exact. Without roles the sources are inputs and the sinks outputs. Raises ``InvalidInput``
    that names the offender.
    """
    import networkx as nx

    if not graph.is_directed() or graph.is_multigraph():
        raise InvalidInput("graph", type(graph).__name__, "must be a simple directed graph", "use networkx.DiGraph")
    if not nx.is_directed_acyclic_graph(graph):  # before roles: a cycle may leave neither sources nor sinks
        path = " -> ".join(shown(edge[0]) for edge in nx.find_cycle(graph))
        raise InvalidInput("edges", path, "form a cycle, but a feed-forward network has none", "remove one of them")
    _refuse_unknown_attributes(graph)
    roles = {v: _roles(v, data.get("role")) for v, data in graph.nodes(data=True)}
    inputs = [v for v in graph if "input" in roles[v]] or [v for v in graph if graph.in_degree(v) == 0]
    outputs = [v for v in graph if "output" in roles[v]] or [v for v in graph if graph.out_degree(v) == 0]
    known = set(inputs)
    for v in inputs:
        refuse_parameters(v, graph.nodes[v].get("activation"), graph.nodes[v].get("bias"))
    nodes = [_graph_node(v, data) for v, data in graph.nodes(data=True) if v not in known]
    edges = [
        (u, v, read_number(w, f"edge {shown(u)} -> {shown(v)}")) for u, v, w in graph.edges(data="weight", default=1)
    ]
    rationals = not any(isinstance(x, float) for x in [*(e[2] for e in edges), *(n.bias for n in nodes)])
    return build_network(inputs, nodes, edges, outputs, rationals=rationals)


def _roles(name: object, role: object) -> set[str]:
    roles = set(str(role).lower().split()) if role is not None else set[str]()
    if not roles <= {"input", "output", "hidden"}:
        remedy = 'write "input", "hidden", "output" or "input output"'
        raise InvalidInput(f"role of node {shown(name)}", role, "is unknown", remedy)
    if "hidden" in roles and len(roles) > 1:
        raise InvalidInput(f"role of node {shown(name)}", role, "is a hidden end", 'write "hidden" or the end alone')
    return roles


_NODE_ATTRIBUTES = ("activation", "parameters", "bias", "role")
_EDGE_ATTRIBUTES = ("weight", "id")  # an id is what GraphML calls an edge


def _refuse_unknown_attributes(graph: "nx.DiGraph[Any]") -> None:
    """An attribute that is read by no one would be ignored without a word: a weight called ``w`` would be 1."""
    nodes = ((f"node {shown(v)}", data, _NODE_ATTRIBUTES) for v, data in graph.nodes(data=True))
    edges = ((f"edge {shown(u)} -> {shown(v)}", data, _EDGE_ATTRIBUTES) for u, v, data in graph.edges(data=True))
    for part in (nodes, edges):
        for owner, data, known in part:
            for key in data:
                if key not in known:
                    remedy = f"rename or remove it: the attributes are {' '.join(known)}"
                    raise InvalidInput(f"attribute of {owner}", key, "is unknown", remedy)


def _graph_node(name: Any, data: Mapping[str, Any]) -> Node:
    given = data.get("parameters", {})
    try:
        given = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidInput(
            f"parameters of node {shown(name)}",
            data["parameters"],
            "must be a JSON object",
            """such as '{"slope": "1/2"}'""",
        )
    phi = read_activation(
        {**given, "name": str(data.get("activation", "identity"))}, f"activation of node {shown(name)}"
    )
    return Node(name, phi, read_number(data.get("bias", 0), f"bias of node {shown(name)}"))


def to_networkx(network: Network) -> "nx.DiGraph[Any]":
    """The inverse of ``from_networkx``; rationals become strings. Outputs are read back in the order of the nodes."""
    import networkx as nx

    dag = network.dag
    graph: Any = nx.DiGraph()
    labels = [_activation_attributes(phi) for phi in dag.activations]
    inputs, outputs = (frozenset(map(int, ends)) for ends in (dag.inputs, dag.outputs))
    for v, name in enumerate(dag.ids):
        roles = [role for role, ends in (("input", inputs), ("output", outputs)) if v in ends]
        own = {} if v in inputs else {**labels[int(dag.activation_of[v])], "bias": written_number(network.bias[v])}
        graph.add_node(name, **own, **({"role": " ".join(roles)} if roles else {}))
    for u, v, w in zip(dag.source, dag.target, network.weight, strict=True):
        graph.add_edge(dag.ids[int(u)], dag.ids[int(v)], weight=written_number(w))
    return graph


def _activation_attributes(phi: Activation) -> dict[str, str]:
    parameters = written_parameters(phi)
    return {"activation": phi.name, **({"parameters": json.dumps(parameters)} if parameters else {})}


def written_number(value: Any) -> float | str:
    """A weight or bias in a file: a float, or the string of a rational."""
    return float(value) if isinstance(value, float) else str(value)


def to_dot(network: Network) -> str:
    """Graphviz text; weights are edge labels."""
    dag = network.dag
    texts = [str(name) for name in dag.ids]
    texts = texts if len(set(texts)) == len(texts) else [shown(name) for name in dag.ids]
    quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    lines = [f"  {quoted[int(v)]} [shape=box];" for v in np.concatenate([dag.inputs, dag.outputs])]
    triples = zip(dag.source, dag.target, network.weight, strict=True)
    lines += [f'  {quoted[int(u)]} -> {quoted[int(v)]} [label="{w}"];' for u, v, w in triples]
    return "\n".join(["digraph network {", *lines, "}"])
