"""Partitions of the nodes of a DAG into blocks, and the block pairs that its edges join."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from lop_theory.errors import InvalidInput
from lop_theory.graph.dag import Dag
from lop_theory.graph.levels import row_pointers
from lop_theory.graph.scalars import IntArray


@dataclass(frozen=True, eq=False)
class Partition:
    """``block_of[v]`` is the block of node v; blocks are numbered 0..blocks−1 by first appearance."""

    block_of: IntArray

    @cached_property
    def blocks(self) -> int:
        return int(self.block_of.max(initial=-1)) + 1

    @cached_property
    def sizes(self) -> IntArray:
        return np.bincount(self.block_of, minlength=self.blocks).astype(np.int64)

    @cached_property
    def members(self) -> tuple[IntArray, ...]:
        """Node numbers of each block, ascending."""
        order = np.argsort(self.block_of, kind="stable")
        return tuple(np.split(order, row_pointers(self.block_of[order], self.blocks)[1:-1]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and np.array_equal(self.block_of, other.block_of)

    def __hash__(self) -> int:
        return hash(self.block_of.tobytes())

    def refines(self, other: "Partition") -> bool:
        """Is every block inside one block of ``other``?"""
        pairs = np.unique(np.stack([self.block_of, other.block_of]), axis=1)
        return pairs.shape[1] == self.blocks


def partition_from_labels(labels: IntArray) -> Partition:
    """The partition into nodes of equal label."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return Partition(rank[inverse])


def partition_from_blocks(dag: Dag, blocks: Sequence[Sequence[Hashable]]) -> Partition:
    """The partition given as lists of node ids. ``InvalidInput`` names an unknown, repeated or missing one."""
    label = np.full(dag.nodes, -1, dtype=np.int64)
    for k, block in enumerate(blocks):
        for name in block:
            number = dag.number_of.get(name)
            if number is None:
                raise InvalidInput("partition", name, "is an unknown node", "use the ids of the network")
            if label[number] >= 0:
                raise InvalidInput("partition", name, "is in two blocks or twice in one", "list every node once")
            label[number] = k
    missing = np.flatnonzero(label < 0)
    if missing.size:
        raise InvalidInput("partition", dag.ids[int(missing[0])], "is in no block", "list every node once")
    return partition_from_labels(label)


def singletons(dag: Dag) -> Partition:
    """Every node its own block."""
    return Partition(np.arange(dag.nodes))


def block_ids(dag: Dag, partition: Partition) -> list[list[Hashable]]:
    """Blocks as lists of node ids."""
    return block_names(dag.ids, partition)


def block_names(ids: Sequence[Hashable], partition: Partition) -> list[list[Hashable]]:
    """The same of any named nodes."""
    return [[ids[v] for v in block.tolist()] for block in partition.members]


class Cells(NamedTuple):
    """Edges grouped by (block pair, end node): one cell for each node that such edges reach."""

    of_edge: IntArray
    node: IntArray
    pair: IntArray
    degree: IntArray


class BlockPairs(NamedTuple):
    """Ordered block pairs (I, J) with at least one edge, and the cells whose sums are the in- and out-sums."""

    source_block: IntArray
    target_block: IntArray
    of_edge: IntArray
    into: Cells
    outof: Cells

    @property
    def total(self) -> int:
        return len(self.source_block)


@lru_cache(maxsize=2)  # the checks of one partition ask for the same pairs
def block_pairs(dag: Dag, partition: Partition) -> BlockPairs:
    """Group the edges by ordered block pair, and within a pair by target (``into``) and by source (``outof``)."""
    key = partition.block_of[dag.source] * partition.blocks + partition.block_of[dag.target]
    keys, of_edge = np.unique(key, return_inverse=True)
    into, outof = (_cells(of_edge, end, dag.nodes) for end in (dag.target, dag.source))
    return BlockPairs(keys // partition.blocks, keys % partition.blocks, of_edge, into, outof)


def _cells(pair_of_edge: IntArray, end: IntArray, nodes: int) -> Cells:
    keys, of_edge, degree = np.unique(pair_of_edge * nodes + end, return_inverse=True, return_counts=True)
    return Cells(of_edge, keys % nodes, keys // nodes, degree.astype(np.int64))
