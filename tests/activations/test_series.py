"""Taylor series against mpmath's derivatives; Hermite factors against their sums; powers and roots of balls."""

import math

import mpmath as mp
import pytest

from lop_theory.activations.ball_table import constant_value
from lop_theory.activations.expression import Expr, X, call
from lop_theory.activations.formula import parse
from lop_theory.activations.gaussian import (
    hermite_values,
    normal_cdf,
    off_axis_factor,
    recursion_loss,
    strip_second_moment,
    weight,
)
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.strip import StripBound
from lop_theory.activations.taylor_series import NotAnalytic, series_function, taylor_form
from lop_theory.balls import acb, acb_series, arb, arb_series, fmpq, precision, series_length, within

TERMS = 5
FUNCTIONS = {
    "exp": mp.exp, "log": mp.log, "sqrt": mp.sqrt, "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "sinh": mp.sinh,
    "cosh": mp.cosh, "tanh": mp.tanh, "atan": mp.atan, "asinh": mp.asinh, "erf": mp.erf,
    "sigmoid": lambda u: 1 / (1 + mp.exp(-u)), "softplus": lambda u: mp.log(1 + mp.exp(u)),
}  # fmt: skip
POWERS = [fmpq(1), fmpq(2), fmpq(3), fmpq(7), fmpq(-1), fmpq(-4), fmpq(1, 2), fmpq(-2, 3)]


def coefficients(expr, centre):
    kind, series = (acb, acb_series) if isinstance(centre, complex) else (arb, arb_series)
    with precision(120), series_length(TERMS):
        found = series_function(expr)(series([kind(centre), 1]))
        return [found[j] for j in range(TERMS)]


def are_taylors(found, function, centre):
    right = mp.taylor(function, centre, TERMS - 1)
    return [complex(float(c.real), float(c.imag)) for c in found] == pytest.approx(
        [complex(c) for c in right], rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("centre", [0.625, 2.0, -0.75, 0.0, -3.0, 0.5 + 0.25j, -0.5 + 0.25j])
def test_series_are_taylors(name, centre):
    if name in ("log", "sqrt") and isinstance(centre, float) and centre <= 0:
        known = name == "sqrt" and centre == 0  # √0, but no slope
        assert [c.is_finite() for c in coefficients(call(name, X), centre)] == [known] + [False] * (TERMS - 1)
        return
    with mp.workdps(40):
        assert are_taylors(coefficients(call(name, X), centre), FUNCTIONS[name], centre)


@pytest.mark.parametrize("exponent", POWERS, ids=str)
@pytest.mark.parametrize("centre", [0.625, 2.0, 1.5 - 0.5j])
def test_series_of_powers_are_taylors(exponent, centre):
    with mp.workdps(40):
        power = mp.mpf(int(exponent.p)) / int(exponent.q)
        assert are_taylors(coefficients(Expr("pow", (X,), exponent), centre), lambda u: u**power, centre)


@pytest.mark.parametrize("exponent", POWERS, ids=str)
def test_powers_of_balls(exponent):
    with precision(80):
        for base in (0.3, 1.0, 2.5):
            found = real_function(Expr("pow", (X,), exponent))(arb(base))
            assert float(found) == pytest.approx(base ** (int(exponent.p) / int(exponent.q)), rel=1e-14)
        assert real_function(Expr("pow", (X,), fmpq(1, 3)))(arb(0)) == 0
        assert not real_function(Expr("pow", (X,), fmpq(1, 3)))(arb(-1)).is_finite()


def test_constants_may_use_what_has_no_series():
    """|1 − π|x + max(1, √3)x², and step and sign of a constant."""
    found = coefficients(parse("abs(1 - pi)*x + max(1, sqrt(3))*x**2 + step(pi - 3)*x**3 + sign(1 - pi)*x**4"), 0.0)
    assert [float(c) for c in found] == pytest.approx([0, math.pi - 1, 3**0.5, 1, -1], rel=1e-14)


def test_there_is_no_series_at_a_branch_point():
    with pytest.raises(NotAnalytic):
        coefficients(parse("1/x"), 0.0)
    with precision(64):
        assert not taylor_form(series_function(parse("1/x")), arb(0), within(arb(1))).is_finite()


def test_a_taylor_form_is_narrow_beside_a_multiple_zero():
    """1 − cos(x) on [−r, r] lies in [0, r²/2]."""
    with precision(64):
        for r in (1e-2, 1e-4):
            found = taylor_form(series_function(parse("1 - cos(x)")), arb(0), within(arb(r)))
            assert found.contains(arb(0))
            assert found.contains(arb(r * r / 2.001))
            assert float(found.abs_upper()) == pytest.approx(r * r / 2, rel=0.01)


@pytest.mark.parametrize("k", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("y", [0.0, 0.5, -1.25])
def test_hermite_factors_are_their_sums(k, y):
    square = sum(math.comb(k, i) * y ** (2 * i) / math.factorial(i) for i in range(k + 1))
    factor = sum(math.sqrt(math.comb(k, i) / math.factorial(i)) * abs(y) ** i for i in range(k + 1))
    with precision(64):
        assert float(strip_second_moment(k, arb(y))) == pytest.approx(square, rel=1e-14)
        assert float(off_axis_factor(k, arb(y))) == pytest.approx(factor, rel=1e-14)


def test_hermite_functions_are_those_of_their_definitions():
    with precision(80):
        for x in (-2.5, -0.5, 0.0, 1.0, 4.0):
            values = hermite_values(arb(x), 12)
            assert len(values) == 12
            for k, value in enumerate(values):  # He_k(x) = 2^(−k/2) H_k(x/√2)
                right = 2 ** (-k / 2) * mp.hermite(k, x / mp.sqrt(2)) / mp.sqrt(mp.factorial(k))
                assert float(value) == pytest.approx(float(right), rel=1e-12, abs=1e-12)
            assert float(weight(arb(x))) == pytest.approx(float(mp.npdf(x)), rel=1e-14)
            assert float(normal_cdf(arb(x))) == pytest.approx(float(mp.ncdf(x)), rel=1e-14)
        assert [len(hermite_values(arb(1), n)) for n in (0, 1, 2, 3)] == [0, 1, 2, 3]
        for size, n in ((3.0, 50), (12.0, 200)):  # what is lost is no more than is reserved
            with precision(2 * recursion_loss(size, n) + 64):
                right = hermite_values(arb(size), n)
            with precision(recursion_loss(size, n) + 64):
                found = hermite_values(arb(size), n)
            assert all(
                float((a - b).abs_upper()) < 2.0**-60 * (1 + abs(float(b))) for a, b in zip(found, right, strict=True)
            )


@pytest.mark.parametrize(("degree", "double_factorial"), [(0, 1), (1, 1), (2, 3), (3, 15)])
def test_second_moments_of_strip_bounds(degree, double_factorial):
    """(factor · (1 + d + ((2p − 1)!!)^(1/2p))^p)²."""
    norm = 1 + 0.5 + double_factorial ** (1 / (2 * degree)) if degree else 1.0
    with precision(64):
        found = StripBound(arb(3), degree).second_moment(arb(0.5))
    assert float(found) == pytest.approx((3 * norm**degree) ** 2, rel=1e-12)


def test_constants_have_their_values():
    with precision(64):
        for text, right in [("pi", mp.pi), ("sqrt(2)", mp.sqrt(2)), ("exp(1)/3", mp.e / 3), ("2**(1/2)", mp.sqrt(2))]:
            assert float(constant_value(parse(text))) == pytest.approx(float(right), rel=1e-15)
