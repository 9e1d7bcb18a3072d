"""The named counterexamples, recomputed exactly."""

from itertools import product

import numpy as np
import pytest

from lop_theory.activations.catalogue import activation
from lop_theory.graph import counterexamples as named
from lop_theory.graph.cloning import gradient_spread, hypotheses, residuals, sgd_step, sum_spread, trajectory
from lop_theory.graph.dag import Node, build_network
from lop_theory.graph.equitable import biregular_support, in_equitable, out_equitable
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.passes import Gradient, forward, gradient, squared_error
from lop_theory.graph.scalars import exact, rational

CLAIM = {
    "equal_activations": "clone-forward",
    "equal_biases": "clone-forward",
    "singleton_ends": "clone-forward",
}


def step_change(example, steps=1):
    network, partition, batch = example.network(), example.partition(), example.batch()
    after = trajectory(network, [batch] * steps, "1/8")[-1]
    change = Gradient(after.weight - network.weight, after.bias - network.bias)
    return gradient_spread(network, partition, change), sum_spread(after, partition)


@pytest.mark.claim("clone-forward")
@pytest.mark.claim("clone-backward")
@pytest.mark.claim("clone-gradient")
@pytest.mark.claim("clone-trajectory")
@pytest.mark.parametrize("example", named.COUNTEREXAMPLES, ids=lambda e: e.name)
def test_only_the_dropped_hypothesis_fails_and_the_conclusion_breaks(example):
    network, partition = example.network(), example.partition()
    failing = {name for name, verdict in hypotheses(network, partition)._asdict().items() if not verdict}
    allowed = {example.dropped} | ({"biregular_support"} if example.dropped == "quotient_acyclic" else set())
    assert example.dropped in failing
    assert failing <= allowed
    found = residuals(network, partition, *example.batch())
    if example.breaks == "forward":
        assert found.forward != 0
    elif example.breaks == "backward":
        assert (found.forward, found.backward != 0) == (0, True)
    else:
        assert found == (0, 0, 0)
        assert step_change(example)[1] != 0


@pytest.mark.claim("clone-support")
def test_the_specified_3x3_block_leaves_by_one_gradient_entry():
    example = named.SUPPORT_3X3
    assert in_equitable(example.network(), example.partition())
    assert out_equitable(example.network(), example.partition())
    block_constant, sums = step_change(example)
    assert (block_constant, sums) == (0, rational("3/8"))  # the gradient is constant on edges; its sums are not


@pytest.mark.claim("clone-support")
def test_support_counterexamples_are_minimal():
    """No pair of blocks with two units each and non-zero weights does it; with a zero weight 2×2 does, without 2×3."""
    values = [v for v in range(-3, 4) if v != 0]
    for mask in product([0, 1], repeat=4):
        free = sum(mask)
        for weights in product(values, repeat=free):
            w = np.zeros(4, dtype=int)
            w[np.flatnonzero(mask)] = weights
            equal = w[0] + w[2] == w[1] + w[3] and w[0] + w[1] == w[2] + w[3]
            biregular = mask[0] + mask[2] == mask[1] + mask[3] and mask[0] + mask[1] == mask[2] + mask[3]
            assert biregular or not equal
    for small in (named.SUPPORT_2X2, named.SUPPORT_2X3):
        assert not biregular_support(small.network().dag, small.partition())
    assert len(named.SUPPORT_2X2.network().weight) == 7
    assert all(named.SUPPORT_2X3.network().weight != 0)


@pytest.mark.claim("clone-ordering")
@pytest.mark.parametrize("example", [named.CYCLIC_QUOTIENT, named.EDGE_IN_BLOCK], ids=lambda e: e.name)
def test_cyclic_quotients_still_clone_forward_and_backward(example):
    network, partition = example.network(), example.partition()
    assert set(map(str, network.weight)) == {"1", "-1"}
    for x in ("-2", "1/3", "5"):
        batch = exact([x])[:, None], squared_error(exact(["7"])[:, None])
        assert residuals(network, partition, *batch) == (0, 0, 0)
    assert step_change(example)[1] != 0
    assert (example is named.CYCLIC_QUOTIENT) == (network.dag.nodes == 8)


@pytest.mark.claim("affine-vs-curved")
def test_the_flow_stays_on_the_curved_manifold_and_a_step_leaves():
    network = named.CURVED.network()
    a, y = network.dag.number_of["a"], network.dag.number_of["y"]

    def conserved(n):
        return n.weight[0] ** 2 + n.bias[a] ** 2 - n.weight[1] ** 2

    for x, t, w, b in product(("1", "-3/2"), ("0", "5"), ("2", "-1/3"), ("0", "1/2")):
        moved = network.with_parameters(exact([w, "1"]), exact(["0", b, "1"]))
        g = gradient(moved, exact([[x]]), squared_error(exact([[t]])))
        assert moved.weight[0] * g.weight[0] + moved.bias[a] * g.bias[a] - moved.weight[1] * g.weight[1] == 0  # tangent
        eta = rational("1/4")
        after = sgd_step(moved, (exact([[x]]), squared_error(exact([[t]]))), eta)
        leak = eta**2 * (g.weight[0] ** 2 + g.bias[a] ** 2 - g.weight[1] ** 2)
        assert conserved(after) - conserved(moved) == leak
    after = sgd_step(network, named.CURVED.batch(), "1/4")
    assert conserved(network) == 3
    assert conserved(after) != 3
    assert y != a


@pytest.mark.claim("optimiser-closure")
def test_two_by_two_blocks_hide_what_elementwise_maps_break():
    for example, kept in ((named.TWO_BY_TWO, True), (named.TWO_BY_THREE, False)):
        network, partition = example.network(), example.partition()
        cubed = network.with_parameters(network.weight**3, network.bias)
        assert in_equitable(network, partition)
        assert out_equitable(network, partition)
        assert bool(in_equitable(cubed, partition) and out_equitable(cubed, partition)) == kept


@pytest.mark.claim("frozen-unit")
def test_a_dead_unit_revives_through_its_upstream_weights():
    example = named.REVIVED_BY_UPSTREAM
    network, (x, adjoint) = example.network(), example.batch()
    v = network.dag.number_of["v"]
    into_v = network.dag.target == v
    found = gradient(network, x, adjoint)
    assert forward(network, x).z[v, 0] < 0
    assert all(found.weight[into_v] == 0)
    assert found.bias[v] == 0
    after = sgd_step(network, (x, adjoint), "1/2")
    assert all(after.weight[into_v] == network.weight[into_v])
    assert forward(after, x).z[v, 0] > 0


@pytest.mark.claim("frozen-unit")
def test_a_dead_unit_revives_through_momentum():
    example = named.REVIVED_BY_MOMENTUM
    start, (x, adjoint) = example.network(), example.batch()
    v, later = start.dag.number_of["v"], exact([["-1"]])
    first = gradient(start, x, adjoint)
    live = sgd_step(start, (x, adjoint), 1)
    dead = gradient(live, later, adjoint)
    assert forward(live, later).z[v, 0] < 0
    assert dead.weight[live.dag.target == v][0] == 0
    assert dead.bias[v] == 0
    half = rational("1/2")
    carried = live.with_parameters(
        live.weight - half * first.weight - dead.weight, live.bias - half * first.bias - dead.bias
    )
    assert forward(carried, later).z[v, 0] > 0  # momentum 1/2 carries it back
    assert forward(sgd_step(live, (later, adjoint), 1), later).z[v, 0] < 0  # plain SGD leaves it dead


@pytest.mark.claim("clone-support")
def test_equal_incoming_counts_do_not_make_a_support_biregular():
    """Units c, d are read from by one edge each of a or of e, and by none or two of b: outgoing counts differ."""
    units = [Node(name, activation("square")) for name in "abecdy"]
    edges = [("x", u, 1) for u in "abe"] + [("a", "c", 1), ("a", "d", 1), ("b", "c", 2), ("e", "d", 2)]
    network = build_network(["x"], units, [*edges, ("c", "y", 1), ("d", "y", 1)], ["y"], rationals=True)
    partition = partition_from_blocks(network.dag, [["x"], ["a", "b", "e"], ["c", "d"], ["y"]])
    found = hypotheses(network, partition)
    assert found.in_equitable
    assert found.out_equitable
    assert not found.biregular_support
    step = sgd_step(network, (exact(["1"])[:, None], squared_error(exact(["0"])[:, None])), "1/64")
    assert sum_spread(step, partition) != 0
