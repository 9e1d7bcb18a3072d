"""Dormancy is not the absence of a gradient: exact counterexamples both ways, and what relu has."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.graph.dag import Node, build_network
from lop_theory.graph.dormancy import silent_units, unmoved_units
from lop_theory.graph.passes import backward, forward, gradient, squared_error
from lop_theory.graph.scalars import exact
from lop_theory.strategies import batches, networks

RELU = (activation("relu"),)
pytestmark = pytest.mark.claim("later-dormancy")


def unit(name, incoming, outgoing):
    nodes = [Node("h", activation(name)), Node("y", activation("identity"))]
    return build_network(["x"], nodes, [("x", "h", incoming), ("h", "y", outgoing)], ["y"])


@pytest.mark.claim("later-dormancy")
@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "mish", "softsign", "erf"])
def test_a_dormant_unit_with_a_gradient(name):
    network, adjoint = unit(name, 0.0, 1.0), squared_error(np.array([[1.0]]))
    assert silent_units(network, np.array([[1.0]]))[1]
    assert not unmoved_units(network, np.array([[1.0]]), adjoint)[1]
    module = torch.erf if name == "erf" else getattr(torch.nn.functional, name)
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (0.5 * (module(w) - 1) ** 2).backward()
    assert float(w.grad) == pytest.approx(gradient(network, np.array([[1.0]]), adjoint).weight[0])


@pytest.mark.claim("later-dormancy")
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu"])
def test_a_unit_without_a_gradient_that_is_not_dormant(name):
    network, adjoint = unit(name, 1.0, 0.0), squared_error(np.array([[1.0]]))
    assert not silent_units(network, np.array([[1.0]]))[1]
    assert unmoved_units(network, np.array([[1.0]]), adjoint)[1]


@pytest.mark.claim("later-dormancy")
def test_a_saturated_tanh_has_gradient_zero_in_floats_and_is_loud():
    w = torch.tensor(20.0, dtype=torch.float64, requires_grad=True)
    h = torch.tanh(w)
    (0.5 * (h - 3) ** 2).backward()
    assert h.item() == 1.0
    assert float(w.grad) == 0.0
    assert 1 / math.cosh(20) ** 2 > 0, "in exact arithmetic it is not zero"


@pytest.mark.claim("later-dormancy")
@given(st.data())
def test_relu_silent_units_are_unmoved_and_conversely_without_errors(data):
    network = data.draw(networks(activations=RELU))
    x, t = data.draw(batches(network))
    trace = forward(network, x)
    assume((trace.z[~network.dag.is_input] != 0).all())
    silent, unmoved = silent_units(network, x), unmoved_units(network, x, squared_error(t))
    assert (~silent | unmoved).all()
    adjoint = backward(network, trace, squared_error(t)(trace.h[network.dag.outputs])).adjoint
    for v in np.flatnonzero(~network.dag.is_input):
        if (adjoint[v] != 0).all():
            alone = [gradient(network, x[:, [k]], squared_error(t[:, [k]])).bias[v] for k in range(x.shape[1])]
            assert (not any(alone)) == bool(silent[v])


@pytest.mark.claim("later-dormancy")
def test_errors_of_two_samples_cancel():
    """An active relu unit whose gradient is zero over the batch, not on any sample."""
    nodes = [Node("h", activation("relu")), Node("y", activation("identity"))]
    network = build_network(["x"], nodes, [("x", "h", "1"), ("h", "y", "1")], ["y"], rationals=True)
    x, adjoint = exact([["1", "1"]]), squared_error(exact([["0", "2"]]))
    assert unmoved_units(network, x, adjoint)[1]
    assert not silent_units(network, x)[1]
    assert not unmoved_units(network, x[:, :1], squared_error(exact([["0"]])))[1]
