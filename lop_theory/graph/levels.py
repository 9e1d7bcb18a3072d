"""Topological structure of edge lists: levels, cycles, CSR row pointers and concatenated ranges."""

from collections.abc import Iterator

import numpy as np

from lop_theory.graph.scalars import IntArray


def row_pointers(sorted_rows: IntArray, rows: int) -> IntArray:
    """CSR pointers of an array of sorted row numbers."""
    return np.concatenate(([0], np.cumsum(np.bincount(sorted_rows, minlength=rows)))).astype(np.int64)


def stable_order(values: IntArray) -> IntArray:
    """The stable permutation that sorts non-negative integers, in linear time: NumPy sorts 16-bit integers by radix."""
    order = np.argsort((values & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(16, int(values.max(initial=0)).bit_length(), 16):
        digits = (values[order] >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digits, kind="stable")]
    return order


def concatenated_ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """arange(s, s + l) for each (s, l), one after the other."""
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, dtype=np.int64)
    ends = np.cumsum(lengths)
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


THIN = 32  # a frontier of fewer nodes is walked node by node


def longest_path_levels(source: IntArray, target: IntArray, nodes: int) -> IntArray | None:
    """Length of the longest path that ends at each node, or ``None`` if the graph has a cycle. O(m + n)."""
    level = np.zeros(nodes, dtype=np.int64)
    done = sum(_peel(source, target, level))
    return level if done == nodes else None


def _peel(source: IntArray, target: IntArray, level: IntArray) -> Iterator[int]:
    """Take away the nodes without predecessors, again and again; yield how many, and write when into ``level``."""
    nodes = len(level)
    order = stable_order(source)
    pointers, targets = row_pointers(source[order], nodes), target[order]
    waiting = np.bincount(target, minlength=nodes)
    frontier, depth = np.flatnonzero(waiting == 0), 0
    while len(frontier):
        level[frontier] = depth
        yield len(frontier)
        step = _reached if len(frontier) >= THIN else _reached_one_by_one
        frontier = step(frontier, pointers, targets, waiting)
        depth += 1


def _reached(frontier: IntArray, pointers: IntArray, targets: IntArray, waiting: IntArray) -> IntArray:
    """The nodes whose last predecessors are in the frontier."""
    edges = concatenated_ranges(pointers[frontier], pointers[frontier + 1] - pointers[frontier])
    reached, arrivals = np.unique(targets[edges], return_counts=True)
    waiting[reached] -= arrivals
    return reached[waiting[reached] == 0]


def _reached_one_by_one(frontier: IntArray, pointers: IntArray, targets: IntArray, waiting: IntArray) -> IntArray:
    found = list[int]()
    for v in frontier.tolist():
        for t in targets[pointers[v] : pointers[v + 1]].tolist():
            waiting[t] -= 1
            if not waiting[t]:
                found.append(t)
    return np.array(found, dtype=np.int64)


def find_cycle(source: IntArray, target: IntArray, nodes: int) -> list[int]:
    """Nodes of one directed cycle, the first repeated at the end; empty if there is none."""
    level = np.full(nodes, -1, dtype=np.int64)
    if sum(_peel(source, target, level)) == nodes:
        return []
    alive = level < 0  # each has a living predecessor, so walking back repeats
    inside = alive[source] & alive[target]
    predecessor = np.full(nodes, -1, dtype=np.int64)
    predecessor[target[inside]] = source[inside]
    walk, seen = [int(np.flatnonzero(alive)[0])], {}
    while walk[-1] not in seen:
        seen[walk[-1]] = len(walk) - 1
        walk.append(int(predecessor[walk[-1]]))
    return walk[seen[walk[-1]] :][::-1]
