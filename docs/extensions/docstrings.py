"""Our docstrings as reStructuredText: paragraphs, lists and formulas in plain Unicode, where ``|ρ|`` and ``a*b`` mean
themselves."""

import re
from collections.abc import Iterator
from itertools import groupby

_KEPT = re.compile(r"(``.+?``|:\w+:`[^`]+`)")
_BULLET = re.compile(r"(- |\* |\d+\. )")
_PLAIN = re.compile(r"([\\*|`_])")


def as_rst(lines: list[str]) -> list[str]:
    """The (dedented) docstring: its plain characters escaped, its indented paragraphs verbatim."""
    found: list[str] = []
    for filled, paragraph in groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            found += _paragraph(list(paragraph))
    return found


def _paragraph(lines: list[str]) -> list[str]:
    if all(line.startswith(" ") for line in lines):
        return ["::", "", *[f"    {line}" for line in lines], ""]
    return [line for item in _items(lines) for line in (_escaped(item), "")]


def _items(lines: list[str]) -> Iterator[str]:
    """A paragraph as one line; of a list, one line an item."""
    gathered = ""
    for line in lines:
        if gathered and _BULLET.match(line):
            yield gathered
            gathered = ""
        gathered += f" {line.strip()}" if gathered else line.strip()
    yield gathered


def _escaped(text: str) -> str:
    bullet = _BULLET.match(text)
    head, rest = (bullet[0], text[bullet.end() :]) if bullet else ("", text)
    return head + "".join(part if i % 2 else _PLAIN.sub(r"\\\1", part) for i, part in enumerate(_KEPT.split(rest)))
