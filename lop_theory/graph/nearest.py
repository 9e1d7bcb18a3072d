"""The cloned-unit manifold nearest to a trained network, and the ladder of manifolds at growing tolerance."""

from collections.abc import Hashable, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack

from lop_theory.balls import fmpq
from lop_theory.graph.dag import Network
from lop_theory.graph.dimensions import codimension
from lop_theory.graph.manifold import distance
from lop_theory.graph.partition import Partition
from lop_theory.graph.refinement import default_seed, refine
from lop_theory.graph.scalars import FloatArray, IntArray, Values, floats, to_float

Found = tuple[Any, int, int]  # squared distance and the two nodes


class NearestPair(NamedTuple):
    """Merging the two ``units`` is the nearest manifold of its kind, at ``distance``; their weights are ``apart``.

    Units with the same neighbours are √2 times as far apart as their manifold is away.
    """

    units: tuple[Hashable, Hashable]
    distance: float
    apart: float


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

    Inner products screen all pairs; those that the screen's rounding cannot exclude are measured by their differences,
    so the pair is the nearest to a few roundoffs of its own distance (exactly on rationals).
    """
    blocks = _pair_seed(network) if seed is None else seed
    rows = _parameter_rows(network)
    best: Found | None = None
    for members in blocks.members:
        if len(members) > 1 and not (best and best[0] == 0):
            best = _nearest_in(network, rows, members, best)
    if best is None:
        return None
    ids = network.dag.ids
    shared, alone = _differences(network, best[1], best[2])
    return NearestPair((ids[best[1]], ids[best[2]]), _root(best[0]), _root((shared**2).sum() + (alone**2).sum()))


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
    network: Network, rows: tuple[Any, Any], members: IntArray, best: Found | None, chunk: int = 1024
) -> Found | None:
    """The nearest pair among ``members``, or ``best`` if that is nearer."""
    values, mask = rows[0][members], rows[1][members]
    squares = values.multiply(values).tocsr()
    norm = np.asarray(squares.sum(axis=1)).ravel()
    inside = _inside_squares(network, members)
    rounding = 4 * (int(np.diff(mask.indptr).max()) + 8) * 2.0**-53
    for a in range(0, len(members), chunk):
        part = slice(a, min(a + chunk, len(members)))
        cost = _merge_costs(values, squares, mask, norm, part) - inside[part]
        least = cost - rounding * (norm[part, None] + norm[None, :])
        least[np.tril_indices(least.shape[0], a, least.shape[1])] = np.inf
        best = _measure(network, members, a, least, best)
        if best and best[0] == 0:
            break
    return best


def _measure(network: Network, members: IntArray, first: int, least: FloatArray, best: Found | None) -> Found | None:
    """Measure the pairs of which the screen says that they may be nearer than ``best``, the likeliest first."""

    def measured(k: int) -> Found:
        u, v = int(members[first + k // least.shape[1]]), int(members[k % least.shape[1]])
        return merge_cost(network, u, v), u, v

    flat = least.ravel()
    likeliest = int(np.argmin(flat))
    if np.isinf(flat[likeliest]):
        return best
    best = measured(likeliest) if best is None else min(best, measured(likeliest))
    promising = np.flatnonzero(flat <= to_float(best[0]))
    for k in promising[np.argsort(flat[promising], kind="stable")]:
        if best[0] == 0 or flat[k] > to_float(best[0]):
            break
        best = min(best, measured(int(k)))
    return best


def merge_cost(network: Network, u: int, v: int) -> Any:
    """Squared distance to the manifold on which the nodes u and v alone are clones, from differences of weights."""
    shared, alone = _differences(network, u, v)
    return (shared**2).sum() / 2 + (alone**2).sum()


def _differences(network: Network, u: int, v: int) -> tuple[Values, Values]:
    """Differences of biases and of weights that both nodes have, and the weights that only one has."""
    shared = [network.bias[[u]] - network.bias[[v]]]
    alone = [0 * network.bias[:1]]
    for ends_u, ends_v in zip(_edges_of(network, u), _edges_of(network, v), strict=True):
        _, a, b = np.intersect1d(ends_u[0], ends_v[0], assume_unique=True, return_indices=True)
        shared.append(ends_u[1][a] - ends_v[1][b])
        alone.append(np.delete(ends_u[1], a))
        between = np.flatnonzero(ends_v[0] == u)  # an edge between the two is in both lists
        alone.append(np.delete(ends_v[1], np.append(b, between)))
    return np.concatenate(shared), np.concatenate(alone)


def _edges_of(network: Network, node: int) -> tuple[tuple[IntArray, Values], tuple[IntArray, Values]]:
    """(other ends, weights) of the edges into and out of a node."""
    dag = network.dag
    into, out = (slice(int(p[node]), int(p[node + 1])) for p in (dag.in_pointers, dag.out_pointers))
    outgoing = dag.out_order[out]
    return (dag.source[into], network.weight[into]), (dag.target[outgoing], network.weight[outgoing])


def _root(square: Any) -> float:
    """√square, where a tiny rational's square root may be a double though the rational is none."""
    if not isinstance(square, fmpq) or square == 0:
        return sqrt(square)
    shift = (len(str(int(square.q))) - len(str(int(square.p)))) // 2
    return sqrt(to_float(square * fmpq(100) ** shift)) / 10.0**shift if abs(shift) < 300 else 0.0


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
