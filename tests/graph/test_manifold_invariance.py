"""Theorem 2.1.2, corrected: residuals are exactly zero, and each hypothesis that is dropped has a counterexample."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.graph.cloning import (
    gradient_spread,
    hypotheses,
    residuals,
    sum_spread,
    trajectory,
    trajectory_invariant,
)
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.equitable import biregular_support
from lop_theory.graph.manifold import distance_to_translate, project_translate, squared_distance
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.passes import Gradient, squared_error
from lop_theory.graph.scalars import exact, floats
from lop_theory.strategies import POLYNOMIALS, batches, equitable_blocks, equitable_networks

LOSSES = {
    "squared": squared_error,
    "quartic": lambda t: lambda y: (y - t) ** 3,
    "product": lambda t: lambda y: t * y[::-1] + 1,  # couples the outputs
}
SMALL = tuple(a for a in POLYNOMIALS if a.name != "x**3/6 + x")


def change(after, before):
    return Gradient(after.weight - before.weight, after.bias - before.bias)


@pytest.mark.claim("clone-forward")
@pytest.mark.claim("clone-backward")
@pytest.mark.claim("clone-gradient")
@given(st.data(), st.sampled_from(sorted(LOSSES)))
def test_residuals_are_exactly_zero_on_every_support(data, loss):
    network, partition = data.draw(equitable_networks())
    x, t = data.draw(batches(network))
    assert residuals(network, partition, x, LOSSES[loss](t)) == (0, 0, 0)


@pytest.mark.claim("clone-trajectory")
@pytest.mark.claim("clone-support")
@given(st.data(), st.sampled_from(sorted(LOSSES)), st.sampled_from(["dense", "biregular"]))
def test_trajectory_stays_exactly_in_the_translate(data, loss, support):
    network, partition = data.draw(equitable_networks(support=support, activations=SMALL))
    path = [network]
    for _ in range(2):
        x, t = data.draw(batches(network, max_batch=2))
        path += trajectory(path[-1], [(x, LOSSES[loss](t))], "1/4")[1:]
    assert trajectory_invariant(network, partition)
    for later in path:
        assert sum_spread(later, partition) == 0
        assert gradient_spread(network, partition, change(later, network)) == 0
        assert squared_distance(later, project_translate(later, network, partition)) == 0


@pytest.mark.claim("clone-ordering")
@given(equitable_networks(support="any"))
def test_biregular_support_makes_the_quotient_acyclic(cloned):
    found = hypotheses(*cloned)
    assert found.quotient_acyclic or not found.biregular_support


@pytest.mark.claim("clone-trajectory")
@given(st.data(), st.sampled_from(["tanh", "gelu", "relu", "sigmoid", "softplus"]))
def test_float_trajectories_stay_to_rounding(data, name):
    network, partition = data.draw(equitable_networks(support="biregular", activations=(activation(name),)))
    network = Network(network.dag, floats(network.weight), floats(network.bias))
    x, t = (floats(v) for v in data.draw(batches(network)))
    path = trajectory(network, [(x, squared_error(t))] * 5, 0.01)
    scale = 1 + max(np.abs(p.weight).max(initial=0) for p in path)
    assert distance_to_translate(path[-1], network, partition) < 1e-10 * scale


@st.composite
def two_blocks(draw, support):
    """x → block of m units → block of n units → y, identity activations; only the middle weights are drawn."""
    m, n = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    weights, mask = draw(equitable_blocks(m, n, support=support))
    first, second = [f"a{k}" for k in range(m)], [f"b{k}" for k in range(n)]
    edges = [("x", a, 1) for a in first] + [(b, "y", 1) for b in second]
    edges += [(first[r], second[c], weights[r, c]) for r, c in zip(*np.nonzero(mask), strict=True)]
    nodes = [Node(name, activation("identity")) for name in [*first, *second, "y"]]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    partition = partition_from_blocks(network.dag, [["x"], first, second, ["y"]])
    return network, partition, exact([[draw(st.integers(-2, 2))]]), exact([[draw(st.integers(-2, 2))]])


SEARCH = settings(settings.get_profile("default"), max_examples=5000, database=None)


@pytest.mark.claim("clone-support")
def test_hypothesis_finds_and_shrinks_a_counterexample_on_irregular_support():
    def leaves(case):
        network, partition, x, t = case
        after = trajectory(network, [(x, squared_error(t))], "1/4")[-1]
        return sum_spread(after, partition) != 0

    network, partition, x, t = find(two_blocks("irregular"), leaves, settings=SEARCH)
    assert residuals(network, partition, x, squared_error(t)) == (0, 0, 0)  # cloned, yet the step leaves
    assert not biregular_support(network.dag, partition)
    assert network.dag.nodes <= 7  # 2 × 3 or 2 × 2, as in counterexamples.SUPPORT_2X3 and SUPPORT_2X2


@pytest.mark.parametrize("dropped", ["bias", "in", "out"])
@pytest.mark.claim("clone-forward")
@pytest.mark.claim("clone-backward")
def test_hypothesis_finds_a_counterexample_for_each_perturbed_hypothesis(dropped):
    def perturbed(network, partition):
        """Spoil one number of a clone, so that exactly the named hypothesis may fail."""
        sizes = partition.sizes[partition.block_of]
        weight, bias = network.weight.copy(), network.bias.copy()
        if dropped == "bias":
            bias[np.flatnonzero(sizes > 1)[:1]] += 1
        ends = {"in": network.dag.target, "out": network.dag.source}.get(dropped)
        if ends is not None:
            weight[np.flatnonzero(sizes[ends] > 1)[:1]] += 1
        return network.with_parameters(weight, bias)

    def breaks(case):
        network, partition, x, t = case
        return residuals(perturbed(network, partition), partition, x, squared_error(t)) != (0, 0, 0)

    network, partition, _, _ = find(two_blocks("dense"), breaks, settings=SEARCH)
    assert not trajectory_invariant(perturbed(network, partition), partition)
    assert network.dag.nodes <= 5  # two clones


@pytest.mark.claim("functional-lop")
@given(st.data())
def test_tangency_needs_no_particular_data_or_loss(data):
    """One network, several data sets and losses: each gradient is tangent (functional LoP, Remark 2.2)."""
    network, partition = data.draw(equitable_networks(support="biregular"))
    for loss in LOSSES.values():
        x, t = data.draw(batches(network))
        assert residuals(network, partition, x, loss(t)).gradient == 0
