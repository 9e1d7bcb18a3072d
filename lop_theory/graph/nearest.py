"""The cloned-unit manifold nearest to a trained network, and the ladder of manifolds at growing tolerance."""

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack

from lop_theory.graph.dag import Network
from lop_theory.graph.dimension import codimension
from lop_theory.graph.manifold import distance
from lop_theory.graph.partition import Partition
from lop_theory.graph.refine import default_seed, refine
from lop_theory.graph.scalars import FloatArray, IntArray, floats


class NearestPair(NamedTuple):
    """Merging the two ``units`` alone is the nearest manifold of its kind, at ``distance``."""

    units: tuple[Hashable, Hashable]
    distance: float


class Rung(NamedTuple):
    """What refining at ``tolerance`` finds: its partition, and the distance to and codimension of its RE∩CE."""

    tolerance: float
    partition: Partition
    distance: float
    codimension: int


def nearest_pair(network: Network, seed: Partition | None = None) -> NearestPair | None:
    """The two hidden units whose cloning manifold RE∩CE (all other nodes alone) is nearest; ``None`` without a pair.

    The squared distance of the merge {u, v} is ½‖w_u − w_v‖² over in-weights, out-weights and bias, where an edge that
    only one of them has counts w² instead of w²/2 (its sum must vanish). Every BC manifold of a partition on which the
    blocks' units have the same neighbours lies inside that of a pair, so among those this is the nearest of all.
    Pairs are taken inside blocks of ``seed`` (default: ends alone, equal activations; biases may differ).
    """
    blocks = _pair_seed(network) if seed is None else seed
    best: tuple[float, int, int] | None = None
    rows = _parameter_rows(network)
    for members in blocks.members:
        found = _nearest_in(network, rows, members) if len(members) > 1 else None
        if found and (best is None or found < best):
            best = found
    if best is None:
        return None
    ids = network.dag.ids
    return NearestPair((ids[best[1]], ids[best[2]]), sqrt(max(best[0], 0.0)))


def ladder(network: Network, tolerances: Sequence[float]) -> list[Rung]:
    """The equitable partitions found at each tolerance, with exact distances: which manifolds the network is near."""
    rungs = []
    for tolerance in tolerances:
        partition = refine(network, tolerance=tolerance)
        far = distance(network, partition, "both")
        rungs.append(Rung(tolerance, partition, far, codimension(network.dag, partition, "both")))
    return rungs


def _pair_seed(network: Network) -> Partition:
    unbiased = network.with_parameters(network.weight, 0 * network.bias)
    return default_seed(unbiased)


def _parameter_rows(network: Network) -> tuple[Any, Any]:
    """(values, mask): row v holds the in-weights (by source), the out-weights (by target) and the bias of node v."""
    dag, n, w = network.dag, network.dag.nodes, floats(network.weight)
    values, masks = [], []
    for data, out in ((w, values), (np.ones_like(w), masks)):
        into = csr_matrix((data, (dag.target, dag.source)), shape=(n, n))
        outof = csr_matrix((data, (dag.source, dag.target)), shape=(n, n))
        bias = floats(network.bias) if out is values else np.ones(n)
        out.append(hstack([into, outof, csr_matrix(bias[:, None])]).tocsr())
    return values[0], masks[0]


def _nearest_in(
    network: Network, rows: tuple[Any, Any], members: IntArray, chunk: int = 1024
) -> tuple[float, int, int] | None:
    values, mask = rows[0][members], rows[1][members]
    squares = values.multiply(values).tocsr()
    norm = np.asarray(squares.sum(axis=1)).ravel()
    inside = _inside_squares(network, members)
    best: tuple[float, int, int] | None = None
    for a in range(0, len(members), chunk):
        part = slice(a, min(a + chunk, len(members)))
        cost = _merge_costs(values, squares, mask, norm, part) - inside[part]
        cost[np.tril_indices(cost.shape[0], a, cost.shape[1])] = np.inf
        k = int(np.argmin(cost))
        i, j = divmod(k, cost.shape[1])
        found = (float(cost[i, j]), int(members[a + i]), int(members[j]))
        if np.isfinite(found[0]) and (best is None or found < best):
            best = found
    return best


def _merge_costs(values: Any, squares: Any, mask: Any, norm: FloatArray, part: slice) -> FloatArray:
    """½‖a − b‖² + ½ Σ a² where b has no edge + ½ Σ b² where a has none."""
    product = (values[part] @ values.T).toarray()
    shared_a = (squares[part] @ mask.T).toarray()
    shared_b = (mask[part] @ squares.T).toarray()
    return norm[part, None] + norm[None, :] - product - 0.5 * (shared_a + shared_b)


def _inside_squares(network: Network, members: IntArray) -> FloatArray:
    """w² of an edge between the two units: it must vanish, and the rows count it twice."""
    dag = network.dag
    position = np.full(dag.nodes, -1, dtype=np.int64)
    position[members] = np.arange(len(members))
    u, v, w = position[dag.source], position[dag.target], floats(network.weight)
    both = (u >= 0) & (v >= 0)
    u, v, w = u[both], v[both], w[both]
    size = len(members)
    out = np.zeros((size, size))
    out[u, v] = out[v, u] = w**2
    return out
