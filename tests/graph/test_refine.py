"""Partition refinement against the definition: naive iteration, equitability, coarseness."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import fmpq
from lop_theory.graph import levels
from lop_theory.graph.chains import is_thin
from lop_theory.graph.dag import Network, Node, build_network, exact_network
from lop_theory.graph.diagnosis import diagnose
from lop_theory.graph.digits import carry, to_digits
from lop_theory.graph.dimensions import codimension
from lop_theory.graph.equitable import biregular_support, block_constant, equal_biases, in_equitable, out_equitable
from lop_theory.graph.levels import find_cycle, longest_path_levels, stable_order
from lop_theory.graph.partition import block_ids, partition_from_blocks, partition_from_labels, singletons
from lop_theory.graph.refinement import default_seed, refine
from lop_theory.graph.runs import cut_into_runs
from lop_theory.graph.scalars import exact, floats
from lop_theory.strategies import equitable_networks, networks, partitions

MODES = ("in", "out", "both")


def naive(network, seed, mode, support):
    """Iterate colours with dictionaries of exact sums until nothing splits."""
    colour = list(seed.block_of)
    edges = [
        (int(u), int(v), Fraction(int(w.p), int(w.q)))
        for u, v, w in zip(network.dag.source, network.dag.target, exact(network.weight), strict=True)
    ]
    while True:
        signature = [{} for _ in colour]
        for u, v, w in edges:
            for node, key, used in ((v, ("in", colour[u]), mode != "out"), (u, ("out", colour[v]), mode != "in")):
                if used:
                    total, count = signature[node].get(key, (0, 0))
                    signature[node][key] = (total + w, count + support)
        codes = {}
        kept = [frozenset(item for item in s.items() if item[1] != (0, 0)) for s in signature]
        new = [codes.setdefault((c, s), len(codes)) for c, s in zip(colour, kept, strict=True)]
        if len(codes) == len(set(colour)):
            return partition_from_labels(np.array(new))
        colour = new


@given(networks(), st.sampled_from(MODES), st.booleans())
def test_refine_is_the_naive_refinement(network, mode, support):
    assert refine(network, mode=mode, support=support) == naive(network, default_seed(network), mode, support)


@given(st.data(), st.sampled_from(MODES))
def test_refine_of_any_seed_and_of_floats(data, mode):
    network = data.draw(networks())
    seed = data.draw(partitions(network.dag.nodes))
    found = refine(network, seed, mode=mode)
    assert found == naive(network, seed, mode, False)
    assert found.refines(seed)
    rounded = Network(network.dag, floats(network.weight), floats(network.bias))
    assert refine(rounded, seed, mode=mode) == naive(rounded, seed, mode, False)  # floats are dyadic rationals


@given(equitable_networks())
def test_planted_partitions_are_found(cloned):
    network, partition = cloned
    found = refine(network)
    assert partition.refines(found)
    assert in_equitable(network, found)
    assert out_equitable(network, found)
    assert equal_biases(network, found)


@given(equitable_networks(support="biregular"))
def test_refine_with_support_keeps_planted_biregular_partitions(cloned):
    network, partition = cloned
    found = refine(network, support=True)
    assert partition.refines(found)
    assert biregular_support(network.dag, found)


@settings(max_examples=30)
@given(equitable_networks(), st.sampled_from(["coarsest", "planted", "single"]))
def test_the_classes_of_a_diagnosis_do_not_depend_on_the_partition_that_is_asked_about(cloned, given):
    network, planted = cloned
    asked = {"coarsest": None, "planted": planted, "single": singletons(network.dag)}[given]
    found, seed = diagnose(network, asked), default_seed(network)
    clones, forward = naive(network, seed, "both", True), naive(network, seed, "in", False)
    chosen = naive(network, seed, "both", False) if asked is None else asked
    assert found.trained_clones == block_ids(network.dag, clones)
    assert found.forward_classes == block_ids(network.dag, forward)
    assert found.partition == block_ids(network.dag, chosen)
    assert found.codimension == codimension(network.dag, chosen, "both")
    assert found.distance == 0
    assert found.block_constant == bool(block_constant(network, chosen))
    assert found.trajectory_invariant == all(found.hypotheses)
    assert found.evidence == "exact"


def test_biases_that_differ_in_far_digits_are_different():
    """Numbers of one digit of 30 bits and of several: equal ones alone share a block."""
    biases = [1.0, 1 + 2**-40, 1.0, 2.0**60, 2.0**60 + 512, 1 + 2**-40, 0.0, 1e-200, 0.0]
    identity = activation("identity")
    for count, right in ((len(biases), [[0, 2], [1, 5], [3], [4], [6, 8], [7]]), (1, [[0]])):
        nodes = [Node(f"n{k}", identity, b) for k, b in enumerate(biases[:count])] + [Node("y", identity, 0.0)]
        network = build_network(["x"], nodes, [("x", f"n{k}", 1.0) for k in range(count)], ["y"])
        blocks = block_ids(network.dag, default_seed(network))
        assert sorted(sorted(b) for b in blocks if b not in (["x"], ["y"])) == sorted(
            [f"n{k}" for k in b] for b in right
        )


@given(networks(), st.sampled_from([0.3, 1.0]))
def test_tolerant_refinement_is_equitable_within_the_tolerance(network, tolerance):
    rounded = Network(network.dag, floats(network.weight), floats(network.bias))
    found = refine(rounded, tolerance=tolerance)
    assert in_equitable(rounded, found, tolerance * (1 + 1e-9))
    assert out_equitable(rounded, found, tolerance * (1 + 1e-9))
    assert equal_biases(rounded, found, tolerance * (1 + 1e-9))


def test_sums_of_floats_do_not_depend_on_their_order():
    """0.1 + 0.2 ≠ 0.3 in floats and as dyadic rationals, but equal floats in another order have equal sums."""
    identity = activation("identity")
    weights = [0.1, 0.2, 0.3, 1e16, -1e16, 1e-30]
    inputs = [f"p{k}" for k in range(6)]
    edges = [(inputs[k], node, w) for node in "ab" for k, w in enumerate(weights)]
    nodes = [Node("a", identity), Node("b", identity), Node("y", identity)]
    network = build_network(inputs, nodes, [*edges, ("a", "y", 1.0), ("b", "y", 1.0)], ["y"])
    seed = partition_from_blocks(network.dag, [inputs, ["a", "b"], ["y"]])
    shuffled = network.weight.copy()
    shuffled[network.dag.target == network.dag.number_of["b"]] = weights[::-1]
    for weight in (network.weight, shuffled):
        assert refine(network.with_parameters(weight, network.bias), seed, mode="in").blocks == 3


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200), min_size=1))
def test_digits_are_exact_sums(values):
    digits = to_digits(np.array(values))
    total = carry(digits.sum(axis=0, keepdims=True))
    rationals = exact(values)
    parts = [Fraction(v) for v in values]
    assert (total == 0).all() == (sum(parts) == 0)
    negated = carry(to_digits(np.array([*values, *(-v for v in values)])).sum(axis=0, keepdims=True))
    assert (negated == 0).all()
    assert (carry(to_digits(rationals).sum(axis=0, keepdims=True)) == 0).all() == (sum(parts) == 0)


def test_digits_of_wide_rationals():
    values = exact([f"{10**40}/7", f"-{10**40}/7", "1/3"])
    digits = to_digits(values)
    assert (carry(digits[:2].sum(axis=0, keepdims=True)) == 0).all()
    assert (carry(digits.sum(axis=0, keepdims=True)) == carry(digits[2:].copy())).all()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 1)), min_size=1))
def test_runs_share_a_point_and_are_maximal(entries):
    values, radius, group = (np.array(column) for column in zip(*entries, strict=True))
    classes = cut_into_runs(values.astype(float), radius.astype(float), group)
    runs = {k: classes == k for k in np.unique(classes)}
    for inside in runs.values():
        assert len(set(group[inside])) == 1
        assert (values - radius)[inside].max() <= (values + radius)[inside].min()
    for first, second in pairwise(sorted(runs, key=lambda k: (group[runs[k]][0], values[runs[k]].min()))):
        both = runs[first] | runs[second]  # greedy: the next run begins with an interval apart from this one
        begins = values == values[runs[second]].min()
        joined = runs[first] | (runs[second] & begins)
        if len(set(group[both])) == 1:
            assert (values - radius)[joined].max() > (values + radius)[joined].min()


def test_long_runs_are_cut_at_every_width():
    values = np.arange(500.0)
    classes = cut_into_runs(values, np.full(500, 50.0), np.zeros(500, dtype=np.int64))
    assert list(np.bincount(classes)) == [101, 101, 101, 101, 96]


def test_partitions_of_strangers_are_refused():
    network = exact_network(build_network(["x"], [Node("y", activation("tanh"))], [("x", "y", 1.0)], ["y"]))
    for blocks, name in (([["x"]], "'y'"), ([["x", "y", "z"]], "'z'"), ([["x"], ["y", "x"]], "'x'")):
        with pytest.raises(ValueError, match=name):
            partition_from_blocks(network.dag, blocks)
    assert singletons(network.dag).blocks == 2
    assert network.weight[0] == fmpq(1)


@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_stable_order_sorts_and_is_stable(values):
    numbers = np.array(values, dtype=np.int64)
    assert list(stable_order(numbers)) == sorted(range(len(values)), key=lambda k: values[k])


@given(networks(), st.data())
def test_block_constant_is_every_pair_of_edges_equal(network, data):
    partition = data.draw(partitions(network.dag.nodes))
    pairs = {}
    for u, v, w in zip(network.dag.source, network.dag.target, network.weight, strict=True):
        pairs.setdefault((partition.block_of[u], partition.block_of[v]), set()).add(str(w))
    verdict = block_constant(network, partition)
    assert bool(verdict) == all(len(found) == 1 for found in pairs.values())
    if not verdict:
        assert verdict.witness.values[0] != verdict.witness.values[1]


@st.composite
def long_networks(draw):
    """Deep and thin: chains with few distinct weights, zeros among them, and now and then a second edge."""
    length = draw(st.integers(18, 24))
    names = [f"c{k}" for k in range(length)]
    weight = st.sampled_from(["1", "1", "1", "2", "0"])
    edges = {(u, v): draw(weight) for u, v in zip(["x", *names], names, strict=False)}
    for _ in range(draw(st.integers(0, 3))):
        k = draw(st.integers(0, length - 3))
        edges[names[k], names[draw(st.integers(k + 2, length - 1))]] = draw(weight)
    more = [f"d{k}" for k in range(draw(st.integers(0, length)))]
    edges |= {(u, v): draw(weight) for u, v in zip(["x", *more], more, strict=False)}
    nodes = [Node(name, activation("relu"), 0) for name in [*names, *more]]
    outputs = [names[-1], *more[-1:]]
    return build_network(["x"], nodes, [(u, v, w) for (u, v), w in edges.items()], outputs, rationals=True)


@settings(max_examples=20)
@given(long_networks(), st.sampled_from(MODES), st.booleans())
def test_chains_are_refined_as_by_the_naive_algorithm(network, mode, support):
    assert is_thin(network.dag)
    seed = default_seed(network)
    right = naive(network, seed, mode, support)
    assert refine(network, mode=mode, support=support) == right
    rounded = Network(network.dag, floats(network.weight), floats(network.bias))
    assert refine(rounded, mode=mode, support=support, tolerance=1e-9) == right


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), unique=True), st.booleans())
def test_levels_and_cycles_are_those_of_networkx(nodes, pairs, wide):
    nx = pytest.importorskip("networkx")
    pairs = [(u, v) for u, v in pairs if max(u, v) < nodes]
    source, target = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(nodes))
    before, levels.THIN = levels.THIN, 0 if wide else 32
    try:
        found, cycle = longest_path_levels(source, target, nodes), find_cycle(source, target, nodes)
    finally:
        levels.THIN = before
    assert (found is None) == bool(cycle) == (not nx.is_directed_acyclic_graph(graph))
    if found is not None:
        for level, generation in enumerate(nx.topological_generations(graph)):
            assert all(found[v] == level for v in generation)
    assert all(pair in pairs for pair in pairwise(cycle))
    assert not cycle or cycle[0] == cycle[-1]
