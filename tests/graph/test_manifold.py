"""Projections, dimensions and bases against dense linear algebra."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import fmpq
from lop_theory.graph.cloning import sum_spread
from lop_theory.graph.dag import Network, Node, build_network
from lop_theory.graph.dimensions import bases, codimension, dimension, parameters
from lop_theory.graph.manifold import (
    distance,
    distance_to_translate,
    hidden_nodes,
    project,
    project_translate,
    squared_distance,
)
from lop_theory.graph.nearest import (
    _inside_squares,
    _merge_costs,
    _nearest_in,
    _parameter_rows,
    ladder,
    merge_cost,
    nearest_pair,
)
from lop_theory.graph.partition import partition_from_blocks, partition_from_labels
from lop_theory.graph.scalars import exact, floats
from lop_theory.strategies import equitable_networks, networks, partitions

KINDS = ("in", "out", "both", "constant")


def equal_groups(dag, partition, kind):
    """Lists of index sets whose sums are equal on the manifold, straight from the definitions of theory.md §5."""
    block = partition.block_of
    for i, j in product(range(partition.blocks), repeat=2):
        here = [e for e in range(dag.edges) if (block[dag.source[e]], block[dag.target[e]]) == (i, j)]
        if here and kind in ("in", "both"):
            yield [[e for e in here if dag.target[e] == c] for c in partition.members[j]]
        if here and kind in ("out", "both"):
            yield [[e for e in here if dag.source[e] == r] for r in partition.members[i]]
        if here and kind == "constant":
            yield [[e] for e in here]
    hidden = list(hidden_nodes(dag))
    for members in partition.members if kind != "out" else ():
        yield [[dag.edges + hidden.index(v)] for v in members if v in hidden]


def constraints(dag, partition, kind):
    """Dense rows that vanish on the manifold."""
    rows = []
    for groups in equal_groups(dag, partition, kind):
        for other in groups[1:]:
            row = np.zeros(parameters(dag))
            row[groups[0]] += 1
            row[other] -= 1
            rows.append(row)
    return np.array(rows).reshape(-1, parameters(dag))


def vector(network):
    return np.concatenate([floats(network.weight), floats(network.bias)[hidden_nodes(network.dag)]])


@pytest.mark.claim("clone-dimension")
@given(st.data(), st.sampled_from(KINDS))
def test_projection_is_the_dense_least_squares_projection(data, kind):
    network = data.draw(networks())
    partition = data.draw(partitions(network.dag.nodes))
    rows = constraints(network.dag, partition, kind)
    w = vector(network)
    multiplier = np.linalg.lstsq(rows @ rows.T, rows @ w, rcond=None)[0]
    for number in (network, Network(network.dag, floats(network.weight), floats(network.bias))):
        found = project(number, partition, kind)
        assert np.allclose(vector(found), w - rows.T @ multiplier, atol=1e-8)
        again = project(found, partition, kind)
        assert float(floats(np.array([squared_distance(found, again)], dtype=object))[0]) < 1e-18
    exact_found = project(network, partition, kind)
    assert squared_distance(exact_found, project(exact_found, partition, kind)) == 0


@pytest.mark.claim("clone-dimension")
@given(st.data(), st.sampled_from(KINDS))
def test_dimensions_and_bases(data, kind):
    network = data.draw(networks())
    dag, partition = network.dag, data.draw(partitions(network.dag.nodes))
    rows = constraints(dag, partition, kind)
    rank = np.linalg.matrix_rank(rows) if rows.size else 0
    assert codimension(dag, partition, kind) == rank
    assert dimension(dag, partition, kind) == parameters(dag) - rank
    tangent, normal = (b.toarray() for b in bases(dag, partition, kind))
    whole = np.hstack([tangent, normal])
    assert normal.shape[1] == rank
    assert np.allclose(whole.T @ whole, np.eye(parameters(dag)), atol=1e-9)
    assert np.allclose(rows @ tangent, 0, atol=1e-9)


@given(st.data())
def test_the_spread_of_sums_by_its_definition(data):
    """The largest difference of in- or out-sums of a block pair (0 where a node has no such edge), or of biases."""
    network = data.draw(networks())
    partition = data.draw(partitions(network.dag.nodes))
    edges = range(network.dag.edges)
    both = [*equal_groups(network.dag, partition, "out"), *equal_groups(network.dag, partition, "in")]
    pairs = [groups for groups in both if all(e in edges for group in groups for e in group)]
    sums = [[sum((network.weight[e] for e in group), fmpq(0)) for group in groups] for groups in pairs]
    sums += [[network.bias[v] for v in members] for members in partition.members]
    right = max(max(values) - min(values) for values in sums if values)
    assert sum_spread(network, partition) == right
    number = Network(network.dag, floats(network.weight), floats(network.bias))
    assert sum_spread(number, partition) == pytest.approx(float(right), abs=1e-12)


@pytest.mark.claim("clone-dimension")
@given(equitable_networks())
def test_members_are_at_distance_zero_and_translates_contain_their_base_point(cloned):
    network, partition = cloned
    assert distance(network, partition) == 0
    assert distance_to_translate(network, network, partition) == 0
    moved = network.with_parameters(network.weight + 1, network.bias)
    assert squared_distance(moved, project_translate(moved, network, partition)) == 0


@settings(max_examples=30)
@given(networks(max_nodes=5))
def test_nearest_pair_is_the_nearest_of_all_pair_merges(network):
    number = Network(network.dag, floats(network.weight), floats(network.bias))
    dag = number.dag
    free = [v for v in hidden_nodes(dag) if v not in set(dag.outputs)]
    best = np.inf
    for k, u in enumerate(free):
        for v in free[k + 1 :]:
            if dag.activation_of[u] == dag.activation_of[v]:
                labels = np.arange(dag.nodes)
                labels[v] = labels[u]
                best = min(best, distance(number, partition_from_labels(labels)))
    found = nearest_pair(number)
    assert (found is None) == np.isinf(best)
    if found is not None:
        assert abs(found.distance - best) < 1e-6


@given(equitable_networks(support="dense", max_blocks=2))
def test_the_ladder_finds_a_perturbed_clone(cloned):
    network, partition = cloned
    noise = 1e-6 * np.cos(np.arange(network.dag.edges))
    number = Network(network.dag, floats(network.weight) * (1 + noise), floats(network.bias))
    rung = ladder(number, [1e-4])[0]
    assert partition.refines(rung.partition)
    assert rung.distance <= 1e-4
    assert rung.codimension == codimension(network.dag, rung.partition, "both")
    assert exact(number.weight).dtype == object


@st.composite
def sparse_pairs(draw):
    """x → a's → b's → y with blocks {a's}, {b's}, and between these any edges of any weights."""
    m, n = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    pairs = draw(st.lists(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), min_size=1, unique=True))
    a, b = [f"a{i}" for i in range(m)], [f"b{j}" for j in range(n)]
    edges = [("x", name, 1) for name in a] + [(name, "y", 1) for name in b]
    edges += [(a[i], b[j], draw(st.integers(-3, 3))) for i, j in pairs]
    nodes = [Node(name, activation("tanh")) for name in [*a, *b, "y"]]
    network = build_network(["x"], nodes, edges, ["y"], rationals=True)
    return network, partition_from_blocks(network.dag, [["x"], a, b, ["y"]])


@pytest.mark.claim("clone-dimension")
@given(sparse_pairs())
def test_projection_of_one_sparse_pair_of_blocks(pair):
    network, partition = pair
    rows, w = constraints(network.dag, partition, "both"), vector(network)
    right = w - rows.T @ np.linalg.lstsq(rows @ rows.T, rows @ w, rcond=None)[0]
    for number in (network, Network(network.dag, floats(network.weight), floats(network.bias))):
        assert np.allclose(vector(project(number, partition, "both")), right, atol=1e-8)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize("nearest", [(0, 1), (1, 3), (3, 4), (0, 4)])
def test_the_nearest_pair_does_not_depend_on_the_chunks(chunk, nearest):
    into = np.array([1.0, 3.0, 6.0, 10.0, 15.0])
    into[nearest[1]] = into[nearest[0]] + 0.5
    nodes = [Node(f"n{k}", activation("tanh"), 0.0) for k in range(5)] + [Node("y", activation("identity"), 0.0)]
    edges = [("x", f"n{k}", w) for k, w in enumerate(into)] + [(f"n{k}", "y", 1.0) for k in range(5)]
    network = build_network(["x"], nodes, edges, ["y"])
    members = np.array([network.dag.number_of[f"n{k}"] for k in range(5)])
    found = _nearest_in(network, _parameter_rows(network), members, None, chunk)
    assert found == (0.125, *members[list(nearest)])
    assert _nearest_in(network, _parameter_rows(network), members, (0.1, 7, 8), chunk) == (0.1, 7, 8)


@given(networks(max_nodes=6), st.data())
def test_the_screen_of_pairs_is_their_distance(network, data):
    """½‖w_u − w_v‖² by inner products, for any members in any order, edges between the two included."""
    number = Network(network.dag, floats(network.weight), floats(network.bias))
    everyone = data.draw(st.permutations(range(network.dag.nodes)))
    members = np.array(everyone[: data.draw(st.integers(1, len(everyone)))])
    values, mask = (rows[members] for rows in _parameter_rows(number))
    squares = values.multiply(values).tocsr()
    norm = np.asarray(squares.sum(axis=1)).ravel()
    part = slice(data.draw(st.integers(0, len(members) - 1)), len(members))
    cost = _merge_costs(values, squares, mask, norm, part) - _inside_squares(number, members)[part]
    for i, u in enumerate(members[part]):
        for j, v in enumerate(members):
            if u != v:
                assert cost[i, j] == pytest.approx(merge_cost(number, u, v), rel=1e-9, abs=1e-9)
