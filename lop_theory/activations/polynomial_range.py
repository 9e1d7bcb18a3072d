"""Rigorous range of a polynomial with ball coefficients on an interval with finite or infinite ends."""

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from lop_theory.balls import arb, arb_poly, fmpq, fmpq_poly, ipow, to_exact

_INF = arb.pos_inf()
_CELLS = 16


class Range(NamedTuple):
    """Every value lies in [lo, hi]; ``lo`` and ``hi`` are exact balls, possibly infinite."""

    lo: arb
    hi: arb

    def contains_zero(self) -> bool:
        return bool(self.lo <= 0) and bool(self.hi >= 0)


def enclose_polynomial(poly: arb_poly, lo: fmpq | float, hi: fmpq | float) -> Range:
    """An enclosure of p([lo, hi]); ends may be ±inf."""
    below, above = not isinstance(lo, fmpq), not isinstance(hi, fmpq)
    if below and above:
        return _union(enclose_polynomial(poly, lo, fmpq(0)), enclose_polynomial(poly, fmpq(0), hi))
    if isinstance(hi, fmpq) and not isinstance(lo, fmpq):
        return enclose_polynomial(poly(arb_poly([0, -1])), -hi, -lo)
    assert isinstance(lo, fmpq)
    return _on_interval(poly, lo, hi) if isinstance(hi, fmpq) else _on_ray(poly, lo)


def _union(a: Range, b: Range) -> Range:
    return Range(a.lo.min(b.lo), a.hi.max(b.hi))


def _on_interval(poly: arb_poly, lo: fmpq, hi: fmpq) -> Range:
    """By the centred form on a few cells."""
    count = _CELLS if hi - lo > fmpq(1, 8) else 1
    ends = [lo + (hi - lo) * i / count for i in range(count + 1)]
    return reduce(_union, (_centred(poly, (u + v) / 2, (v - u) / 2) for u, v in pairwise(ends)))


def _centred(poly: arb_poly, centre: fmpq, radius: fmpq) -> Range:
    """p(c + t) = Σ b_i t^i for |t| ≤ r, where t^i lies in [−r^i, r^i] or, for even i, in [0, r^i]."""
    shifted, total = poly(arb_poly([arb(centre), 1])), arb(0)
    for i in range(shifted.length()):
        size = ipow(arb(radius), i)
        total += shifted[i] * (size * (arb(0, 1) if i % 2 else arb(0.5, 0.5)) if i else arb(1))
    return Range(total.lower(), total.upper())


def _on_ray(poly: arb_poly, lo: fmpq) -> Range:
    """On [lo, ∞): monotone where the shifted coefficients have one sign, and beyond every root of p′."""
    shifted = poly(arb_poly([arb(lo), 1]))
    rising = [shifted[i] >= 0 for i in range(1, shifted.length())]
    falling = [shifted[i] <= 0 for i in range(1, shifted.length())]
    if all(rising):
        return Range(shifted[0].lower(), _INF)
    if all(falling):
        return Range(-_INF, shifted[0].upper())
    far = _beyond_roots(poly, lo)
    if far is None:
        return Range(-_INF, _INF)
    at = poly(arb(far))
    beyond = Range(at.lower(), _INF) if poly[poly.length() - 1] > 0 else Range(-_INF, at.upper())
    return _union(_on_interval(poly, lo, far), beyond)


def _beyond_roots(poly: arb_poly, lo: fmpq) -> fmpq | None:
    """A point > lo to the right of every root of p′ (Cauchy's bound), or ``None`` if the degree is not certain."""
    slope = poly.derivative()
    top = slope[slope.length() - 1]
    if not (top > 0 or top < 0):
        return None
    sizes = [abs(slope[i] / top).abs_upper() for i in range(slope.length() - 1)]
    largest = reduce(lambda a, b: a.max(b), sizes, arb(0))
    return max(lo, fmpq(0)) + to_exact(largest.upper()) + 1


def is_nonnegative(poly: fmpq_poly) -> bool:
    """Whether p ≥ 0 on the whole line: it is so far out, and every real root has even multiplicity."""
    _, factors = poly.numer().factor()
    return bool(poly[poly.degree()] > 0) and all(m % 2 == 0 or has_no_real_root(fmpq_poly(f)) for f, m in factors)


def has_no_real_root(poly: fmpq_poly) -> bool:
    """Sturm's theorem on the whole line."""
    chain = [poly, poly.derivative()]
    while chain[-1].degree() > 0:
        chain.append(-(chain[-2] % chain[-1]))
    right = [p[p.degree()] > 0 for p in chain if p.degree() >= 0]
    left = [(p[p.degree()] > 0) ^ (p.degree() % 2 == 1) for p in chain if p.degree() >= 0]
    changes = [sum(a != b for a, b in pairwise(signs)) for signs in (left, right)]
    return changes[0] == changes[1]
