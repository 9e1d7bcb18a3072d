"""Hermite coefficients: enclosures against mpmath, the three routes against each other, exactness and refusals."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula
from lop_theory.activations.symbolic import derivative
from lop_theory.balls import arb, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite import panels, recursion, trapezoid
from lop_theory.hermite.adaptive import coefficient
from lop_theory.hermite.exact import strength
from lop_theory.hermite.expansion import (
    bits_of,
    energy,
    expand,
    mean,
    mean_square,
    mirror_product,
    raw_moments,
)
from tests.oracles import MP_ACTIVATIONS, mp_coefficients


def contains(ball: arb, value: mp.mpf, slack: float = 1e-17) -> bool:
    """The ball meets value ± slack (the oracle's own error)."""
    with precision(200):
        return ball.overlaps(arb(mp.nstr(value, 45)) + arb(0, slack))


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("name", MP_ACTIVATIONS)
def test_enclosures_contain_mpmath_quadrature(name):
    orders = [1, 2, 3, 8]
    found = expand(activation(name).expr, 12).coefficients
    for k, value in zip(orders, mp_coefficients(name, orders), strict=True):
        assert contains(found[k], value), (name, k)
        assert found[k].rad() <= 1e-15


@pytest.mark.parametrize("name", CATALOGUE)
def test_routes_overlap(name):
    """Three algorithms with separate error bounds give balls that meet; none is wider than asked."""
    expr = activation(name).expr
    routes = [panels.moments(expr, 16, 64)]
    if recursion.applies(expr):
        routes.append(recursion.moments(expr, 16, 64))
    if (found := trapezoid.moments(expr, 16, 64)) is not None:
        routes.append(found)
    for coefficients, second in routes[1:]:
        assert second.overlaps(routes[0][1])
        assert all(a.overlaps(b) for a, b in zip(coefficients, routes[0][0], strict=True))
    assert max(float(a.rad()) for coefficients, _ in routes for a in coefficients) < 2.0**-60


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("name", ["relu", "tanh", "silu", "softsign", "gelu_tanh", "hardshrink"])
def test_adaptive_integration_agrees(name):
    expr = activation(name).expr
    coefficients, _, _ = raw_moments(expr, 12, 80)
    for k in (0, 1, 5, 11):
        found = coefficient(expr, k, 70)
        assert coefficients[k].overlaps(found)
        assert found.rad() < 1e-15  # a ball that is not finite overlaps everything


@pytest.mark.parametrize("digits", [15, 30, 100])
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "selu", "softsign"])
def test_radii_meet_the_digits_asked(name, digits):
    expansion = expand(activation(name).expr, 10, digits)
    assert all(a.rad() <= arb(10) ** -digits for a in expansion.coefficients)
    coarse = expand(activation(name).expr, 10, 15)
    assert all(a.overlaps(b) for a, b in zip(expansion.coefficients, coarse.coefficients, strict=True))


@pytest.mark.claim("mehler")
@given(
    st.sampled_from([n for n in CATALOGUE if n not in ("identity", "step", "sign", "hermite")]),
    st.sampled_from(["1/2", "1", "3/2", "2"]),
    st.sampled_from(["-1", "-1/3", "0", "1/2"]),
)
def test_parseval_is_respected(name, scale, bias):
    """Σ_{k<n} a_k² never exceeds 1, and a_0 = 0 exactly."""
    a = expand(activation(name, scale=scale, bias=bias).expr, 24).coefficients
    assert a[0].is_zero()
    assert not sum((x * x for x in a), arb(0)) > 1


def test_parseval_is_attained_by_polynomials():
    a = expand(from_formula("x**3 - 2*x**2 + x/3 + 5").expr, 5).coefficients
    assert abs(sum((x * x for x in a), arb(0)) - 1) < 1e-14


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "gelu", "hardtanh", "hardswish", "sin", "erf", "sign", "cube", "abs"]
)
def test_closed_forms_lie_in_the_balls(name):
    a1 = expand(activation(name).expr, 2, 30).coefficients[1]
    with precision(200), mp.workdps(45):
        closed = mp.mpf(str(strength(activation(name)).evalf(42)))
        assert contains(1 - a1 * a1, closed, 1e-38)


def test_relu_closed_form_is_the_papers():
    import sympy as sp

    assert sp.simplify(strength(activation("relu")) - (1 - sp.pi / (2 * (sp.pi - 1)))) == 0


@pytest.mark.parametrize("name", ["tanh", "silu", "relu", "elu", "softsign", "gelu"])
def test_energy_of_the_derivative_matches_mpmath(name):
    slope = activation(name).derivative_numpy()
    with mp.workdps(20):
        points = [-12, -4, -1, 0, 1, 4, 12]
        expected = mp.quad(lambda x: mp.mpf(float(slope(np.array(float(x))))) ** 2 * mp.npdf(x), points)
    assert float(energy(activation(name).expr, 1, 64)) == pytest.approx(float(expected), abs=1e-9)


def test_energy_diverges_at_a_jump():
    assert not energy(activation("sign").expr, 1, 64).is_finite()
    assert energy(activation("relu").expr, 1, 64).is_finite()
    assert not energy(activation("relu").expr, 2, 64).is_finite()


def test_irrational_kink_is_bisected_towards():
    """abs(x² − 2) switches at ±√2, which no piece names; the panels still enclose E|Z² − 2|."""
    coefficients, _, method = raw_moments(from_formula("abs(x**2 - 2)").expr, 2, 60)
    with mp.workdps(25):
        expected = mp.quad(lambda x: abs(x * x - 2) * mp.npdf(x), [-14, -mp.sqrt(2), 0, mp.sqrt(2), 14])
    assert method == "Gauss–Legendre panels"
    assert contains(coefficients[0], expected, 1e-16)


@pytest.mark.parametrize(
    ("text", "function", "ends"),
    [
        (
            "tanh(x) + 10**45*step(x-20)*step(21-x)",
            lambda x: mp.tanh(x) + mp.mpf(10) ** 45 * (20 <= x <= 21),
            [20, 20.5, 21],
        ),
        ("relu(x-30)*10**60*10**45", lambda x: max(x - 30, 0) * mp.mpf(10) ** 105, [30, 31, 33, 40]),
    ],
)
def test_pieces_beyond_the_usual_reach_are_not_lost(text, function, ends):
    """A bump at 20 < x < 21 of height 10^45 carries nearly all of E φ²."""
    found = raw_moments(from_formula(text).expr, 2, 60)[1]
    with mp.workdps(40):
        near = mp.quad(lambda x: function(x) ** 2 * mp.npdf(x), [-14, -3, 0, 3, 14])
        exact = near + mp.quad(lambda x: function(x) ** 2 * mp.npdf(x), ends)
        assert abs(mp.mpf(float(found)) / exact - 1) < 1e-13


@pytest.mark.parametrize("digits", [15, 30])
@pytest.mark.parametrize("text", ["abs(x - sqrt(2))", "abs(x**2 - 2)", "max(x, pi)"])
def test_irrational_kinks_at_all_digits(text, digits):
    found = expand(from_formula(text).expr, 4, digits)
    assert all(a.rad() <= arb(10) ** -digits for a in found.coefficients)


@pytest.mark.parametrize(
    "text", ["relu(x)**(3/2)", "sqrt(relu(x))", "abs(x)**(1/3)", "sqrt(abs(x + 7))", "relu(sin(x))"]
)
def test_finite_continuous_formulas_are_accepted(text):
    coefficients = raw_moments(from_formula(text).expr, 2, 50)[0]
    function = numpy_function(from_formula(text).expr)
    x = np.linspace(-9, 9, 2_000_001)
    expected = np.trapezoid(function(x) * np.exp(-x * x / 2) / np.sqrt(2 * np.pi), x)
    assert float(coefficients[0]) == pytest.approx(expected, abs=2e-7)


def test_branch_point_is_bisected_towards():
    coefficients, _, _ = raw_moments(from_formula("sqrt(abs(x))").expr, 2, 50)
    expected = mp.mpf(2) ** mp.mpf("0.25") * mp.gamma(mp.mpf(3) / 4) / mp.sqrt(mp.pi)
    assert contains(coefficients[0], expected, 1e-15)


def test_mean_square_of_derivative_is_not_disturbed_by_constants():
    assert mean_square(derivative(from_formula("tanh(x) + 7").expr), 60).overlaps(
        mean_square(derivative(activation("tanh").expr), 60)
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("3", "constant"),
        ("x - x", "constant"),
        ("max(x, x)*0", "constant"),
        ("sin(x)**2 + cos(x)**2", "constant"),
        ("exp(x**2)", "square-integrable"),
        ("exp(x**2/4)", "square-integrable"),
        ("log(x)", "undefined or unbounded"),
        ("sqrt(x)", "undefined or unbounded"),
        ("1/x", "undefined or unbounded"),
        ("tan(x)", "undefined or unbounded"),
        ("log(abs(x))", "'log(abs(x))': is undefined or unbounded"),
    ],
)
def test_what_has_no_expansion_is_refused(text, word):
    with pytest.raises(InvalidInput) as caught:
        expand(from_formula(text).expr)
    assert word in str(caught.value)


def test_square_integrable_growth_below_the_limit_is_accepted():
    """E exp(2x²/9) is finite (2/9 < 1/2): the mean of exp(x²/9) is 1/√(1 − 2/9)."""
    coefficients, second, _ = raw_moments(from_formula("exp(x**2/9)").expr, 2, 50)
    assert contains(coefficients[0], 1 / mp.sqrt(1 - mp.mpf(2) / 9), 1e-14)
    assert contains(second, 1 / mp.sqrt(1 - mp.mpf(4) / 9), 1e-14)


@pytest.mark.parametrize("digits", [2, 301, 1001])
def test_digits_out_of_range(digits):
    with pytest.raises(InvalidInput, match="digits"):
        expand(activation("tanh").expr, 4, digits)


@pytest.mark.parametrize("digits", [3, 300])
def test_the_fewest_and_the_most_digits(digits):
    """x² is √2 he_2 + 1."""
    found = expand(from_formula("x**2").expr, 4, digits).coefficients
    assert all(abs(a - right) < arb(10) ** -digits for a, right in zip(found, (0, 0, 1, 0), strict=True))


@pytest.mark.parametrize(("text", "sign"), [("x", 1), ("2*x + 1", 1), ("3 - x/2", -1), ("-pi*x", -1)])
def test_a_linear_function_has_one_coefficient_exactly(text, sign):
    found = expand(from_formula(text).expr, 5, 20)
    assert found.linear
    assert found.coefficients == (0, sign, 0, 0, 0)
    assert all(a.is_exact() for a in found.coefficients)
    assert (found.digits, found.bits) == (20, bits_of(20))
    assert 2.0 ** (found.bits - 10) > 10**20


@pytest.mark.parametrize(("name", "zero"), [("tanh", 0), ("sigmoid", 0), ("cos", 1), ("gaussian", 1)])
def test_what_parity_makes_zero_is_zero(name, zero):
    found = expand(activation(name).expr, 8)
    assert [k for k, a in enumerate(found.coefficients) if a.is_zero()] == sorted({0, *range(zero, 8, 2)})
    assert not found.linear


@pytest.mark.parametrize(
    ("text", "first", "second", "mirrored"),
    [
        ("x", 0, 1, -1),
        ("x + 2", 2, 5, 3),
        ("relu(x)", 1 / mp.sqrt(2 * mp.pi), 0.5, 0),
        ("exp(x)", mp.exp(0.5), mp.exp(2), 1),
        ("x**2", 1, 3, 3),
        ("3", 3, 9, 9),
        ("exp(x)/pi", mp.exp(0.5) / mp.pi, mp.exp(2) / mp.pi**2, 1 / mp.pi**2),
    ],
)
def test_means_by_hand(text, first, second, mirrored):
    expr = from_formula(text).expr
    for found, right in ((mean(expr, 60), first), (mean_square(expr, 60), second)):
        assert float(found) == pytest.approx(float(right), rel=1e-15, abs=1e-15)
        assert float(found.rad()) < 1e-15
    assert float(mirror_product(expr, 60)) == pytest.approx(float(mirrored), rel=1e-15, abs=1e-15)
    if text != "3":
        found = expand(expr, 3)
        assert float(found.mean) == pytest.approx(float(first), rel=1e-15, abs=1e-15)
        assert float(found.variance) == pytest.approx(float(second - first**2), rel=1e-14)


@pytest.mark.parametrize("text", ["sqrt(2)*relu(x)", "relu(x)*pi - 1", "-relu(x)*exp(1)"])
def test_closed_forms_do_not_depend_on_scale_and_shift(text):
    assert abs(float((strength(from_formula(text)) - strength(activation("relu"))).evalf(30))) < 1e-25
