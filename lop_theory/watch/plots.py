"""Curves as SVG: lines over steps, each with a colour, a dash and a name of its own."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 190, 46, 8, 10, 24
STYLES = ("a", "b", "c", "d", "e", "f", "g")


class Curve(NamedTuple):
    """Values over steps; what is not finite is left out, so that the line has a gap."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


def plot(title: str, curves: Sequence[Curve], *, note: str = "", logarithmic: bool = False) -> str:
    """A figure with a caption, a legend if there are several curves, and the last values as text."""
    shown = [c for c in curves if any(_drawn(v, logarithmic) for v in c.values)]
    if not shown:
        return ""
    low, high = _range([v for c in shown for v in c.values if _drawn(v, logarithmic)], logarithmic)
    first, last = min(min(c.steps) for c in shown), max(max(c.steps) for c in shown)

    def place(step: int, value: float) -> tuple[float, float] | None:
        if not _drawn(value, logarithmic):
            return None
        across = (step - first) / (last - first) if last > first else 0.5
        up = (_scaled(value, logarithmic) - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    placed = [[place(s, v) for s, v in zip(c.steps, c.values, strict=True)] for c in shown]
    lines = "".join(_line(STYLES[k % len(STYLES)], points) for k, points in enumerate(placed))
    ends = [_label(low, logarithmic), _label(high, logarithmic)]
    spoken = f"{title}: " + "; ".join(f"{c.name} from {_first(c):.3g} to {_last(c):.3g}" for c in shown)
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken, quote=True)}">'
        f'<path class="axis" d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" class="end">{ends[0]}</text>'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" class="end">{ends[1]}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">step {first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" class="end">{last}</text>{lines}</svg>'
    )
    legend = "".join(
        f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="{STYLES[k % len(STYLES)]}" d="M0,4H24"/></svg>'
        f"{escape(c.name)} {_last(c):.3g}</li>"
        for k, c in enumerate(shown)
    )
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<figure><figcaption>{escape(title)}</figcaption>{picture}<ul class="legend">{legend}</ul>{small}</figure>'


def _drawn(value: float, logarithmic: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not logarithmic)


def _scaled(value: float, logarithmic: bool) -> float:
    return math.log10(value) if logarithmic else value


def _range(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    """From zero unless something is negative; never empty."""
    scaled = [_scaled(v, logarithmic) for v in values]
    low = min(scaled) if logarithmic else min(0.0, *scaled)
    high = max(scaled)
    return (low, high) if high > low else (low - 0.5, low + 0.5) if logarithmic else (low, low + 1.0)


def _label(value: float, logarithmic: bool) -> str:
    return f"{10**value if logarithmic else value:.2g}"


def _first(curve: Curve) -> float:
    return next(v for v in curve.values if math.isfinite(v))


def _last(curve: Curve) -> float:
    return next(v for v in reversed(curve.values) if math.isfinite(v))


def _line(style: str, points: Sequence[tuple[float, float] | None]) -> str:
    """Pieces between gaps, and a dot at every point."""
    path, pen = "", "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            path, pen = f"{path}{pen}{point[0]:.1f},{point[1]:.1f}", "L"
    dots = "".join(f'<circle class="{style}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2"/>' for p in points if p)
    return f'<path class="{style}" d="{path}"/>{dots}'
