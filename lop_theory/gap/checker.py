"""The independent checker of gap certificates: three verdicts.

It shares with the certificate's producer the reading of the formula, the ball functions, the range rules and the tail
bounds, and what parity, linearity or a polynomial form makes exactly zero; nothing else. Derived numbers are recomputed
in ``fractions.Fraction`` from the stored decimals and must agree to the last digit. Every coefficient is recomputed by
Taylor expansion on cells (``hermite.taylor``, which finds and isolates kinks itself) to more digits than are stored:

- ``Holds``: every recomputed ball lies inside its stored interval, and every other field is what it must be;
- ``Fails(field)``: a field is not canonical, does not follow from the others, or a stored interval misses the truth;
- ``Undecided(reason)``: the integrals could not be enclosed narrowly enough with the work allowed.
"""

import hashlib
import json
import re
from fractions import Fraction
from itertools import accumulate
from math import floor
from pathlib import Path
from typing import Any

from lop_theory.activations.catalogue import from_label
from lop_theory.activations.expression import Expr, to_text
from lop_theory.activations.formula import parse
from lop_theory.balls import arb, fmpq, precision, to_exact
from lop_theory.errors import InvalidInput
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

_FORMAT = "lop_theory gap certificate"
_VERSION = 2
_MAX_COEFFICIENTS = 256
_MAX_DIGITS = 300
_MAX_BYTES = 1_000_000
_KEYS = {
    "format", "version", "claim", "statement", "activation", "formula", "digits", "decimals", "linear",
    "coefficients", "a1_squared", "lambda", "slack", "kappa_floor", "sha256",
}  # fmt: skip
_STATEMENT = "rho^2 - K(rho)^2 >= lambda*rho^2*(1 - rho^2) for every rho in [-1, 1]"
_CELLS = 32
_GUARDS = (8, 20)
"""Digits beyond those claimed to which the coefficients are recomputed, one try after the other."""
_HINT = "write it again with --certificate"


def read(path: str) -> dict[str, Any]:
    """The certificate file. Raises ``InvalidInput`` if it is missing, no ordinary file, too large, truncated, edited or
    not a certificate of this version.
    """
    try:
        data = json.loads(_text(path), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput("check", path, f"cannot be read ({error.strerror})", "give a certificate file") from None
    except _Repeated as error:
        raise InvalidInput("check", path, f"names {error} twice", _HINT) from None
    except (ValueError, RecursionError):
        raise InvalidInput("check", path, "is truncated or not JSON", _HINT) from None
    if not isinstance(data, dict) or not str(data.get("format")).startswith(_FORMAT):
        raise InvalidInput("check", path, f"is not a '{_FORMAT}'", _HINT)
    if data.get("version") != _VERSION:
        raise InvalidInput("check", path, f"is of another version than {_VERSION}", _HINT)
    if _digest(data):
        raise InvalidInput("check", path, "was edited: its sha256 does not match", _HINT)
    return data


def _text(path: str) -> str:
    """The file's text, read only if it is an ordinary file of moderate size."""
    file = Path(path)
    if file.exists() and not file.is_file():
        raise InvalidInput("check", path, "is not a regular file", "give a certificate file")
    with file.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise InvalidInput("check", path, f"has more than {_MAX_BYTES} bytes", "no certificate is that large")
    return content.decode("utf-8")


class _Repeated(ValueError):  # noqa: N818 - what was found
    """A JSON key that occurs twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise _Repeated(repr(key))
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def check(data: dict[str, Any]) -> Verdict:
    """``Holds`` if every field of the certificate is right, ``Fails`` with the first wrong field, or ``Undecided``."""
    wrong = _shape(data) or _digest(data) or _names(data) or _derived(data)
    if wrong:
        return Fails(wrong)
    return _coefficients(data)


# ---- fields ----


def _digest(data: dict[str, Any]) -> str | None:
    payload = {key: value for key, value in data.items() if key != "sha256"}
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    same = hashlib.sha256(text.encode()).hexdigest() == data.get("sha256")
    return None if same else "sha256: the file was edited"


def _shape(data: dict[str, Any]) -> str | None:
    """The first field that is missing, surplus, of the wrong type or size, or not canonical."""
    if set(data) != _KEYS:
        return f"fields: {', '.join(sorted(set(data) ^ _KEYS))}"
    fixed = {"format": _FORMAT, "version": _VERSION, "claim": "gap", "statement": _STATEMENT}
    wrong = [key for key, value in fixed.items() if type(data[key]) is not type(value) or data[key] != value]
    if wrong:
        return wrong[0]
    digits = data["digits"]
    if type(digits) is not int or not 3 <= digits <= _MAX_DIGITS:
        return "digits"
    if type(data["decimals"]) is not int or data["decimals"] != digits + 3:
        return "decimals"
    if type(data["linear"]) is not bool:
        return "linear"
    for key in ("activation", "formula", "sha256"):
        if not (isinstance(data[key], str) and data[key].isprintable()):
            return f"{key}: not one line of text"
    return _numbers(data)


def _numbers(data: dict[str, Any]) -> str | None:
    """The first list of the wrong length or number that is not a canonical decimal."""
    pairs = data["coefficients"]
    if not isinstance(pairs, list) or not 2 <= len(pairs) <= _MAX_COEFFICIENTS:
        return f"coefficients: not a list of 2 to {_MAX_COEFFICIENTS} intervals"
    lengths = {"a1_squared": 2, "lambda": 2, "slack": _CELLS, **{f"coefficients[{k}]": 2 for k in range(len(pairs))}}
    fields = {**data, **{f"coefficients[{k}]": pair for k, pair in enumerate(pairs)}}
    for key, length in lengths.items():
        if not isinstance(fields[key], list) or len(fields[key]) != length:
            return f"{key}: not a list of {length} decimals"
        for i, number in enumerate(fields[key]):
            if not _is_decimal(number, data["decimals"]):
                return f"{key}[{i}]: not a canonical decimal"
    return None if _is_decimal(data["kappa_floor"], data["decimals"]) else "kappa_floor: not a canonical decimal"


def _is_decimal(number: object, decimals: int) -> bool:
    """Whether it is written the one way there is: ASCII digits, no leading zero, every decimal, no minus zero."""
    if not isinstance(number, str) or len(number) > decimals + 5:
        return False
    shaped = re.fullmatch(rf"-?(0|[1-9][0-9]{{0,2}})\.[0-9]{{{decimals}}}", number, re.ASCII) is not None
    return shaped and not (number[0] == "-" and not number.strip("-0."))


def _names(data: dict[str, Any]) -> str | None:
    """The formula must be in canonical spelling, and the activation's label must denote it."""
    try:
        expr = parse(data["formula"], room=4)
    except InvalidInput as error:
        return f"formula: {error.requirement}"
    if to_text(expr) != data["formula"]:
        return "formula: not in canonical spelling"
    try:
        named = from_label(data["activation"])
    except InvalidInput as error:
        return f"activation: {error.requirement}"
    if named.label != data["activation"]:
        return "activation: not in canonical spelling"
    return None if named.expr == expr else "activation: does not denote the formula"


# ---- derived numbers, in exact rationals ----


def _derived(data: dict[str, Any]) -> str | None:
    """Recompute c, λ, every ℓ and the floor of κ from the stored coefficient decimals."""
    unit = Fraction(10) ** data["decimals"]
    pairs = [(Fraction(lo), Fraction(hi)) for lo, hi in data["coefficients"]]
    widest = Fraction(1, 10 ** (data["digits"] - 1))
    for k, (lo, hi) in enumerate(pairs):
        if not 0 <= hi - lo <= widest or (k == 0 and (lo, hi) != (0, 0)):
            return f"coefficients[{k}]: empty or wider than its digits"
    low = [Fraction(0) if lo <= 0 <= hi else _down(min(lo * lo, hi * hi), unit) for lo, hi in pairs]
    high = [-_down(-max(lo * lo, hi * hi), unit) for lo, hi in pairs]
    if sum(low) > 1:
        return "coefficients: the squares sum to more than 1"
    strength = [max(Fraction(0), 1 - high[1]), min(Fraction(1), 1 - low[1])]
    if [Fraction(text) for text in data["a1_squared"]] != [low[1], high[1]]:
        return "a1_squared"
    if [Fraction(text) for text in data["lambda"]] != strength:
        return "lambda"
    if not data["linear"] and strength[0] <= 0:
        return "lambda: not separated from 0"
    return _cells(data, low, high, unit)


def _down(value: Fraction, unit: Fraction) -> Fraction:
    """``value`` rounded down to the certificate's decimals."""
    return Fraction(floor(value * unit)) / unit


def _cells(data: dict[str, Any], low: list[Fraction], high: list[Fraction], unit: Fraction) -> str | None:
    c, strength = low[1], max(Fraction(0), 1 - high[1])
    tails = [max(Fraction(0), 1 - rest) for rest in accumulate(high[1:])][1:]
    squares, remaining = _in_units(low, unit), _in_units(tails, unit)
    floors: list[Fraction] = []
    for i, text in enumerate(data["slack"]):
        u, v = Fraction(i, _CELLS), Fraction(i + 1, _CELLS)
        growth = _polynomial(squares, i) / unit + c * u + (1 - c) * u * u
        rounded = _down(c * strength * (1 - v) + growth * _polynomial(remaining, i) / unit, unit)
        if Fraction(text) != rounded or rounded < 0:
            return f"slack[{i}]"
        floors.append(_down(rounded / (1 + v), unit))
    return None if Fraction(data["kappa_floor"]) == strength + min(floors) else "kappa_floor"


def _in_units(values: list[Fraction], unit: Fraction) -> list[int]:
    """Multiples of 1/unit as whole numbers."""
    found = [value * unit for value in values]
    assert all(value.denominator == 1 for value in found)
    return [value.numerator for value in found]


def _polynomial(coefficients: list[int], i: int) -> Fraction:
    """Σ_k coefficients[k]·u^k at u = i/CELLS, in whole numbers over CELLS^degree."""
    total, scale = 0, 1
    for coefficient in reversed(coefficients):
        total = total * i + coefficient * scale
        scale *= _CELLS
    return Fraction(total, scale // _CELLS) if coefficients else Fraction(0)


# ---- coefficients, by the independent route ----


def _coefficients(data: dict[str, Any]) -> Verdict:
    """Whether every stored interval contains the recomputed ball."""
    from lop_theory.hermite.expansion import is_linear
    from lop_theory.hermite.taylor import Unsettled

    expr = parse(data["formula"], room=4)
    if data["linear"] != is_linear(expr):
        return Fails("linear")
    stored = [(_rational(lo), _rational(hi)) for lo, hi in data["coefficients"]]
    still_open = 0
    for guard in _GUARDS:
        try:
            found = _recomputed(expr, len(stored), data["digits"] + guard)
        except Unsettled as reason:
            return Undecided(str(reason))
        with precision(4 * data["digits"] + 128):
            places = [_inside(ball, lo, hi) for ball, (lo, hi) in zip(found, stored, strict=True)]
        if False in places:
            return Fails(f"coefficients[{places.index(False)}]: the stored enclosure misses the true value")
        if None not in places:
            return Holds("certified by balls, rechecked in exact rationals and by Taylor expansion")
        still_open = places.index(None)
    return Undecided(f"coefficients[{still_open}]: the true value is too close to an end of its interval")


def _rational(text: str) -> fmpq:
    value = Fraction(text)
    return fmpq(value.numerator, value.denominator)


def _inside(ball: arb, lo: fmpq, hi: fmpq) -> bool | None:
    """Whether the value that the ball encloses lies in [lo, hi]; ``None`` if the ball does not tell."""
    below, above = to_exact(ball.lower()), to_exact(ball.upper())
    return True if lo <= below and above <= hi else False if above < lo or hi < below else None


def _recomputed(expr: Expr, n: int, digits: int) -> list[arb]:
    """Balls for a_0 … a_{n−1}, exact where parity, linearity or a polynomial's degree makes a coefficient known."""
    from lop_theory.activations.ball_table import ball_polynomial
    from lop_theory.activations.piecewise import exact_parity
    from lop_theory.hermite.expansion import is_linear
    from lop_theory.hermite.taylor import standardised

    found = standardised(expr, n, digits)
    if is_linear(expr):
        return [arb(0), arb(1) if found[1] > 0 else arb(-1), *[arb(0)] * (n - 2)]
    odd_or_even = {"odd": 0, "even": 1}.get(exact_parity(expr))
    poly = ball_polynomial(expr)
    vanishes = [k % 2 == odd_or_even or (poly is not None and k >= poly.length()) for k in range(n)]
    return [arb(0) if zero and a.contains(0) else a for a, zero in zip(found, vanishes, strict=True)]
