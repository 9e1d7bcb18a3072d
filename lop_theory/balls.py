"""Ball arithmetic: the only importer of python-flint, with scoped precision and exact conversions.

A ball ``arb`` encloses a real number; comparisons of balls are three-valued (``a < b`` is true only if it holds
for every pair of members), so a comparison is never negated and balls are never sorted.
"""

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from flint import acb, acb_poly, acb_series, arb, arb_mat, arb_poly, arb_series, ctx, fmpq, fmpq_poly, fmpz, fmpz_poly

__all__ = [
    "acb",
    "acb_poly",
    "acb_series",
    "arb",
    "arb_mat",
    "arb_poly",
    "arb_series",
    "as_float",
    "decimal_text",
    "decimal_units",
    "evaluate",
    "fmpq",
    "fmpq_poly",
    "fmpz",
    "fmpz_poly",
    "hull",
    "ipow",
    "lower_decimal",
    "parse_fmpq",
    "precision",
    "series_length",
    "to_exact",
    "upper_decimal",
    "within",
    "working_bits",
]


@contextmanager
def precision(bits: int) -> Generator[None]:
    """Compute with ``bits`` bits inside the block; the precision outside is restored even after an error."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


@contextmanager
def series_length(terms: int) -> Generator[None]:
    """Power series inside the block keep ``terms`` terms; the length outside is restored even after an error."""
    before = ctx.cap
    ctx.cap = terms
    try:
        yield
    finally:
        ctx.cap = before


def working_bits() -> int:
    """The precision in force."""
    return ctx.prec


def ipow(base: arb, exponent: int) -> arb:
    """base^exponent for a whole exponent ≥ 0 by squaring; python-flint's ``**`` returns nan for a ball that contains
    0.
    """
    result, square = arb(1), base
    while exponent:
        if exponent & 1:
            result = result * square
        exponent >>= 1
        if exponent:
            square = square * square
    return result


def within(radius: arb) -> arb:
    """The ball [−r, r], where r is an upper bound of ``radius``."""
    return arb(0, radius.abs_upper())


def evaluate(function: Callable[[arb], arb], points: Sequence[arb], bits: Sequence[int]) -> list[arb]:
    """[function(x) for x in points], the i-th at its own precision bits[i]."""
    before = ctx.prec
    values: list[arb] = []
    try:
        for x, p in zip(points, bits, strict=True):
            ctx.prec = p
            values.append(function(x))
    finally:
        ctx.prec = before
    return values


def hull(*balls: arb) -> arb:
    """The smallest ball found that contains all ``balls``."""
    union = balls[0]
    for ball in balls[1:]:
        union = union.union(ball)
    return union


def to_exact(point: arb) -> fmpq:
    """The dyadic rational that an exact ball is."""
    assert point.is_exact(), point
    assert point.is_finite(), point
    mantissa, exponent = point.man_exp()
    shift = int(exponent)
    return fmpq(mantissa * fmpz(2) ** shift) if shift >= 0 else fmpq(mantissa, fmpz(2) ** -shift)


def as_float(value: fmpq) -> float:
    """The nearest double; ±inf beyond the largest."""
    return float(arb(value))


def parse_fmpq(text: str) -> fmpq:
    """``"3"``, ``"-1/4"``, ``"0.25"`` or ``"1e-3"`` as the exact rational it denotes; ``ValueError`` otherwise."""
    numerator, slash, denominator = text.strip().partition("/")
    value = _parse_decimal(numerator)
    if not slash:
        return value
    divisor = _parse_decimal(denominator)
    if divisor == 0:
        raise ValueError("division by zero")
    return value / divisor


_DECIMAL = re.compile(r"(?P<whole>[+-]?\d*)(?:\.(?P<part>\d*))?(?:[eE](?P<exponent>[+-]?\d{1,9}))?")


def _parse_decimal(text: str) -> fmpq:
    found = _DECIMAL.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a decimal number")
    whole, part, exponent = found["whole"], found["part"] or "", found["exponent"] or "0"
    power = int(exponent) - len(part)
    if abs(power) > 1200:
        raise ValueError("exponent out of range")
    digits = int(whole + part)
    return fmpq(digits * 10**power) if power >= 0 else fmpq(digits, 10**-power)


def decimal_units(balls: Iterable[arb], decimals: int) -> list[tuple[int, int]]:
    """For each finite ball, whole numbers lo, hi with lo·10^−decimals ≤ every member ≤ hi·10^−decimals."""
    unit = fmpz(10) ** decimals
    found: list[tuple[int, int]] = []
    with precision(int(decimals * 3.33) + 96):
        for ball in balls:
            scaled = ball * unit
            found.append((_whole(scaled.lower().floor()), _whole(scaled.upper().ceil())))
    return found


def _whole(point: arb) -> int:
    number = point.unique_fmpz()
    assert number is not None, point
    return int(number)


def decimal_text(units: int, decimals: int) -> str:
    """units·10^−decimals in full."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"


def lower_decimal(ball: arb, digits: int) -> str:
    """A decimal that is ≤ every member of ``ball``, at ``digits`` decimals (``-inf`` if unbounded)."""
    return decimal_text(decimal_units([ball], digits)[0][0], digits) if ball.is_finite() else "-inf"


def upper_decimal(ball: arb, digits: int) -> str:
    """A decimal that is ≥ every member of ``ball``, at ``digits`` decimals (``inf`` if unbounded)."""
    return decimal_text(decimal_units([ball], digits)[0][1], digits) if ball.is_finite() else "inf"
