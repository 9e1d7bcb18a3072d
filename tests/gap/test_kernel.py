"""The correlation kernel: bounds, closed forms, values at ±1, slope, fixed points."""

from fractions import Fraction
from itertools import pairwise

import mpmath as mp
import pytest
from hypothesis import given

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import arb, precision
from lop_theory.errors import InvalidInput
from lop_theory.gap.kernel import (
    at_minus_one,
    correlation_kernel,
    derivative_at_one,
    fixed_points,
    slope,
    standard_kernel,
    value,
)
from tests.gap.kernels import NONLINEAR, correlations, kernels, series


@pytest.mark.claim("kernel-bounds")
@given(kernels(), correlations)
def test_kernel_bounds(squares, rho):
    t, c = abs(rho), squares[0]
    k = series(squares, rho)
    assert abs(k) <= t
    assert abs(k) <= c * t + (1 - c) * t * t
    assert series(squares, Fraction(1)) == 1


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("name", ["relu", "sign", "erf", "sin", "cos"])
def test_kernel_contains_the_classical_closed_form(name):
    """relu: arc-cosine kernel; sign: (2/π)asin ρ; erf: asin(2ρ/3)/asin(2/3); sin, cos: sinh ρ/sinh 1, (cosh ρ −
    1)/(cosh 1 − 1).
    """
    root = mp.sqrt
    closed = {
        "relu": lambda r: (
            ((root(1 - r * r) + r * (mp.pi - mp.acos(r))) / (2 * mp.pi) - 1 / (2 * mp.pi)) / (0.5 - 1 / (2 * mp.pi))
        ),
        "sign": lambda r: 2 / mp.pi * mp.asin(r),
        "erf": lambda r: mp.asin(2 * r / 3) / mp.asin(mp.mpf(2) / 3),
        "sin": lambda r: mp.sinh(r) / mp.sinh(1),
        "cos": lambda r: (mp.cosh(r) - 1) / (mp.cosh(1) - 1),
    }[name]
    kern = standard_kernel(activation(name).expr)
    with mp.workdps(30):
        for i in range(-16, 17):
            ball = value(kern, arb(i) / 16)
            with precision(160):
                assert ball.overlaps(arb(mp.nstr(closed(mp.mpf(i) / 16), 28)) + arb(0, 1e-26)), i
            if abs(i) <= 12:
                assert ball.rad() < 1e-14


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", NONLINEAR)
def test_kernel_at_minus_one_and_one(name):
    kern = correlation_kernel(activation(name).expr)
    assert value(kern, arb(1)) == 1
    last = at_minus_one(kern)
    parity = kern.expansion.parity
    if parity == "mixed":
        assert last > -1
        assert last < 1
    else:
        assert last == (-1 if parity == "odd" else 1)
    partial = sum(((-1) ** k * s for k, s in enumerate(kern.squares)), arb(0))
    assert abs(last - partial) <= kern.tails[kern.order] + 1e-14
    assert derivative_at_one(kern) > 1 or not derivative_at_one(kern).is_finite()


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", ["relu", "tanh", "silu", "gelu", "elu"])
def test_slope_is_the_kernel_of_the_derivative(name):
    """K′(0) = c, K′ increases on [0, 1], and a difference quotient of K lies between its values."""
    kern = standard_kernel(activation(name).expr)
    assert slope(kern, arb(0)).overlaps(kern.c)
    places = [arb(i) / 8 for i in range(8)]
    for u, v in pairwise(places):
        quotient = (value(kern, v) - value(kern, u)) * 8
        assert not quotient < slope(kern, u)
        assert not quotient > slope(kern, v)


@pytest.mark.claim("kernel-bounds")
def test_stein():
    """E φ̄′(Z) = a_1 for absolutely continuous φ; at a jump it fails (sign: E φ′ = 0, a_1 = √(2/π))."""
    from lop_theory.activations.symbolic import derivative
    from lop_theory.hermite.expansion import expand, mean

    for name in ("tanh", "relu", "gelu", "selu"):
        expansion = expand(activation(name).expr, 2)
        assert (mean(derivative(activation(name).expr), 64) / expansion.variance.sqrt()).overlaps(
            expansion.coefficients[1]
        )
    assert not mean(derivative(activation("sign").expr), 64).overlaps(
        expand(activation("sign").expr, 2).coefficients[1]
    )


@pytest.mark.parametrize("rho", ["1.0000001", "-2"])
def test_kernel_refuses_what_is_no_correlation(rho):
    with pytest.raises(InvalidInput, match="rho"):
        value(correlation_kernel(activation("tanh").expr), arb(rho))


@pytest.mark.claim("fixed-points")
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "abs", "sigmoid", "silu"])
def test_fixed_points(name):
    """Iterating K drives every |ρ| < 1 to 0; −1 is fixed exactly for odd φ̄."""
    kern = standard_kernel(activation(name).expr)
    places = dict(fixed_points(kern))
    assert places[0] == "attracting"
    assert places[1] == "repelling"
    assert (-1 in places) == (kern.expansion.parity == "odd") == bool(value(kern, arb(-1)) == -1)
    with precision(64):
        for start in (-0.99, -0.5, 0.9, 0.999):
            rho = arb(start)
            for _ in range(400):
                rho = value(kern, rho).mid().max(arb(-1)).min(arb(1))
            assert abs(rho) < 0.2


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize(("alpha", "beta"), [("1/8", "1"), ("1/8", "1/3"), ("3/16", "1/2"), ("-1/4", "1")])
def test_kernel_at_minus_one_where_the_square_of_the_product_is_not_integrable(alpha, beta):
    """φ = exp(αx² + βx): E φ(Z)φ(−Z) = E exp(2αZ²) = (1 − 4α)^{−1/2}."""
    expr = from_formula(f"exp({alpha}*x**2 + {beta}*x)").expr
    a, b = (mp.mpf(Fraction(text).numerator) / Fraction(text).denominator for text in (alpha, beta))
    with mp.workdps(30):
        mean = lambda p, q: mp.exp(q * q / (2 * (1 - 2 * p))) / mp.sqrt(1 - 2 * p)  # noqa: E731 - E exp(pZ² + qZ)
        first = mean(a, b)
        expected = (mean(2 * a, 0) - first**2) / (mean(2 * a, 2 * b) - first**2)
        found = at_minus_one(correlation_kernel(expr))
        assert abs(mp.mpf(found.mid().str(25, radius=False)) - expected) < 1e-14
        assert found.rad() < 1e-14


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", ["sign", "step", "relu", "tanh"])
def test_the_slope_at_zero_is_the_linearity_coefficient(name):
    """Where K′(1) is infinite, too."""
    kern = correlation_kernel(activation(name).expr)
    found = slope(kern, arb(0))
    assert found.overlaps(kern.c)
    assert found.rad() < 1e-14


def test_derivatives_at_one_of_a_line():
    kern = correlation_kernel(from_formula("2*x + 1").expr)
    assert [derivative_at_one(kern, order) for order in (1, 2)] == [1, 0]


@pytest.mark.parametrize(
    ("text", "digits", "order"),
    [("sin(x)", 15, 20), ("sin(x)", 40, 40), ("relu(x)", 15, 320), ("tanh(x)", 3, 20), ("erf(x/3)", 15, 20),
     ("sin(2*x)", 15, 40)],
)  # fmt: skip
def test_a_standard_kernel_doubles_its_order_until_the_tail_is_small(text, digits, order):
    """Of sin(ax), T_n = Σ_{k≥n, odd} a^{2k}/(k! sinh a²)."""
    kern = standard_kernel(from_formula(text).expr, digits)
    assert kern.order == order
    small = arb(10) ** -digits
    assert kern.tails[order] < small or order == 320
    assert order == 20 or not correlation_kernel(from_formula(text).expr, order // 2, digits).tails[order // 2] < small
