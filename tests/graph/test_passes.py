"""Forward, adjoints and gradients against a recursive oracle and torch's autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Network, Node, build_network, edge_weights, exact_network
from lop_theory.graph.passes import backward, forward, gradient, squared_error
from lop_theory.graph.scalars import exact, floats, to_float
from lop_theory.graph.tensors import forward_tensors
from lop_theory.strategies import batches, networks
from tests.graph.nets import star

SMOOTH = tuple(activation(name) for name in ("tanh", "gelu", "identity", "softplus"))


def recursive_value(network, name, sample):
    """h(v) straight from its definition."""
    dag = network.dag
    v = dag.number_of[name]
    if dag.is_input[v]:
        return sample[list(dag.inputs).index(v)]
    z = network.bias[v]
    for (source, target), w in edge_weights(network).items():
        if target == name:
            z = z + w * recursive_value(network, source, sample)
    return dag.activations[dag.activation_of[v]].exact()(z)


@pytest.mark.claim("clone-forward")
@given(st.data())
def test_forward_is_the_recursion(data):
    network = data.draw(networks(max_nodes=4))
    x, _ = data.draw(batches(network))
    h = forward(network, x).h
    for k in range(x.shape[1]):
        assert [recursive_value(network, name, x[:, k]) for name in network.dag.ids] == list(h[:, k])


@pytest.mark.claim("clone-gradient")
@given(st.data())
def test_float_gradients_equal_autograd(data):
    network = data.draw(networks(activations=SMOOTH))
    x, t = (floats(v) for v in data.draw(batches(network)))
    dag = network.dag
    network = Network(dag, floats(network.weight), floats(network.bias))
    weight, bias = (torch.tensor(v, requires_grad=True) for v in (network.weight, network.bias))
    inputs = torch.tensor(x, requires_grad=True)
    h = forward_tensors(dag, weight, bias, inputs)
    (0.5 * (h[dag.outputs] - torch.tensor(t)) ** 2).sum().backward()
    trace = forward(network, x)
    found = backward(network, trace, trace.h[dag.outputs] - t)
    assert np.allclose(trace.h, h.detach().numpy(), rtol=1e-10, atol=1e-12)

    def of(tensor):
        return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()

    assert np.allclose(found.gradient.weight, of(weight), rtol=1e-9, atol=1e-10)
    hidden = ~dag.is_input
    assert np.allclose(found.gradient.bias[hidden], of(bias)[hidden], rtol=1e-9, atol=1e-10)
    assert np.allclose(found.adjoint[dag.inputs], of(inputs), rtol=1e-9, atol=1e-10)


@given(st.data())
def test_exact_and_float_passes_agree(data):
    network = data.draw(networks(max_nodes=4))
    x, t = data.draw(batches(network))
    rounded = Network(network.dag, floats(network.weight), floats(network.bias))
    a = gradient(network, x, squared_error(t))
    b = gradient(rounded, floats(x), squared_error(floats(t)))
    scale = 1 + np.abs(floats(a.weight)).max(initial=0) + np.abs(floats(a.bias)).max(initial=0)
    assert np.allclose(floats(a.weight), b.weight, atol=1e-9 * scale)
    assert np.allclose(floats(a.bias), b.bias, atol=1e-9 * scale)


def test_floats_become_their_exact_rationals():
    network = build_network(["x"], [Node("y", activation("identity"), 0.1)], [("x", "y", 0.3)], ["y"])
    turned = exact_network(network)
    assert to_float(turned.weight[0]) == 0.3
    assert turned.bias[1] != exact(["1/10"])[0]


@pytest.mark.parametrize(
    ("edges", "offender"),
    [
        ([("a", "b", 1), ("b", "a", 1)], "a -> b"),
        ([("x", "a", 1), ("x", "a", 2)], "x -> a"),
        ([("x", "q", 1)], "'q'"),
        ([("a", "x", 1)], "a -> x"),
        ([("x", "a", float("nan"))], "x -> a"),
        ([("x", "a", float("inf"))], "x -> a"),
        ([("x", "a", "1/0")], "x -> a"),
    ],
)
@pytest.mark.parametrize("rationals", [False, True])
def test_bad_networks_name_the_offender(edges, offender, rationals):
    nodes = [Node("a", activation("tanh")), Node("b", activation("tanh"))]
    with pytest.raises(InvalidInput) as error:
        build_network(["x"], nodes, edges, ["b"], rationals=rationals)
    assert offender in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_shapes_are_named():
    network = build_network(["x"], [Node("y", activation("identity"))], [("x", "y", 1.0)], ["y"])
    with pytest.raises(InvalidInput, match="inputs"):
        forward(network, np.zeros((2, 3)))
    with pytest.raises(InvalidInput, match="weight"):
        forward_tensors(network.dag, torch.zeros(2), torch.zeros(2), torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("name", "slope"),
    [("elu", 1), ("celu", 1), ("selu", 1.7580993408473768), ("leaky_relu", 0.01), ("relu", 0), ("hardtanh", 1)],
)
def test_gradients_at_a_kink_are_those_of_pytorch(name, slope):
    nodes = [Node("a", activation(name)), Node("y", activation("identity"))]
    network = build_network(["x"], nodes, [("x", "a", 1.0), ("a", "y", 1.0)], ["y"])
    found = gradient(network, np.zeros((1, 1)), np.ones_like)
    assert found.bias[network.dag.number_of["a"]] == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize("twice", [("x", "a"), ("x", "b"), ("a", "y"), ("b", "y")])
@pytest.mark.parametrize("rationals", [False, True])
def test_duplicate_edges_are_found_wherever_they_are_sorted_to(twice, rationals):
    nodes = [Node(name, activation("relu")) for name in ("a", "b", "y")]
    edges = [("x", "a", 1), ("x", "b", 1), ("a", "y", 1), ("b", "y", 1)]
    assert build_network(["x"], nodes, edges, ["y"], rationals=rationals).dag.edges == 4
    with pytest.raises(InvalidInput, match=f"{twice[0]} -> {twice[1]}.*duplicate"):
        build_network(["x"], nodes, [*edges, (*twice, 2)], ["y"], rationals=rationals)


def test_tensors_of_one_sample_need_two_dimensions():
    dag = star(1.0, 2.0).dag
    with pytest.raises(InvalidInput, match=r"inputs.*\(1, batch\)"):
        forward_tensors(dag, torch.zeros(dag.edges), torch.zeros(dag.nodes), torch.zeros(1))
