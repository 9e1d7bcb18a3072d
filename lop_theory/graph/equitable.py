"""Is a partition in-equitable, out-equitable, block-constant, of biregular support? Each with a witness if not.

For an ordered block pair (I, J) (theory.md §5; the paper's RE and CE, which its statement and proof name differently):
  in-equitable   Σ_{u∈S_I} w_uc is the same for every c ∈ S_J
  out-equitable  Σ_{v∈S_J} w_rv is the same for every r ∈ S_I
  biregular      the same two statements for the 0/1 edge mask
A node that the pair's edges do not reach has sum 0 and degree 0; an edge of weight 0 is an edge.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import NO_ACTIVATION, Dag, Network
from lop_theory.graph.digits import carry, to_digits
from lop_theory.graph.levels import find_cycle, row_pointers
from lop_theory.graph.partition import BlockPairs, Cells, Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, group_sums, is_exact, rational
from lop_theory.verdict import Fails, Holds, Verdict


class Witness(NamedTuple):
    """Two nodes of one block whose ``what`` differ; ``block`` is the block at the other end, if any."""

    what: str
    nodes: tuple[Hashable, ...]
    values: tuple[object, ...]
    block: tuple[Hashable, ...] = ()


def in_equitable(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Equal incoming sums for every ordered block pair."""
    pairs = block_pairs(network.dag, partition)
    sums = group_sums(network.weight, pairs.into.of_edge, len(pairs.into.node))
    return _equal_in_blocks("incoming sum", network.dag, partition, pairs, sums, tolerance)


def out_equitable(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Equal outgoing sums for every ordered block pair."""
    pairs = block_pairs(network.dag, partition)
    sums = group_sums(network.weight, pairs.outof.of_edge, len(pairs.outof.node))
    return _equal_in_blocks("outgoing sum", network.dag, partition, pairs, sums, tolerance)


def biregular_support(dag: Dag, partition: Partition) -> Verdict:
    """Equal numbers of incoming and of outgoing edges for every ordered block pair."""
    pairs = block_pairs(dag, partition)
    into = _equal_in_blocks("incoming edge count", dag, partition, pairs, pairs.into.degree, 0)
    return into and _equal_in_blocks("outgoing edge count", dag, partition, pairs, pairs.outof.degree, 0)


def block_constant(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """w is the same on all edges of every ordered block pair."""
    pairs = block_pairs(network.dag, partition)
    low, high = _extremes(network.weight, pairs.of_edge, pairs.total)
    bad = np.flatnonzero(_differs(network.weight[high], network.weight[low], tolerance))
    if not bad.size:
        return _holds(network.weight, tolerance)
    edges = (int(low[bad[0]]), int(high[bad[0]]))
    ids = network.dag.ids
    names = tuple((ids[int(network.dag.source[e])], ids[int(network.dag.target[e])]) for e in edges)
    return Fails(Witness("weight", names, tuple(network.weight[list(edges)])))


def equal_biases(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Equal biases within every block."""
    low, high = _extremes(network.bias, partition.block_of, partition.blocks)
    return _first_difference("bias", network.dag, (low, high), network.bias, tolerance)


def equal_activations(dag: Dag, partition: Partition) -> Verdict:
    """One activation a block (an input has none, so a block is all inputs or has no input)."""
    low, high = _extremes(dag.activation_of, partition.block_of, partition.blocks)
    bad = np.flatnonzero(dag.activation_of[low] != dag.activation_of[high])
    if not bad.size:
        return Holds("exact")
    nodes = (int(low[bad[0]]), int(high[bad[0]]))
    labels = tuple(_activation_label(dag, v) for v in nodes)
    return Fails(Witness("activation", tuple(dag.ids[v] for v in nodes), labels))


def singleton_ends(dag: Dag, partition: Partition) -> Verdict:
    """Every input and every output is alone in its block (functional cloning: any data, any targets)."""
    for what, ends in (("input", dag.inputs), ("output", dag.outputs)):
        crowded = ends[partition.sizes[partition.block_of[ends]] > 1]
        if crowded.size:
            block = partition.members[int(partition.block_of[crowded[0]])]
            return Fails(Witness(f"{what} in a block of several nodes", tuple(dag.ids[int(v)] for v in block), ()))
    return Holds("exact")


def acyclic_quotient(dag: Dag, partition: Partition) -> Verdict:
    """The graph of blocks has no cycle and no loop. The witness holds one node of each block on the cycle."""
    pairs = block_pairs(dag, partition)
    cycle = find_cycle(pairs.source_block, pairs.target_block, partition.blocks)
    if not cycle:
        return Holds("exact")
    names = tuple(dag.ids[int(partition.members[b][0])] for b in cycle)
    return Fails(Witness("cycle of blocks", names, ()))


def _equal_in_blocks(
    what: str, dag: Dag, partition: Partition, pairs: BlockPairs, sums: Values, tolerance: float
) -> Verdict:
    incoming = what.startswith("incoming")
    cells, near = (pairs.into, pairs.target_block) if incoming else (pairs.outof, pairs.source_block)
    far = pairs.source_block if incoming else pairs.target_block
    low, high = _extremes(sums, cells.pair, pairs.total)
    short = np.bincount(cells.pair, minlength=pairs.total) < partition.sizes[near]
    unequal = _differs(sums[high], sums[low], tolerance)
    nonzero = short & (_differs(sums[high], 0 * sums[high], tolerance) | _differs(sums[low], 0 * sums[low], tolerance))
    bad = np.flatnonzero(unequal | nonzero)
    if not bad.size:
        return _holds(sums, tolerance)
    pair = int(bad[0])
    nodes, values = _offenders(cells, sums, pair, (int(low[pair]), int(high[pair])), partition.members[int(near[pair])])
    block = tuple(dag.ids[int(v)] for v in partition.members[int(far[pair])])
    side = "from" if incoming else "to"
    return Fails(Witness(f"{what} {side} the block", tuple(dag.ids[v] for v in nodes), values, block))


def _offenders(
    cells: Cells, sums: Values, pair: int, extremes: tuple[int, int], block: IntArray
) -> tuple[tuple[int, ...], tuple[object, ...]]:
    """The two nodes furthest apart, a node without edges among them if the block has one."""
    reached = cells.node[cells.pair == pair]
    absent = np.setdiff1d(block, reached)
    if absent.size:
        far = max(extremes, key=lambda k: abs(sums[k]))
        return (int(absent[0]), int(cells.node[far])), (0 * sums[far], sums[far])
    low, high = extremes
    return (int(cells.node[low]), int(cells.node[high])), (sums[low], sums[high])


def _extremes(values: Values, group: IntArray, groups: int) -> tuple[IntArray, IntArray]:
    """Index of a smallest and of a largest value of each group 0..groups−1 (none of them empty)."""
    order = _sorted_by(values, group)
    pointers = row_pointers(group[order], groups)
    return order[pointers[:-1]], order[pointers[1:] - 1]


def _sorted_by(values: Values, group: IntArray) -> IntArray:
    if not is_exact(values):
        return np.lexsort((values, group))
    return np.lexsort((*carry(to_digits(values)).T, group))  # digits of one denominator, so their order is the values'


def _differs(a: Values, b: Values, tolerance: float) -> NDArray[np.bool_]:
    gap = abs(a - b)
    bound: Any = rational(tolerance, "tolerance") if is_exact(a) else tolerance
    return ~np.asarray(gap <= bound, dtype=bool)  # an overflow to nan counts as different


def _first_difference(
    what: str, dag: Dag, extremes: tuple[IntArray, IntArray], values: Values, tolerance: float
) -> Verdict:
    low, high = extremes
    bad = np.flatnonzero(_differs(values[high], values[low], tolerance))
    if not bad.size:
        return _holds(values, tolerance)
    nodes = (int(low[bad[0]]), int(high[bad[0]]))
    return Fails(Witness(what, tuple(dag.ids[v] for v in nodes), tuple(values[list(nodes)])))


def _holds(values: Values, tolerance: float) -> Holds:
    exact = is_exact(values) or values.dtype.kind == "i"
    return Holds("exact" if exact and tolerance == 0 else f"tested within {tolerance:g}")


def _activation_label(dag: Dag, node: int) -> str:
    kind = int(dag.activation_of[node])
    return "input" if kind == NO_ACTIVATION else dag.activations[kind].label
