"""The base network of a cloned network, and the exact relations between the two. [base-network] [clone-rates]

w̃_IJ = Σ_{u∈S_I, c∈S_J} w_uc / |S_J| (Remark A.2), the common incoming sum. On RE∩CE with singleton outputs:
  h(v) = h̃(block of v),   |S_I| δ(v) = δ̃(I)   (the paper says δ = δ̃; that holds only for blocks of one node),
  SGD on the clone is SGD on the base with rate η · d_IJ/|S_J| on w̃_IJ and η/|S_J| on b̃_J, where d_IJ is the number of
  edges from S_I into each node of S_J (|S_I| for complete blocks; the support must be biregular).
"""

from typing import NamedTuple

import numpy as np

from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import NO_ACTIVATION, Network, RawGraph, assemble
from lop_theory.graph.equitable import acyclic_quotient, equal_activations, equal_biases, in_equitable
from lop_theory.graph.partition import Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact
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

    Raises ``InvalidInput`` unless the partition is in-equitable with equal activations and biases in a block and an
    acyclic quotient.
    """
    _require_base(network, partition, tolerance)
    dag, first = network.dag, [int(block[0]) for block in partition.members]
    order = np.argsort([dag.activation_of[v] != NO_ACTIVATION for v in first], kind="stable")  # inputs first
    rank = np.argsort(order)
    pairs = block_pairs(dag, partition)
    size = partition.sizes
    columns = size[pairs.target_block]
    total = group_sums(network.weight, pairs.of_edge, pairs.total)
    weight = total / (exact(columns) if is_exact(total) else columns)
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
    place = assemble(raw, np.arange(pairs.total), np.arange(partition.blocks))  # where assembling puts things
    edges = np.bincount(pairs.of_edge, minlength=pairs.total)
    position = np.argsort(place.bias)[rank]
    multiplicity = size[order][place.bias]
    number = exact if is_exact(total) else np.asarray
    weight_rate = (number(edges) / number(columns**2))[place.weight]
    return Base(base, position[partition.block_of], multiplicity, weight_rate, 1 / number(multiplicity))


def _require_base(network: Network, partition: Partition, tolerance: float) -> None:
    checks = (
        equal_activations(network.dag, partition),
        equal_biases(network, partition, tolerance),
        in_equitable(network, partition, tolerance),
        acyclic_quotient(network.dag, partition),
    )
    for verdict in checks:
        if isinstance(verdict, Fails):
            witness = verdict.witness
            raise InvalidInput("partition", witness.nodes, f"has no base network: {witness.what} differs or is present")
