"""Networks, and files of them, that several files of tests need."""

import json

import numpy as np

from lop_theory.activations import activation
from lop_theory.graph.__main__ import main
from lop_theory.graph.dag import Node, build_network


def star(*into, out=1.0):
    """x → tanh units with these weights → y."""
    names = "abcdefgh"[: len(into)]
    outs = [out] * len(into) if np.isscalar(out) else out
    edges = [("x", n, w) for n, w in zip(names, into, strict=True)] + [
        (n, "y", w) for n, w in zip(names, outs, strict=True)
    ]
    nodes = [Node(n, activation("tanh"), 0.0) for n in names] + [Node("y", activation("identity"), 0.0)]
    return build_network(["x"], nodes, edges, ["y"])


def write(folder, data, name="n.json"):
    path = folder / name
    path.write_text(json.dumps(data))
    return str(path)


def spoken_text(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def two_units(first, second, weights=(1, 1)):
    edges = [["x", first, 1], ["x", second, 1], [first, "y", weights[0]], [second, "y", weights[1]]]
    return {"inputs": ["x"], "outputs": ["y"], "nodes": [{"id": first}, {"id": second}, {"id": "y"}], "edges": edges}
