"""Projections onto the cloning manifolds in closed form per block pair, and distances to them.

RE (in-equitable), CE (out-equitable), RE∩CE, BC (block-constant) and the translate M_D(w0) = w0 + BC are affine in the
parameters (w, b). A bias is the weight of an edge from a constant unit, alone in its block: RE, RE∩CE and BC ask for
equal biases in a block, CE asks nothing of them.
"""

from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import Dag, Network
from lop_theory.graph.linear import solve_consistent
from lop_theory.graph.partition import BlockPairs, Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact, to_float, zeros_like_kind

Manifold = Literal["in", "out", "both", "constant"]


def project(network: Network, partition: Partition, manifold: Manifold = "both") -> Network:
    """The orthogonal projection onto RE ("in"), CE ("out"), RE∩CE ("both") or BC ("constant")."""
    pairs = block_pairs(network.dag, partition)
    bias = network.bias if manifold == "out" else _mean_biases(network, partition)
    return network.with_parameters(_PROJECTIONS[manifold](network, partition, pairs), bias)


def project_translate(network: Network, start: Network, partition: Partition) -> Network:
    """The orthogonal projection onto M_D(w0) = w0 + BC, w0 = ``start`` (same DAG)."""
    difference = network.with_parameters(network.weight - start.weight, network.bias - start.bias)
    nearest = project(difference, partition, "constant")
    return network.with_parameters(start.weight + nearest.weight, start.bias + nearest.bias)


def squared_distance(a: Network, b: Network) -> object:
    """‖(w_a − w_b, b_a − b_b)‖², exact for rationals."""
    return ((a.weight - b.weight) ** 2).sum() + ((a.bias - b.bias) ** 2).sum()


def distance(network: Network, partition: Partition, manifold: Manifold = "both") -> float:
    """Euclidean distance from the parameters to the manifold; 0.0 only if it is exactly zero for rationals."""
    return _distance_between(network, project(network, partition, manifold))


def distance_to_translate(network: Network, start: Network, partition: Partition) -> float:
    """Euclidean distance to w0 + BC."""
    return _distance_between(network, project_translate(network, start, partition))


def _distance_between(a: Network, b: Network) -> float:
    """The distance, scaled by the largest difference first, so that squares neither overflow nor vanish."""
    difference = np.concatenate([a.weight - b.weight, a.bias - b.bias])
    largest = max(abs(difference), default=0)
    if largest == 0:
        return 0.0
    return sqrt(to_float(((difference / largest) ** 2).sum())) * to_float(largest)


def hidden_nodes(dag: Dag) -> IntArray:
    """Nodes that have a bias: all but the inputs."""
    return np.flatnonzero(~dag.is_input)


def _ratio(numerator: Values, counts: IntArray) -> Values:
    return numerator / (exact(counts) if is_exact(numerator) else counts)


def _mean_biases(network: Network, partition: Partition) -> Values:
    hidden = hidden_nodes(network.dag)
    block = partition.block_of[hidden]
    counts = np.maximum(np.bincount(block, minlength=partition.blocks), 1)
    mean = _ratio(group_sums(network.bias[hidden], block, partition.blocks), counts)
    bias = network.bias.copy()
    bias[hidden] = mean[block]
    return bias


def _constant(network: Network, partition: Partition, pairs: BlockPairs) -> Values:
    del partition
    counts = np.bincount(pairs.of_edge, minlength=pairs.total)
    return _ratio(group_sums(network.weight, pairs.of_edge, pairs.total), counts)[pairs.of_edge]


def _one_sided(network: Network, partition: Partition, pairs: BlockPairs, side: Manifold) -> Values:
    """Move every sum s_c (d_c edges) to the cheapest common t = Σ s_c/d_c / Σ 1/d_c, or to 0 if an end is bare."""
    cells, near = (pairs.into, pairs.target_block) if side == "in" else (pairs.outof, pairs.source_block)
    sums = group_sums(network.weight, cells.of_edge, len(cells.node))
    ones = zeros_like_kind(sums.shape, sums) + 1
    bare = np.bincount(cells.pair, minlength=pairs.total) < partition.sizes[near]
    weighted = group_sums(_ratio(sums, cells.degree), cells.pair, pairs.total)
    common = weighted / group_sums(_ratio(ones, cells.degree), cells.pair, pairs.total)
    common[bare] = 0 * common[bare]
    return network.weight + _ratio(common[cells.pair] - sums, cells.degree)[cells.of_edge]


def _both(network: Network, partition: Partition, pairs: BlockPairs) -> Values:
    """Complete pairs: w_rc − (s_c − s̄)/m − (q_r − q̄)/n. One-node ends: the other side alone. Else a small solve."""
    rows, columns = partition.sizes[pairs.source_block], partition.sizes[pairs.target_block]
    edges = np.bincount(pairs.of_edge, minlength=pairs.total)
    into, outof = pairs.into, pairs.outof
    total = group_sums(network.weight, pairs.of_edge, pairs.total)
    excess_in = group_sums(network.weight, into.of_edge, len(into.node)) - _ratio(total, columns)[into.pair]
    excess_out = group_sums(network.weight, outof.of_edge, len(outof.node)) - _ratio(total, rows)[outof.pair]
    weight = (
        network.weight
        - _ratio(excess_in[into.of_edge], rows[pairs.of_edge])
        - _ratio(excess_out[outof.of_edge], columns[pairs.of_edge])
    )
    sparse = (edges < rows * columns) & ~_settled(pairs, (rows, columns), total, (excess_in, excess_out))
    sides: tuple[tuple[Manifold, Any], ...] = (("in", rows == 1), ("out", columns == 1))
    for side, single in sides:
        here = (sparse & single)[pairs.of_edge]
        if here.any():
            weight[here] = _one_sided(network, partition, pairs, side)[here]
    _solve_sparse(network, pairs, np.flatnonzero(sparse & (rows > 1) & (columns > 1)), (rows, columns), weight)
    return weight


def _settled(
    pairs: BlockPairs, sizes: tuple[IntArray, IntArray], total: Values, excess: tuple[Values, Values]
) -> NDArray[np.bool_]:
    """Pairs already in RE∩CE: no end's sum differs from the mean, and the mean is 0 if an end is bare."""
    rows, columns = sizes
    into, outof = pairs.into, pairs.outof
    settled = np.ones(pairs.total, dtype=bool)
    settled[into.pair[np.asarray(excess[0] != 0, dtype=bool)]] = False
    settled[outof.pair[np.asarray(excess[1] != 0, dtype=bool)]] = False
    ends_in, ends_out = (np.bincount(cells.pair, minlength=pairs.total) for cells in (into, outof))
    bare = (ends_in < columns) | (ends_out < rows)
    return settled & (~bare | np.asarray(total == 0, dtype=bool))


def _solve_sparse(
    network: Network, pairs: BlockPairs, which: IntArray, sizes: tuple[IntArray, IntArray], weight: Values
) -> None:
    """Pairs that are neither complete nor one-sided, one by one, in place."""
    if not which.size:
        return
    order = np.argsort(pairs.of_edge, kind="stable")
    ends = np.searchsorted(pairs.of_edge[order], np.stack([which, which + 1]))
    for pair, a, b in zip(which, *ends, strict=True):
        edges = order[int(a) : int(b)]
        shape = (int(sizes[0][pair]), int(sizes[1][pair]))
        ends_of_edge = (pairs.into.of_edge[edges], pairs.outof.of_edge[edges])
        weight[edges] = _project_pair(network.weight[edges], ends_of_edge, shape)


def _project_pair(w: Values, cells: tuple[IntArray, IntArray], shape: tuple[int, int]) -> Values:
    """Nearest w' with A w' = T k: every target sum T/n, every source sum T/m (T = 0 if an end is bare).

    w' = w − Aᵀλ with A Aᵀ λ + T k = A w, kᵀλ = 0; A is the incidence matrix of the pair's bipartite graph.
    """
    m, n = shape
    columns, column = np.unique(cells[0], return_inverse=True)
    rows, row = np.unique(cells[1], return_inverse=True)
    bare = len(columns) < n or len(rows) < m
    ends = len(columns) + len(rows)
    row = row + len(columns)
    size = ends + (0 if bare else 1)
    system, right = zeros_like_kind((size, size), w), zeros_like_kind((size,), w)
    one = zeros_like_kind((), w)[()] + 1
    for end in (column, row):
        np.add.at(right, end, w)
        for other in (column, row):
            np.add.at(system, (end, other), one)
    if not bare:
        system[: len(columns), ends] = system[ends, : len(columns)] = one / n
        system[len(columns) : ends, ends] = system[ends, len(columns) : ends] = one / m
    multiplier = solve_consistent(system, right)
    return w - multiplier[column] - multiplier[row]


_PROJECTIONS = {
    "in": lambda network, partition, pairs: _one_sided(network, partition, pairs, "in"),
    "out": lambda network, partition, pairs: _one_sided(network, partition, pairs, "out"),
    "both": _both,
    "constant": _constant,
}
