"""The base network of a cloned network, and the exact relations between the two. [base-network] [clone-rates]

w̃_IJ = Σ_{u∈S_I, c∈S_J} w_uc / |S_J| (Remark A.2), the common incoming sum. On RE∩CE with singleton outputs:
  h(v) = h̃(block of v),   |S_I| δ(v) = δ̃(I)   (the paper says δ = δ̃; that holds only for blocks of one node),
  SGD on the clone is SGD on the base with rate η · d_IJ/|S_J| on w̃_IJ and η/|S_J| on b̃_J, where d_IJ is the number of
  edges from S_I into each node of S_J (|S_I| for complete blocks; the support must be biregular).
A base network needs the quotient by non-zero block sums to be acyclic, and in-equitability makes it so: on a cycle of
such sums every node would have a predecessor for ever. So an edge of the base on a cycle of blocks has weight 0 and is
left out, which changes no value and no adjoint. (Biregular support has no such cycles [clone-ordering], so the rates,
which need it, never meet one.)
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import NO_ACTIVATION, Network, RawGraph, assemble
from lop_theory.graph.equitable import equal_activations, equal_biases, in_equitable
from lop_theory.graph.partition import BlockPairs, Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact, rational
from lop_theory.verdict import Fails


class Base(NamedTuple):
    """The base network; ``node_of`` gives the base node of each node of the clone."""

    network: Network
    node_of: IntArray
    multiplicity: IntArray
    weight_rate: Values
    bias_rate: Values


def base_network(network: Network, partition: Partition, tolerance: float = 0.0) -> Base:
    """The base network, with |S_I| by base node and the learning-rate factors that reproduce the clone's SGD.

    Raises ``InvalidInput`` unless the partition is in-equitable with equal activations and biases in a block.
    """
    _require_base(network, partition, tolerance)
    dag, first = network.dag, [int(block[0]) for block in partition.members]
    order = np.argsort([dag.activation_of[v] != NO_ACTIVATION for v in first], kind="stable")  # inputs first
    rank = np.argsort(order)
    pairs = _acyclic_pairs(network, partition, tolerance)
    size = partition.sizes
    columns = size[pairs.target_block]
    weight = pairs.total / (exact(columns) if is_exact(pairs.total) else columns)
    raw = RawGraph(
        names=[dag.ids[first[b]] for b in order],
        source=rank[pairs.source_block],
        target=rank[pairs.target_block],
        inputs=len(np.unique(partition.block_of[dag.inputs])),
        outputs=list(dict.fromkeys(int(rank[b]) for b in partition.block_of[dag.outputs])),
        activations=dag.activations,
        activation_of=dag.activation_of[[first[b] for b in order]],
    )
    base = assemble(raw, weight, network.bias[[first[b] for b in order]])
    place = assemble(raw, np.arange(len(columns)), np.arange(partition.blocks))  # where assembling puts things
    position = np.argsort(place.bias)[rank]
    multiplicity = size[order][place.bias]
    number = exact if is_exact(weight) else np.asarray
    weight_rate = (number(pairs.edges) / number(columns**2))[place.weight]
    return Base(base, position[partition.block_of], multiplicity, weight_rate, 1 / number(multiplicity))


class _Pairs(NamedTuple):
    """The block pairs that become edges: their blocks, sums of weights and numbers of edges."""

    source_block: IntArray
    target_block: IntArray
    total: Values
    edges: IntArray


def _acyclic_pairs(network: Network, partition: Partition, tolerance: float) -> _Pairs:
    """All block pairs but those of sum zero (within the tolerance) on a cycle."""
    pairs = block_pairs(network.dag, partition)
    total = group_sums(network.weight, pairs.of_edge, pairs.total)
    kept = ~(_on_a_cycle(pairs, partition.blocks) & zero_sums(network, pairs, total, tolerance))
    edges = np.bincount(pairs.of_edge, minlength=pairs.total)
    return _Pairs(pairs.source_block[kept], pairs.target_block[kept], total[kept], edges[kept])


def zero_sums(network: Network, pairs: BlockPairs, total: Values, tolerance: float) -> NDArray[np.bool_]:
    """Block pairs whose sum is zero, within T/2 of the absolute sum of its terms."""
    size = group_sums(abs(network.weight), pairs.of_edge, pairs.total)
    half = rational(tolerance, "tolerance") / 2 if is_exact(total) else tolerance / 2
    return np.asarray(abs(total) <= half * size, dtype=bool)


def _on_a_cycle(pairs: BlockPairs, blocks: int) -> NDArray[np.bool_]:
    """Block pairs whose two ends reach each other."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(pairs.total), (pairs.source_block, pairs.target_block))
    graph: Any = csr_matrix(edges, shape=(blocks, blocks))
    _, component = connected_components(graph, directed=True, connection="strong")
    return component[pairs.source_block] == component[pairs.target_block]


def _require_base(network: Network, partition: Partition, tolerance: float) -> None:
    checks = (
        equal_activations(network.dag, partition),
        equal_biases(network, partition, tolerance),
        in_equitable(network, partition, tolerance),
    )
    for verdict in checks:
        if isinstance(verdict, Fails):
            witness = verdict.witness
            raise InvalidInput("partition", witness.nodes, f"has no base network: {witness.what} differs or is present")
