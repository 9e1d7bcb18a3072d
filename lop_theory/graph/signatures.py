"""Signatures of nodes against splitter blocks: which (splitter, sum) entries a node has, and which nodes agree."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.blocks import Blocks
from lop_theory.graph.digits import carry
from lop_theory.graph.levels import concatenated_ranges, stable_order
from lop_theory.graph.runs import cut_into_runs
from lop_theory.graph.scalars import FloatArray, IntArray, Values

_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class Entries(NamedTuple):
    """Rows (node, key, sums) sorted by node then key, without the rows whose sums are all zero.

    ``start`` and ``length`` delimit the rows of each listed node.
    """

    node: IntArray
    start: IntArray
    length: IntArray
    key: IntArray
    sums: NDArray[np.int64]


def collect(
    touched: IntArray,
    keys: IntArray,
    summed: tuple[IntArray, Values],
    key_count: int,
    blocks: Blocks,
    tolerance: float,
) -> Entries:
    """Sum the numbers of edges, ``summed`` = (edges, numbers of all edges), by (touched node, key); a sum of zero is as
    good as no edge. Keys come in ascending order.
    """
    order = stable_order(touched)
    edges, numbers = summed
    code = np.take(touched, order) * key_count + np.take(keys, order)
    begin = np.flatnonzero(np.append(True, code[1:] != code[:-1])) if len(code) else np.empty(0, dtype=np.int64)
    rows = np.take(numbers, np.take(edges, order), axis=0)
    totals: Values = np.add.reduceat(rows, begin, axis=0) if len(begin) else numbers[:0]
    node, key = np.divmod(code[begin], key_count)
    sums = carry(totals) if tolerance == 0 else _classes(node, key, totals, key_count, blocks, tolerance)
    nonzero = (sums != 0).any(axis=1)
    node, key, sums = node[nonzero], key[nonzero], sums[nonzero]
    start = np.flatnonzero(np.append(True, node[1:] != node[:-1])) if len(node) else np.empty(0, dtype=np.int64)
    return Entries(node[start], start, np.diff(np.append(start, len(node))), key, sums)


def _classes(
    node: IntArray, key: IntArray, totals: FloatArray, key_count: int, blocks: Blocks, tolerance: float
) -> NDArray[np.int64]:
    """Class numbers of float sums, by block of the node and key; 0 for the run that contains zero.

    The last two columns of the totals are Σ w and Σ |w|; a column before them counts edges and stays as it is.
    """
    group = blocks.block_of[node] * key_count + key
    groups = np.unique(group)
    sums, sizes = totals[:, -2], totals[:, -1]
    nothing = np.zeros(len(groups))
    values, radius = np.append(sums, nothing), np.append(tolerance / 2 * sizes, nothing)
    found = cut_into_runs(values, radius, np.append(group, groups))
    own, zero = found[: len(sums)], found[len(sums) :]
    classes = np.where(own == zero[np.searchsorted(groups, group)], 0, own + 1)
    return np.column_stack([totals[:, :-2].astype(np.int64), classes])


def group_equal(entries: Entries, block_of: IntArray) -> tuple[IntArray, IntArray]:
    """Nodes sorted by block and signature, and where each group of equal block and signature starts."""
    if not len(entries.node):
        return entries.node, entries.start
    for salt in range(1, 8):
        code = _hash(entries, salt)
        order = np.lexsort((code, block_of[entries.node]))
        node, code = entries.node[order], code[order]
        block = block_of[node]
        begin = np.flatnonzero(np.append(True, (block[1:] != block[:-1]) | (code[1:] != code[:-1])))
        if _agree(entries, order, begin):
            return node, begin
    raise AssertionError("seven 64-bit hashes collided in a row")


def _hash(entries: Entries, salt: int) -> NDArray[np.uint64]:
    """A sum over the node's rows of a mixed 64-bit word, so rows need no further order."""
    word = _mix(entries.key.astype(np.uint64) + np.uint64(salt * _ODD[0] & 0xFFFFFFFFFFFFFFFF))
    for column in entries.sums.T:
        word = _mix(word ^ (column.astype(np.uint64) * np.uint64(_ODD[1])))
    return np.add.reduceat(word, entries.start)


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_ODD[1])
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_ODD[2])
    return word ^ (word >> np.uint64(31))


def _agree(entries: Entries, order: IntArray, begin: IntArray) -> bool:
    """Do all nodes of a group have the rows of the group's first node?"""
    sizes = np.diff(np.append(begin, len(order)))
    leader = np.repeat(order[begin], sizes)
    others = order != leader
    mine, theirs = order[others], leader[others]
    if not np.array_equal(entries.length[mine], entries.length[theirs]):
        return False
    a = concatenated_ranges(entries.start[mine], entries.length[mine])
    b = concatenated_ranges(entries.start[theirs], entries.length[mine])
    return bool((entries.key[a] == entries.key[b]).all() and (entries.sums[a] == entries.sums[b]).all())
