"""Numbers of a network: float64 arrays, or object arrays of exact rationals (``fmpq``)."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput

Values = NDArray[Any]  # float64, or object holding fmpq
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def is_exact(values: Values) -> bool:
    return values.dtype == object


def rational(value: object, parameter: str = "value") -> fmpq:
    """The exact rational behind an int, float (dyadic), Fraction, fmpq or string such as "1/4" or "0.25"."""
    if isinstance(value, fmpq):
        return value
    if not isinstance(value, str | float | int | Fraction | np.integer | np.floating):
        raise InvalidInput(parameter, value, "must be a number", 'write it as 0.25 or "1/4"')
    try:
        return fmpq(int(value)) if isinstance(value, int | np.integer) else _from_ratio(value)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InvalidInput(parameter, value, "must be a finite number", 'write it as 0.25 or "1/4"') from error


def _from_ratio(value: str | float | Fraction | np.floating[Any]) -> fmpq:
    return fmpq(*(Fraction(value.strip()) if isinstance(value, str) else value).as_integer_ratio())


def exact(values: Sequence[object] | Values) -> Values:
    """Object array of ``fmpq`` of the same shape; every float is its dyadic rational, without rounding."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
    out = np.empty(array.size, dtype=object)
    out[:] = [rational(v) for v in array.ravel().tolist()]
    return out.reshape(array.shape)


def floats(values: Values) -> FloatArray:
    """float64 array; a rational is rounded to nearest."""
    if not is_exact(values):
        return np.asarray(values, dtype=np.float64)
    flat = [to_float(v) for v in values.ravel()]
    return np.array(flat, dtype=np.float64).reshape(values.shape)


def to_float(value: Any) -> float:
    """The nearest double; ±inf beyond the range of doubles."""
    if not isinstance(value, fmpq):
        return float(value)
    try:
        return int(value.p) / int(value.q)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def zeros_like_kind(shape: tuple[int, ...], like: Values) -> Values:
    """Zeros of the number kind of ``like``."""
    if not is_exact(like):
        return np.zeros(shape)
    out = np.empty(shape, dtype=object)
    out.fill(fmpq(0))
    return out


def segment_sums(values: Values, starts: IntArray, stops: IntArray) -> Values:
    """Sums of values[starts[i]:stops[i]] along axis 0; consecutive segments, empty ones give zero."""
    out = zeros_like_kind((len(starts), *values.shape[1:]), values)
    filled = stops > starts
    out[filled] = np.add.reduceat(values, starts[filled], axis=0)
    return out


def group_sums(values: Values, group: IntArray, groups: int) -> Values:
    """Sums of values by group label 0..groups−1."""
    if not is_exact(values):
        return np.bincount(group, weights=values, minlength=groups).astype(np.float64)
    out = zeros_like_kind((groups,), values)
    np.add.at(out, group, values)
    return out
