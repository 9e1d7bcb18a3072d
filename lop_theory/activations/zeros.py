"""Where a formula changes sign on a bounded interval: tiny intervals around its zeros, constant sign in between."""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from lop_theory.activations.expression import Expr
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import derivative, polynomial
from lop_theory.activations.taylor_series import series_function, taylor_form
from lop_theory.balls import arb, fmpq, fmpq_poly, precision, to_exact, within, working_bits

_MAX_SPLITS = 20_000
SIGN_BITS = 4
"""Signs are decided at this multiple of the precision asked: beside an m-fold zero they need m times as many bits."""


Function = Callable[[arb], arb]


class Zeros(NamedTuple):
    """The disjoint intervals ``around`` hold every zero in [lo, hi], from left to right; ``complete`` says whether
    each is as narrow as was asked."""

    around: tuple[tuple[fmpq, fmpq], ...]
    complete: bool


@lru_cache(maxsize=1024)
def sign_changes(expr: Expr, lo: fmpq, hi: fmpq, bits: int) -> Zeros:
    """The zeros of a formula without switches in [lo, hi], each enclosed to 2^−bits."""
    with precision(SIGN_BITS * bits + 64):
        poly = polynomial(expr)
        if poly is not None and poly.degree() > 0:
            return Zeros(_merged([e for e in _roots(poly) if lo <= e[1] and e[0] <= hi], fmpq(0)), True)
        return _by_bisection(expr, lo, hi, bits)


def _roots(poly: fmpq_poly) -> list[tuple[fmpq, fmpq]]:
    """Enclosures of the real roots of a polynomial with rational coefficients."""
    roots: list[Any] = poly.numer().complex_roots()  # pairs of a root and its multiplicity
    found = [root.real for root, _ in roots if root.imag.is_zero()]
    return sorted((to_exact(ball.lower()), to_exact(ball.upper())) for ball in found)


def _by_bisection(expr: Expr, lo: fmpq, hi: fmpq, bits: int) -> Zeros:
    value, slope, series = real_function(expr), real_function(derivative(expr)), series_function(expr)
    narrowest = fmpq(1, 2**bits)
    stack, found = list(pairwise(_cells(lo, hi))), list[tuple[fmpq, fmpq]]()
    for _ in range(_MAX_SPLITS):
        if not stack:
            break
        u, v = stack.pop()
        if _keeps_sign(value, slope, u, v) or _signed(taylor_form(series, *_cell(u, v))):
            continue
        if v - u <= narrowest:
            found.append((u, v))
        else:
            stack += list(pairwise((u, *_inner(value, slope, u, v), v)))
    return Zeros(_merged(sorted([*found, *stack]), narrowest), not stack)


def _cells(lo: fmpq, hi: fmpq) -> list[fmpq]:
    """The ends of unit cells."""
    inner = range(int(lo.floor()) + 1, int(hi.ceil()))
    return [lo, *map(fmpq, inner), hi]


def _keeps_sign(value: Function, slope: Function, u: fmpq, v: fmpq) -> bool:
    """Whether there is no zero on [u, v]: by the range, or monotone with one sign at the ends."""
    centre, half = _cell(u, v)
    if _signed(value(centre + half)):
        return True
    if not _signed(slope(centre + half)):
        return False
    a, b = value(arb(u)), value(arb(v))
    return bool(a > 0 and b > 0) or bool(a < 0 and b < 0)


def _cell(u: fmpq, v: fmpq) -> tuple[arb, arb]:
    """The middle of [u, v], and the ball that added to it gives [u, v]."""
    return arb((u + v) / 2), within(arb((v - u) / 2))


def _signed(ball: arb) -> bool:
    return bool(ball > 0) or bool(ball < 0)


def _inner(value: Function, slope: Function, u: fmpq, v: fmpq) -> tuple[fmpq, ...]:
    """Where to cut: around the Newton step from the middle if that is sharp, else in the middle."""
    middle = to_exact(arb((u + v) / 2).mid())
    step = arb(middle) - value(arb(middle)) / slope(arb((u + v) / 2) + within(arb((v - u) / 2)))
    if step.is_finite() and step.rad() * 8 < arb(v - u):
        a, b = to_exact(step.lower()), to_exact(step.upper())
        if a == b:  # a step without rounding: so much beside it, values still have a sign at this precision
            pad = fmpq(1, 2 ** (working_bits() // 2))
            a, b = a - pad, b + pad
        return tuple(cut for cut in (a, b) if u < cut < v)
    return (middle,)


def _merged(intervals: list[tuple[fmpq, fmpq]], gap: fmpq) -> tuple[tuple[fmpq, fmpq], ...]:
    """Intervals that touch, or lie ``gap`` apart or closer, become one."""
    merged: list[tuple[fmpq, fmpq]] = []
    for a, b in intervals:
        if merged and a <= merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return tuple(merged)
