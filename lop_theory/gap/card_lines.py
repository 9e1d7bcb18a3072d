"""The activation card as text and as JSON."""

from collections.abc import Iterator
from typing import Any

from lop_theory.balls import arb, fmpq, precision
from lop_theory.gap.card import EPSILON, Card, Course
from lop_theory.gap.printout import as_json, block, enclosure, enclosure_pair
from lop_theory.tension.course import Segment

_FROZEN_DIGITS = 9
_NARROW = fmpq(1, 10**6)
_WORDS = {1: "rises", -1: "falls", 0: "not decided"}
_PHASES = {
    "order": "order: inputs grow alike",
    "edge": "edge of chaos, exactly: phi is homogeneous",
    "chaos": "chaos: alike inputs part",
    "undecided": "not told apart from 1, or not known",
}


def card_block(card: Card) -> str:
    """The card as lines of text, after those of the analysis."""
    digits = card.analysis.kern.expansion.digits
    with precision(card.analysis.kern.expansion.bits + 16):
        return "\n".join([block(card.analysis), *_signal(card, digits), *_tension(card)])


def _line(name: str, ball: arb, digits: int, note: str, within: tuple[int, int] | None = None) -> str:
    return f"  {name:<13} {enclosure(ball, digits, within)}   {note}"


def _signal(card: Card, digits: int) -> Iterator[str]:
    found = card.signal
    yield "signals through layers"
    yield _line("E phi", found.mean, digits, "mean of phi(Z), Z ~ N(0, 1)")
    yield _line("E phi^2", found.second, digits, "second moment")
    yield _line("gain", found.gain, digits, "1/sqrt(E phi^2) keeps the variance")
    yield _line("chi", found.chi, digits, f"E phi'^2/E phi^2: {_PHASES[found.phase]}")
    if found.tends_to is not None and found.rate is not None:
        rate = enclosure(found.rate, digits)
        yield _line("tends to", found.tends_to, digits, f"correlation of two inputs, rate {rate}", (0, 1))
    yield _line("K'(1)", card.slope_at_one, digits, "E phi-bar'^2 of the standardised phi")
    for (place, nature), rate in card.fixed:
        yield _line(f"K({place}) = {place}", rate, digits, f"rate at this fixed point of K: {nature}")


def _tension(card: Card) -> Iterator[str]:
    yield "frozen, and lambda under scale and bias"
    level = f"P(|phi-bar'(Z)| < {float(arb(EPSILON)):g})"
    yield f"  frozen        {enclosure(card.frozen, _FROZEN_DIGITS, (0, 1))}   {level}"
    for name, course in (("phi(a x)", card.scale), ("phi(x + b)", card.bias)):
        yield f"  {name:<13} {_told(course)}"


def _told(course: Course) -> str:
    """What λ does, from left to right."""
    lo, hi = map(_show, course.interval)
    if course.reason is not None:
        return f"lambda {course.reason} on [{lo}, {hi}]"
    steps = [_step(s) for s in course.segments if s.sign or s.hi - s.lo > _NARROW]
    return f"lambda from {lo}: {', '.join(steps)} (certified by balls, turns to 1e-6)"


def _step(segment: Segment) -> str:
    return f"{_WORDS[segment.sign]} to {_show(segment.hi)}"


def _show(value: fmpq) -> str:
    return f"{round(float(arb(value)), 6) + 0.0:.6f}".rstrip("0").rstrip(".")


def card_json(card: Card) -> dict[str, Any]:
    """The analysis' JSON and, under ``card``, lower ≤ true value ≤ upper for every pair of decimal strings."""
    digits, signal = card.analysis.kern.expansion.digits, card.signal
    pairs = {
        "mean": signal.mean,
        "mean_square": signal.second,
        "gain": signal.gain,
        "chi": signal.chi,
        "tends_to": signal.tends_to,
        "tends_to_rate": signal.rate,
        "slope_at_one": card.slope_at_one,
        "frozen": card.frozen,
    }
    found = {key: None if ball is None else enclosure_pair(ball, digits) for key, ball in pairs.items()}
    points = [
        {"at": place, "nature": nature, "rate": enclosure_pair(rate, digits)} for (place, nature), rate in card.fixed
    ]
    courses = {"scale": _course_json(card.scale), "bias": _course_json(card.bias)}
    own = {"phase": signal.phase, "epsilon": str(EPSILON), "fixed_points": points, "lambda_under": courses}
    return as_json(card.analysis) | {"card": found | own}


def _course_json(course: Course) -> dict[str, Any]:
    """Each segment as [from, to, sign]: λ certainly rises (1), falls (−1), or is not decided (0)."""
    segments = [[str(segment.lo), str(segment.hi), segment.sign] for segment in course.segments]
    return {
        "from": str(course.interval[0]),
        "to": str(course.interval[1]),
        "segments": segments,
        "reason": course.reason,
    }
