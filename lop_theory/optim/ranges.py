"""Ranges of settings: what is no number, NaN or out of range is refused in one line that names it."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from lop_theory.errors import InvalidInput


def require_between(name: str, value: Any, low: float = 0.0, high: float = math.inf, *, ends: str = "[)") -> None:
    """Raise ``InvalidInput`` unless ``value`` is a number in the interval; its ends belong to it where ``ends`` has a
    square bracket. A tensor of one number counts as it (learning rates may be such)."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if isinstance(number, bool) or not isinstance(number, Real) or not _inside(float(number), low, high, ends):
        least = (
            "must be a number, not negative" if (low, ends[0]) == (0, "[") else f"must be a number {_above(low, ends)}"
        )
        asked = least if high == math.inf else f"must be a number in {ends[0]}{low:g}, {high:g}{ends[1]}"
        raise InvalidInput(name, value, asked)


def _inside(number: float, low: float, high: float, ends: str) -> bool:
    return (low < number or (ends[0] == "[" and number == low)) and (
        number < high or (ends[1] == "]" and number == high)
    )


def _above(low: float, ends: str) -> str:
    return f"from {low:g} on" if ends[0] == "[" else f"above {low:g}"


def require_count(name: str, value: Any, least: int = 1) -> None:
    """Raise ``InvalidInput`` unless ``value`` is a whole number from ``least`` on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInput(name, value, f"must be a whole number from {least} on")


def require_kind(name: str, value: object, kind: type[Any]) -> None:
    """Raise ``InvalidInput`` unless ``value`` is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise InvalidInput(name, type(value).__name__, f"must be a {kind.__module__.partition('.')[0]} {kind.__name__}")


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ``InvalidInput`` unless ``value`` is one of the names."""
    if value not in (names := tuple(choices)):
        raise InvalidInput(name, value, f"must be one of {', '.join(names)}")
