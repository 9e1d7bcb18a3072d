"""Bounds on normalised Hermite polynomials he_k = He_k/√k! against the Gaussian weight w(x) = exp(−x²/2)/√(2π)."""

from functools import lru_cache
from typing import Any

from lop_theory.balls import acb, arb, ipow, working_bits

CRAMER = arb("1.0865")
"""|he_k(x)| ≤ CRAMER·exp(x²/4) for every k and real x (Cramér's inequality; the constant is 1.086435 rounded up)."""


@lru_cache(maxsize=256)
def strip_second_moment(k: int, y: arb) -> arb:
    """E|he_k(Z + iy)|² = Σ_i C(k,i) y^{2i}/i!  (the Laguerre value L_k(−y²)), from he_k(x + iy)'s Taylor expansion."""
    return _binomial_sum(k, y * y)


def _binomial_sum(k: int, square: arb) -> arb:
    total = term = arb(1)
    for i in range(1, k + 1):
        term = term * square * (k - i + 1) / (i * i)
        total += term
    return total


@lru_cache(maxsize=256)
def off_axis_factor(k: int, y: arb) -> arb:
    """V with |he_k(x + iy)| ≤ CRAMER·exp(x²/4)·V for real x, V = Σ_i √(C(k,i)/i!) |y|^i."""
    total, square, magnitude = arb(1), arb(1), abs(y)
    for i in range(1, k + 1):
        square = square * (k - i + 1) / (i * i)
        total += square.sqrt() * ipow(magnitude, i)
    return total


def weight(x: arb) -> arb:
    """exp(−x²/2)/√(2π)."""
    return (-(x * x) / 2).exp() / (2 * arb.pi()).sqrt()


def normal_cdf(x: arb) -> arb:
    """Φ(x) = P(Z ≤ x)."""
    return (-x / arb(2).sqrt()).erfc() / 2


def hermite_values(x: arb | acb, n: int) -> list[Any]:
    """[he_0(x), …, he_{n−1}(x)] by the three-term recursion he_{k+1} = (x·he_k − √k·he_{k−1})/√(k+1)."""
    values: list[Any] = [arb(1), x]
    roots = _roots(n + 1, working_bits())
    for k in range(1, n - 1):
        values.append((x * values[k] - roots[k] * values[k - 1]) / roots[k + 1])
    return values[:n]


@lru_cache(maxsize=16)
def _roots(n: int, bits: int) -> tuple[arb, ...]:
    del bits  # part of the cache key: the roots are computed at the precision in force
    return tuple(arb(k).sqrt() for k in range(n))


def recursion_loss(size: float, n: int) -> int:
    """Bits that the ball recursion for he_k, k < n, may lose at |x| = size (its growth is at most exp(|x|√n))."""
    return int(1.45 * size * n**0.5) + 16
