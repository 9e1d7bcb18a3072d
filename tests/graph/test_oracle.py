"""The package against the plain-fractions reference in ``oracle``, and SGD really run for every verdict."""

from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.balls import fmpq
from lop_theory.graph.certificate import frozen_units
from lop_theory.graph.cloning import hypotheses, sgd_step, trajectory_invariant
from lop_theory.graph.counterexamples import COUNTEREXAMPLES
from lop_theory.graph.dag import Node, build_network, edge_weights
from lop_theory.graph.dimensions import codimension
from lop_theory.graph.manifold import distance, normal_part
from lop_theory.graph.nearest import merge_cost, nearest_pair
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.passes import backward, forward, gradient, squared_error
from lop_theory.graph.quotient import base_network
from lop_theory.graph.refinement import refine
from lop_theory.graph.scalars import exact, floats, to_float
from tests.graph import oracle
from tests.graph.oracle import Net

F = Fraction
SMOOTH = ("identity", "square", "relu", "leaky_relu")
SMALL = st.builds(F, st.integers(-3, 3), st.sampled_from([1, 2, 3]))


@st.composite
def plain_networks(draw, kinds=tuple(oracle.PHI), size=5):
    inputs = tuple(f"x{k}" for k in range(draw(st.integers(1, 2))))
    nodes = {f"n{k}": (draw(st.sampled_from(kinds)), draw(SMALL)) for k in range(draw(st.integers(1, size)))}
    everyone = [*inputs, *nodes]
    pairs = [(u, v) for v in nodes for u in everyone[: everyone.index(v)]]
    edges = {pair: draw(SMALL) for pair in pairs if draw(st.booleans())}
    outputs = draw(st.lists(st.sampled_from(list(nodes)), min_size=1, max_size=2, unique=True))
    return Net(inputs, nodes, edges, tuple(outputs))


@st.composite
def blown_up(draw, kinds=SMOOTH):
    """(network, blocks): units of a small base network become blocks of up to three; weights and edges of a block pair
    are perhaps redistributed or dropped, so that each hypothesis fails in some draws and all hold in others."""
    base = draw(plain_networks(kinds, size=3))
    copies = {v: [v] if v in (*base.inputs, *base.outputs) else [f"{v}.{k}" for k in range(draw(st.integers(1, 3)))]
              for v in base.everyone}  # fmt: skip
    nodes = {c: base.nodes[v] for v in base.nodes for c in copies[v]}
    edges = {(a, b): w for (u, v), w in base.edges.items() for a in copies[u] for b in copies[v]}
    for u, v in base.edges:
        rows, columns = copies[u], copies[v]
        if len(rows) > 1 and len(columns) > 1 and draw(st.booleans()):
            move = draw(SMALL | st.just(edges[rows[0], columns[0]]))
            for r, c, sign in ((0, 0, -1), (0, 1, 1), (1, 0, 1), (1, 1, -1)):
                edges[rows[r], columns[c]] += sign * move
            if edges[rows[0], columns[0]] == 0 and draw(st.booleans()):
                del edges[rows[0], columns[0]]  # equal sums on a support that is not biregular
    if edges and draw(st.integers(0, 5)) == 0:
        spoiled = draw(st.sampled_from(sorted(edges)))
        edges[spoiled] += 1
    if draw(st.integers(0, 5)) == 0:
        spoiled = draw(st.sampled_from(sorted(nodes)))
        nodes[spoiled] = (nodes[spoiled][0], nodes[spoiled][1] + 1)
    return Net(base.inputs, nodes, edges, base.outputs), list(copies.values())


@st.composite
def samples_of(draw, net, most=2):
    def values(names):
        return {name: draw(SMALL) for name in names}

    return [(values(net.inputs), values(net.outputs)) for _ in range(draw(st.integers(1, most)))]


@st.composite
def partitions_of(draw, net):
    label = {v: draw(st.integers(0, 3)) for v in net.everyone}
    return [block for k in range(4) if (block := [v for v in net.everyone if label[v] == k])]


def rational(value):
    return fmpq(value.numerator, value.denominator)


def built(net):
    nodes = [Node(v, activation(kind), rational(bias)) for v, (kind, bias) in net.nodes.items()]
    edges = [(u, v, rational(w)) for (u, v), w in net.edges.items()]
    return build_network(net.inputs, nodes, edges, net.outputs, rationals=True)


def fraction(value):
    return Fraction(int(value.p), int(value.q)) if isinstance(value, fmpq) else value


def batch_of(net, samples):
    x = exact([rational(s[0][v]) for v in net.inputs for s in samples]).reshape(len(net.inputs), -1)
    t = exact([rational(s[1][v]) for v in net.outputs for s in samples]).reshape(len(net.outputs), -1)
    return x, t


def by_name(network, values):
    return {name: fraction(value) for name, value in zip(network.dag.ids, values, strict=True)}


def parameters(network):
    """Weights and biases as the oracle has them."""
    weights = {edge: fraction(w) for edge, w in edge_weights(network).items()}
    return weights, by_name(network, network.bias)


@pytest.mark.claim("clone-forward")
@pytest.mark.claim("clone-gradient")
@given(st.data())
def test_values_adjoints_gradients_and_steps(data):
    net = data.draw(plain_networks())
    samples = data.draw(samples_of(net))
    network, (x, t) = built(net), batch_of(net, samples)
    trace = forward(network, x)
    back = backward(network, trace, trace.h[network.dag.outputs] - t)
    for k, (inputs, target) in enumerate(samples):
        z, h = oracle.forward(net, inputs)
        assert by_name(network, trace.h[:, k]) == h
        assert {v: fraction(trace.z[network.dag.number_of[v], k]) for v in net.nodes} == z
        delta = oracle.backward(net, z, {v: h[v] - target[v] for v in net.outputs})
        assert by_name(network, back.adjoint[:, k]) == delta
    edges, biases = oracle.gradient(net, samples)
    found = gradient(network, x, squared_error(t))
    weights, bias = parameters(network.with_parameters(found.weight, found.bias))
    assert weights == edges
    assert {v: bias[v] for v in net.nodes} == biases
    after = oracle.sgd(net, samples, F(1, 3))
    weights, bias = parameters(sgd_step(network, (x, squared_error(t)), "1/3"))
    assert weights == after.edges
    assert {v: bias[v] for v in net.nodes} == {v: b for v, (_, b) in after.nodes.items()}


@given(st.data())
def test_coarsest_partitions(data):
    net = data.draw(plain_networks(("relu", "identity")) | blown_up().map(lambda drawn: drawn[0]))
    network = built(net)
    for mode, support in (("in", False), ("out", False), ("both", False), ("both", True), ("in", True)):
        found = refine(network, mode=mode, support=support)
        names = {frozenset(network.dag.ids[v] for v in block) for block in found.members}
        assert names == oracle.coarsest(net, into=mode != "out", out=mode != "in", count=support)


@pytest.mark.claim("clone-trajectory")
@pytest.mark.claim("clone-support")
@given(st.data())
def test_every_verdict_is_the_definition_and_sgd_keeps_what_it_promises(data):
    net, blocks = data.draw(blown_up())
    if data.draw(st.integers(0, 3)) == 0:
        blocks = data.draw(partitions_of(net))
    network = built(net)
    partition = partition_from_blocks(network.dag, blocks)
    right = oracle.hypotheses(net, blocks)
    found = hypotheses(network, partition)
    assert {name: bool(v) for name, v in found._asdict().items()} == right
    assert bool(trajectory_invariant(network, partition)) == all(right.values())
    assume(all(right.values()))
    after = net
    for _ in range(2):
        after = oracle.sgd(after, data.draw(samples_of(net)), F(1, 4))
    assert oracle.block_constant_change(net, after, blocks)
    assert oracle.equitable(after, blocks, into=True)
    assert oracle.equitable(after, blocks, into=False)


@pytest.mark.claim("clone-dimension")
@given(st.data(), st.sampled_from(["in", "out", "both", "constant"]))
def test_projections_distances_and_codimensions(data, manifold):
    net = data.draw(plain_networks(("identity",)))
    blocks = data.draw(partitions_of(net))
    network = built(net)
    partition = partition_from_blocks(network.dag, blocks)
    part, count = oracle.normal_part(net, blocks, manifold)
    assert codimension(network.dag, partition, manifold) == count
    weights, bias = parameters(network.with_parameters(*normal_part(network, partition, manifold)))
    assert [weights[e] for e in net.edges] + [bias[v] for v in net.nodes] == part
    square = sum((a * a for a in part), F(0))
    assert distance(network, partition, manifold) == pytest.approx(float(square) ** 0.5, rel=1e-12)
    rounded = network.with_parameters(floats(network.weight), floats(network.bias))
    assert distance(rounded, partition, manifold) == pytest.approx(float(square) ** 0.5, rel=1e-9, abs=1e-15)


@given(plain_networks(("identity", "relu")))
def test_nearest_pairs(net):
    network, right = built(net), oracle.merge_distances(net)
    number = network.dag.number_of
    for pair, square in right.items():
        assert fraction(merge_cost(network, *(number[v] for v in pair))) == square
    found = nearest_pair(network)
    assert (found is None) == (not right)
    if found is not None:
        assert right[frozenset(found.units)] == min(right.values())
        assert found.distance == pytest.approx(float(min(right.values())) ** 0.5, rel=1e-12)


@pytest.mark.claim("base-network")
@given(st.data())
def test_base_networks(data):
    net, blocks = data.draw(blown_up())
    right = oracle.hypotheses(net, blocks)
    assume(right["equal_activations"] and right["equal_biases"] and right["in_equitable"])
    network = built(net)
    base = base_network(network, partition_from_blocks(network.dag, blocks))
    block_of = {v: k for k, block in enumerate(blocks) for v in block}
    weights = {(block_of[u], block_of[v]): fraction(w) for (u, v), w in edge_weights(base.network).items()}
    expected = oracle.base_weights(net, blocks)
    assert {pair: w for pair, w in weights.items() if w} == {pair: w for pair, w in expected.items() if w}
    assert weights == expected or not right["quotient_acyclic"]
    for name, at in zip(network.dag.ids, base.node_of, strict=True):
        assert block_of[base.network.dag.ids[at]] == block_of[name]
        assert base.multiplicity[at] == len(blocks[block_of[name]])


@pytest.mark.claim("frozen-unit")
@given(st.data(), st.sampled_from([(F(-1), F(1)), (F(0), F(1, 2)), (F(0), inf), (-inf, inf)]))
def test_frozen_units(data, bounds):
    net = data.draw(plain_networks(("relu", "hardtanh", "relu6", "square", "identity")))
    network, right = built(net), oracle.frozen(net, *bounds)
    given_range = tuple(rational(end) if isinstance(end, F) else end for end in bounds)
    found = {f.id: tuple(fraction(end) for end in f.interval) for f in frozen_units(network, given_range)}
    assert found == right
    rounded = network.with_parameters(floats(network.weight), floats(network.bias))
    for f in frozen_units(rounded, given_range):  # rounding only widens
        assert f.id in right
        for k, sign in ((0, -1), (1, 1)):
            inner, outer = float(right[f.id][k]), to_float(f.interval[k])
            assert np.isinf(inner) or sign * (outer - inner) >= -1e-300
    assume(right)
    inside = st.fractions(max(bounds[0], F(-5)), min(bounds[1], F(5)), max_denominator=4)
    samples = [({v: data.draw(inside) for v in net.inputs}, {v: data.draw(SMALL) for v in net.outputs})]
    after = oracle.sgd(oracle.sgd(net, samples, F(3)), samples, F(5))
    for u, v in net.edges:
        assert v not in right or after.edges[u, v] == net.edges[u, v]
    assert all(after.nodes[v] == net.nodes[v] for v in right)


@pytest.mark.claim("clone-trajectory")
@pytest.mark.parametrize("example", COUNTEREXAMPLES, ids=lambda e: e.name)
def test_no_counterexample_is_promised_to_stay(example):
    """Each of them breaks one hypothesis alone (or with what follows from it), so each condition is needed here."""
    assert not trajectory_invariant(example.network(), example.partition())
