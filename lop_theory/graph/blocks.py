"""The mutable partition inside ``refine``: nodes stored block by block, so that blocks are listed and split locally."""

import numpy as np

from lop_theory.graph.levels import concatenated_ranges
from lop_theory.graph.scalars import IntArray


class Blocks:
    """``order[start[b]:start[b] + size[b]]`` are the nodes of block b; splitting costs only what it moves."""

    def __init__(self, labels: IntArray) -> None:
        nodes = len(labels)
        self.block_of = labels.astype(np.int64).copy()
        self.order = np.argsort(self.block_of, kind="stable")
        self.position = np.empty(nodes, dtype=np.int64)
        self.position[self.order] = np.arange(nodes)
        self.count = int(labels.max(initial=-1)) + 1
        self.size = np.zeros(nodes, dtype=np.int64)
        self.size[: self.count] = np.bincount(labels, minlength=self.count)
        self.start = np.zeros(nodes, dtype=np.int64)
        self.start[1:] = np.cumsum(self.size)[:-1]
        self._moving = np.zeros(nodes, dtype=bool)

    def members_of(self, blocks: IntArray) -> tuple[IntArray, IntArray]:
        """(index into ``blocks``, node) for every node of these blocks."""
        owner = np.repeat(np.arange(len(blocks)), self.size[blocks])
        return owner, self.order[concatenated_ranges(self.start[blocks], self.size[blocks])]

    def split(self, nodes: IntArray, group_start: IntArray) -> IntArray:
        """Split each touched block into the given groups of nodes and the rest; return the new blocks.

        ``nodes`` lists the touched nodes sorted by block, cut into groups at ``group_start``. The largest part of a
        block keeps its number, so the new blocks are the splitters that remain to be used.
        """
        if not nodes.size:
            return np.empty(0, dtype=np.int64)
        group_size = np.diff(np.append(group_start, len(nodes)))
        block = self.block_of[nodes[group_start]]
        first = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
        touched = np.add.reduceat(group_size, first)
        groups = np.diff(np.append(first, len(block)))
        splits = (groups > 1) | (touched < self.size[block[first]])
        keep = np.repeat(splits, groups)
        nodes = nodes[np.repeat(keep, group_size)]
        group_size, groups = group_size[keep], groups[splits]
        parents, touched = block[first][splits], touched[splits]
        if not parents.size:
            return np.empty(0, dtype=np.int64)
        self._bring_to_front(nodes, parents, touched)
        return self._number_parts(parents, groups, group_size, touched)

    def _bring_to_front(self, nodes: IntArray, parents: IntArray, touched: IntArray) -> None:
        """Swap the touched nodes, in the order given, to the front of their blocks."""
        front = concatenated_ranges(self.start[parents], touched)
        limit = np.repeat(self.start[parents] + touched, touched)
        self._moving[nodes] = True
        displaced = self.order[front]
        displaced = displaced[~self._moving[displaced]]
        self._moving[nodes] = False
        old = self.position[nodes]
        vacated = old[old >= limit]
        self.order[vacated], self.position[displaced] = displaced, vacated
        self.order[front], self.position[nodes] = nodes, front

    def _number_parts(self, parents: IntArray, groups: IntArray, group_size: IntArray, touched: IntArray) -> IntArray:
        owner = np.append(np.repeat(np.arange(len(parents)), groups), np.arange(len(parents)))
        rest = self.size[parents] - touched
        size = np.append(group_size, rest)
        before = np.cumsum(group_size) - group_size
        offset = before - np.repeat(before[np.cumsum(groups) - groups], groups)
        start = self.start[parents[owner]] + np.append(offset, touched)
        filled = size > 0
        owner, size, start = owner[filled], size[filled], start[filled]
        by_size = np.lexsort((-size, owner))
        largest = by_size[np.flatnonzero(np.append(True, np.diff(owner[by_size]) > 0))]
        fresh = np.arange(self.count, self.count + len(owner) - len(parents))
        number = np.full(len(owner), -1, dtype=np.int64)
        number[largest] = parents
        number[number < 0] = fresh
        self.count += len(fresh)
        self.start[number], self.size[number] = start, size
        self.block_of[self.order[concatenated_ranges(self.start[fresh], self.size[fresh])]] = np.repeat(
            fresh, self.size[fresh]
        )
        return fresh
