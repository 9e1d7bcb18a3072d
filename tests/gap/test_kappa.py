"""The sharp constant κ: exact identities, closed kernels, samples."""

from fractions import Fraction

import mpmath as mp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import arb, precision
from lop_theory.gap.kappa import _by_cells, sharp_constant
from lop_theory.gap.kernel import (
    correlation_kernel,
    derivative_at_one,
    standard_kernel,
)
from lop_theory.gap.quartic_bound import gap
from lop_theory.gap.ratio import derivatives, ratio_of
from tests.gap.kernels import NONLINEAR, kernels, series
from tests.oracles import MP_ACTIVATIONS


@pytest.mark.claim("gap-sharp")
@given(st.fractions(0, 1, max_denominator=30), st.integers(1, 10**6))
def test_strength_is_the_best_constant_given_c(c, steps):
    """For g = cρ + (1 − c)ρ²: r(ρ) − λ = cλ(1 − ρ)/(1 + ρ), which tends to 0 as ρ → 1."""
    rho = 1 - Fraction(1, steps + 1)
    ratio = (rho**2 - series([c, 1 - c], rho) ** 2) / (rho**2 * (1 - rho**2))
    assert ratio - (1 - c) == c * (1 - c) * (1 - rho) / (1 + rho)


@pytest.mark.claim("gap-kappa")
@given(kernels(), st.booleans(), st.fractions(0, 1, max_denominator=30))
def test_kappa_of_pure_parity(squares, odd, rho):
    pure = [w if (k % 2 == 1) == odd else 0 for k, w in enumerate(squares, 1)]
    if sum(pure) == 0 or rho in (0, 1):
        return
    pure = [w / sum(pure) for w in pure]
    c = pure[0]
    ratio = (rho**2 - series(pure, rho) ** 2) / (rho**2 * (1 - rho**2))
    assert ratio >= (1 - c) * (1 + c)


@pytest.mark.claim("gap-kappa")
@pytest.mark.parametrize("name", sorted(set(NONLINEAR) & set(MP_ACTIVATIONS)))
def test_kappa_is_the_infimum_of_samples(name):
    """No sampled ratio lies below κ, and one comes close (grid in mpmath floats from 200 squares)."""
    expr = activation(name).expr
    sharp = sharp_constant(correlation_kernel(expr))
    kern = standard_kernel(expr)
    lowest = mp.inf
    for i in range(1, 200):
        rho = arb(i) / 200
        ratio = gap(kern, rho) / (rho * rho * (1 - rho * rho))
        assert not ratio < sharp.value.lower() - 1e-14
        lowest = min(lowest, float(ratio.upper()))
    assert lowest - float(sharp.value) < 0.02
    assert sharp.value >= kern.strength - 1e-14 or sharp.value.overlaps(kern.strength)


@pytest.mark.claim("gap-kappa")
@pytest.mark.parametrize(
    ("name", "method"), [("tanh", "parity"), ("gelu", "end"), ("relu", "interior"), ("hardswish", "interior")]
)
def test_kappa_methods(name, method):
    sharp = sharp_constant(correlation_kernel(activation(name).expr))
    assert sharp.method == method
    assert sharp.value.rad() < (1e-9 if name == "hardswish" else 1e-15)  # at ρ = 0.99965, where the tail is long


def _shifted_step(b, terms):
    """a_k² of step(x − b), from E step(Z − b)he_k = w(b)he_{k−1}(b)/√k."""
    below, this, found = mp.mpf(0), mp.mpf(1), []
    for k in range(1, terms):
        found.append((mp.npdf(b) * this) ** 2 / k)
        below, this = this, (b * this - mp.sqrt(k - 1) * below) / mp.sqrt(k)
    variance = mp.ncdf(b) * mp.ncdf(-b)
    return [square / variance for square in found]


@pytest.mark.claim("gap-kappa")
@pytest.mark.parametrize(("text", "b"), [("step(x-pi)", mp.pi), ("step(x-4)", 4), ("step(x+pi/4)", -mp.pi / 4)])
def test_kappa_of_a_shifted_step_may_lie_next_to_zero(text, b):
    """κ < λ(1 + c), the limit at 0, though by little: r′(0) = −2c·a_2²."""
    with mp.workdps(40):
        squares = _shifted_step(+b, 400)
        over = lambda rho: mp.polyval(squares[::-1], rho)  # noqa: E731 - K(ρ)/ρ
        ratio = lambda rho: (1 - over(rho) ** 2) / (1 - rho**2)  # noqa: E731
        place = mp.findroot(lambda rho: mp.diff(ratio, rho), squares[0] * squares[1])
        reference = ratio(place)
        assert reference < ratio(0)
        sharp = sharp_constant(correlation_kernel(from_formula(text).expr))
        assert sharp.method == "interior"
        assert sharp.value.rad() < 1e-15
        assert abs(mp.mpf(sharp.value.mid().str(30, radius=False)) - reference) < 2e-15


@pytest.mark.claim("gap-kappa")
@pytest.mark.parametrize(
    ("text", "width", "spread"),
    [("relu(x)", 1e-17, 1e-7), ("max(tanh(x), x-1)", 1e-17, 1e-7), ("step(x-1)", 1e-17, 1e-7),
     ("gelu(x)", 1e-15, 1e-13), ("exp(x/2)", 1e-15, 1e-13), ("hardswish(x)", 1e-4, 4e-3)],
)  # fmt: skip
def test_kappa_by_cells_alone_encloses_the_other_ways(text, width, spread):
    """Two hundred halvings of the weakest cell leave nothing of the width, but where the tail is long."""
    kern = correlation_kernel(from_formula(text).expr, 192)
    with precision(96):
        cells, other = _by_cells(kern, ratio_of(kern)), sharp_constant(kern)
        assert cells.method == "cells"
        assert cells.value.overlaps(other.value)
        assert cells.at.overlaps(other.at)
        assert cells.value.rad() < width
        assert cells.at.rad() < spread
        assert 0 <= cells.at.mid() <= 1


@pytest.mark.claim("gap-kappa")
def test_kappa_of_relu_against_its_closed_kernel():
    """r from the arc-cosine kernel, minimised by mpmath."""
    with mp.workdps(25):
        k = lambda r: ((mp.sqrt(1 - r * r) + r * (mp.pi - mp.acos(r))) - 1) / (mp.pi - 1)  # noqa: E731
        ratio = lambda r: (r * r - k(r) ** 2) / (r * r * (1 - r * r))  # noqa: E731
        place = mp.findroot(lambda r: mp.diff(ratio, r), 0.68)
        sharp = sharp_constant(correlation_kernel(activation("relu").expr))
        assert abs(mp.mpf(sharp.value.str(20, radius=False)) - ratio(place)) < 1e-14
        assert abs(mp.mpf(float(sharp.at)) - place) < 1e-6


@pytest.mark.claim("gap-kappa")
@pytest.mark.parametrize(
    "text", ["relu(x)**2", "relu(x)**3", "relu(x)**2 + x", "x*sigmoid(x)", "x*(1 + erf(x/sqrt(2)))/2"]
)
def test_derivatives_of_the_series_at_one_hold_the_exact_values(text):
    """N(1) = 2(K′(1) − 1) and N′(1) = S′(1)·2 + S(1)·F′(1), S′(1) = (K″(1) − 2K′(1) + 2)/2, F′(1) = K′(1) − 1."""
    kern = correlation_kernel(from_formula(text).expr, 48)
    first, second = derivative_at_one(kern, 1), derivative_at_one(kern, 2)
    n0, n1 = derivatives(ratio_of(kern), arb(1), 1)
    with precision(80):
        assert n0.overlaps(2 * (first - 1))
        assert n1.overlaps((second - 2 * first + 2) + (first - 1) ** 2)


@pytest.mark.claim("gap-kappa")
def test_kappa_of_two_terms_is_lambda_at_one():
    """√c he_1 + √λ he_2 attains the constant λ as ρ → 1: x + x² has c = 1/3."""
    sharp = sharp_constant(correlation_kernel(from_formula("x + x**2").expr))
    assert sharp.method == "end"
    assert sharp.value.overlaps(arb(2) / 3)


@pytest.mark.claim("gap-kappa")
def test_kappa_from_more_coefficients_than_are_ever_asked_for_is_as_sharp():
    """κ = E φ′²/Var φ − 1 of gelu, φ′ = Φ + xw, from 800 coefficients given: more than the 768 of the last attempt."""
    with mp.workdps(30):
        phi, slope = (lambda x: x * mp.ncdf(x)), (lambda x: mp.ncdf(x) + x * mp.npdf(x))
        mean, second, energy = (
            mp.quad(lambda x, f=f: f(x) * mp.npdf(x), [-14, -4, 0, 4, 14])
            for f in (phi, lambda x: phi(x) ** 2, lambda x: slope(x) ** 2)
        )
        sharp = sharp_constant(correlation_kernel(activation("gelu").expr, 800))
        assert sharp.method == "end"
        assert sharp.value.rad() < 1e-17
        assert abs(mp.mpf(sharp.value.mid().str(30, radius=False)) - (energy / (second - mean**2) - 1)) < 1e-16
