"""Node ids and numbers as a person reads them: ids unambiguous, numbers in decimals that enclose or tell apart."""

import json
import re
from collections.abc import Callable, Hashable, Sequence
from math import isinf

from lop_theory.balls import decimal_text, fmpq
from lop_theory.graph.scalars import rational

_PLAIN = re.compile(r"[^\W\d][\w.:/+-]*")  # what no number, list or quoted text looks like
_SHORT = 12  # characters of a fraction that is printed as it is


def shown(name: Hashable) -> str:
    """An id in a message: a string that could be taken for something else is quoted, so 1 and "1" differ."""
    return str(name) if not isinstance(name, str) or _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def listed(names: Sequence[Hashable]) -> str:
    return " ".join(map(shown, names))


def enclosing(low: fmpq | float, high: fmpq | float, digits: int = 6) -> str:
    """``[low, high]`` in decimals rounded outwards to that many significant digits; a short fraction stays exact."""
    return f"[{_rounded(low, digits, _down)}, {_rounded(high, digits, _up)}]"


def told_apart(values: Sequence[object]) -> list[str]:
    """The numbers in as few significant digits as tell different ones apart, and text as it is."""
    numbers = [None if isinstance(v, str) else rational(v) for v in values]
    distinct = len(set(filter(lambda n: n is not None, numbers)))
    texts = list[str]()
    for digits in (6, 9, 12, 17, 30, 60, 120):
        texts = [str(v) if n is None else _rounded(n, digits, _nearest) for v, n in zip(values, numbers, strict=True)]
        if len({t for t, n in zip(texts, numbers, strict=True) if n is not None}) == distinct:
            return texts
    return [str(v) for v in values]


def _down(value: fmpq) -> int:
    return int(value.floor())


def _up(value: fmpq) -> int:
    return int(value.ceil())


def _nearest(value: fmpq) -> int:
    return _down(value + fmpq(1, 2))


def _rounded(value: fmpq | float, digits: int, whole: Callable[[fmpq], int]) -> str:
    if isinstance(value, float) and isinf(value):
        return "inf" if value > 0 else "-inf"
    number = rational(value)
    text = str(number)
    if len(text) <= min(digits, _SHORT):
        return text
    magnitude = len(str(number.p).lstrip("-")) - len(str(number.q))  # 10^(magnitude−1) < |value| < 10^(magnitude+1)
    places = digits - magnitude
    units = whole(number * fmpq(10) ** places)
    if 0 <= places <= 2 * digits:
        return _trimmed(decimal_text(units, places))
    return _scientific(units, places)


def _scientific(units: int, places: int) -> str:
    sign, figures = ("-" if units < 0 else ""), str(abs(units))
    return f"{sign}{_trimmed(f'{figures[0]}.{figures[1:] or 0}')}e{len(figures) - 1 - places}"


def _trimmed(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal
