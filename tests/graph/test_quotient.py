"""Base networks: exact relations of values, adjoints and learning rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.cloning import sgd_step
from lop_theory.graph.counterexamples import ACTIVATIONS, BIASES, CYCLIC_QUOTIENT, EDGE_IN_BLOCK, NOT_IN_EQUITABLE
from lop_theory.graph.dag import Node, build_network
from lop_theory.graph.equitable import in_equitable, out_equitable
from lop_theory.graph.partition import block_pairs, partition_from_blocks
from lop_theory.graph.passes import backward, forward, squared_error
from lop_theory.graph.quotient import base_network, zero_sums
from lop_theory.graph.scalars import exact, floats
from lop_theory.strategies import POLYNOMIALS, batches, equitable_networks


@pytest.mark.claim("base-network")
@given(st.data())
def test_values_are_equal_and_adjoints_are_divided_by_the_block_size(data):
    network, partition = data.draw(equitable_networks())
    x, t = data.draw(batches(network))
    base = base_network(network, partition)
    trace, small = forward(network, x), forward(base.network, x)
    assert (trace.h == small.h[base.node_of]).all()
    outputs = network.dag.outputs
    adjoint = backward(network, trace, trace.h[outputs] - t).adjoint
    small_adjoint = backward(base.network, small, small.h[base.network.dag.outputs] - t).adjoint
    size = exact(partition.sizes[partition.block_of])[:, None]
    assert (size * adjoint == small_adjoint[base.node_of]).all()
    assert (base.multiplicity[base.node_of] == partition.sizes[partition.block_of]).all()


@pytest.mark.claim("clone-rates")
@given(st.data(), st.sampled_from(["dense", "biregular"]))
def test_matched_rates_give_the_same_function_for_every_step(data, support):
    network, partition = data.draw(equitable_networks(support=support, activations=POLYNOMIALS[:3], max_blocks=2))
    base = base_network(network, partition)
    clone, small = network, base.network
    for _ in range(2):
        x, t = data.draw(batches(network, max_batch=2))
        assert (forward(clone, x).h == forward(small, x).h[base.node_of]).all()
        batch = x, squared_error(t)
        clone = sgd_step(clone, batch, "1/4")
        small = sgd_step(small, batch, "1/4", base.weight_rate, base.bias_rate)
    assert (forward(clone, x).h == forward(small, x).h[base.node_of]).all()


@pytest.mark.claim("clone-rates")
def test_rates_of_a_complete_block_are_source_size_over_target_size():
    found = find_rate(2, 3)
    assert found == exact(["2/3"])[0]


def find_rate(sources, targets):
    first, second = [f"a{k}" for k in range(sources)], [f"b{k}" for k in range(targets)]
    edges = [("x", a, 1) for a in first] + [(a, b, 1) for a in first for b in second] + [(b, "y", 1) for b in second]
    nodes = [Node(name, activation("identity")) for name in [*first, *second, "y"]]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    base = base_network(network, partition_from_blocks(network.dag, [["x"], first, second, ["y"]]))
    ids = base.network.dag.ids
    pairs = [(ids[u], ids[v]) for u, v in zip(base.network.dag.source, base.network.dag.target, strict=True)]
    return base.weight_rate[pairs.index(("a0", "b0"))]


@pytest.mark.claim("base-network")
@pytest.mark.parametrize("example", [NOT_IN_EQUITABLE, BIASES, ACTIVATIONS], ids=lambda e: e.name)
def test_no_base_without_in_equitability_equal_biases_and_activations(example):
    with pytest.raises(InvalidInput, match="no base network"):
        base_network(example.network(), example.partition())


@pytest.mark.claim("base-network")
@pytest.mark.parametrize("example", [CYCLIC_QUOTIENT, EDGE_IN_BLOCK], ids=lambda e: e.name)
@pytest.mark.parametrize("tolerance", [0, 1e-9])
def test_a_cycle_of_zero_sums_is_left_out_of_the_base(example, tolerance):
    network, partition = example.network(), example.partition()
    if tolerance:
        network = network.with_parameters(floats(network.weight), floats(network.bias))
    base = base_network(network, partition, tolerance)
    x = network.weight[:1, None] * 0 + 3
    assert (forward(network, x).h == forward(base.network, x).h[base.node_of]).all()
    assert (base.network.weight != 0).all()


@pytest.mark.claim("base-network")
def test_zero_sums_off_a_cycle_stay_edges_of_the_base():
    nodes = [Node(name, activation("identity")) for name in ("a1", "a2", "y")]
    edges = [("x", "a1", 0), ("x", "a2", 0), ("a1", "y", 1), ("a2", "y", 1)]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    base = base_network(network, partition_from_blocks(network.dag, [["x"], ["a1", "a2"], ["y"]]))
    assert list(base.network.weight) == [0, 2]


@pytest.mark.parametrize(("tolerance", "zero"), [(0.0, False), (0.49, False), (0.5, True)])
@pytest.mark.parametrize("rationals", [False, True])
def test_a_sum_is_zero_within_half_the_tolerance_of_its_terms(tolerance, zero, rationals):
    """5/4 − 3/4 = 1/2 and |5/4| + |3/4| = 2."""
    nodes = [Node(name, activation("identity")) for name in ("a", "b", "y")]
    edges = [("x", "a", 1), ("x", "b", 1), ("a", "y", "5/4"), ("b", "y", "-3/4")]
    network = build_network(["x"], nodes, edges, ["y"], rationals=rationals)
    pairs = block_pairs(network.dag, partition_from_blocks(network.dag, [["x"], ["a", "b"], ["y"]]))
    total = exact([2, "1/2"]) if rationals else np.array([2.0, 0.5])
    assert list(zero_sums(network, pairs, total, tolerance)) == [False, zero]


def test_what_is_said_of_the_base_s_nodes_goes_with_them():
    """They are ordered anew where an edge of sum 0 goes against the order of the blocks."""
    late, early = ["b0", "b1"], ["a0", "a1", "a2"]
    nodes = [Node(name, activation("tanh"), 0.25) for name in ("b0", *early, "b1")] + [
        Node("y", activation("identity"))
    ]
    edges = [("x", name, 2) for name in late] + [("x", name, 1) for name in early]
    edges += [(a, "b1", w) for a, w in zip(early, (1, 1, -2), strict=True)] + [(n, "y", 1) for n in (*late, *early)]
    network = build_network(["x"], nodes, edges, ["y"])
    base = base_network(network, partition_from_blocks(network.dag, [["x"], late, early, ["y"]]))
    for name, count in {**dict.fromkeys(late, 2), **dict.fromkeys(early, 3), "x": 1, "y": 1}.items():
        node = base.node_of[network.dag.number_of[name]]
        assert base.multiplicity[node] == count
        assert base.bias_rate[node] == 1 / count


def test_a_node_that_a_block_does_not_reach_has_the_sum_zero():
    nodes = [Node(name, activation("tanh")) for name in ("a", "b")] + [Node("y", activation("identity"))]
    blocks = [["x"], ["a", "b"], ["y"]]
    for weights, equal in (((1,), False), ((0,), True), ((-2,), False), ((1, 1), True)):
        reached = [("x", name, w) for name, w in zip("ab", weights, strict=False)]
        network = build_network(["x"], nodes, [*reached, ("a", "y", 1), ("b", "y", 1)], ["y"])
        assert bool(in_equitable(network, partition_from_blocks(network.dag, blocks))) is equal
        mirrored = build_network(
            ["x"], nodes, [("x", "a", 1), ("x", "b", 1), *((n, "y", w) for _, n, w in reached)], ["y"]
        )
        assert bool(out_equitable(mirrored, partition_from_blocks(mirrored.dag, blocks))) is equal
