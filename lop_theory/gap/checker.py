"""The independent checker of gap certificates.

It shares with the certificate's producer the reading of the formula (parser, ball functions, pieces, tail bounds) and
nothing else: derived numbers are recomputed in ``fractions.Fraction`` from the stored decimals and must agree to the
last digit; every coefficient is recomputed by ``acb.integral`` (adaptive integration, another algorithm than the
producer's) at higher precision and must lie inside its stored enclosure.
"""

import hashlib
import json
import re
from fractions import Fraction
from itertools import chain
from math import floor
from pathlib import Path
from typing import Any

from lop_theory.activations.formula import parse
from lop_theory.errors import InvalidInput
from lop_theory.verdict import Fails, Holds, Verdict

_FORMAT = "lop_theory gap certificate 1"
_KEYS = {
    "format", "claim", "statement", "activation", "formula", "digits", "decimals", "linear", "coefficients",
    "a1_squared", "lambda", "slack", "kappa_floor", "sha256",
}  # fmt: skip
_STATEMENT = "rho^2 - K(rho)^2 >= lambda*rho^2*(1 - rho^2) for every rho in [-1, 1]"
_CELLS = 32


def read(path: str) -> dict[str, Any]:
    """The certificate file. Raises ``InvalidInput`` if it is missing, truncated, edited or not a certificate."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput("check", path, f"cannot be read ({error.strerror})", "give a certificate file") from None
    except (ValueError, RecursionError):
        raise InvalidInput("check", path, "is truncated or not JSON", "write it again with --certificate") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT or set(data) != _KEYS:
        raise InvalidInput("check", path, f"is not a '{_FORMAT}'", "write it again with --certificate")
    if _digest(data) is not None:
        raise InvalidInput("check", path, "was edited: its sha256 does not match", "write it again with --certificate")
    return data


def check(data: dict[str, Any]) -> Verdict:
    """Holds if every number of the certificate is right, else Fails with the first wrong field."""
    try:
        wrong = _digest(data) or _shape(data) or _derived(data) or _coefficients(data)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        return Fails(f"malformed: {error}")
    return (
        Fails(wrong) if wrong else Holds("certified by balls, rechecked in exact rationals and by adaptive integration")
    )


def _digest(data: dict[str, Any]) -> str | None:
    payload = {key: value for key, value in data.items() if key != "sha256"}
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return None if hashlib.sha256(text.encode()).hexdigest() == data["sha256"] else "sha256: the file was edited"


def _shape(data: dict[str, Any]) -> str | None:
    if data["claim"] != "gap" or data["statement"] != _STATEMENT:
        return "statement"
    if type(data["digits"]) is not int or not 3 <= data["digits"] <= 1000 or data["decimals"] != data["digits"] + 3:
        return "digits"
    if type(data["linear"]) is not bool:
        return "linear"
    if not all(isinstance(data[key], str) and data[key].isprintable() for key in ("activation", "formula")):
        return "activation or formula: not one line of text"
    if not all(isinstance(data[key], list) for key in ("coefficients", "a1_squared", "lambda", "slack")):
        return "a field is not a list"
    if len(data["slack"]) != _CELLS or not 2 <= len(data["coefficients"]) <= 10_000:
        return "slack or coefficients: wrong length"
    numbers = [*chain(*data["coefficients"]), *data["a1_squared"], *data["lambda"], *data["slack"], data["kappa_floor"]]
    decimal = re.compile(rf"-?\d{{1,3}}\.\d{{{data['decimals']}}}")
    return None if all(isinstance(n, str) and decimal.fullmatch(n) for n in numbers) else "a number is not a decimal"


def _derived(data: dict[str, Any]) -> str | None:
    """Recompute c, λ, every ℓ and the floor of κ from the stored coefficient decimals."""
    unit = Fraction(10) ** data["decimals"]
    pairs = [(Fraction(lo), Fraction(hi)) for lo, hi in data["coefficients"]]
    if any(lo > hi for lo, hi in pairs) or pairs[0] != (0, 0):
        return "coefficients: an empty interval"
    low = [Fraction(0) if lo <= 0 <= hi else _down(min(lo * lo, hi * hi), unit) for lo, hi in pairs]
    high = [-_down(-max(lo * lo, hi * hi), unit) for lo, hi in pairs]
    if sum(low) > 1:
        return "coefficients: the squares sum to more than 1"
    strength = [max(Fraction(0), 1 - high[1]), min(Fraction(1), 1 - low[1])]
    if [Fraction(text) for text in data["a1_squared"]] != [low[1], high[1]]:
        return "a1_squared"
    if [Fraction(text) for text in data["lambda"]] != strength:
        return "lambda"
    if data["linear"] is not True and strength[0] <= 0:
        return "lambda: not separated from 0"
    return _cells(data, low, high, unit)


def _down(value: Fraction, unit: Fraction) -> Fraction:
    """``value`` rounded down to the certificate's decimals."""
    return Fraction(floor(value * unit)) / unit


def _cells(data: dict[str, Any], low: list[Fraction], high: list[Fraction], unit: Fraction) -> str | None:
    n, c, strength = len(low), low[1], max(Fraction(0), 1 - high[1])
    tails = [max(Fraction(0), 1 - sum(high[1:m], Fraction(0))) for m in range(3, n + 1)]
    floors: list[Fraction] = []
    for i, text in enumerate(data["slack"]):
        u, v = Fraction(i, _CELLS), Fraction(i + 1, _CELLS)
        kernel = sum((s * u**k for k, s in enumerate(low)), Fraction(0))
        extremal = c * u + (1 - c) * u * u
        rest = sum((t * u**j for j, t in enumerate(tails)), Fraction(0))
        slack = c * strength * (1 - v) + (kernel + extremal) * rest
        rounded = _down(slack, unit)
        if Fraction(text) != rounded or rounded < 0:
            return f"slack[{i}]"
        floors.append(_down(rounded / (1 + v), unit))
    return None if Fraction(data["kappa_floor"]) == strength + min(floors) else "kappa_floor"


def _coefficients(data: dict[str, Any]) -> str | None:
    from lop_theory.activations.piecewise import exact_parity
    from lop_theory.hermite.adaptive import standardised_coefficients

    expr = parse(data["formula"])
    pairs = data["coefficients"]
    found = standardised_coefficients(expr, len(pairs), data["digits"] + 8)
    for k, ((lo, hi), (value_lo, value_hi)) in enumerate(zip(pairs, found, strict=True)):
        if not Fraction(lo) <= value_hi or not value_lo <= Fraction(hi):
            return f"coefficients[{k}]: the stored enclosure misses the true value"
        if Fraction(hi) - Fraction(lo) > Fraction(1, 10 ** (data["digits"] - 1)):
            return f"coefficients[{k}]: the enclosure is wider than its digits"
    exact_zero = {"odd": 0, "even": 1}.get(exact_parity(expr), -1)
    if data["linear"] and Fraction(data["lambda"][1]) > 0:
        return "linear"
    for k, (lo, hi) in enumerate(pairs):
        if k % 2 == exact_zero and k and (Fraction(lo) != 0 or Fraction(hi) != 0):
            return f"coefficients[{k}]: parity makes it 0"
    return None
