"""What the gap command prints of an analysis: JSON, a row of the table, a block of lines."""

from collections.abc import Iterable
from typing import Any

from lop_theory.balls import arb, decimal_text, lower_decimal, precision, upper_decimal
from lop_theory.gap.analysis import Analysis, Known
from lop_theory.gap.kappa import Kappa

UNIT = (0, 1)

# ---- JSON ----


def enclosure_pair(ball: arb, digits: int, within: tuple[int, int] | None = None) -> dict[str, str]:
    lower, upper = _ends(ball, digits + 3, within)
    return {"lower": lower, "upper": upper}


def _ends(ball: arb, decimals: int, within: tuple[int, int] | None) -> tuple[str, str]:
    """Decimals below and above the ball; ``within`` are whole numbers between which the true value lies anyway."""
    low, high = lower_decimal(ball, decimals), upper_decimal(ball, decimals)
    if within is None or not ball.is_finite():
        return low, high
    least, most = (decimal_text(end * 10**decimals, decimals) for end in within)
    return least if ball.lower() < within[0] else low, most if ball.upper() > within[1] else high


def as_json(analysis: Analysis) -> dict[str, Any]:
    """lower ≤ true value ≤ upper for every pair of decimal strings."""
    kern, digits = analysis.kern, analysis.kern.expansion.digits
    return {
        "activation": analysis.activation.label,
        "a1_squared": enclosure_pair(kern.c, digits, UNIT),
        "lambda": enclosure_pair(kern.strength, digits, UNIT),
        "kappa": enclosure_pair(analysis.kappa.value, digits),
        "kappa_at": place(analysis.kappa),
        "kappa_method": analysis.kappa.method,
        "k_minus_one": enclosure_pair(analysis.minus_one, digits, (-1, 1)),
        "parity": kern.expansion.parity,
        "hermite": [enclosure_pair(a, digits) for a in kern.expansion.coefficients],
        "route": kern.expansion.method,
        "certified": bool(analysis.verdict),
        "evidence": analysis.verdict[0],
        "digits": digits,
        "seconds": round(analysis.seconds, 6),
    }


def place(kap: Kappa) -> str:
    """Where κ is attained or approached."""
    if kap.method == "linear":
        return "everywhere (linear)"
    if kap.method == "parity":
        return "rho -> 0"
    if kap.method == "end":
        return "rho -> 1"
    if kap.method == "cells":
        return f"rho in [{lower_decimal(kap.at, 6)}, {upper_decimal(kap.at.min(arb(1)), 6)}]"
    return f"rho = {kap.at.str(8, radius=False)}"


# ---- table ----

_WIDTHS = (22, 20, 12, 18, 17, 9, 12, 9, 6)
_TITLES = ("activation", "lambda", "c = a1^2", "kappa", "where", "K(-1)", "kappa-lambda", "certified", "ms")


def _line(cells: Iterable[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


HEADER = _line(_TITLES)


def _short(ball: arb, digits: int) -> str:
    """Digits that are certain, no more than ``digits`` of them."""
    return ball.str(digits, radius=False) if not ball.is_zero() else "0"


def _margin(analysis: Analysis) -> str:
    """κ − λ: how far the sharp constant lies above the bound's."""
    margin = analysis.kappa.value - analysis.kern.strength
    return "0" if margin.contains(0) else margin.str(4, radius=False)


def row(analysis: Analysis) -> str:
    with precision(analysis.kern.expansion.bits):
        cells = (
            analysis.activation.label,
            _short(analysis.kern.strength, 16),
            _short(analysis.kern.c, 9),
            _short(analysis.kappa.value, 15),
            _place_short(analysis.kappa),
            _short(analysis.minus_one, 6),
            _margin(analysis),
            _word(analysis),
            f"{analysis.seconds * 1e3:.1f}",
        )
    return _line(cells)


def _place_short(kap: Kappa) -> str:
    return {"linear": "everywhere", "cells": "rho near " + kap.at.str(3, radius=False)}.get(kap.method, place(kap))


def _word(analysis: Analysis) -> str:
    return "yes" if analysis.verdict else "NO"


def block(analysis: Analysis) -> str:
    kern, digits = analysis.kern, analysis.kern.expansion.digits
    with precision(kern.expansion.bits + 16):
        route = f"{kern.order - 1} Hermite coefficients by {kern.expansion.method}"
        lines = [
            f"{analysis.activation.label}    {digits} digits, {route}",
            f"  lambda        {enclosure(kern.strength, digits, UNIT)}   decorrelation strength 1 - a1^2",
            f"  c = a1^2      {enclosure(kern.c, digits, UNIT)}   linearity K'(0)",
            f"  kappa         {enclosure(analysis.kappa.value, digits)}   sharp constant, {place(analysis.kappa)}",
            f"  K(-1)         {enclosure(analysis.minus_one, digits, (-1, 1))}   {_parity_note(analysis)}",
            f"  worst margin  {_margin(analysis)}   kappa - lambda",
            f"  certified     {_word(analysis)} on [-1, 1] ({analysis.verdict[0]}), {analysis.seconds * 1e3:.1f} ms",
        ]
    return "\n".join(lines)


def enclosure(ball: arb, digits: int, within: tuple[int, int] | None = None) -> str:
    """The ball as an interval of decimals."""
    lower, upper = _ends(ball, digits + 1, within)
    return f"[{lower}, {upper}]"


def _parity_note(analysis: Analysis) -> str:
    notes = {
        "odd": "odd up to a constant",
        "even": "even",
        "mixed": "odd and even part: the bound is strict at rho = -1",
    }
    return notes[analysis.kern.expansion.parity]


def coefficient_lines(analysis: Analysis) -> str:
    digits = analysis.kern.expansion.digits
    pairs = enumerate(analysis.kern.expansion.coefficients)
    return "\n".join(f"  a_{k:<3}         {enclosure(a, digits)}" for k, a in pairs if k)


# ---- what an unfinished analysis knows ----


def unfinished(label: str, known: Known, *, in_json: bool) -> str:
    """What to print if the time runs out now."""
    kern = known.kern
    if kern is None:
        balls: dict[str, tuple[arb, tuple[int, int]]] = {}
    else:
        balls = {"lambda": (kern.strength, UNIT), "a1_squared": (kern.c, UNIT)}
        balls |= {} if known.minus_one is None else {"k_minus_one": (known.minus_one, (-1, 1))}
    digits = 0 if kern is None else kern.expansion.digits
    if in_json:
        import json

        found = {key: enclosure_pair(ball, digits, within) for key, (ball, within) in balls.items()}
        state = {"certified": bool(known.verdict), "finished": False, "evidence": known.verdict[0]}
        return json.dumps({"activation": label, **found, **state})
    lines = [f"  {key:<13} {enclosure(ball, digits, within)}" for key, (ball, within) in balls.items()]
    bound = "certified" if known.verdict else "not certified"
    return "\n".join([f"{label}    unfinished: the time is spent (--seconds); the bound is {bound}", *lines])
