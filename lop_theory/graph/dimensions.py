"""Dimensions of the cloning manifolds by formula, orthonormal tangent and normal bases. [clone-dimension: Remark A.1]

Per block pair with m sources, n targets and e edges:
  BC       dimension 1
  RE       codimension n − 1, or the number of reached targets if one is bare (all sums are then 0); CE likewise
  RE∩CE    codimension (reached ends) − (components of the pair's bipartite graph) − 1, the last 1 only if every
           component has its targets and sources in the ratio n : m; for a complete pair this is (n − 1) + (m − 1).
Per block with h non-input nodes the bias counts 1 in BC, codimension h − 1 in RE and RE∩CE, 0 in CE.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import Dag
from lop_theory.graph.manifold import Manifold, hidden_nodes
from lop_theory.graph.partition import BlockPairs, Partition, block_pairs
from lop_theory.graph.scalars import FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix


class Bases(NamedTuple):
    """Orthonormal columns over the parameters: edges first, then the biases of non-input nodes."""

    tangent: "csc_matrix"
    normal: "csc_matrix"


def parameters(dag: Dag) -> int:
    """Number of weights and biases."""
    return dag.edges + len(hidden_nodes(dag))


def codimension(dag: Dag, partition: Partition, manifold: Manifold) -> int:
    """Codimension of the manifold among all parameters. M_D(w0) = w0 + BC has that of BC."""
    pairs = block_pairs(dag, partition)
    blocks = len(np.unique(partition.block_of[hidden_nodes(dag)]))
    spare_biases = len(hidden_nodes(dag)) - blocks
    if manifold == "constant":
        return dag.edges - pairs.total + spare_biases
    if manifold == "both":
        return _both_codimension(dag, partition, pairs) + spare_biases
    return _one_sided_codimension(partition, pairs, manifold) + (spare_biases if manifold == "in" else 0)


def dimension(dag: Dag, partition: Partition, manifold: Manifold) -> int:
    return parameters(dag) - codimension(dag, partition, manifold)


def _one_sided_codimension(partition: Partition, pairs: BlockPairs, manifold: Manifold) -> int:
    cells, near = (pairs.into, pairs.target_block) if manifold == "in" else (pairs.outof, pairs.source_block)
    reached = np.bincount(cells.pair, minlength=pairs.total)
    return int((reached - (reached == partition.sizes[near])).sum())


def _both_codimension(dag: Dag, partition: Partition, pairs: BlockPairs) -> int:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    targets, sources = len(pairs.into.node), len(pairs.outof.node)
    edges = (np.ones(dag.edges), (pairs.into.of_edge, targets + pairs.outof.of_edge))
    graph: Any = coo_matrix(edges, shape=(targets + sources,) * 2)
    count, component = connected_components(graph, directed=False)
    n_part = np.bincount(component[:targets], minlength=count)
    m_part = np.bincount(component[targets:], minlength=count)
    pair = np.empty(count, dtype=np.int64)
    pair[component[:targets]] = pairs.into.pair
    n, m = partition.sizes[pairs.target_block], partition.sizes[pairs.source_block]
    off_ratio = n_part * m[pair] != m_part * n[pair]
    bare = np.bincount(pairs.into.pair, minlength=pairs.total) < n
    bare |= np.bincount(pairs.outof.pair, minlength=pairs.total) < m
    bare[pair[off_ratio]] = True
    return targets + sources - count - int((~bare).sum())


def bases(dag: Dag, partition: Partition, manifold: Manifold) -> Bases:
    """Orthonormal bases of the tangent and the normal space (block by block, so that both stay sparse)."""
    from scipy.linalg import null_space, orth  # slow to import, and the command needs neither

    pairs = block_pairs(dag, partition)
    hidden = hidden_nodes(dag)
    order = np.argsort(pairs.of_edge, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(pairs.of_edge[order])) + 1) if dag.edges else []
    spaces = [_pair_constraints(pairs, edges, partition, manifold) for edges in groups]
    bias_block = partition.block_of[hidden]
    bias_order = np.argsort(bias_block, kind="stable")
    bias_groups = np.split(bias_order, np.flatnonzero(np.diff(bias_block[bias_order])) + 1) if hidden.size else []
    spaces += [np.zeros((1, len(g))) if manifold == "out" else _centred(len(g)) for g in bias_groups]
    place = np.concatenate([np.arange(0), *groups, *(dag.edges + g for g in bias_groups)]).astype(np.int64)
    return Bases(*(_assemble([kind(s) for s in spaces], place) for kind in (null_space, lambda s: orth(s.T))))


def _assemble(parts: list[FloatArray], place: IntArray) -> "csc_matrix":
    from scipy.sparse import block_diag, csc_matrix

    if not parts:  # a network without parameters
        return csc_matrix((0, 0))
    stacked: Any = block_diag(parts, format="coo")
    return csc_matrix((stacked.data, (place[stacked.row], stacked.col)), shape=(len(place), stacked.shape[1]))


def _centred(size: int) -> NDArray[np.float64]:
    return np.eye(size) - 1.0 / size


def _pair_constraints(pairs: BlockPairs, edges: IntArray, partition: Partition, manifold: Manifold) -> FloatArray:
    """Rows that vanish on the manifold: each sum minus its share of the pair's total; a bare end asks total = 0."""
    if manifold == "constant":
        return _centred(len(edges))
    pair = int(pairs.of_edge[edges[0]])
    sides = []
    if manifold != "out":
        sides.append((pairs.into, int(partition.sizes[pairs.target_block[pair]])))
    if manifold != "in":
        sides.append((pairs.outof, int(partition.sizes[pairs.source_block[pair]])))
    rows = []
    for cells, size in sides:
        reached, end = np.unique(cells.of_edge[edges], return_inverse=True)
        incidence = np.zeros((len(reached) + (len(reached) < size), len(edges)))
        incidence[end, np.arange(len(edges))] = 1.0
        rows.append(incidence - 1.0 / size)
    return np.concatenate(rows)
