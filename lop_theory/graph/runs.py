"""Cutting sorted numbers into runs of bounded spread: how a tolerance makes classes of floats."""

import numpy as np

from lop_theory.graph.scalars import FloatArray, IntArray


def cut_into_runs(values: FloatArray, group: IntArray, tolerance: float) -> IntArray:
    """Class numbers: equal for values of one group that fall in one run of spread ≤ tolerance.

    Runs are cut at gaps above the tolerance; a run that is still too long is cut greedily from its smallest value.
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((values, group))
    v, g = values[order], group[order]
    begins = np.append(True, (g[1:] != g[:-1]) | (v[1:] - v[:-1] > tolerance))
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(v)) - 1
    for k in np.flatnonzero(v[last] - v[first] > tolerance):
        _cut_greedily(v, begins, int(first[k]), int(last[k]), tolerance)
    classes = np.empty(len(v), dtype=np.int64)
    classes[order] = np.cumsum(begins) - 1
    return classes


def _cut_greedily(v: FloatArray, begins: np.ndarray, first: int, last: int, tolerance: float) -> None:
    while v[last] - v[first] > tolerance:
        step = int(np.searchsorted(v[first : last + 1], v[first] + tolerance, side="right"))
        first += min(step, last - first)  # v[first] + tolerance may round up past v[last]
        begins[first] = True
