"""Reading a network's JSON text without a million edges as Python lists: edges become columns piece by piece."""

import json
import re
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import read_number
from lop_theory.graph.dag import EdgeColumns
from lop_theory.graph.names import shown

_SPACE = re.compile(r"[ \t\n\r]*")
PIECE = 1 << 20  # characters of edges that are decoded at once


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which no key is repeated; JSON would keep the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for k, key in enumerate(keys) if key in keys[:k])
        raise InvalidInput("key", twice, "appears twice in one object", "keep one of them")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def decode(text: str) -> Any:
    """The value of a JSON text; the ``edges`` of an object come as ``EdgeColumns``. Raises as ``json.loads`` does."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        return _DECODER.decode(text)
    pairs, at = list[tuple[str, Any]](), _skip(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting a key in double quotes", text, at)
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _expect(text, _skip(text, at), ":"))
        value, at = _edges(text, at) if key == "edges" and text[at : at + 1] == "[" else _DECODER.raw_decode(text, at)
        pairs.append((key, value))
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        at = _skip(text, at + 1) if more else at
    at = _skip(text, _expect(text, at, "}"))
    if at < len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return unique_keys(pairs)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign!r}", text, at)
    return at + 1


def _edges(text: str, at: int) -> tuple[EdgeColumns, int]:
    """The array of edges that begins at ``at``, and where it ends."""
    columns, at = Columns(), at + 1
    while (cut := _cut(text, at)) is not None:
        entries, at = cut
        columns.extend(entries)
    rest, end = _DECODER.raw_decode("[" + text[at:])
    columns.extend(rest)
    return columns.whole(), at + end - 1


def _cut(text: str, at: int) -> tuple[list[Any], int] | None:
    """Some whole entries from ``at`` on and where the next one begins; ``None`` if the end is near.

    A "]" inside a string or an entry is no place to cut: what lies before it is then no JSON.
    """
    stop = at + PIECE
    for _ in range(8):
        stop = text.find("],", stop) + 1
        if stop == 0:
            return None
        try:
            entries = _DECODER.decode(f"[{text[at:stop]}]")
        except json.JSONDecodeError:
            continue
        return entries, _skip(text, stop + 1)
    return None


class Columns:
    """Edges as numbers of names and weights, grown piece by piece."""

    def __init__(self) -> None:
        self._number = dict[Hashable, int]()
        self._ends: list[tuple[Any, Any]] = []
        self._weights: list[Any] = []

    def extend(self, entries: Sequence[Any]) -> None:
        if not entries:
            return
        if set(map(type, entries)) != {list} or set(map(len, entries)) != {3}:
            odd = next(e for e in entries if not isinstance(e, list) or len(e) != 3)
            raise InvalidInput("edges", odd, "must be [source, target, weight]", 'such as ["a", "b", "1/4"]')
        sources, targets, weights = zip(*entries, strict=True)
        self._ends.append((self._numbers(sources), self._numbers(targets)))
        if set(map(type, weights)) == {float}:
            self._weights.append(np.array(weights))
        else:
            pairs = zip(sources, targets, weights, strict=True)
            self._weights.append([read_number(w, f"edge {shown(u)} -> {shown(v)}") for u, v, w in pairs])

    def _numbers(self, names: Sequence[Any]) -> Any:
        kinds = set(map(type, names))
        if not kinds <= {str, int}:
            odd = next(name for name in names if type(name) not in (str, int))
            raise InvalidInput("edges", odd, "must be a node id: a string or an integer", "name every node")
        number = self._number
        for name in dict.fromkeys(names):
            number.setdefault(name, len(number))
        return np.fromiter(map(number.__getitem__, names), np.int64, len(names))

    def whole(self) -> EdgeColumns:
        ends = [np.concatenate([np.empty(0, dtype=np.int64), *side]) for side in zip(*self._ends, strict=True)]
        source, target = ends or [np.empty(0, dtype=np.int64)] * 2
        if all(isinstance(w, np.ndarray) for w in self._weights):
            weight: Any = np.concatenate([np.empty(0), *self._weights])
        else:
            weight = [w for part in self._weights for w in part]
        return EdgeColumns(list(self._number), source, target, weight)
