"""The coarsest equitable partition that refines given seeds: partition refinement in O((m + n) log n) array work.

Every round uses all blocks that are new since the last round as splitters, except the largest part of each split block:
its sums follow from the others and the block's own (Hopcroft; Paige–Tarjan; Cardon–Crochemore). An edge is looked at
at most log₂ n times. Nodes are told apart by a 64-bit hash of their sums, and nodes of equal hash are then compared
entry by entry, so the result never depends on luck.

Exact mode (tolerance 0) sums integer digits: rationals and floats alike give the one coarsest partition. With a
tolerance, sums of a block are sorted and cut into runs that agree within it (``runs``: relative to the absolute sum of
the very terms); "coarsest" is then a heuristic, since closeness is not transitive, but the partition returned is
equitable within the tolerance.
"""

from typing import Literal, NamedTuple

import numpy as np

from lop_theory.graph.blocks import Blocks
from lop_theory.graph.chains import by_chains, is_thin
from lop_theory.graph.dag import Network
from lop_theory.graph.digits import to_digits
from lop_theory.graph.levels import concatenated_ranges
from lop_theory.graph.partition import Partition, partition_from_labels
from lop_theory.graph.runs import cut_into_runs
from lop_theory.graph.scalars import FloatArray, IntArray, Values, floats
from lop_theory.graph.signatures import Entries, collect, group_equal

Mode = Literal["in", "out", "both"]


class Side(NamedTuple):
    """Edges as seen from splitter nodes: CSR of the nodes at the other end, and of the edges (``None``: in order)."""

    pointers: IntArray
    touched: IntArray
    edges: IntArray | None


def refine(
    network: Network,
    seed: Partition | None = None,
    *,
    mode: Mode = "both",
    support: bool = False,
    tolerance: float = 0.0,
) -> Partition:
    """The coarsest partition refining ``seed`` that is in-equitable, out-equitable or both.

    ``seed`` defaults to ``default_seed``; ``support=True`` asks for a biregular edge mask too (what the corrected
    trajectory theorem needs, [clone-support]).
    """
    start = default_seed(network, tolerance) if seed is None else seed
    if is_thin(network.dag):
        start = _along_chains(network, start, mode, tolerance)
    numbers = _numbers(network, tolerance, support=support)
    sides = _sides(network, mode)
    blocks = Blocks(start.block_of)
    fresh = np.arange(start.blocks)
    nodes = network.dag.nodes  # once they are all alone, nothing is left to split
    while fresh.size and blocks.count < nodes:
        while fresh.size and blocks.count < nodes:
            entries = _entries(blocks, sides, numbers, fresh, tolerance)
            fresh = blocks.split(*group_equal(entries, blocks.block_of))
        if tolerance > 0 and blocks.count < nodes:  # the largest parts' sums were inferred from tolerated ones: confirm
            entries = _entries(blocks, sides, numbers, np.arange(blocks.count), tolerance)
            fresh = blocks.split(*group_equal(entries, blocks.block_of))
    return partition_from_labels(blocks.block_of)


def _along_chains(network: Network, seed: Partition, mode: Mode, tolerance: float) -> Partition:
    """The seed refined by ``by_chains`` from both ends."""
    classes = _weight_classes(network.weight, tolerance)
    for into in (True, False):
        if mode != ("out" if into else "in"):
            seed = by_chains(network.dag, seed, classes, into=into)
    return seed


def _weight_classes(weight: Values, tolerance: float) -> IntArray:
    """Numbers of equal weights; 0 for what is as good as zero."""
    values = floats(weight)
    if tolerance > 0:
        classes = cut_into_runs(values, tolerance / 2 * abs(values), np.zeros(len(values), dtype=np.int64))
    else:
        classes = np.unique(to_digits(weight), axis=0, return_inverse=True)[1].ravel()
    return np.where(np.asarray(weight == 0, dtype=bool), 0, classes + 1)


def default_seed(network: Network, tolerance: float = 0.0) -> Partition:
    """Inputs and outputs alone; other nodes by activation and bias: the hypotheses of functional cloning."""
    dag = network.dag
    if tolerance > 0:
        bias = floats(network.bias)
        bias = cut_into_runs(bias, tolerance / 2 * abs(bias), dag.activation_of)
    else:
        digits = to_digits(network.bias)
        distinct = digits[:, 0] if digits.shape[1] == 1 else digits
        bias = np.unique(distinct, axis=0, return_inverse=True)[1].ravel()
    label = dag.activation_of * (int(bias.max(initial=0)) + 1) + bias
    alone = np.concatenate([dag.inputs, dag.outputs])
    label = label - label.min(initial=0)
    label[alone] = label.max(initial=0) + 1 + np.arange(len(alone))
    return partition_from_labels(label)


def _numbers(network: Network, tolerance: float, *, support: bool) -> Values:
    """One row an edge: what is summed (digits, or w and |w|), and 1 if edges are to be counted as well."""
    number = _scaled(floats(network.weight)) if tolerance > 0 else network.weight
    weight: Values = np.column_stack([number, abs(number)]) if tolerance > 0 else to_digits(number)
    # A count never reaches 2^30, so as a leading digit it carries nothing into the weights.
    ones = np.ones((len(weight), 1), dtype=weight.dtype)
    return np.hstack([ones, weight]) if support else weight


def _scaled(weight: FloatArray) -> FloatArray:
    """Halved so often that no sum overflows: a tolerance is relative."""
    spare = 1022 - len(weight).bit_length() - int(np.frexp(abs(weight).max(initial=0))[1])
    return np.ldexp(weight, min(0, spare))


def _sides(network: Network, mode: Mode) -> list[Side]:
    dag = network.dag
    sides = []
    if mode != "out":
        sides.append(Side(dag.out_pointers, dag.target_by_source, dag.out_order))
    if mode != "in":
        sides.append(Side(dag.in_pointers, dag.source, None))
    return sides


def _entries(blocks: Blocks, sides: list[Side], numbers: Values, splitters: IntArray, tolerance: float) -> Entries:
    """For every node that an edge joins to a splitter block: the sums of those edges."""
    owner, nodes = blocks.members_of(splitters)
    degrees = [side.pointers[nodes + 1] - side.pointers[nodes] for side in sides]
    ends = np.cumsum([0, *(degree.sum() for degree in degrees)])
    touched, keys, edges = np.empty((3, ends[-1]), dtype=np.int64)
    for k, (side, degree) in enumerate(zip(sides, degrees, strict=True)):
        own = slice(ends[k], ends[k + 1])
        places = concatenated_ranges(side.pointers[nodes], degree)
        np.take(side.touched, places, out=touched[own], mode="clip")  # unlike the default, without a copy
        keys[own] = np.repeat(owner + k * splitters.size, degree)
        edges[own] = places if side.edges is None else np.take(side.edges, places)
    return collect(touched, keys, (edges, numbers), splitters.size * len(sides), blocks, tolerance)
