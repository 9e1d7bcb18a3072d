"""Hermite coefficients of a standardised activation, as balls.

    a_k = E[φ̄(Z) he_k(Z)],   φ̄ = (φ − Eφ)/sd φ,   so a_0 = 0 and Σ_{k≥1} a_k² = 1      [mehler: Eq. 1]

Three routes, each with its own error bound, tried in this order: integration by parts (piecewise
polynomial·exponential), the trapezoid rule on the line (analytic in a strip), Gauss–Legendre on panels (everything
else).
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from lop_theory.activations.ball_table import ball_polynomial
from lop_theory.activations.expression import Expr, X, compose, is_constant, mul, neg
from lop_theory.activations.piecewise import exact_parity, jumps_between, pieces
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import KINKED, Parity, derivative, polynomial
from lop_theory.balls import arb, fmpq_poly, ipow, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite import panels, recursion, trapezoid

MIN_DIGITS, MAX_DIGITS = 3, 300
_MAX_EXTRA_BITS = 2000


class Expansion(NamedTuple):
    """``coefficients[k]`` encloses a_k for k < n; radii are at most 10^−digits."""

    expr: Expr
    digits: int
    coefficients: tuple[arb, ...]
    mean: arb
    variance: arb
    parity: Parity
    linear: bool
    method: str

    @property
    def bits(self) -> int:
        return bits_of(self.digits)


def bits_of(digits: int) -> int:
    """Working bits for ``digits`` decimals, with a guard."""
    return int(digits * 3.3220) + 14


def require_digits(digits: int) -> int:
    if not MIN_DIGITS <= digits <= MAX_DIGITS:
        raise InvalidInput("digits", digits, f"must lie between {MIN_DIGITS} and {MAX_DIGITS}", "15 is the default")
    return digits


def expand(expr: Expr, n: int = 20, digits: int = 15) -> Expansion:
    """The first n Hermite coefficients of φ̄ with radii ≤ 10^−digits.

    Raises ``InvalidInput`` if φ is constant, undefined somewhere, or not shown to be square-integrable.
    """
    require_digits(digits)
    if n < 2:
        raise InvalidInput("n", n, "must be at least 2", "20 is the default")
    _refuse_constant(expr)
    bits, target = bits_of(digits), arb(10) ** -digits
    extra = 0
    while True:
        raw, second, method = raw_moments(expr, n, bits + extra)
        with precision(bits + extra + 16):
            variance = second - raw[0] * raw[0]
            if not variance.is_finite():
                raise InvalidInput("activation", str(expr), "is undefined", "φ must be finite on the whole line")
            if variance > 0:
                deviation = variance.sqrt()
                found = (arb(0), *(c / deviation for c in raw[1:]))
                if all(a.rad() <= target for a in found):
                    return _tidied(expr, digits, found, raw[0], variance, method)
        extra = 2 * extra + 32
        if extra > _MAX_EXTRA_BITS:
            raise _constant(expr)


def _tidied(expr: Expr, digits: int, found: tuple[arb, ...], mean: arb, variance: arb, method: str) -> Expansion:
    """Coefficients that parity or linearity makes exact are set exactly."""
    parity, linear = exact_parity(expr), is_linear(expr)
    zero = arb(0)
    if linear:
        found = (zero, arb(1) if found[1] > 0 else arb(-1), *[zero] * (len(found) - 2))
    elif parity != "mixed":
        kept = 1 if parity == "odd" else 0
        found = tuple(a if k % 2 == kept and k else zero for k, a in enumerate(found))
    return Expansion(expr, digits, found, mean, variance, parity, linear, method)


def raw_moments(expr: Expr, n: int, bits: int) -> tuple[list[arb], arb, str]:
    """([E φ(Z)he_k(Z) for k < n], E φ(Z)², route) with error about 2^−bits."""
    if recursion.applies(expr):
        return *recursion.moments(expr, n, bits), "integration by parts"
    found = trapezoid.moments(expr, n, bits)
    if found is not None:
        return *found, "trapezoid rule"
    return *panels.moments(expr, n, bits), "Gauss–Legendre panels"


def mean(expr: Expr, bits: int) -> arb:
    """E φ(Z)."""
    return raw_moments(expr, 2, bits)[0][0]


def mean_square(expr: Expr, bits: int) -> arb:
    """E φ(Z)²."""
    if is_constant(expr):
        with precision(bits):
            return ipow(real_function(expr)(arb(0)), 2)
    return raw_moments(expr, 2, bits)[1]


def mirror_product(expr: Expr, bits: int) -> arb:
    """E φ(Z)φ(−Z)."""
    return mean(mul(expr, compose(expr, neg(X))), bits)


@lru_cache(maxsize=512)
def is_linear(expr: Expr) -> bool:
    """Whether φ is spelled out as one affine function."""
    parts = pieces(expr)
    poly = ball_polynomial(parts[0].expr) if len(parts) == 1 else None
    return poly is not None and poly.length() <= 2


@lru_cache(maxsize=512)
def _refuse_constant(expr: Expr) -> None:
    parts = pieces(expr)
    flat = len(parts) == 1 and not _has_switch(parts[0].expr) and polynomial(derivative(parts[0].expr)) == fmpq_poly()
    if is_constant(expr) or flat:
        raise _constant(expr)


def _constant(expr: Expr) -> InvalidInput:
    return InvalidInput(
        "activation",
        str(expr),
        "is constant (or too close to constant) and has no standardisation",
        "use a non-constant φ",
    )


# ---- smoothness and energies ----


@lru_cache(maxsize=512)
def jumps(expr: Expr) -> bool | None:
    """Whether φ jumps somewhere: decided at the rational switches; ``None`` if a switch is not rational or not
    decided.
    """
    parts = pieces(expr)
    if any(_has_switch(part.expr) for part in parts):
        return None
    found = [jumps_between(left, right) for left, right in pairwise(parts)]
    return True if True in found else None if None in found else False


def _has_switch(expr: Expr) -> bool:
    return expr.op in KINKED or any(map(_has_switch, expr.args))


def energy(expr: Expr, order: int, bits: int) -> arb | None:
    """E|φ^(order)(Z)|² of the raw φ: +inf if a lower derivative jumps, ``None`` if that is not decided.

    For φ̄ it is K′(1) = Σ k a_k² (order 1) and K″(1) = Σ k(k−1) a_k² (order 2), after division by the variance.
    """
    current = expr
    for _ in range(order):
        jumping = jumps(current)
        if jumping is None:
            return None
        if jumping:
            return arb.pos_inf()
        current = derivative(current)
    return mean_square(current, bits)
