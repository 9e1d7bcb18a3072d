"""Removable singularities of quotients: sin(x)/x, x/tanh(x), (exp(x) − 1)/x.

Where the divisor and the numerator both vanish at x₀, to the orders m and ≥ m, the quotient of f − which is
Σ_{j≥m} f_j (x − x₀)^{j−m} − is evaluated by Taylor's formula on the convex hull of the argument and x₀. The zeros are
proved: the Taylor coefficients in question are exactly 0 in ball arithmetic.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from lop_theory.activations.expression import Expr, X, add, is_constant, mul, num, rebuild
from lop_theory.activations.symbolic import KINKED, affine
from lop_theory.activations.taylor_series import NotAnalytic, series_function
from lop_theory.balls import acb, acb_series, arb, arb_series, fmpq, precision, series_length

_LARGEST_ORDER = 8
_EXTRA_TERMS = 4
_MAX_PLACES = 6


class Removable(NamedTuple):
    """The divisor vanishes at ``place`` to exactly this order, the numerator to at least this order."""

    place: fmpq
    order: int


@lru_cache(maxsize=2048)
def removable(expr: Expr) -> tuple[Removable, ...]:
    """The removable singularities found of a division, at 0 and at the zeros of affine parts of the divisor."""
    if is_constant(expr.args[1]) or _switches(expr):
        return ()
    places = list(dict.fromkeys([fmpq(0), *_affine_zeros(expr.args[1])]))[:_MAX_PLACES]
    with precision(128):
        found = [(place, _common_order(expr, place)) for place in places]
    return tuple(Removable(place, order) for place, order in found if order)


def removable_places(expr: Expr) -> set[fmpq]:
    """Where some quotient of the formula has a removable singularity."""
    inner = {place for arg in expr.args for place in removable_places(arg)}
    return inner | {spot.place for spot in removable(expr)} if expr.op == "div" else inner


def _switches(expr: Expr) -> bool:
    return expr.op in KINKED or any(map(_switches, expr.args))


def _affine_zeros(expr: Expr) -> list[fmpq]:
    line = affine(expr)
    if line is not None:
        return [-line[1] / line[0]] if line[0] != 0 else []
    return [zero for arg in expr.args for zero in _affine_zeros(arg)]


def _common_order(expr: Expr, place: fmpq) -> int:
    """The order m ≥ 1 of the divisor's zero if the numerator is analytic and has one of at least that order, else 0."""
    with series_length(_LARGEST_ORDER + 1):
        try:
            top, bottom = (
                series_function(shifted(arg, place))(arb_series([arb(0), 1])) + arb_series([0]) for arg in expr.args
            )
        except NotAnalytic:
            return 0
        order = 0
        while order <= _LARGEST_ORDER and bottom[order].is_zero():
            order += 1
        certain = order <= _LARGEST_ORDER and bottom[order] != 0
        analytic = all(
            top[j].is_finite() for j in range(_LARGEST_ORDER + 1)
        )  # a branch point's series is 0 + NaN t + …
        return order if certain and analytic and all(top[j].is_zero() for j in range(order)) else 0


def shifted(expr: Expr, place: fmpq) -> Expr:
    """The function t ↦ expr(place + t), with its affine parts exact."""
    line = affine(expr)
    if line is not None:
        return add(mul(num(line[0]), X), num(line[0] * place + line[1]))
    return rebuild(expr, tuple(shifted(arg, place) for arg in expr.args)) if expr.args else expr


def limit(expr: Expr, spot: Removable) -> arb:
    """The value that fills the gap."""
    return _filled(expr, spot, arb(spot.place))


def real_quotient(expr: Expr, plain: Callable[[arb], arb]) -> Callable[[arb], arb]:
    """The division on real balls with its removable singularities filled in."""
    spots = removable(expr)
    return _patched(plain, spots, lambda spot, x: _filled(expr, spot, x)) if spots else plain


def complex_quotient(expr: Expr, plain: Callable[[acb], acb], analytic: Callable[[acb], bool]) -> Callable[[acb], acb]:
    """The same on complex boxes; ``analytic`` tells whether numerator and divisor are analytic on a box."""
    spots = removable(expr)

    def fill(spot: Removable, x: acb) -> acb:
        hull = x.union(acb(arb(spot.place)))
        return _filled(expr, spot, x) if analytic(hull) else acb(arb.nan())

    return _patched(plain, spots, fill) if spots else plain


def _patched(plain: Callable[[Any], Any], spots: tuple[Removable, ...], fill: Callable[[Removable, Any], Any]) -> Any:
    def whole(x: Any) -> Any:
        value = plain(x)
        candidates = () if value.is_finite() else spots
        return next((found for spot in candidates if (found := fill(spot, x)).is_finite()), value)

    return whole


def _filled(expr: Expr, spot: Removable, x: Any) -> Any:
    """The quotient of the two reduced Taylor formulas on the hull of x and the place."""
    try:
        top, bottom = (_reduced(series_function(shifted(arg, spot.place)), spot, x) for arg in expr.args)
    except NotAnalytic:
        return arb.nan()
    return top / bottom


def _reduced(function: Callable[[Any], Any], spot: Removable, x: Any) -> Any:
    """Σ_{m≤j<M} f_j t^{j−m} + f_M(hull)·t^{M−m}, t = x − x₀ and M = m + 4."""
    kind: Any = acb if isinstance(x, acb) else arb
    series: Any = acb_series if isinstance(x, acb) else arb_series
    zero, t, last = kind(0), x - kind(arb(spot.place)), spot.order + _EXTRA_TERMS
    with series_length(last + 1):
        at, over = function(series([zero, 1])), function(series([t.union(zero), 1]))
        total = over[last]
        for j in range(last - 1, spot.order - 1, -1):
            total = at[j] + total * t
        return total
