"""Projections onto the cloning manifolds in closed form per block pair, and distances to them.

RE (in-equitable), CE (out-equitable), RE∩CE, BC (block-constant) and the translate M_D(w0) = w0 + BC are affine in the
parameters (w, b). A bias is the weight of an edge from a constant unit, alone in its block: RE, RE∩CE and BC ask for
equal biases in a block, CE asks nothing of them. What a projection takes away is computed from the deviations of sums
from their means (``deviations``), never as a difference of near numbers, and its norm is the distance.
"""

from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import Dag, Network
from lop_theory.graph.error_free import deviations
from lop_theory.graph.linear import solve_consistent
from lop_theory.graph.partition import BlockPairs, Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact, to_float, zeros_like_kind

Manifold = Literal["in", "out", "both", "constant"]


def project(network: Network, partition: Partition, manifold: Manifold = "both") -> Network:
    """The orthogonal projection onto RE ("in"), CE ("out"), RE∩CE ("both") or BC ("constant")."""
    weight, bias = normal_part(network, partition, manifold)
    return network.with_parameters(network.weight - weight, network.bias - bias)


def normal_part(network: Network, partition: Partition, manifold: Manifold = "both") -> tuple[Values, Values]:
    """What the projection takes away from weights and biases: (w, b) − P(w, b)."""
    pairs = block_pairs(network.dag, partition)
    bias = zeros_like_kind(network.bias.shape, network.bias)
    if manifold != "out":
        hidden = hidden_nodes(network.dag)
        bias[hidden] = _from_mean(network.bias[hidden], partition.block_of[hidden], partition.blocks)
    return _NORMAL_PARTS[manifold](network, partition, pairs), bias


def project_translate(network: Network, start: Network, partition: Partition) -> Network:
    """The orthogonal projection onto M_D(w0) = w0 + BC, w0 = ``start`` (same DAG)."""
    nearest = project(_difference(network, start), partition, "constant")
    return network.with_parameters(start.weight + nearest.weight, start.bias + nearest.bias)


def squared_distance(a: Network, b: Network) -> object:
    """‖(w_a − w_b, b_a − b_b)‖², exact for rationals."""
    return ((a.weight - b.weight) ** 2).sum() + ((a.bias - b.bias) ** 2).sum()


def distance(network: Network, partition: Partition, manifold: Manifold = "both") -> float:
    """Euclidean distance from the parameters to the manifold; 0.0 only if it is exactly zero for rationals."""
    return _norm(np.concatenate(normal_part(network, partition, manifold)))


def distance_to_translate(network: Network, start: Network, partition: Partition) -> float:
    """Euclidean distance to w0 + BC."""
    return distance(_difference(network, start), partition, "constant")


def _difference(a: Network, b: Network) -> Network:
    return a.with_parameters(a.weight - b.weight, a.bias - b.bias)


def _norm(vector: Values) -> float:
    """The Euclidean norm, scaled by the largest entry first, so that squares neither overflow nor vanish."""
    largest = max(abs(vector), default=0)
    if largest == 0:
        return 0.0
    return sqrt(to_float(((vector / largest) ** 2).sum())) * to_float(largest)


def hidden_nodes(dag: Dag) -> IntArray:
    """Nodes that have a bias: all but the inputs."""
    return np.flatnonzero(~dag.is_input)


def _ratio(numerator: Values, counts: IntArray) -> Values:
    return numerator / (exact(counts) if is_exact(numerator) else counts)


def _from_mean(values: Values, group: IntArray, groups: int) -> Values:
    """Each value minus the mean of its group."""
    counts = np.maximum(np.bincount(group, minlength=groups), 1)
    return deviations(values, np.arange(len(values)), group, counts, np.ones(groups, dtype=bool))


def _constant(network: Network, partition: Partition, pairs: BlockPairs) -> Values:
    del partition
    return _from_mean(network.weight, pairs.of_edge, pairs.total)


def _one_sided(network: Network, partition: Partition, pairs: BlockPairs, side: Manifold) -> Values:
    """Move every sum s_c (d_c edges) to the cheapest common t = Σ s_c/d_c / Σ 1/d_c, or to 0 if an end is bare."""
    cells, near = (pairs.into, pairs.target_block) if side == "in" else (pairs.outof, pairs.source_block)
    whole = np.bincount(cells.pair, minlength=pairs.total) == partition.sizes[near]
    sums = deviations(network.weight, cells.of_edge, cells.pair, partition.sizes[near], whole)
    ones = zeros_like_kind(sums.shape, sums) + 1
    weighted = group_sums(_ratio(sums, cells.degree), cells.pair, pairs.total)
    common = weighted / group_sums(_ratio(ones, cells.degree), cells.pair, pairs.total)
    common[~whole] = 0 * common[~whole]
    return _ratio(sums - common[cells.pair], cells.degree)[cells.of_edge]


def _both(network: Network, partition: Partition, pairs: BlockPairs) -> Values:
    """Complete pairs: (s_c − T/n)/m + (q_r − T/m)/n. One-node ends: the other side alone. Else a small solve."""
    rows, columns = partition.sizes[pairs.source_block], partition.sizes[pairs.target_block]
    into, outof = pairs.into, pairs.outof
    ends = (np.bincount(cells.pair, minlength=pairs.total) for cells in (into, outof))
    whole = (next(ends) == columns) & (next(ends) == rows)
    excess_in = deviations(network.weight, into.of_edge, into.pair, columns, whole)
    excess_out = deviations(network.weight, outof.of_edge, outof.pair, rows, whole)
    normal = _ratio(excess_in[into.of_edge], rows[pairs.of_edge])
    normal = normal + _ratio(excess_out[outof.of_edge], columns[pairs.of_edge])
    edges = np.bincount(pairs.of_edge, minlength=pairs.total)
    sparse = (edges < rows * columns) & ~_settled(pairs, (excess_in, excess_out))
    sides: tuple[tuple[Manifold, Any], ...] = (("in", rows == 1), ("out", columns == 1))
    for side, single in sides:
        here = (sparse & single)[pairs.of_edge]
        if here.any():
            normal[here] = _one_sided(network, partition, pairs, side)[here]
    solved = np.flatnonzero(sparse & (rows > 1) & (columns > 1))
    _solve_sparse(pairs, solved, (rows, columns), (excess_in, excess_out), normal)
    return normal


def _settled(pairs: BlockPairs, excess: tuple[Values, Values]) -> NDArray[np.bool_]:
    """Pairs already in RE∩CE: no end's sum differs from the mean (from 0 if an end is bare)."""
    settled = np.ones(pairs.total, dtype=bool)
    for cells, far in zip((pairs.into, pairs.outof), excess, strict=True):
        settled[cells.pair[np.asarray(far != 0, dtype=bool)]] = False
    return settled


def _solve_sparse(
    pairs: BlockPairs,
    which: IntArray,
    sizes: tuple[IntArray, IntArray],
    excess: tuple[Values, Values],
    normal: Values,
) -> None:
    """Pairs that are neither complete nor one-sided, one by one, in place."""
    if not which.size:
        return
    order = np.argsort(pairs.of_edge, kind="stable")
    ends = np.searchsorted(pairs.of_edge[order], np.stack([which, which + 1]))
    for pair, a, b in zip(which, *ends, strict=True):
        edges = order[int(a) : int(b)]
        shape = (int(sizes[0][pair]), int(sizes[1][pair]))
        normal[edges] = _normal_part_of_pair((pairs.into.of_edge[edges], pairs.outof.of_edge[edges]), excess, shape)


def _normal_part_of_pair(
    cells: tuple[IntArray, IntArray], excess: tuple[Values, Values], shape: tuple[int, int]
) -> Values:
    """w − w' for the nearest w' with A w' = T' k: target sums T'/n, source sums T'/m (T' = 0 if an end is bare).

    w' = w − Aᵀλ with A Aᵀ λ + (T' − T) k = A w − T k, the deviations, and kᵀλ = 0; A is the incidence matrix of the
    pair's bipartite graph.
    """
    m, n = shape
    columns, column = np.unique(cells[0], return_inverse=True)
    rows, row = np.unique(cells[1], return_inverse=True)
    whole = len(columns) == n and len(rows) == m
    ends = len(columns) + len(rows)
    row = row + len(columns)
    size = ends + whole
    system, right = zeros_like_kind((size, size), excess[0]), zeros_like_kind((size,), excess[0])
    right[:ends] = np.concatenate([excess[0][columns], excess[1][rows]])
    one = zeros_like_kind((), right)[()] + 1
    for end in (column, row):
        for other in (column, row):
            np.add.at(system, (end, other), one)
    if whole:
        system[: len(columns), ends] = system[ends, : len(columns)] = one / n
        system[len(columns) : ends, ends] = system[ends, len(columns) : ends] = one / m
    multiplier = solve_consistent(system, right)
    return multiplier[column] + multiplier[row]


_NORMAL_PARTS = {
    "in": lambda network, partition, pairs: _one_sided(network, partition, pairs, "in"),
    "out": lambda network, partition, pairs: _one_sided(network, partition, pairs, "out"),
    "both": _both,
    "constant": _constant,
}
