"""Checkers of noise that attracts to saddles (arXiv 2306.04251): symbols, exact examples, a boundary-value oracle."""

import math
from collections.abc import Iterator
from random import Random

import numpy as np

from lop_theory.balls import fmpq
from lop_theory.stability.attraction import attraction_rate, capture_probability, moment_rate, sgd_attraction_rate
from lop_theory.verify.finding import Finding

_SYMBOLIC, _COUNTEREXAMPLE, _TESTED = "symbolic proof", "exact counterexample", "tested"


def stochastic_collapse(examples: int) -> Iterator[Finding]:
    """0 attracts dx = −L′dt + √(2D)dB if L″(0) + D″(0)/2 > 0   [later-stochastic-collapse]."""
    yield Finding(
        "paper", _scale_exponents(), _SYMBOLIC, "scale function s' = x^(2L''/D'' + o(1)), Stratonovich one less"
    )
    random = Random(6)
    errors = [
        _capture_error(random.uniform(-1, 1), random.uniform(0.1, 3), random) for _ in range(max(4, examples // 2))
    ]
    detail = f"capture probability against the backward equation by finite differences: within {max(errors):.0e}"
    yield Finding("paper", max(errors) < 1e-3, _TESTED, detail)
    samples, step = [fmpq(3, 4), fmpq(-1)], fmpq(1)
    mean, rate = sum(samples, fmpq(0)) / 2, sgd_attraction_rate([0.75, -1.0], 1.0)
    product = (1 - step * samples[0]) * (1 - step * samples[1])
    detail = f"SGD with factors 1/4 and 2: mean curvature {mean} (a saddle), product {product} < 1: collapses"
    yield Finding("paper", mean < 0 and product < 1 and rate > 0, _COUNTEREXAMPLE, detail)
    second_order = sgd_attraction_rate([0.9, -1.1], 1e-3) / attraction_rate(-1e-4, 1e-3 * 1e-3 * (0.81 + 1.21) / 2)
    yield Finding("paper", abs(second_order - 1) < 1e-2, _TESTED, "SGD with small steps: rate of the Ito reading")
    grows = moment_rate(2, fmpq(-1, 4), fmpq(1)) > 0 and attraction_rate(fmpq(-1, 4), fmpq(1)) > 0
    yield Finding("paper", grows, _COUNTEREXAMPLE, "L'' = -1/4, D'' = 1: almost all paths collapse, E x^2 grows")
    yield Finding(
        "paper", _two_dimensions(), _SYMBOLIC, "two normal dimensions: noise along the circle drives outwards"
    )
    yield Finding(
        "paper", _equality(), _SYMBOLIC, "alpha = 0: x^2 noise on -x^2/2 repels, a C^2 loss beside it attracts"
    )


def _scale_exponents() -> bool:
    """x·(log s′)′ → 2L″/D″ (Itô), 2L″/D″ − 1 (Stratonovich): integrable at 0 iff above −1 iff α > 0."""
    import sympy as sp

    x, h, s, c, e = sp.symbols("x h s c e", positive=True)
    slope, noise = h * x + c * x**2, s * x**2 / 2 + e * x**3
    ito, stratonovich = (sp.limit(x * drift / noise, x, 0) for drift in (slope, slope - noise.diff(x) / 2))
    alphas = [attraction_rate(h, s), attraction_rate(h, s, "stratonovich")]
    return all(
        sp.simplify((found + 1) * s / 2 - alpha) == 0 for found, alpha in zip((ito, stratonovich), alphas, strict=True)
    )


def _capture_error(curvature: float, noise: float, random: Random) -> float:
    """|1 − (x/R)^κ − P|, P the probability to go from x to x·e⁻ᵐ before R, by tridiagonal differences in log x."""
    from scipy.linalg import solve_banded

    depth, cells, at = 12.0, 2400, random.randint(200, 2200)
    width = depth / cells
    drift, spread = -attraction_rate(curvature, noise), noise / 2  # of log x
    bands = np.zeros((3, cells - 1))
    bands[0, 1:] = spread / width**2 + drift / (2 * width)
    bands[1] = -2 * spread / width**2
    bands[2, :-1] = spread / width**2 - drift / (2 * width)
    right = np.zeros(cells - 1)
    right[0] = -(spread / width**2 - drift / (2 * width))
    found = float(solve_banded((1, 1), bands, right)[at - 1])  # index 0 is the inner end, where it is 1
    inner, here = math.exp(-depth), math.exp(-depth + width * at)
    exponent = 2 * attraction_rate(curvature, noise) / noise
    if exponent > 0:  # P(reach inner) = P(captured) / P(captured from inner)
        captured = capture_probability(here, 1.0, curvature, noise)
        return abs(found - captured / capture_probability(inner, 1.0, curvature, noise))
    return capture_probability(here, 1.0, curvature, noise) + abs(found - _reach(here, inner, exponent))


def _reach(here: float, inner: float, exponent: float) -> float:
    """P(inner before 1) for a scale function x^exponent, exponent ≤ 0."""
    if exponent == 0:
        return math.log(here) / math.log(inner)
    return (1 - here**exponent) / (1 - inner**exponent)


def _two_dimensions() -> bool:
    """dX = −hX dt + σJX dB: d|X|² = (σ² − 2h)|X|² dt without noise, though the noise normal to each ray is 0."""
    import sympy as sp

    x, y, h, sigma = sp.symbols("x y h sigma", real=True)
    radius, noise = x**2 + y**2, sp.Matrix([-sigma * y, sigma * x])
    gradient_of = sp.Matrix([radius.diff(x), radius.diff(y)])
    drift = gradient_of.dot(sp.Matrix([-h * x, -h * y])) + (noise.T * sp.hessian(radius, (x, y)) * noise)[0] / 2
    return sp.expand(drift - (sigma**2 - 2 * h) * radius) == 0 and sp.expand(gradient_of.dot(noise)) == 0


def _equality() -> bool:
    """∫₀ s′ for D = x² with L′ = −x: s′ = 1/x, infinite; with L′ = −x + 2x/log(1/x): s′ = 1/(x log²x), finite."""
    import sympy as sp

    x = sp.Symbol("x", positive=True)
    slopes = [-x, -x - 2 * x / sp.log(x)]
    scales = [1 / x, 1 / (x * sp.log(x) ** 2)]
    solves = all(sp.simplify(s.diff(x) - slope / x**2 * s) == 0 for slope, s in zip(slopes, scales, strict=True))
    curvatures = [sp.limit(slope / x, x, 0) for slope in slopes]
    primitives = [sp.log(x), -1 / sp.log(x)]
    right = all(sp.simplify(p.diff(x) - s) == 0 for p, s in zip(primitives, scales, strict=True))
    ends = [sp.limit(p, x, 0, "+") for p in primitives]
    return solves and right and curvatures == [-1, -1] and ends == [-sp.oo, 0]
