"""Tolerances are relative: the scale of the weights does not matter, and large terms excuse nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import activation
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.equitable import in_equitable
from lop_theory.graph.partition import partition_from_blocks
from lop_theory.graph.refinement import refine
from lop_theory.graph.scalars import floats
from lop_theory.strategies import equitable_networks
from tests.graph.nets import star


def clones(network, **options):
    found = refine(network, tolerance=1e-9, **options)
    return [{network.dag.ids[v] for v in block} for block in found.members if len(block) > 1]


def test_the_scale_of_the_weights_does_not_matter():
    for scale in (1e-100, 1e-10, 1.0, 1e8, 1e100):
        apart = star(1.5 * scale, 1.5 * scale, -0.7 * scale, out=[0.3 * scale, 0.3 * scale, 2.1 * scale])
        assert clones(apart) == [{"a", "b"}]
    noisy = star(150000000.0, 150000000.00000003, -70000000.0, out=[3e7, 3e7, 2.1e8])
    assert clones(noisy) == [{"a", "b"}]


@given(equitable_networks(), st.sampled_from([2.0**-40, 2.0**30]), st.integers(0, 10**6))
def test_planted_clones_are_found_at_every_scale_and_relative_noise(cloned, scale, seed):
    network, partition = cloned
    noise = 1 + 1e-12 * np.random.default_rng(seed).uniform(-1, 1, network.dag.edges)
    number = Network(network.dag, scale * floats(network.weight) * noise, scale * floats(network.bias))
    found = refine(number, tolerance=1e-9)
    assert partition.refines(found)
    other = Network(network.dag, floats(network.weight) * noise, floats(network.bias))
    assert refine(other, tolerance=1e-9) == found


def test_large_terms_excuse_only_their_own_sums():
    """Block pair p → {a, b}: 1e8 − 1e8 + 1 against 1 is equal to rounding; 2e-10 against 1e-10 beside it is not."""
    nodes = [Node(n, activation("tanh"), 0.0) for n in ("p", "q", "a", "b", "y")]
    edges = [("x", "p", 1.0), ("x", "q", 1.0), ("p", "a", 1e8), ("q", "a", 1.0 - 1e8), ("p", "b", 0.5), ("q", "b", 0.5)]
    network = build_network(["x", "t"], nodes, [*edges, ("a", "y", 1.0), ("b", "y", 1.0)], ["y"])
    seed = partition_from_blocks(network.dag, [["x"], ["t"], ["p", "q"], ["a", "b"], ["y"]])
    assert {"a", "b"} in clones(network, seed=seed, mode="in")
    beside = build_network(
        ["x", "t"],
        nodes,
        [*edges, ("t", "a", 1e-10), ("t", "b", 2e-10), ("a", "y", 1.0), ("b", "y", 1.0)],
        ["y"],
    )
    assert {"a", "b"} not in clones(beside, seed=seed, mode="in")


def test_biases_are_compared_relative_to_themselves():
    network = star(1.0, 1.0, 1.0)
    bias = network.bias.copy()
    bias[[network.dag.number_of[n] for n in "abc"]] = 1e-12, 1e-12 * (1 + 1e-12), 2e-12
    assert clones(network.with_parameters(network.weight, bias)) == [{"a", "b"}]


def overflowing(*sums):
    """x → h, k → units of such incoming sums, in halves, → y."""
    names = [f"u{i}" for i in range(len(sums))]
    nodes = [Node(n, activation("tanh"), 0.0) for n in ("h", "k", *names)] + [Node("y", activation("identity"), 0.0)]
    edges = [(s, n, total) for n, half in zip(names, sums, strict=True) for s, total in (("h", half), ("k", half))]
    edges = [("x", "h", 1.0), ("x", "k", 1.0), *(e for e in edges if e[2]), *((n, "y", 1.0) for n in names)]
    network = build_network(["x"], nodes, edges, ["y"])
    return network, partition_from_blocks(network.dag, [["x"], ["h", "k"], names, ["y"]])


@pytest.mark.parametrize("tolerance", [0.0, 1e-9])
def test_sums_beyond_the_largest_double_are_compared_as_they_are(tolerance):
    """2e308 is 2e308 and not 3e308, nor nothing."""
    equal, partition = overflowing(1e308, 1e308)
    assert in_equitable(equal, partition, tolerance)
    assert refine(equal, tolerance=tolerance).refines(partition)
    for other in (1.5e308, 0.0):
        apart, partition = overflowing(1e308, other)
        found = in_equitable(apart, partition, tolerance)
        assert not found
        assert {float(value / 10**308) for value in found.witness.values} == {2.0, other / 0.5e308}
        assert not partition.refines(refine(apart, tolerance=tolerance))


@pytest.mark.parametrize("tolerance", [0.0, 1e-9])
def test_sums_that_cancel_what_overflows_are_compared(tolerance):
    """1e308 − 1e308 + 1e300 is beyond 1e-9 of 2e308 from 0, and 1e290 is within."""
    names, nodes = ("a", "b"), [Node(n, activation("tanh"), 0.0) for n in ("h", "k", "l", "a", "b", "y")]
    for rest in (1e300, 1e290):
        edges = [(s, n, w) for n in names for s, w in (("h", 1e308), ("k", -1e308))] + [("l", "a", rest)]
        edges += [("x", s, 1.0) for s in "hkl"] + [(n, "y", 1.0) for n in names]
        network = build_network(["x"], nodes, edges, ["y"])
        partition = partition_from_blocks(network.dag, [["x"], ["h", "k", "l"], ["a", "b"], ["y"]])
        assert bool(in_equitable(network, partition, tolerance)) == (rest < 1e299 and tolerance > 0)
