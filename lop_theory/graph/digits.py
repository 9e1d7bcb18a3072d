"""Exact, order-independent sums of many numbers with integer arrays.

Weights are scaled to integers by a common denominator and cut into 30-bit digits; a column of digits sums in int64
without rounding or overflow, and after carrying two sums are equal iff their digits are. Floats are dyadic rationals,
so they take the same road, without a Python loop.
"""

from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lop_theory.graph.scalars import FloatArray, IntArray, Values, is_exact

BITS = 30
MASK = (1 << BITS) - 1
Digits = NDArray[np.int64]  # (numbers, digits), least significant first


def to_digits(weights: Values) -> Digits:
    """Digits of the weights over their common denominator. One digit if every sum of them fits in int64."""
    return _rational_digits(weights) if is_exact(weights) else _float_digits(weights)


def carry(sums: Digits) -> Digits:
    """Make digits canonical: all but the last in [0, 2^30)."""
    for j in range(sums.shape[1] - 1):
        overflow = sums[:, j] >> BITS
        sums[:, j] -= overflow << BITS
        sums[:, j + 1] += overflow
    return sums


def _digit_count(bits: int, numbers: int) -> int:
    """0 if a sum of ``numbers`` integers of this many bits fits in int64, else the number of digits."""
    return 0 if bits + numbers.bit_length() <= 62 else -(-bits // BITS) + 1


def _rational_digits(weights: Values) -> Digits:
    denominator = lcm(*{int(w.q) for w in weights}) if len(weights) else 1
    integers: list[int] = [int(w.p) * (denominator // int(w.q)) for w in weights]
    bits = max((abs(k).bit_length() for k in integers), default=0)
    count = _digit_count(bits, len(integers))
    if count == 0:
        return np.array(integers, dtype=np.int64).reshape(-1, 1)
    rows = [[_sign(k) * (abs(k) >> (BITS * j) & MASK) for j in range(count)] for k in integers]
    return np.array(rows, dtype=np.int64)


def _float_digits(weights: FloatArray) -> Digits:
    fraction, exponent = np.frexp(weights)
    mantissa = np.ldexp(np.abs(fraction), 53).astype(np.int64)
    lowest = mantissa & -mantissa  # strip trailing zeros so that round numbers stay short
    zeros = np.where(mantissa > 0, np.frexp(lowest.astype(np.float64))[1] - 1, 0)
    mantissa >>= zeros
    shift = exponent.astype(np.int64) + zeros
    nonzero = mantissa > 0
    shift = np.where(nonzero, shift - (shift[nonzero].min() if nonzero.any() else 0), 0)
    sign = np.sign(weights).astype(np.int64)
    length = np.frexp(mantissa.astype(np.float64))[1] + shift
    count = _digit_count(int(length.max(initial=0)), len(weights))
    if count == 0:
        return (sign * (mantissa << shift)).reshape(-1, 1)
    return np.stack([sign * _digit(mantissa, shift - BITS * j) for j in range(count)], axis=1)


def _digit(mantissa: IntArray, shift: IntArray) -> IntArray:
    """Bits 0..29 of mantissa·2^shift (shift may be negative)."""
    up = np.clip(shift, 0, BITS)
    down = np.clip(-shift, 0, 62)
    return np.where(shift >= 0, (mantissa & (MASK >> up)) << up, (mantissa >> down) & MASK)


def _sign(value: Any) -> int:
    return (value > 0) - (value < 0)
