"""Growth of a formula on the real rays, for quadrature on a finite interval: derived from the structure of the
formula.
"""

from typing import NamedTuple

from lop_theory.activations.ball_table import ball_polynomial
from lop_theory.activations.expression import Expr
from lop_theory.activations.gaussian import CRAMER
from lop_theory.activations.piecewise import Piece, pieces
from lop_theory.activations.ranges import extended_range
from lop_theory.balls import arb, fmpq, ipow


class TailBound(NamedTuple):
    """|φ(±t)| ≤ factor·t^degree·exp(linear·t + quadratic·t²) for t ≥ start ≥ 1."""

    factor: arb
    degree: fmpq
    linear: arb
    quadratic: arb


_ZERO = arb(0)


def tail_bound(expr: Expr, start: fmpq, side: int) -> TailBound | None:
    """A growth bound of φ on the ray side·[start, ∞), side = ±1, or ``None`` if no rule shows one.

    Every piece that meets the ray is bounded over its own part of it; the largest of these bounds holds on the whole
    ray.
    """
    total: TailBound | None = None
    for part in pieces(expr):
        ends = _part_of_ray(part, start, side)
        if ends is not None:
            bound = _tail(part.expr, ends, start)
            if bound is None:
                return None
            total = bound if total is None else _largest(total, bound)
    return total


def _part_of_ray(part: Piece, start: fmpq, side: int) -> tuple[fmpq | float, fmpq | float] | None:
    """The piece ∩ side·[start, ∞), or ``None`` if they do not meet."""
    if side > 0:
        if part.hi is not None and part.hi <= start:
            return None
        return (start if part.lo is None else max(part.lo, start)), float("inf") if part.hi is None else part.hi
    if part.lo is not None and part.lo >= -start:
        return None
    return float("-inf") if part.lo is None else part.lo, (-start if part.hi is None else min(part.hi, -start))


def _largest(a: TailBound, b: TailBound) -> TailBound:
    return TailBound(
        a.factor.max(b.factor), max(a.degree, b.degree), a.linear.max(b.linear), a.quadratic.max(b.quadratic)
    )


def _tail(expr: Expr, ends: tuple[fmpq | float, fmpq | float], start: fmpq) -> TailBound | None:
    bounded = extended_range(expr, *ends)
    if bounded is None:
        return None
    size = bounded.lo.abs_upper().max(bounded.hi.abs_upper())
    if size.is_finite():
        return TailBound(size, fmpq(0), _ZERO, _ZERO)
    if expr.op == "x":
        return TailBound(arb(1), fmpq(1), _ZERO, _ZERO)
    if expr.op == "exp":
        return _tail_of_exp(expr.args[0], ends, start)
    inner = [_tail(arg, ends, start) for arg in expr.args]
    known = [bound for bound in inner if bound is not None]
    return _tail_of_node(expr, known, ends) if len(known) == len(inner) else None


def _tail_of_exp(u: Expr, ends: tuple[fmpq | float, fmpq | float], start: fmpq) -> TailBound | None:
    """exp u for u = q₂x² + q₁x + q₀, for sums factor by factor, else by exp u ≤ exp(bound of |u|) of degree ≤ 2."""
    poly = ball_polynomial(u)
    if poly is not None and poly.length() <= 3:
        linear = (poly[1] if ends[1] == float("inf") or ends[0] >= 0 else -poly[1]).max(_ZERO)
        return TailBound(poly[0].exp(), fmpq(0), linear, poly[2].max(_ZERO))
    if u.op == "add":
        factors = [_tail(Expr("exp", (arg,)), ends, start) for arg in u.args]
        return None if factors[0] is None or factors[1] is None else _product(factors[0], factors[1])
    size = _tail(u, ends, start)
    if size is None or size.degree > 2 or not (size.linear.is_zero() and size.quadratic.is_zero()):
        return None
    if size.degree <= 1:
        return TailBound(arb(1), fmpq(0), size.factor, _ZERO)
    return TailBound(arb(1), fmpq(0), _ZERO, size.factor)


def _tail_of_node(expr: Expr, args: list[TailBound], ends: tuple[fmpq | float, fmpq | float]) -> TailBound | None:
    first = args[0]
    match expr.op:
        case "add" | "max" | "min":
            return _sum(first, args[1])
        case "mul":
            return _product(first, args[1])
        case "div":
            return _quotient(first, expr, ends)
        case "pow" if expr.number > 0:
            return _scaled_power(first, expr.number)
        case "sqrt":
            return _scaled_power(first, fmpq(1, 2))
        case "abs" | "relu" | "asinh":
            return first
        case "softplus":
            return _sum(first, TailBound(arb(1), fmpq(0), _ZERO, _ZERO))
        case "log":
            return _log_tail(first, expr, ends)
        case "sinh" | "cosh" if first.degree <= 1 and first.linear.is_zero() and first.quadratic.is_zero():
            return TailBound(arb(1), fmpq(0), first.factor, _ZERO)
        case _:
            return None


def _sum(a: TailBound, b: TailBound) -> TailBound:
    return TailBound(a.factor + b.factor, max(a.degree, b.degree), a.linear.max(b.linear), a.quadratic.max(b.quadratic))


def _product(a: TailBound, b: TailBound) -> TailBound:
    return TailBound(a.factor * b.factor, a.degree + b.degree, a.linear + b.linear, a.quadratic + b.quadratic)


def _quotient(top: TailBound, expr: Expr, ends: tuple[fmpq | float, fmpq | float]) -> TailBound | None:
    bottom = extended_range(expr.args[1], *ends)
    if bottom is None or bottom.contains_zero():
        return None
    least = bottom.lo.abs_lower() if bottom.lo > 0 else bottom.hi.abs_lower()
    return top._replace(factor=top.factor / least)


def _scaled_power(a: TailBound, exponent: fmpq) -> TailBound:
    factor = (a.factor.max(arb(1)).log() * arb(exponent)).exp()
    return TailBound(factor, a.degree * exponent, a.linear * arb(exponent), a.quadratic * arb(exponent))


def _log_tail(a: TailBound, expr: Expr, ends: tuple[fmpq | float, fmpq | float]) -> TailBound | None:
    """|log u| ≤ |log min u| + log⁺ factor + degree·log t + linear·t + quadratic·t², and log t ≤ t ≤ t²."""
    inside = extended_range(expr.args[0], *ends)
    if inside is None or not inside.lo > 0:
        return None
    constant = abs(inside.lo.log()) + a.factor.max(arb(1)).log()
    factor = (constant + arb(a.degree) + a.linear + a.quadratic).abs_upper()
    return TailBound(factor, fmpq(1) if a.quadratic.is_zero() else fmpq(2), _ZERO, _ZERO)


def tail_bounds(expr: Expr, reach: fmpq) -> list[TailBound] | None:
    """Growth bounds beyond −reach and beyond reach, or ``None`` if one is not known."""
    left, right = tail_bound(expr, reach, -1), tail_bound(expr, reach, +1)
    return None if left is None or right is None else [left, right]


def mass_outside(bounds: list[TailBound], x: arb, power: int) -> arb:
    """Bound of ∫_{|t| ≥ x} |φ|·|he_k|·w for every k (power 1, Cramér) or ∫ φ²·w (power 2); +inf where none is shown.

    The bound of the integrand is factor^p·t^{pd}·exp(pℓt + pqt²)·exp(−t²/4 or −t²/2)/√(2π), whose logarithmic
    derivative beyond x is at most −slope; so the integral is at most the value at x over the slope.
    """
    total = arb(0)
    for bound in bounds:
        rate = (arb(0.25) if power == 1 else arb(0.5)) - power * bound.quadratic
        degree, linear = power * arb(bound.degree), power * bound.linear
        slope = 2 * rate * x - degree / x - linear
        if not (slope > 0 and rate > 0):
            return arb.pos_inf()
        size = ipow(bound.factor, power) * (degree * x.log() + linear * x - rate * x * x).exp()
        total += CRAMER * size / ((2 * arb.pi()).sqrt() * slope)
    return total
