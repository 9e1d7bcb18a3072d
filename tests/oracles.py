"""Oracles that share no code with the library: mpmath quadrature, exact fractions, random matrices."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import mpmath as mp
import numpy as np

MP_ACTIVATIONS: dict[str, tuple[Callable, list[float]]] = {
    # name: (function on mpf, kinks) — written from the definitions, not from the catalogue's formulas
    "relu": (lambda x: max(x, mp.mpf(0)), [0]),
    "leaky_relu": (lambda x: x if x > 0 else x / 100, [0]),
    "elu": (lambda x: x if x > 0 else mp.expm1(x), [0]),
    "gelu": (lambda x: x * mp.ncdf(x), []),
    "gelu_tanh": (lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))), []),
    "silu": (lambda x: x / (1 + mp.exp(-x)), []),
    "mish": (lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), []),
    "softplus": (lambda x: mp.log1p(mp.exp(x)), []),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), []),
    "tanh": (mp.tanh, []),
    "hardtanh": (lambda x: max(mp.mpf(-1), min(mp.mpf(1), x)), [-1, 1]),
    "hardswish": (lambda x: x * max(mp.mpf(0), min(mp.mpf(6), x + 3)) / 6, [-3, 3]),
    "softsign": (lambda x: x / (1 + abs(x)), [0]),
    "softshrink": (lambda x: mp.sign(x) * max(abs(x) - mp.mpf("0.5"), mp.mpf(0)), [-0.5, 0.5]),
    "tanhshrink": (lambda x: x - mp.tanh(x), []),
    "erf": (mp.erf, []),
    "arctan": (mp.atan, []),
    "sin": (mp.sin, []),
    "abs": (abs, [0]),
    "sign": (mp.sign, [0]),
    "step": (lambda x: mp.mpf(x >= 0), [0]),
    "cube": (lambda x: x**3, []),
    "relu_squared": (lambda x: max(x, mp.mpf(0)) ** 2, [0]),
    "gaussian": (lambda x: mp.exp(-x * x / 2), []),
}


def mp_hermite(k: int, x: mp.mpf) -> mp.mpf:
    """he_k by its recurrence, √(n+1) he_{n+1} = x he_n − √n he_{n−1}."""
    before, found = mp.mpf(0), mp.mpf(1)
    for n in range(k):
        before, found = found, (x * found - mp.sqrt(n) * before) / mp.sqrt(n + 1)
    return found


def mp_expect(function: Callable, kinks: list[float], density: Callable = mp.npdf) -> mp.mpf:
    """E function(Z) by mpmath.quad on the line cut at kinks and at ±16."""
    points = sorted({-16, -8, -3, 0, 3, 8, 16, *kinks})
    return mp.quad(lambda x: function(x) * density(x), points)


def mp_coefficients(name: str, orders: list[int], digits: int = 22) -> list[mp.mpf]:
    """a_k of the standardised activation, k in ``orders``."""
    function, kinks = MP_ACTIVATIONS[name]
    value, density = cache(function), cache(mp.npdf)  # the nodes are the same each time
    with mp.workdps(digits):
        mean = mp_expect(value, kinks, density)
        deviation = mp.sqrt(mp_expect(lambda x: (value(x) - mean) ** 2, kinks, density))
        return [mp_expect(lambda x, k=k: value(x) * mp_hermite(k, x), kinks, density) / deviation for k in orders]


def fraction(text: str) -> Fraction:
    return Fraction(text)


def random_correlation(rng: np.random.Generator, n: int, rank: int) -> np.ndarray:
    """A correlation matrix of at most the given rank, entries in [−1, 1]."""
    factors = rng.normal(size=(n, rank))
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    matrix = np.clip(factors @ factors.T, -1, 1)
    np.fill_diagonal(matrix, 1.0)
    return matrix
