"""The correlation kernel K(ρ) = E[φ̄(X)φ̄(Y)] = Σ_{k≥1} a_k² ρ^k as balls, with its tail bounded by Parseval.

[mehler: Eq. 1] [kernel-bounds: App. A.1, items 1–4]
"""

from functools import lru_cache
from typing import Literal, NamedTuple

from lop_theory.activations.expression import Expr
from lop_theory.balls import arb, arb_poly, ipow, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import Expansion, energy, expand, mirror_product


class Kernel(NamedTuple):
    """``squares[k]`` encloses a_k² for k < n and ``tails[m]`` encloses T_m = Σ_{k≥m} a_k² = 1 − Σ_{k<m} a_k² for m ≤
    n.
    """

    expansion: Expansion
    squares: tuple[arb, ...]
    tails: tuple[arb, ...]

    @property
    def c(self) -> arb:
        """The linearity coefficient c = a_1² = K′(0)."""
        return self.squares[1]

    @property
    def strength(self) -> arb:
        """The decorrelation strength λ = 1 − a_1²."""
        return self.tails[2]

    @property
    def order(self) -> int:
        return len(self.squares)


def correlation_kernel(expr: Expr, n: int = 20, digits: int = 15) -> Kernel:
    """The kernel of φ̄ from its first n Hermite coefficients. Raises as ``hermite.expand`` does."""
    return from_expansion(expand(expr, n, digits))


def from_expansion(expansion: Expansion) -> Kernel:
    with precision(expansion.bits + 16):
        squares = tuple(a * a for a in expansion.coefficients)
        return Kernel(expansion, squares, _tails(squares, finite=expansion.linear))


def _tails(squares: tuple[arb, ...], *, finite: bool) -> tuple[arb, ...]:
    """T_n from Parseval, clipped to be ≥ 0; then upwards by adding squares, so that no cancellation is repeated."""
    rest = arb(0) if finite else (1 - sum(squares, arb(0))).nonnegative_part()
    tails = [rest]
    for square in reversed(squares):
        tails.append(tails[-1] + square)
    tails.reverse()
    tails[0] = tails[1] = arb(1)  # Parseval: Σ_{k≥1} a_k² = 1
    if squares[1].is_zero():
        tails[2] = arb(1)
    return tuple(tails)


def value(kern: Kernel, rho: arb) -> arb:
    """K(ρ) for −1 ≤ ρ ≤ 1: the partial sum plus [−1, 1]·T_n|ρ|^n; K(1) = 1 and K(−1) from E φ̄(Z)φ̄(−Z)."""
    _require_correlation(rho)
    if rho == 1:
        return arb(1)
    if rho == -1:
        return at_minus_one(kern)
    with precision(kern.expansion.bits + 16):
        n = kern.order
        size = kern.tails[n] * ipow(abs(rho), n)
        return arb_poly(list(kern.squares))(rho) + size * (_unit(rho >= 0))


def slope(kern: Kernel, rho: arb) -> arb:
    """K′(ρ) for −1 ≤ ρ ≤ 1, +inf at ρ = 1 if φ jumps. The tail is at most T_n n|ρ|^{n−1}/(1 − |ρ|)², and at most what
    K′(1) leaves.
    """
    _require_correlation(rho)
    total = derivative_at_one(kern)
    if rho == 1:
        return total
    with precision(kern.expansion.bits + 16):
        n, size = kern.order, abs(rho)
        poly = arb_poly(list(kern.squares)).derivative()
        tail = kern.tails[n] * n * ipow(size, n - 1) / (1 - size) ** 2 if size < 1 else arb.pos_inf()
        left = (total - poly(arb(1))) * ipow(size, n - 1)
        tail = tail.min(left.abs_upper()) if left.is_finite() else tail
        return poly(rho) + tail.abs_upper() * _unit(rho >= 0)


def _unit(positive: bool) -> arb:
    """[0, 1] for a tail of non-negative terms, [−1, 1] otherwise."""
    return arb(0.5, 0.5) if positive else arb(0, 1)


def _require_correlation(rho: arb) -> None:
    if not abs(rho) <= 1:
        raise InvalidInput("rho", str(rho), "must lie in [-1, 1]", "a correlation is at most 1 in size")


def at_minus_one(kern: Kernel) -> arb:
    """K(−1) = Σ (−1)^k a_k² = E φ̄(Z)φ̄(−Z): −1 for odd φ̄, +1 for even φ̄, strictly between otherwise."""
    expansion = kern.expansion
    if expansion.parity != "mixed":
        return arb(-1 if expansion.parity == "odd" else 1)
    product = _mirror(expansion.expr, expansion.bits)
    with precision(expansion.bits + 16):
        if product is None:
            return _alternating(standard_kernel(expansion.expr, expansion.digits))
        return (product - expansion.mean * expansion.mean) / expansion.variance


def _alternating(kern: Kernel) -> arb:
    """Σ_{k<n} (−1)^k a_k² ± T_n."""
    return arb_poly(list(kern.squares))(arb(-1)) + arb(0, kern.tails[kern.order].abs_upper())


@lru_cache(maxsize=256)
def _mirror(expr: Expr, bits: int) -> arb | None:
    try:
        return mirror_product(expr, bits)
    except InvalidInput:  # φ(z)φ(−z) is integrable, but its square need not be
        return None


def derivative_at_one(kern: Kernel, order: int = 1) -> arb:
    """K^(order)(1) = E|φ̄^(order)|², order 1 or 2; +inf where it diverges, the whole line where that is not
    decided.
    """
    expansion = kern.expansion
    if expansion.linear:
        return arb(1 if order == 1 else 0)
    found = _energy(expansion.expr, order, expansion.bits)
    with precision(expansion.bits + 16):
        if found is None:
            return arb(0, float("inf"))
        return found / expansion.variance


@lru_cache(maxsize=256)
def _energy(expr: Expr, order: int, bits: int) -> arb | None:
    try:
        return energy(expr, order, bits)
    except InvalidInput:  # the derivative is unbounded or beyond the rules, though φ itself is not
        return None


FixedPoint = tuple[Literal[-1, 0, 1], Literal["attracting", "repelling"]]


def fixed_points(kern: Kernel) -> list[FixedPoint]:
    """The fixed points of ρ ↦ K(ρ) on [−1, 1] for a nonlinear φ, with their nature under iteration   [fixed-points].

    |K(ρ)| < |ρ| for 0 < |ρ| < 1, so only 0, 1 and (exactly when φ̄ is odd) −1 are fixed. K′(0) = c < 1 makes 0
    attracting; K′(±1) = Σ k a_k² > 1 makes ±1 repelling. Raises ``InvalidInput`` for linear φ, where K(ρ) = ρ fixes
    every ρ.
    """
    if kern.expansion.linear:
        raise InvalidInput(
            "activation", str(kern.expansion.expr), "is linear: every correlation is fixed", "use a nonlinear φ"
        )
    points: list[FixedPoint] = [(0, "attracting"), (1, "repelling")]
    return [(-1, "repelling"), *points] if kern.expansion.parity == "odd" else points


def standard_kernel(expr: Expr, digits: int = 15) -> Kernel:
    """The kernel with as many coefficients as make its tail small, up to 320."""
    n = 20
    while True:
        kern = correlation_kernel(expr, n, digits)
        if n >= 320 or kern.tails[n] < arb(10) ** -digits:
            return kern
        n *= 2
