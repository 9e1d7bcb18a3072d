"""Is a partition in-equitable, out-equitable, block-constant, of biregular support? Each with a witness if not.

For an ordered block pair (I, J) (theory.md §5; the paper's RE and CE, which its statement and proof name differently):
  in-equitable   Σ_{u∈S_I} w_uc is the same for every c ∈ S_J
  out-equitable  Σ_{v∈S_J} w_rv is the same for every r ∈ S_I
  biregular      the same two statements for the 0/1 edge mask
A node that the pair's edges do not reach has sum 0 and degree 0; an edge of weight 0 is an edge.

With a tolerance T a sum is known within T/2 of the absolute sum of its own terms, and sums agree if one number is
within that of each (``runs``): the scale of the weights does not matter, and large terms elsewhere excuse nothing.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.dag import NO_ACTIVATION, Dag, Network
from lop_theory.graph.digits import carry, to_digits
from lop_theory.graph.levels import find_cycle, row_pointers
from lop_theory.graph.partition import BlockPairs, Cells, Partition, block_pairs
from lop_theory.graph.scalars import IntArray, Values, exact, group_sums, is_exact, rational, zeros_like_kind
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
    return _equal_in_blocks("incoming sum", network.dag, partition, pairs, _sums(network, pairs.into, tolerance))


def out_equitable(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Equal outgoing sums for every ordered block pair."""
    pairs = block_pairs(network.dag, partition)
    return _equal_in_blocks("outgoing sum", network.dag, partition, pairs, _sums(network, pairs.outof, tolerance))


def biregular_support(dag: Dag, partition: Partition) -> Verdict:
    """Equal numbers of incoming and of outgoing edges for every ordered block pair."""
    pairs = block_pairs(dag, partition)
    degrees = (_singles(cells.degree, 0) for cells in (pairs.into, pairs.outof))
    into = _equal_in_blocks("incoming edge count", dag, partition, pairs, next(degrees))
    return into and _equal_in_blocks("outgoing edge count", dag, partition, pairs, next(degrees))


def block_constant(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """w is the same on all edges of every ordered block pair."""
    pairs = block_pairs(network.dag, partition)
    found = _first_apart(_singles(network.weight, tolerance), pairs.of_edge, pairs.total)
    if found is None:
        return _holds(network.weight, tolerance)
    edges, ids = found[1], network.dag.ids
    names = tuple((ids[int(network.dag.source[e])], ids[int(network.dag.target[e])]) for e in edges)
    return Fails(Witness("weight", names, tuple(network.weight[list(edges)])))


def equal_biases(network: Network, partition: Partition, tolerance: float = 0.0) -> Verdict:
    """Equal biases within every block."""
    found = _first_apart(_singles(network.bias, tolerance), partition.block_of, partition.blocks)
    if found is None:
        return _holds(network.bias, tolerance)
    names = tuple(network.dag.ids[v] for v in found[1])
    return Fails(Witness("bias", names, tuple(network.bias[list(found[1])])))


def equal_activations(dag: Dag, partition: Partition) -> Verdict:
    """One activation a block (an input has none, so a block is all inputs or has no input)."""
    found = _first_apart(_singles(dag.activation_of, 0), partition.block_of, partition.blocks)
    if found is None:
        return Holds("exact")
    nodes = found[1]
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


class Known(NamedTuple):
    """Numbers, each known within its radius."""

    values: Values
    radius: Values
    tolerance: float

    @property
    def low(self) -> Values:
        return self.values - self.radius

    @property
    def high(self) -> Values:
        return self.values + self.radius


def _sums(network: Network, cells: Cells, tolerance: float) -> Known:
    """The sums of the cells; of rationals where those of doubles overflow."""
    sums, sizes = (group_sums(w, cells.of_edge, len(cells.node)) for w in (network.weight, abs(network.weight)))
    if not is_exact(sizes) and not np.isfinite(sizes).all():
        return _sums(network.with_parameters(exact(network.weight), exact(network.bias)), cells, tolerance)
    return Known(sums, _half(tolerance, sums) * sizes, tolerance)


def _singles(values: Values, tolerance: float) -> Known:
    """Sums of one term."""
    return Known(values, _half(tolerance, values) * abs(values) if tolerance else 0 * values, tolerance)


def _half(tolerance: float, like: Values) -> Any:
    return rational(tolerance, "tolerance") / 2 if is_exact(like) else tolerance / 2


def _equal_in_blocks(what: str, dag: Dag, partition: Partition, pairs: BlockPairs, sums: Known) -> Verdict:
    incoming = what.startswith("incoming")
    cells, near = (pairs.into, pairs.target_block) if incoming else (pairs.outof, pairs.source_block)
    far = pairs.source_block if incoming else pairs.target_block
    short = np.bincount(cells.pair, minlength=pairs.total) < partition.sizes[near]
    found = _first_apart(sums, cells.pair, pairs.total, short)
    if found is None:
        return _holds(sums.values, sums.tolerance)
    pair, extremes = found
    nodes, values = _offenders(cells, sums.values, pair, extremes, partition.members[int(near[pair])])
    block = tuple(dag.ids[int(v)] for v in partition.members[int(far[pair])])
    side = "from" if incoming else "to"
    return Fails(Witness(f"{what} {side} the block", tuple(dag.ids[v] for v in nodes), values, block))


def _first_apart(
    known: Known, group: IntArray, groups: int, with_zero: NDArray[np.bool_] | None = None
) -> tuple[int, tuple[int, int]] | None:
    """The first group that has no number in common, and its two members furthest apart; ``None`` if all have one.

    Groups marked ``with_zero`` must have 0 in common.
    """
    least = _extremes(known.high, group, groups)[0]
    most = _extremes(known.low, group, groups)[1]
    low, high = known.low[most], known.high[least]
    agree = np.asarray(low <= high, dtype=bool)
    if with_zero is not None:
        agree &= ~with_zero | (np.asarray(low <= 0, dtype=bool) & np.asarray(high >= 0, dtype=bool))
    bad = np.flatnonzero(~agree)
    return (int(bad[0]), (int(least[bad[0]]), int(most[bad[0]]))) if bad.size else None


def _offenders(
    cells: Cells, sums: Values, pair: int, extremes: tuple[int, int], block: IntArray
) -> tuple[tuple[int, ...], tuple[object, ...]]:
    """The two nodes furthest apart, a node without edges among them if the block has one."""
    reached = cells.node[cells.pair == pair]
    absent = np.setdiff1d(block, reached)
    if absent.size:
        far = max(extremes, key=lambda k: abs(sums[k]))
        return (int(absent[0]), int(cells.node[far])), (zeros_like_kind((), sums)[()], sums[far])
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


def _holds(values: Values, tolerance: float) -> Holds:
    exact = is_exact(values) or values.dtype.kind == "i"
    return Holds("exact" if exact and tolerance == 0 else f"tested within {tolerance:g} of the sums' size")


def _activation_label(dag: Dag, node: int) -> str:
    kind = int(dag.activation_of[node])
    return "input" if kind == NO_ACTIVATION else dag.activations[kind].label
