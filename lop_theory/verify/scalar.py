"""Checkers of the scalar theory (theory.md §1–§4): kernels, gap, rank and tension, by balls and in exact rationals."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

from lop_theory.activations import activation, from_formula
from lop_theory.balls import arb, fmpq, precision
from lop_theory.gap import (
    Kernel,
    analyse,
    at_minus_one,
    correlation_kernel,
    derivative_at_one,
    fixed_points,
    gap,
    sharp_constant,
    slope,
    standard_kernel,
    value,
)
from lop_theory.gap.certificate import Certificate, certify, verdict
from lop_theory.gap.rank import apply_kernel, gain_bound, is_fixed_ratio, polynomial_kernel, rank_gain
from lop_theory.verdict import Fails
from lop_theory.verify.finding import Finding, agreed, decided, refutes

_NAMES = ("relu", "tanh", "gelu", "silu", "erf", "elu", "softplus", "sign", "abs", "sin", "hardswish", "softsign")
_BALLS, _COUNTEREXAMPLE, _TESTED = "certified by balls", "exact counterexample", "tested"


def _kernels(examples: int) -> Iterator[tuple[str, Kernel]]:
    for name in _NAMES[: max(4, examples)]:
        yield name, standard_kernel(activation(name).expr)


def _short(ball: arb, digits: int) -> str:
    return ball.str(digits, radius=False)


def _grid(examples: int) -> list[arb]:
    steps = max(8, 2 * examples)
    return [arb(i) / steps for i in range(-steps, steps + 1)]


def _random_squares(random: Random) -> list[fmpq]:
    """Squares a_k² ≥ 0 of a random polynomial activation, with sum 1."""
    weights = [random.randint(0, 5) for _ in range(random.randint(1, 5))] + [random.randint(1, 5)]
    return [fmpq(w, sum(weights)) for w in weights]


def _random_correlation(random: Random) -> list[list[fmpq]]:
    """Unit diagonal and entries in [−1, 1]; all that Theorem 3.1 needs."""
    n = random.randint(2, 4)
    rows = [[fmpq(random.randint(-12, 12), 12) for _ in range(n)] for _ in range(n)]
    return [[fmpq(1) if i == j else rows[min(i, j)][max(i, j)] for j in range(n)] for i in range(n)]


# ---- the kernel ----


def mehler(examples: int) -> Iterator[Finding]:
    """K(ρ) = Σ a_k² ρ^k against the closed kernels of sign, (2/π)asin ρ, and sin, sinh ρ/sinh 1   [mehler]."""
    closed = {"sign": lambda r: 2 * r.asin() / arb.pi(), "sin": lambda r: r.sinh() / arb(1).sinh()}
    for name, formula in closed.items():
        kern = standard_kernel(activation(name).expr)
        with precision(kern.expansion.bits + 16):
            meets = [value(kern, rho).overlaps(formula(rho)) for rho in _grid(examples)]
        yield Finding("paper", all(meets), _BALLS, f"K of {name} meets its closed form at {len(meets)} correlations")
    for name, kern in _kernels(examples):
        with precision(kern.expansion.bits + 16):
            whole = (sum(kern.squares, arb(0)) + kern.tails[kern.order]).contains(1)
        yield Finding("paper", whole, _BALLS, f"the squares of {name} and their tail contain 1")


def kernel_bounds(examples: int) -> Iterator[Finding]:
    """|K| ≤ c|ρ| + (1 − c)ρ² ≤ |ρ|, K′(0) = c, K(±1)   [kernel-bounds]."""
    for name, kern in _kernels(examples):
        extremal = [kern.c * abs(rho) + kern.strength * rho * rho for rho in _grid(examples)]
        inside = [not abs(value(kern, r)) > g for r, g in zip(_grid(examples), extremal, strict=True)]
        ends = value(kern, arb(0)).contains(0) and value(kern, arb(1)) == 1 and slope(kern, arb(0)).overlaps(kern.c)
        odd, even = (kern.expansion.parity == kind for kind in ("odd", "even"))
        last = at_minus_one(kern)
        parity = (last == -1) == odd and (last == 1) == even
        yield Finding(
            "paper",
            all(inside) and ends and parity,
            _BALLS,
            f"{name}: below the extremal kernel, K(-1) = {_short(last, 5)}",
        )


def quartic_gap(examples: int) -> Iterator[Finding]:
    """ρ² − K² ≥ λρ²(1 − ρ²): certificates for every cell of [−1, 1], and the exact slack of polynomials   [gap]."""
    for name in _NAMES[: max(4, examples)]:
        found = analyse(activation(name))
        yield Finding(
            "paper",
            _truth(found.verdict),
            _BALLS,
            f"{name}: certificate on [-1, 1], kappa - lambda = {_short(found.kappa.value - found.kern.strength, 4)}",
        )
    random = Random(1)
    slacks = [_slack(_random_squares(random), fmpq(random.randint(-30, 30), 30)) for _ in range(examples)]
    yield Finding(
        "paper",
        all(slack >= 0 for slack in slacks),
        _TESTED,
        f"slack - c lambda rho^2 (1 - |rho|)^2 >= 0 in {examples} exact cases",
    )


def _slack(squares: list[fmpq], rho: fmpq) -> fmpq:
    """The slack of the bound beyond cλρ²(1 − |ρ|)²."""
    c, k = squares[0], polynomial_kernel(squares)(rho)
    size = abs(rho)
    return rho**2 - k**2 - (1 - c) * rho**2 * (1 - rho**2) - c * (1 - c) * rho**2 * (1 - size) ** 2


def _truth(found: object) -> bool | None:
    return True if found else False if isinstance(found, Fails) else None


def gap_sharp(examples: int) -> Iterator[Finding]:
    """λ is the best constant given c: the ratio of cρ + (1 − c)ρ² exceeds it by cλ(1 − ρ)/(1 + ρ)   [gap-sharp]."""
    random, slacks, attained = Random(7), [], []
    for _ in range(examples):
        slacks.append(_slack(_random_squares(random), fmpq(random.randint(-30, 30), 30)))
        c, rho = fmpq(random.randint(1, 11), 12), 1 - fmpq(1, random.randint(2, 10**6))
        k = polynomial_kernel([c, 1 - c])(rho)
        ratio = (rho**2 - k**2) / (rho**2 * (1 - rho**2))
        attained.append(ratio - (1 - c) == c * (1 - c) * (1 - rho) / (1 + rho))
    yield Finding(
        "paper",
        min(slacks) >= 0,
        _TESTED,
        f"the slack is at least c lambda rho^2 (1 - |rho|)^2 in {examples} exact cases",
    )
    yield Finding(
        "paper", all(attained), _TESTED, f"c rho + (1 - c) rho^2 comes to lambda as rho -> 1, exact in {examples} cases"
    )


def gap_kappa(examples: int) -> Iterator[Finding]:
    """κ is a lower bound of the ratio, nearly attained   [gap-kappa]."""
    for name, kern in _kernels(examples):
        sharp = sharp_constant(kern).value
        ratios = [gap(kern, rho) / (rho * rho * (1 - rho * rho)) for rho in _grid(examples) if 0 < rho < 1]
        holds = agreed(decided(ratio >= sharp.lower(), ratio < sharp.lower()) for ratio in ratios)
        yield Finding(
            "paper",
            holds and bool(sharp.upper() >= kern.strength.lower()),
            _BALLS,
            f"{name}: kappa = {_short(sharp, 8)} below {len(ratios)} ratios",
        )
    two_terms = sharp_constant(correlation_kernel(from_formula("x + x**2").expr)).value
    yield Finding("paper", two_terms.overlaps(arb(2) / 3), _BALLS, "x + x^2 attains kappa = lambda = 2/3 as rho -> 1")


def gap_certificate(examples: int) -> Iterator[Finding]:
    """What accepted certificates say of λ and of the ratio, against both from twice the digits   [gap-certificate]."""
    for name in _NAMES[: max(4, examples)]:
        found = certify(standard_kernel(activation(name).expr))
        with precision(256):
            yield _certified(name, found, standard_kernel(activation(name).expr, 30), examples)


def _certified(name: str, found: Certificate, kern: Kernel, examples: int) -> Finding:
    low, high, floor = (fmpq(number, 10**found.decimals) for number in (*found.strength, found.kappa_floor))
    inside = decided(low <= kern.strength <= high, kern.strength < low or kern.strength > high)
    ratios = [gap(kern, rho) / (rho * rho * (1 - rho * rho)) for rho in _grid(examples) if 0 < abs(rho) < 1]
    above = agreed(decided(ratio >= floor, ratio < floor) for ratio in ratios)
    detail = f"{name}: accepted, encloses lambda, its floor is below {len(ratios)} ratios"
    return Finding("paper", agreed((bool(verdict(found)), inside, above)), _TESTED, detail)


def gap_parity(examples: int) -> Iterator[Finding]:
    """gap(−s) = gap(s) + 4E(s)O(s), and E(s)O(s) ≥ 0 on [0, 1]   [gap-parity]."""
    random, right = Random(2), []
    for _ in range(examples):
        squares, s = _random_squares(random), fmpq(random.randint(0, 30), 30)
        kernel = polynomial_kernel(squares)
        even, odd = (kernel(s) + kernel(-s)) / 2, (kernel(s) - kernel(-s)) / 2
        right.append(s**2 - kernel(-s) ** 2 == s**2 - kernel(s) ** 2 + 4 * even * odd and even * odd >= 0)
    yield Finding("paper", all(right), _TESTED, f"the identity in {examples} exact cases")
    at_end = gap(correlation_kernel(activation("relu").expr), arb(-1))
    yield Finding("paper", decided(at_end > 0.78, at_end < 0.78), _BALLS, f"relu's gap at -1 is {_short(at_end, 6)}")


# ---- rank ----


def entrywise(examples: int) -> Iterator[Finding]:
    """K(C) is PSD and its Rényi-2 rank is at least that of C   [entrywise]."""
    import numpy as np

    random = np.random.default_rng(3)
    lowest, gains = [], []
    for _, kern in _kernels(min(examples, 4)):
        features = random.normal(size=(4, 6))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        before = np.clip(features @ features.T, -1, 1)
        np.fill_diagonal(before, 1)
        after = np.array(apply_kernel(before.tolist(), lambda r, k=kern: float(value(k, arb(r)))))
        lowest.append(float(np.linalg.eigvalsh(after)[0]))
        gains.append(float((before**2).sum() / (after**2).sum()))
    yield Finding(
        "paper",
        min(lowest) > -1e-12 and min(gains) >= 1 - 1e-12,
        _TESTED,
        f"least eigenvalue {min(lowest):.2g}, least gain {min(gains):.4f}",
    )


def rank_gains(examples: int) -> Iterator[Finding]:
    """er₂(K(C))/er₂(C) ≥ 1 + λP(C) in exact rationals   [rank-gain]."""
    random, margins = Random(4), []
    for _ in range(examples):
        squares, matrix = _random_squares(random), _random_correlation(random)
        margins.append(rank_gain(matrix, polynomial_kernel(squares)) - gain_bound(matrix, 1 - squares[0]))
    yield Finding(
        "paper",
        min(margins) >= 0,
        _TESTED,
        f"least margin {float(arb(min(margins))):.3g} over {examples} exact matrices",
    )


def rank_gain_of_units(examples: int) -> Iterator[Finding]:
    """|K_ij(ρ)| ≤ s|ρ| + (1 − s)ρ² with s = √(c_i c_j), and the gain of unlike units, exactly   [rank-gain-units].

    K_ij(ρ) = Σ_k a_k b_k ρ^k; coefficients are rationals on the unit sphere (Pythagorean pairs), so c is exact.
    """
    random, margins = Random(6), []
    for _ in range(examples):
        (a, a2), (b, b2) = (random.choice(_PYTHAGOREAN) for _ in range(2))
        rho = fmpq(random.randint(1, 11), 12)
        mixed = a * b * rho + a2 * b2 * rho**2  # one linear and one quadratic coefficient each
        margins.append(rho**2 - mixed**2 - (1 - a * b) * rho**2 * (1 - rho**2))
    yield Finding("paper", min(margins) >= 0, _TESTED, f"rho^2 - K_ij^2 exceeds the bound in {examples} exact cases")


_PYTHAGOREAN = [
    (fmpq(3, 5), fmpq(4, 5)),
    (fmpq(4, 5), fmpq(3, 5)),
    (fmpq(5, 13), fmpq(12, 13)),
    (fmpq(15, 17), fmpq(8, 17)),
]


def rank_equality(examples: int) -> Iterator[Finding]:
    """The paper's condition fails at ρ = −1; the corrected one is exact   [rank-equality]."""
    antipodal = [[fmpq(1), fmpq(-1)], [fmpq(-1), fmpq(1)]]
    gain = rank_gain(antipodal, polynomial_kernel([fmpq(1, 2), fmpq(1, 2)]))
    yield refutes(gain > 1, _COUNTEREXAMPLE, f"n = 2, rho = -1, K = (rho + rho^2)/2: the rank grows by {gain}")
    random, right = Random(5), []
    for _ in range(examples):
        squares = _random_squares(random)
        matrix = [
            [fmpq(1) if i == j else fmpq(random.choice((-1, 0, 1, 2)), 2 if i + j == 1 else 1) for j in range(2)]
            for i in range(2)
        ]
        matrix = [[max(min(e, fmpq(1)), fmpq(-1)) for e in row] for row in matrix]
        odd, even = (any(s for k, s in enumerate(squares, 1) if k % 2 == parity) for parity in (1, 0))
        fixed = is_fixed_ratio(matrix, linear=squares[0] == 1, pure_parity=odd != even)
        right.append(fixed == (rank_gain(matrix, polynomial_kernel(squares)) == 1))
    yield Finding("corrected", all(right), _TESTED, f"the ratio is 1 exactly as predicted in {examples} exact cases")


def fixed_point_types(examples: int) -> Iterator[Finding]:
    """Iterating K drives |ρ| < 1 to 0, and −1 is fixed for odd φ̄ only   [fixed-points]."""
    relu = at_minus_one(correlation_kernel(activation("relu").expr))
    yield refutes(bool(relu > -1), _BALLS, f"relu moves -1 to {_short(relu, 6)}")
    for name, kern in _kernels(examples):
        places = dict(fixed_points(kern))
        ends = decided(derivative_at_one(kern) > 1, derivative_at_one(kern) < 1)
        minus = (-1 in places) == bool(at_minus_one(kern) == -1)
        contracts = all(abs(value(kern, r)) < abs(r) for r in (arb(0.9), arb(-0.9), arb(0.5)))
        yield Finding("corrected", agreed([ends, minus, contracts]), _BALLS, f"{name}: fixed points {sorted(places)}")


def linear_steps(_: int) -> Iterator[Finding]:
    """W = [[1, 0], [1, 1/100]] takes er₂ from 2 to below 1.001   [linear-step]."""
    squared = fmpq(1) / (1 + fmpq(1, 10**4))  # corr(W Wᵀ)² off the diagonal
    after = fmpq(4) / (2 + 2 * squared)
    yield refutes(after < 2, _COUNTEREXAMPLE, f"er2 falls from 2 to {float(arb(after)):.6f}")
    yield from (found._replace(about="corrected") for found in rank_gains(5))


def relu_bias(_: int) -> Iterator[Finding]:
    """λ(relu(x + b)) falls strictly from 1 to 0   [tension-relu-bias]."""
    from lop_theory.tension import certify_monotone, relu_bias_strength

    with precision(400):
        ends = relu_bias_strength(arb(-12)) > 1 - 1e-15 and relu_bias_strength(arb(8)) < 1e-14
        values = [relu_bias_strength(arb(b) / 4) for b in range(-4 * 6, 4 * 6)]
    falls = all(u > v for u, v in pairwise(values))
    yield Finding(
        "paper", bool(ends) and falls, _BALLS, f"{len(values)} values fall, from 1 - 1e-15 at b = -12 to 1e-14 at b = 8"
    )
    sure = certify_monotone("relu", "bias", (fmpq(-1, 2), fmpq(-1, 4)), fixed=fmpq(1), sense="decreasing")
    yield Finding("paper", _truth(sure), _BALLS, "strictly decreasing on [-1/2, -1/4]")
    yield _relu_bias_identity()


def _relu_bias_identity() -> Finding:
    """wV − mΦ(1 − Φ) = w²(t + w(1 − tR))(R² + tR − 1): a polynomial identity in t, w and Q = 1 − Φ(t), R = Q/w."""
    import sympy as sp

    t, w, q = sp.symbols("t w Q", positive=True)
    ratio, first = q / w, w - t * q
    variance = (1 + t**2) * q - t * w - first**2
    left: Any = w * variance - first * q * (1 - q)
    zero = sp.simplify(left - w**2 * (t + w * (1 - t * ratio)) * (ratio**2 + t * ratio - 1)) == 0
    return Finding("paper", bool(zero), "symbolic proof", "the factorisation of the proof is an identity")


def tanh_gain(_: int) -> Iterator[Finding]:
    """λ(tanh(ax)) rises to 1 − 2/π, not to 1   [tension-tanh-gain]."""
    from lop_theory.tension import certify_monotone, scale_limit, strength_at

    limit = scale_limit("tanh")
    strengths = [strength_at("tanh", fmpq(a), fmpq(0)) for a in (1, 4, 16, 64)]
    below = all(strength < limit for strength in strengths) and limit < 0.37
    yield refutes(bool(below), _BALLS, f"lambda at gain 64 is {_short(strengths[-1], 6)}, below 1 - 2/pi")
    rising = certify_monotone("tanh", "scale", (fmpq(1), fmpq(5, 4)), fixed=fmpq(0), sense="increasing")
    yield Finding("corrected", _truth(rising), _BALLS, "strictly increasing on [1, 5/4]")
    near = all(u < v for u, v in pairwise(strengths)) and limit - strengths[-1] < 0.01
    yield Finding("corrected", bool(below and near), _BALLS, "rises along 1, 4, 16, 64 to within 0.01 of 1 - 2/pi")


def monotone_turns(examples: int) -> Iterator[Finding]:
    """Certified turns of λ in scale and bias; the limit on exponential tails   [tension-monotone]."""
    from lop_theory.tension import direction_verdict, strength_at, tail_limit

    turns = [
        ("gelu", "scale"),
        ("silu", "scale"),
        ("mish", "scale"),
        ("selu", "scale"),
        ("gelu", "bias"),
        ("tanh", "bias"),
    ]
    for name, direction in turns[: max(2, examples)]:
        found = direction_verdict(name, "scale" if direction == "scale" else "bias")
        turned = isinstance(found, Fails)
        places = [str(p) for p in found.witness.places] if isinstance(found, Fails) else []
        yield Finding(
            "paper",
            None if not turned else False,
            _BALLS,
            f"lambda of {name} turns in its {direction} at {' '.join(places)}",
        )
    for name in ("softplus", "elu", "sigmoid"):
        away = abs(strength_at(name, fmpq(1), fmpq(-16)) - tail_limit(fmpq(1)))
        yield Finding(
            "corrected",
            decided(away < 1e-4, away > 1e-4),
            _BALLS,
            f"lambda of {name} at bias -16 is 1 - 1/(e - 1) to 1e-4",
        )


def freezing(examples: int) -> Iterator[Finding]:
    """λ near 1 without frozen mass; the floor of monotone φ   [tension-freezing]."""
    from lop_theory.tension import unit

    for name, bias, scale in (("abs", "0", "1"), ("square", "0", "1"), ("silu", "-1.9", "1"), ("sin", "0", "3"))[
        : max(2, examples)
    ]:
        found = unit(name, bias=bias, scale=scale)
        free = found.strength > 0.98 and found.frozen.standardised < 0.02
        strength, frozen = _short(found.strength, 4), _short(found.frozen.standardised, 3)
        yield refutes(bool(free), _BALLS, f"{name}({scale}x + {bias}): lambda {strength}, P(frozen) {frozen}")
    yield from (found._replace(about="corrected") for found in freezing_bound(examples))


def freezing_bound(examples: int) -> Iterator[Finding]:
    """P(|φ̄′| < ε) ≥ 1 − √(1 − λ)/ε for monotone φ   [freezing-bound]."""
    from lop_theory.tension import monotone_floor, strength_at
    from lop_theory.tension.frozen import standardised_probability

    for name in ("relu", "tanh", "softplus", "elu")[: max(2, examples)]:
        for bias in ("-2", "0"):
            frozen = standardised_probability(activation(name, bias=bias).expr, fmpq(1, 2))
            floor = monotone_floor(strength_at(name, fmpq(1), fmpq(bias)), arb(0.5))
            yield Finding(
                "paper",
                decided(frozen >= floor - 1e-6, frozen < floor),
                _BALLS,
                f"{name}(x + {bias}): P = {_short(frozen, 5)} above its floor {_short(floor, 5)}",
            )


def strength_numbers(_: int) -> Iterator[Finding]:
    """λ to six digits, the intervals that are proved   [strength-numbers]."""
    for name, low in _STRENGTHS.items():
        strength = correlation_kernel(activation(name).expr, 2).strength
        inside = strength >= fmpq(low, 10**6) and strength <= fmpq(low + 1, 10**6)
        yield Finding(
            "paper",
            decided(inside, not strength.overlaps(arb(low) / 10**6 + arb(0, 1e-6))),
            _BALLS,
            f"{name}: {_short(strength, 9)}",
        )


_STRENGTHS = {"tanh": 69530, "relu": 266528, "silu": 201490, "erf": 86417, "gelu": 276712}
"""Millionths at the lower end of the proved interval, which is one millionth wide."""


def mehler_polynomial(examples: int) -> Iterator[Finding]:
    """E[p(X)p(Y)] from the moments of (X, Y) against Σ a_k² ρ^k, in exact rationals   [mehler-polynomial]."""
    random, equal = Random(8), []
    for _ in range(examples):
        p, rho = [random.randint(-3, 3) for _ in range(random.randint(1, 5))], fmpq(random.randint(-12, 12), 12)
        equal.append(_pair_mean(p, rho) == sum((_hermite_square(p, k) * rho**k for k in range(len(p))), fmpq(0)))
    yield Finding("paper", all(equal), _TESTED, f"{examples} random polynomials, exact")


def _moment(n: int) -> int:
    """E Zⁿ = (n − 1)!! for even n."""
    from math import prod

    return 0 if n % 2 else prod(range(1, n, 2))


def _pair_mean(p: list[int], rho: fmpq) -> fmpq:
    """E[p(X)p(Y)] with Y = ρX + sW, s² = 1 − ρ²: only even powers of W count."""
    from math import comb

    total = fmpq(0)
    for i, a in enumerate(p):
        for j, b in enumerate(p):
            for k in range(0, j + 1, 2):
                total += (
                    a * b * comb(j, k) * rho ** (j - k) * (1 - rho**2) ** (k // 2) * _moment(k) * _moment(i + j - k)
                )
    return total


def _hermite_square(p: list[int], k: int) -> fmpq:
    """a_k² = E[p He_k]²/k! with He_{k+1} = z He_k − k He_{k−1}."""
    from math import factorial

    before, here = [0], [1]
    for n in range(k):
        shifted, lower = [0, *here], [n * c for c in before] + [0] * (len(here) + 1 - len(before))
        before, here = here, [u - v for u, v in zip(shifted, lower, strict=True)]
    mean = sum(a * c * _moment(i + j) for i, a in enumerate(p) for j, c in enumerate(here))
    return fmpq(mean) ** 2 / factorial(k)
