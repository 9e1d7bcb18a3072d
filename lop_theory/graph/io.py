"""Reading networks and partitions from files: JSON, GraphML, safetensors. Pickles are refused."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import (
    from_networkx,
    mlp_of,
    network_of,
    read_activation,
    read_number,
    refuse_parameters,
    written_number,
    written_parameters,
)
from lop_theory.graph.dag import Dag, EdgeColumns, Network, Node, build_network
from lop_theory.graph.dense import Mlp
from lop_theory.graph.json_text import Columns, decode
from lop_theory.graph.names import shown
from lop_theory.graph.partition import Partition, partition_from_blocks
from lop_theory.graph.states import layers_of_state, read_safetensors

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PARTS = ("inputs", "outputs", "nodes", "edges")
_PICKLES = (b"\x80", b"PK\x03\x04")  # a pickle; a zip archive, as torch.save writes
_PICKLE_SUFFIXES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}


class Assumed(NamedTuple):
    """What the state of an MLP leaves open: the order of its layers, what decided it, and the hidden activation."""

    layers: tuple[str, ...]
    decided_by: str
    activation: str


class Reading(NamedTuple):
    """A network, dense layers as arrays, with what had to be assumed to read it (``None``: nothing)."""

    content: Network | Mlp
    assumed: Assumed | None = None

    @property
    def network(self) -> Network:
        """The content as a DAG."""
        return network_of(self.content) if isinstance(self.content, Mlp) else self.content


def read_network(
    path: str | Path, default_activation: str | None = None, order: Sequence[str] | None = None
) -> Network:
    """The network in ``path``, as ``read_file`` reads it."""
    return read_file(path, default_activation, order).network


def read_file(path: str | Path, default_activation: str | None = None, order: Sequence[str] | None = None) -> Reading:
    """``path`` is ``.json``, ``.graphml`` or ``.safetensors``, whose hidden activation (relu, if none is) and, if its
    numbers and shapes do not decide it, order of layers are given here.

    Raises ``InvalidInput`` that names what is wrong.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInput("file", str(path), "does not exist or is no file", "give a network file")
    with file.open("rb") as stream:
        head = stream.read(4)
    looks_pickled = file.suffix != ".safetensors" and head.startswith(_PICKLES)  # its length may begin with 0x80
    if file.suffix in _PICKLE_SUFFIXES or looks_pickled:
        raise InvalidInput("file", str(path), "is a pickle and could run code", "save it as safetensors")
    if file.suffix == ".safetensors":
        return _read_state(file, default_activation or "relu", order)
    for name, value in (("order", order and " ".join(order)), ("activation", default_activation)):
        if value is not None:
            raise InvalidInput(name, value, "is for the state of an MLP", "leave it out: the file has its own")
    return Reading(_read_graphml(file) if file.suffix == ".graphml" else network_from_json(_load_json(file)))


def read_partition(path: str | Path, dag: Dag) -> Partition:
    """A partition file ``[[ids]…]``."""
    file = Path(path)
    if not file.is_file():
        raise InvalidInput("partition", str(path), "does not exist or is no file", "give a partition file")
    blocks = _load_json(file)
    if not isinstance(blocks, list) or not all(isinstance(b, list) for b in blocks):
        raise InvalidInput("partition", str(path), "must be a list of lists of node ids", 'such as [["a", "b"], ["c"]]')
    return partition_from_blocks(dag, [[_identifier(name, "partition") for name in block] for block in blocks])


def network_from_json(data: Any) -> Network:
    """``{"inputs": […], "outputs": […], "nodes": [{"id", "activation", "bias"}…], "edges": [[source, target, w]…]}``.

    Exact if no number is written with a decimal point or an exponent: integers and strings such as ``"1/4"``.
    An activation is a name or ``{"name": "leaky_relu", "slope": "1/10"}``.
    """
    if not isinstance(data, dict):
        raise InvalidInput("network", type(data).__name__, "must be an object", "with inputs, outputs, nodes and edges")
    _refuse_unknown_keys(data, _PARTS, "the network")
    parts = {key: _list(data, key) for key in _PARTS if key != "edges"}
    inputs = [_identifier(name, "inputs") for name in parts["inputs"]]
    outputs = [_identifier(name, "outputs") for name in parts["outputs"]]
    nodes = _nodes(parts["nodes"], frozenset(inputs))
    edges = data.get("edges")
    if not isinstance(edges, EdgeColumns):
        columns = Columns()
        columns.extend(_list(data, "edges"))
        edges = columns.whole()
    approximate = isinstance(edges.weight, np.ndarray) and len(edges.weight) > 0
    approximate |= any(isinstance(n, float) for n in [*([] if approximate else edges.weight), *(n.bias for n in nodes)])
    return build_network(inputs, nodes, edges, outputs, rationals=not approximate)


def network_to_json(network: Network) -> dict[str, Any]:
    """The inverse of ``network_from_json``; rationals become strings."""
    dag = network.dag
    nodes = [
        {"id": dag.ids[v], "activation": _activation_json(dag, v), "bias": written_number(network.bias[v])}
        for v in range(dag.nodes)
        if not dag.is_input[v]
    ]
    triples = zip(dag.source, dag.target, network.weight, strict=True)
    edges = [[dag.ids[int(u)], dag.ids[int(v)], written_number(w)] for u, v, w in triples]
    ends = {"inputs": [dag.ids[int(v)] for v in dag.inputs], "outputs": [dag.ids[int(v)] for v in dag.outputs]}
    return {**ends, "nodes": nodes, "edges": edges}


def _activation_json(dag: Dag, v: int) -> Any:
    phi = dag.activations[int(dag.activation_of[v])]
    extra = written_parameters(phi)
    return {"name": phi.name, **extra} if extra else phi.name


def _load_json(file: Path) -> Any:
    try:
        return decode(file.read_text(encoding="utf-8-sig"))
    except InvalidInput:
        raise
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput("file", str(file), f"is not JSON ({error})", "give JSON, GraphML or safetensors") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise InvalidInput("file", str(file), "has an integer of too many digits", "write a smaller number") from error
    except RecursionError as error:
        raise InvalidInput("file", str(file), "is nested too deeply", "give a flat network file") from error


def _refuse_unknown_keys(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise InvalidInput(f"key of {where}", key, "is unknown", f"the keys are {' '.join(known)}")


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(data.get(key), list):
        raise InvalidInput(key, data.get(key), "must be a list", "see python -m lop_theory.graph --help")
    return data[key]


def _identifier(name: Any, where: str) -> str | int:
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise InvalidInput(where, name, "must be a node id: a string or an integer", "name every node")
    if isinstance(name, str) and not _is_unicode(name):
        raise InvalidInput(where, name, "is a node id with half a surrogate pair", "write the id in valid Unicode")
    if isinstance(name, str) and len(name.splitlines()) > 1:
        raise InvalidInput(where, name, "is a node id of several lines", "write the id on one line")
    return name


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nodes(entries: Sequence[Any], inputs: frozenset[str | int]) -> list[Node]:
    """The nodes that are no inputs. An input may be listed as well, once, without activation and bias."""
    nodes, listed = list[Node](), set[str | int]()
    for entry in entries:
        if not isinstance(entry, dict) or "id" not in entry:
            raise InvalidInput("nodes", entry, "must be an object with an id", 'such as {"id": "a"}')
        name = _identifier(entry["id"], "nodes")
        _refuse_unknown_keys(entry, ("id", "activation", "bias"), f"node {shown(name)}")
        if name in listed:
            raise InvalidInput("node", name, "appears twice", "give every node its own id")
        listed.add(name)
        if name in inputs:
            refuse_parameters(name, entry.get("activation"), entry.get("bias"))
        else:
            nodes.append(_node(name, entry))
    return nodes


def _node(name: str | int, entry: Mapping[str, Any]) -> Node:
    phi = read_activation(entry.get("activation", "identity"), f"activation of node {shown(name)}")
    return Node(name, phi, read_number(entry.get("bias", 0), f"bias of node {shown(name)}"))


def _read_graphml(file: Path) -> Network:
    import xml.etree.ElementTree as ET

    import networkx as nx

    try:
        _check_graphml(ET.parse(file).getroot())
        graph = nx.read_graphml(file)
    except InvalidInput:
        raise
    except (ET.ParseError, nx.NetworkXError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput("file", str(file), f"is not GraphML ({reason})", "export it again") from error
    return from_networkx(_with_defaults(graph))


def _with_defaults(graph: Any) -> Any:
    """The graph with the file's own defaults written out, which ``networkx`` only reports."""
    for kind, parts in (("node", graph.nodes), ("edge", graph.edges)):
        for part in parts:
            parts[part].update({**graph.graph.get(f"{kind}_default", {}), **parts[part]})
    return graph


def _check_graphml(root: "Element") -> None:
    """What ``networkx`` would read without a word: nodes and edges that are repeated, nodes that are not declared."""
    graphs = root.findall(".//{*}graph")
    if len(graphs) != 1:
        raise InvalidInput("graph", len(graphs), "must be one graph in a file", "export one network")
    names, edges = set[Any](), set[tuple[Any, Any]]()
    for node in graphs[0].iterfind("{*}node"):
        name = _identifier(node.get("id"), "node")
        if name in names:
            raise InvalidInput("node", name, "appears twice", "give every node its own id")
        names.add(name)
    for edge in graphs[0].iterfind("{*}edge"):
        ends = edge.get("source"), edge.get("target")
        label = " -> ".join(map(shown, ends))
        for end in ends:
            if end not in names:
                raise InvalidInput("edge", label, f"has the unknown node {end!r}", "declare it as a node")
        if ends in edges:
            raise InvalidInput("edge", label, "is a duplicate edge", "add the two weights into one edge")
        edges.add(ends)


def _read_state(file: Path, hidden: str, order: Sequence[str] | None) -> Reading:
    layers, found = layers_of_state(read_safetensors(file), order)
    return Reading(mlp_of(layers, hidden), Assumed(found.names, found.decided_by, hidden))


def as_json_number(value: Any) -> float | int | str:
    """A number for JSON output; infinite ends become strings, rationals stay exact strings."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else ("inf" if value > 0 else "-inf")
    return str(value) if hasattr(value, "p") else int(value)  # a rational, or a count of edges
