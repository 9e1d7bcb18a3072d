"""Conversions keep the function: the DAG computes what the torch module computes, or the module is refused."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import from_networkx, from_torch, to_networkx
from lop_theory.graph.dag import Node, build_network, edge_weights
from lop_theory.graph.io import network_from_json, network_to_json, read_network
from lop_theory.graph.passes import forward

SAME = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(0.25),
    nn.ELU(0.5),
    nn.CELU(2.0),
    nn.SELU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Softplus(),
    nn.Softplus(beta=3),
    nn.Sigmoid(),
    nn.LogSigmoid(),
    nn.Tanh(),
    nn.Hardtanh(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Softsign(),
    nn.Softshrink(0.25),
    nn.Hardshrink(0.25),
    nn.Tanhshrink(),
    nn.Identity(),
]


def linear(fan_in, fan_out):
    return nn.Linear(fan_in, fan_out, dtype=torch.float64)


@pytest.mark.parametrize("phi", SAME, ids=str)
def test_the_dag_computes_what_the_module_computes(phi):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), linear(3, 5), phi, linear(5, 4), phi, linear(4, 2), phi)
    x = 4 * torch.randn(20, 3, dtype=torch.float64)
    network = from_torch(model)
    h = forward(network, x.numpy().T).h[network.dag.outputs]
    assert np.allclose(h, model(x).detach().numpy().T, rtol=1e-8, atol=1e-8)


class Twice(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Reversed(nn.Sequential):
    def forward(self, input):
        return -super().forward(input)


class ReLU(nn.Module):
    def forward(self, input):
        return -input


REFUSED = [
    ([linear(2, 2), nn.Tanh(), nn.ReLU(), linear(2, 2)], "ReLU.*follows tanh"),
    ([linear(2, 2), nn.Tanh(), nn.Tanh()], "Tanh.*follows tanh"),
    ([nn.Tanh(), linear(2, 2)], "tanh.*before the first Linear"),
    ([linear(2, 2), nn.Hardtanh(-2, 1)], "Hardtanh.*min_val"),
    ([linear(2, 2), nn.Hardtanh(-1, 3)], "Hardtanh.*max_val"),
    ([linear(2, 2), nn.Softplus(threshold=1)], "Softplus.*threshold"),
    ([linear(2, 2), nn.PReLU()], "PReLU"),
    ([linear(2, 2), nn.Flatten(0)], "Flatten"),
    ([linear(2, 2), ReLU()], "ReLU"),
    ([Twice(2, 2)], "Twice"),
    ([linear(2, 2), nn.Tanh(), linear(2, 2), nn.ReLU(), linear(2, 2)], "relu.*tanh.*one kind"),
    ([linear(2, 2), linear(2, 2), nn.ReLU(), linear(2, 2)], "identity.*relu.*one kind"),
    ([nn.Tanh()], "Linear"),
    ([], "Linear"),
]


@pytest.mark.parametrize(("modules", "words"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_the_dag_would_not_compute_is_refused_by_name(modules, words):
    with pytest.raises(InvalidInput, match=words):
        from_torch(nn.Sequential(*modules))


def test_a_forward_of_its_own_is_refused():
    with pytest.raises(InvalidInput, match=r"Reversed.*forward"):
        from_torch(Reversed(linear(2, 2)))


def described(network):
    dag = network.dag
    kinds = {dag.ids[v]: None if k < 0 else dag.activations[k] for v, k in enumerate(dag.activation_of)}
    ends = [[dag.ids[v] for v in end] for end in (dag.inputs, dag.outputs)]
    return kinds, ends, dict(zip(dag.ids, network.bias, strict=True)), dict(edge_weights(network))


def by_graphml(network, folder):
    nx.write_graphml(to_networkx(network), folder / "n.graphml")
    return read_network(folder / "n.graphml")


ROADS = [
    lambda network, _: from_networkx(to_networkx(network)),
    lambda network, _: network_from_json(network_to_json(network)),
    by_graphml,
]


@pytest.mark.parametrize("road", ROADS, ids=["networkx", "json", "graphml"])
@pytest.mark.parametrize("third", [fmpq(1, 3), 1 / 3], ids=["exact", "float"])
def test_round_trips_keep_parameters_and_rationals(road, third, tmp_path):
    leaky = activation("leaky_relu", slope="1/2")
    nodes = [Node("a", leaky, third), Node("y", activation("identity"), 0), Node("z", activation("sin", omega=3), 1)]
    edges = [("x", "a", third), ("a", "y", 2), ("x", "z", "1/7")]
    network = build_network(["x"], nodes, edges, ["x", "z", "y"], rationals=isinstance(third, fmpq))
    again = road(network, tmp_path)
    assert described(again) == described(network)
    assert again.weight.dtype == network.weight.dtype


@pytest.mark.parametrize("phi", [from_formula("x + 1"), activation("tanh", scale="2")], ids=["formula", "scaled"])
def test_an_activation_that_no_file_can_hold_is_refused(phi):
    network = build_network(["x"], [Node("a", phi)], [("x", "a", 1)], ["a"])
    for write in (to_networkx, network_to_json):
        with pytest.raises(InvalidInput, match="catalogue"):
            write(network)


BAD_GRAPHS = [
    ({"role": "inptu"}, {}, "role of node a.*inptu"),
    ({"parameters": "{"}, {}, "parameters of node a"),
    ({"parameters": "[1]"}, {}, "parameters of node a"),
    ({"parameters": '{"slop": 1}'}, {}, "slop"),
    ({"bias": True}, {}, "bias of node a"),
    ({}, {"weight": True}, "x -> a"),
    ({}, {"weight": None}, "x -> a"),
]


@pytest.mark.parametrize(("node", "edge", "words"), BAD_GRAPHS)
def test_bad_attributes_are_named(node, edge, words):
    graph = nx.DiGraph()
    graph.add_node("a", **{"activation": "leaky_relu", **node})
    graph.add_edge("x", "a", **edge)
    with pytest.raises(InvalidInput, match=words):
        from_networkx(graph)


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiDiGraph, nx.MultiGraph])
def test_only_simple_directed_graphs_are_networks(kind):
    with pytest.raises(InvalidInput, match=f"{kind.__name__}.*simple directed"):
        from_networkx(kind([("x", "y")]))


def test_a_single_linear_layer_is_a_network():
    model = linear(3, 2)
    x = torch.randn(4, 3, dtype=torch.float64)
    network = from_torch(model)
    assert np.allclose(forward(network, x.numpy().T).h[network.dag.outputs].T, model(x).detach())


def test_numpy_numbers_are_read_as_floats():
    graph = nx.DiGraph()
    graph.add_node("y", bias=np.float32(0.1))
    graph.add_edge("x", "y", weight=np.float64(0.3))
    network = from_networkx(graph)
    assert (list(network.weight), list(network.bias)) == ([0.3], [0, float(np.float32(0.1))])
    assert network.weight.dtype == np.float64
