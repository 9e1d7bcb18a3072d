"""Deviations of sums from their common mean, without cancellation."""

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.scalars import FloatArray, IntArray, Values, exact, group_sums, is_exact

_BITS = 110  # two doubles' worth below the largest term of a group


def deviations(values: Values, cell: IntArray, group: IntArray, sizes: IntArray, whole: NDArray[np.bool_]) -> Values:
    """s_c − T_g/n_g for each cell c of group g = ``group[c]``, where s_c sums the values of the cell, T_g those of the
    group, n_g = ``sizes[g]``; without the T_g where ``whole[g]`` is false.

    Exact on rationals. On floats the result has a relative error of a few roundoffs (of 2^-110 of the group's largest
    term where the deviation itself is smaller), however large the sums that cancel.
    """
    if is_exact(values):
        sums = group_sums(values, cell, len(group))
        total = group_sums(values, group[cell], len(sizes)) * exact(whole.astype(int))
        return sums - (total / exact(sizes))[group] if len(group) else sums
    return _float_deviations(values, cell, group, sizes, whole)


def _float_deviations(
    values: FloatArray, cell: IntArray, group: IntArray, sizes: IntArray, whole: NDArray[np.bool_]
) -> FloatArray:
    """n s_c − T by error-free splitting (Rump, Ogita and Oishi 2008): values are cut into slices of so few bits that
    sums of a slice are exact, and the slices' deviations are added from the largest down."""
    if not len(values):
        return np.zeros(len(group))
    owner = group[cell]
    largest = np.zeros(len(sizes))
    np.maximum.at(largest, owner, abs(values))
    exponent = np.frexp(largest)[1]
    rest = np.ldexp(values, -exponent[owner])  # below 1 in absolute value
    terms = int(np.bincount(owner).max()) * int(sizes.max())
    bits = max(1, 51 - terms.bit_length())
    found = np.zeros(len(group))
    for level in range(1, -(-_BITS // bits) + 1):
        part = np.ldexp(np.rint(np.ldexp(rest, bits * level)), -bits * level)
        rest = rest - part
        total = np.where(whole, np.bincount(owner, part, len(sizes)), 0.0)
        found += sizes[group] * np.bincount(cell, part, len(group)) - total[group]
    return np.ldexp(found / sizes[group], exponent[group])
