"""The norm-imbalance identity: exact on random DAGs, against autograd, and each of its hypotheses dropped."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import activation, from_formula
from lop_theory.graph.cloning import sgd_step
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.norm_imbalance import imbalance
from lop_theory.graph.passes import gradient, squared_error
from lop_theory.graph.scalars import exact, floats
from lop_theory.graph.tensors import forward_tensors
from lop_theory.strategies import batches, networks

SMOOTH = tuple(activation(name) for name in ("tanh", "gelu", "softplus", "silu"))
HOMOGENEOUS = tuple(activation(name) for name in ("identity", "relu", "leaky_relu"))


@pytest.mark.claim("later-norm-imbalance")
@given(st.data())
def test_both_sides_are_equal_at_every_node(data):
    network = data.draw(networks(activations=(*HOMOGENEOUS, from_formula("x**2"), activation("softsign"))))
    x, t = data.draw(batches(network))
    found = imbalance(network, x, squared_error(t))
    assert list(found.outgoing - found.incoming) == list(found.defect)


@pytest.mark.claim("later-norm-imbalance")
@given(st.data())
def test_homogeneous_activations_keep_the_balance(data):
    network = data.draw(networks(activations=HOMOGENEOUS))
    x, t = data.draw(batches(network))
    assert not imbalance(network, x, squared_error(t)).defect.any()


@pytest.mark.claim("later-norm-imbalance")
@given(st.data())
def test_powers_are_autograds(data):
    network = data.draw(networks(activations=SMOOTH))
    x, t = (floats(v) for v in data.draw(batches(network)))
    dag = network.dag
    network = Network(dag, floats(network.weight), floats(network.bias))
    weight, bias = (torch.tensor(v, requires_grad=True) for v in (network.weight, network.bias))
    h = forward_tensors(dag, weight, bias, torch.tensor(x))
    (0.5 * (h[dag.outputs] - torch.tensor(t)) ** 2).sum().backward()
    found = imbalance(network, x, squared_error(t))
    power = (weight * weight.grad).detach().numpy() if weight.grad is not None else np.zeros(dag.edges)
    of_bias = (bias * bias.grad).detach().numpy()
    values = h.detach().numpy()
    at_outputs = np.zeros(dag.nodes)
    np.add.at(at_outputs, dag.outputs, (values[dag.outputs] * (values[dag.outputs] - t)).sum(axis=1))
    for v in np.flatnonzero(~dag.is_input):
        incoming = power[dag.target == v].sum() + of_bias[v]
        outgoing = power[dag.source == v].sum() + at_outputs[v]
        assert found.incoming[v] == pytest.approx(incoming, rel=1e-9, abs=1e-11)
        assert found.outgoing[v] == pytest.approx(outgoing, rel=1e-9, abs=1e-11)
        assert found.defect[v] == pytest.approx(outgoing - incoming, rel=1e-8, abs=1e-10)


@pytest.mark.claim("later-norm-imbalance")
@pytest.mark.parametrize("name", ["Tanh", "GELU", "SiLU", "Softplus", "ReLU"])
def test_the_layer_form_by_autograd(name):
    """⟨W₂, ∇⟩ − ⟨W₁, ∇⟩ − ⟨b₁, ∇⟩ = Σ ⟨∂L/∂h, φ(z) − zφ′(z)⟩, the bias of layer 2 not counted."""
    torch.manual_seed(3)
    phi = getattr(torch.nn, name)()
    first, second = torch.nn.Linear(3, 4).double(), torch.nn.Linear(4, 2).double()
    x = torch.randn(5, 3).double()
    h = phi(first(x))
    h.retain_grad()
    torch.nn.functional.cross_entropy(second(h), torch.tensor([0, 1, 1, 0, 1])).backward()
    left = (second.weight * second.weight.grad).sum() - sum((p * p.grad).sum() for p in (first.weight, first.bias))
    z = first(x).detach().requires_grad_()
    value = phi(z)
    slope = torch.autograd.grad(value.sum(), z)[0]
    right = (h.grad * (value - z * slope)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-10, abs=1e-14)
    assert (abs(left.item()) < 1e-12) == (name == "ReLU")


@pytest.mark.claim("later-norm-imbalance")
def test_a_step_changes_the_difference_of_norms_by_the_defect_and_a_square():
    nodes = [Node("h", from_formula("x**2"), "1/2"), Node("y", from_formula("x"))]
    network = build_network(["x"], nodes, [("x", "h", "2"), ("h", "y", "1/3")], ["y"], rationals=True)
    x, adjoint, eta = exact([["1", "-2"]]), squared_error(exact([["1", "3"]])), exact(["1/10"])[0]
    found, g = imbalance(network, x, adjoint), gradient(network, x, adjoint)
    after = sgd_step(network, (x, adjoint), eta)

    def difference(n):
        (incoming,), (outgoing,) = n.weight[n.dag.target == 1], n.weight[n.dag.source == 1]
        return incoming**2 + n.bias[1] ** 2 - outgoing**2

    square = g.weight[network.dag.target == 1][0] ** 2 + g.bias[1] ** 2 - g.weight[network.dag.source == 1][0] ** 2
    assert difference(after) - difference(network) == 2 * eta * found.defect[1] + eta**2 * square


@pytest.mark.claim("later-norm-imbalance")
def test_without_its_bias_or_one_of_its_readers_the_identity_fails():
    nodes = [Node("h", from_formula("x"), "1"), Node("y", from_formula("x")), Node("s", from_formula("x"))]
    edges = [("x", "h", "1"), ("h", "y", "1"), ("h", "s", "1")]
    network = build_network(["x"], nodes, edges, ["y", "s"], rationals=True)
    one = exact([["1"]])
    found = imbalance(network, one, lambda y: exact(np.ones(y.shape, dtype=int)))
    h = network.dag.number_of["h"]
    assert found.outgoing[h] - found.incoming[h] == found.defect[h] == 0
    assert found.outgoing[h] - (found.incoming[h] - found.of_biases[h]) == 2
    assert found.outgoing[h] / 2 - found.incoming[h] != 0, "one reader of two"
