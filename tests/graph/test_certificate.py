"""Frozen units: the certificate is sound for every upstream parameter; drift bounds hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput
from lop_theory.graph import enclosures
from lop_theory.graph.certificate import (
    EVERYTHING,
    ROUNDINGS,
    Incoming,
    _sum_error,
    frozen_units,
    pre_activation,
    saturation_drift,
)
from lop_theory.graph.cloning import sgd_step
from lop_theory.graph.counterexamples import REVIVED_BY_MOMENTUM, REVIVED_BY_UPSTREAM
from lop_theory.graph.dag import Network, Node, build_network, exact_network
from lop_theory.graph.passes import forward, gradient, squared_error
from lop_theory.graph.scalars import exact, floats
from lop_theory.strategies import networks

MIXED = tuple(activation(name) for name in ("tanh", "sigmoid", "relu", "hardtanh", "relu6", "step"))


@pytest.mark.claim("frozen-unit")
@given(networks(activations=MIXED), st.integers(0, 10**6))
def test_certified_units_stay_frozen_whatever_the_upstream_does(network, seed):
    dag = network.dag
    number = Network(dag, floats(network.weight), floats(network.bias))
    found = frozen_units(number, (-2, 2))
    units = [dag.number_of[f.id] for f in found]
    rng = np.random.default_rng(seed)
    own = np.isin(dag.target, units)
    weight = np.where(own, number.weight, rng.normal(size=dag.edges) * 10)
    bias = np.where(np.isin(np.arange(dag.nodes), units), number.bias, rng.normal(size=dag.nodes) * 10)
    moved = number.with_parameters(weight, bias)
    x = rng.uniform(-2, 2, size=(len(dag.inputs), 5))
    trace = forward(moved, x)
    for f, v in zip(found, units, strict=True):
        low, high = (end if isinstance(end, float) else float(floats(exact([end]))[0]) for end in f.interval)
        assert (trace.z[v] >= low - 1e-9).all()
        assert (trace.z[v] <= high + 1e-9).all()
    change = gradient(moved, x, squared_error(np.ones((len(dag.outputs), 5))))
    assert (change.weight[own] == 0).all()
    assert (change.bias[units] == 0).all()


def net(upstream, weight, bias):
    nodes = [Node("u", activation(upstream)), Node("v", activation("relu"), bias), Node("y", activation("identity"))]
    return build_network(["x"], nodes, [("x", "u", 5), ("u", "v", weight), ("v", "y", 1)], ["y"], rationals=True)


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(
    ("upstream", "weight", "bias", "frozen"),
    [
        ("tanh", "1", "-2", True),
        ("tanh", "3", "-2", False),
        ("sigmoid", "3/2", "-2", True),
        ("relu", "-1", "-1", True),
        ("relu", "1", "-100", False),
        ("sigmoid", "2", "-2", False),  # z < 0 for every input, but the interval is closed: not certified
    ],
)
def test_certificates_of_small_networks(upstream, weight, bias, frozen):
    assert bool(frozen_units(net(upstream, weight, bias))) == frozen


@pytest.mark.claim("frozen-unit")
def test_a_frozen_unit_bounds_the_units_after_it():
    relu, line = activation("relu"), activation("identity")
    nodes = [Node("a", relu, "-5"), Node("b", relu, "-1"), Node("y", line)]
    edges = [("x", "a", 1), ("a", "b", 7), ("b", "y", 1)]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    assert [f.id for f in frozen_units(network, (-1, 1))] == ["a", "b"]
    assert frozen_units(network) == ()
    path = network
    for _ in range(3):
        path = sgd_step(path, (exact([["1"]]), squared_error(exact([["4"]]))), "1/2")
    into = np.isin(network.dag.target, [network.dag.number_of["a"], network.dag.number_of["b"]])
    assert (path.weight[into] == network.weight[into]).all()


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(("weight", "bias", "inputs"), [(-1e-40, 0.005, (9e37, 1e38)), (-1e38, 0.05, (1e-39, 2e-39))])
def test_a_factor_that_float32_flushes_to_zero_is_no_certificate(weight, bias, inputs):
    """z = w x + b < 0 in float64; where w or x is flushed to zero, as on accelerators, z = b > 0."""
    net = build_network(["x"], [Node("v", activation("relu"), bias)], [("x", "v", weight)], ["v"])
    smallest = float(np.finfo(np.float32).tiny)
    assert min(abs(weight), inputs[1]) < smallest
    assert frozen_units(net, inputs, "float32") == ()
    assert [f.id for f in frozen_units(net, inputs, "float64")] == ["v"]


@pytest.mark.claim("frozen-unit")
def test_revivable_units_are_not_certified():
    for example in (REVIVED_BY_UPSTREAM, REVIVED_BY_MOMENTUM):
        assert frozen_units(example.network()) == ()
        assert frozen_units(example.network(), (-1, 1)) == ()


@pytest.mark.parametrize("bounds", [(2, 1), ("a", "b"), (math.nan, 1)])
def test_bad_input_ranges(bounds):
    with pytest.raises(InvalidInput, match="inputs"):
        frozen_units(net("tanh", "1", "-2"), bounds)


@pytest.mark.claim("frozen-unit")
@given(st.sampled_from(["tanh", "sigmoid"]), st.floats(0, 20), st.floats(0, 5))
def test_drift_of_a_saturated_unit_is_bounded(name, margin, beyond):
    z = margin + beyond
    slope = math.cosh(z) ** -2 if name == "tanh" else 0.25 * math.cosh(z / 2) ** -2
    assert slope <= saturation_drift(name, margin, adjoint=1, value=1, rate=1)


def test_drift_needs_a_saturating_unit():
    with pytest.raises(InvalidInput, match="saturation"):
        saturation_drift("relu", 1, adjoint=1, value=1, rate=1)
    with pytest.raises(InvalidInput, match="margin"):
        saturation_drift("tanh", -1, adjoint=1, value=1, rate=1)


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(("units", "frozen"), [(123, True), (124, False)])
def test_more_terms_than_a_bound_on_their_rounding_holds_for_are_no_certificate(units, frozen):
    """γ = (n + 4) u / (1 − (n + 4) u) is asked to be below 1, and u = 2⁻⁸ in bfloat16."""
    names = [f"u{k}" for k in range(units)]
    nodes = [Node(name, activation("tanh"), 0.0) for name in names]
    nodes += [Node("v", activation("relu"), -1e9), Node("y", activation("identity"))]
    edges = [("x", name, 1.0) for name in names] + [(name, "v", 1e-3) for name in names] + [("v", "y", 1.0)]
    network = build_network(["x"], nodes, edges, ["y"])
    for number in (network, exact_network(network)):
        assert bool(frozen_units(number, arithmetic="bfloat16")) == frozen
        assert frozen_units(number, arithmetic="float32")


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(
    ("name", "margin", "slope"),
    [("tanh", 0, 1), ("tanh", 0.5, 1), ("tanh", 1, 4 * math.exp(-2)), ("tanh", 9, 4 * math.exp(-18)),
     ("sigmoid", 0, 0.25), ("sigmoid", 1, 0.25), ("sigmoid", 2, math.exp(-2)), ("sigmoid", 9, math.exp(-9))],
)  # fmt: skip
def test_the_bound_on_drift_is_rate_times_adjoint_times_value_times_the_largest_slope(name, margin, slope):
    found = saturation_drift(name, margin, adjoint=-3, value=0.5, rate=0.1)
    assert found == pytest.approx(0.15 * slope, rel=1e-10)
    assert found >= 0.15 * slope


@pytest.mark.claim("frozen-unit")
@pytest.mark.parametrize(("terms", "share"), [(4, fmpq(1, 31)), (60, fmpq(1, 3)), (124, None)])
def test_the_error_of_a_sum_is_gamma_of_its_terms_and_what_underflows(terms, share):
    """In bfloat16 (n + 4)u = 8/256, 64/256 and 128/256; 2(n + 1 + Σ|w| + Σ|r|) numbers below 2⁻¹²⁶ may be flushed."""
    found = _sum_error(terms, fmpq(6), fmpq(5), ROUNDINGS["bfloat16"])
    assert found == (math.inf if share is None else 6 * share + fmpq(2 * (terms + 6), 2**126))
    near = enclosures._sum_error(np.array([terms]), np.array([6.0]), 2.0**-8)[0]
    assert near == (math.inf if share is None else pytest.approx(6 * float(share.p) / float(share.q)))
    assert enclosures._underflow(np.array([terms]), np.array([5.0]), 2.0**-126)[0] == 2 * (terms + 6) * 2.0**-126
    assert _sum_error(terms, fmpq(6), fmpq(5), ROUNDINGS["exact"]) == 0


@pytest.mark.claim("frozen-unit")
def test_the_interval_of_a_pre_activation_is_its_corners_and_their_rounding():
    """b ± Σ|w| for inputs in [−1, 1], in bfloat16: off by 24/232 of |b| + Σ|w| at most, and what underflows."""
    ranges, share = [(fmpq(-1), fmpq(1))] * 200, fmpq(24, 256 - 24)
    into = Incoming(list(range(20)), [fmpq(1, 4), fmpq(-1, 4)] * 10)
    low, high = pre_activation(fmpq(-9), into, ranges, ROUNDINGS["bfloat16"])
    off = share * 14 + fmpq(2 * (20 + 1 + 25), 2**126)
    assert (low, high) == (-14 - off, -4 + off)
    assert pre_activation(fmpq(-9), into, ranges, ROUNDINGS["exact"]) == (-14, -4)
    many = Incoming(list(range(200)), [fmpq(1, 400)] * 200)
    assert pre_activation(fmpq(-9), many, ranges, ROUNDINGS["bfloat16"]) == EVERYTHING
    open_below = [(-math.inf, fmpq(1)), *ranges[1:]]
    assert pre_activation(fmpq(-9), into, open_below, ROUNDINGS["exact"]) == (-math.inf, -4)
    assert pre_activation(fmpq(-9), into, [EVERYTHING, *ranges[1:]], ROUNDINGS["exact"]) == EVERYTHING
