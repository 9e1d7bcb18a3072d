"""Cutting sorted numbers into runs that agree within their errors: how a tolerance makes classes of floats.

A sum s of terms of absolute sum A is known within r = T·A/2, T the relative tolerance. Sums agree if one number lies
within r of each of them; two sums then differ by at most T times the mean of their A, whatever their scale.
"""

import numpy as np

from lop_theory.graph.scalars import FloatArray, IntArray


def cut_into_runs(values: FloatArray, radius: FloatArray, group: IntArray) -> IntArray:
    """Class numbers: equal for values of one group that fall in one run, all of whose intervals v ± r share a point.

    Runs are cut where neighbours share none; a run that still has no common point is cut greedily from its smallest.
    """
    if not len(values):
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((values, group))
    v, r, g = values[order], radius[order], group[order]
    begins = np.append(True, (g[1:] != g[:-1]) | (v[1:] - v[:-1] > r[1:] + r[:-1]))
    first = np.flatnonzero(begins)
    stop = np.append(first[1:], len(v))
    low, high = v - r, v + r
    for k in np.flatnonzero(np.maximum.reduceat(low, first) > np.minimum.reduceat(high, first)):
        _cut_greedily(low[first[k] : stop[k]], high[first[k] : stop[k]], begins[first[k] : stop[k]])
    classes = np.empty(len(v), dtype=np.int64)
    classes[order] = np.cumsum(begins) - 1
    return classes


def _cut_greedily(low: FloatArray, high: FloatArray, begins: np.ndarray) -> None:
    """Begin a new run at the first interval that has no point in common with the run before it."""
    first, width = 0, 64
    while first < len(low):
        here = slice(first, first + width)
        apart = np.maximum.accumulate(low[here]) > np.minimum.accumulate(high[here])
        if apart.any():
            first, width = first + int(np.argmax(apart)), 64
            begins[first] = True
        elif here.stop >= len(low):
            return
        else:
            width *= 2
