"""What the structure of an expression tells: its parity, its largest power, the constants that fold."""

import math

import pytest

from lop_theory.activations.ball_table import ball_polynomial, constant_value
from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.expression import ONE, ZERO, X, compose, degree, div, num, to_text
from lop_theory.activations.formula import parse
from lop_theory.activations.polynomial_range import is_nonnegative
from lop_theory.activations.rationals import exact_function
from lop_theory.activations.symbolic import parity
from lop_theory.balls import fmpq, fmpq_poly
from lop_theory.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "right"),
    [("sigmoid(x)*2", "odd"), ("3*sigmoid(x) - 1", "odd"), ("5 + cos(x)*2", "even"), ("sigmoid(x)*x", "mixed"),
     ("(1 + sin(x))*2 + 7", "odd"), ("sin(x)**2", "even"), ("sin(x)**3", "odd"), ("x + x**2", "mixed"),
     ("exp(x**2)", "even"), ("exp(x)", "mixed"), ("x*sin(x)", "even"), ("x/cosh(x)", "odd"), ("3", "even")],
)  # fmt: skip
def test_parity_by_structure(text, right):
    assert parity(from_formula(text).expr) == right


def test_constants_fold_where_x_becomes_one():
    assert compose(from_formula("exp(sqrt(x))").expr, ZERO) == ONE
    assert compose(from_formula("sqrt(x) + 3").expr, ZERO) == num(3)
    assert compose(from_formula("x/(x + 2)").expr, ONE) == num(fmpq(1, 3))
    assert compose(from_formula("x**3").expr, num(2)) == num(8)
    assert div(ZERO, ZERO).op == "div"
    assert div(ZERO, X) == ZERO
    assert compose(from_formula("x**2").expr, ZERO) == ZERO
    for text, place in [("x**(-1)", 0), ("x**(1/2)", 2), ("1/x", 0)]:  # no number, so the node stays
        assert compose(from_formula(text).expr, num(place)).op == from_formula(text).expr.op


@pytest.mark.parametrize(
    ("text", "right"),
    [("x + x**3", 3), ("x**3 + x", 3), ("x**2*x**5", 7), ("x**2/x**3", 5), ("(x + x**4)**3", 12), ("exp(x**7)", 7),
     ("exp(x)", 1), ("exp(x)*exp(x)", 2), ("exp(x**3)**2", 3), ("max(x, x**5)", 5), ("relu(x**3) + abs(x**2)", 3),
     ("x**(1/2)", 1), ("x**(-4)", 4), ("3", 0), ("tanh(x**2) + x", 2)],
)  # fmt: skip
def test_the_largest_power_that_is_spelled_out(text, right):
    assert degree(parse(text)) == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x**2/sqrt(2) - pi*x/3 + exp(1)", [math.e, -math.pi / 3, 0.5**0.5]),
        ("(x + sqrt(2))**3", [2**1.5, 6, 3 * 2**0.5, 1]),
        ("x*(pi - x)", [0, math.pi, -1]),
        ("sqrt(3)", [3**0.5]),
        ("(x - x)/pi", []),
        ("x/(1 + x)", None),
        ("x**(1/2)", None),
        ("x**(-2)", None),
        ("tanh(x)", None),
        ("x*tanh(x)", None),
        ("tanh(x)**2", None),
        ("1/x", None),
        ("tanh(x)/2", None),
    ],
)
def test_polynomials_with_balls_for_coefficients(text, right):
    found = ball_polynomial(parse(text))
    assert (found is None) == (right is None)
    if found is not None:
        assert [float(found[k]) for k in range(len(right))] == pytest.approx(right, rel=1e-12)
        assert found.length() <= max(len(right), 2)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("8**(1/3)", 2),
        ("2**(-1/2)", 0.5**0.5),
        ("3**(2/3)", 3 ** (2 / 3)),
        ("0**(1/3)", 0),
        ("sigmoid(-1)", 1 / (1 + math.e)),
        ("softplus(2)", math.log1p(math.exp(2))),
        ("softplus(-2)", math.log1p(math.exp(-2))),
        ("sign(-2)", -1),
        ("step(-1)", 0),
        ("step(0)", 1),
        ("max(1, sqrt(3))", 3**0.5),
        ("min(1, sqrt(3))", 1),
        ("relu(-pi)", 0),
        ("asinh(1)", math.asinh(1)),
        ("abs(1 - pi)", math.pi - 1),
        ("erf(1/2)", math.erf(0.5)),
        ("sinh(1) - cosh(1)", -1 / math.e),
    ],
)
def test_values_of_constants(text, right):
    assert float(constant_value(parse(text))) == pytest.approx(right, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x+1+2*x", "x + 1 + 2*x"),
        ("(x+1)*2*x", "(x + 1)*2*x"),
        ("2*(x*3)", "2*(x*3)"),
        ("(x+1)**2*x", "(x + 1)**2*x"),
        ("(-x)**2", "((-1)*x)**2"),
        ("x**(-1)", "x**(-1)"),
        ("(x**2)**3", "(x**2)**3"),
        ("exp(x)**(1/2)", "exp(x)**(1/2)"),
        ("max(x, -x)", "max(x, (-1)*x)"),
        ("x - 1/3", "x + (-1/3)"),
        ("x/(2*x+1)", "x/(2*x + 1)"),
        ("x + (1 + x)", "x + (1 + x)"),
    ],
)
def test_parentheses_stand_where_a_reader_needs_them(text, right):
    assert to_text(parse(text)) == right


@pytest.mark.parametrize(
    "text", ["exp(x)", "x**(1/2)", "pi*x", "tanh(x) + 1", "x*sin(x)", "abs(sqrt(x))", "where(x > 0, exp(x), x)"]
)
def test_what_leaves_the_rationals_has_no_exact_function(text):
    with pytest.raises(InvalidInput):
        exact_function(parse(text))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x**2/3 - abs(x)", fmpq(-5, 12)),
        ("x**(-2) + 1", 5),
        ("sign(x) - step(x) + relu(x)", -1),
        ("max(x, min(-x, 2))", fmpq(1, 2)),
        ("sign(x + 1/2) + step(x + 1/2)", 1),
        ("x/(x - 1)", fmpq(1, 3)),
    ],
)
def test_exact_values_at_minus_one_half(text, right):
    assert exact_function(parse(text))(fmpq(-1, 2)) == right


@pytest.mark.parametrize(
    ("factors", "right"),
    [
        ([[0, 0, 1]], True),
        ([[1, 0, 1]], True),
        ([[0, 1]], False),
        ([[-1, 0, 0, 0, 1]], False),
        ([[-1, 1], [-1, 1]], True),
        ([[-1, 1], [-1, 1], [0, 1]], False),
        ([[-1], [1, 0, 1]], False),
        ([[-1, 1], [-1, 1], [2, 1], [2, 1], [3, 1, 1]], True),
        ([[-2, 0, 1], [-2, 0, 1]], True),
        ([[-2, 0, 1]], False),
    ],
)
def test_which_polynomials_are_never_negative(factors, right):
    """Every real root has even multiplicity, and the leading coefficient is positive."""
    poly = fmpq_poly([1])
    for factor in factors:
        poly *= fmpq_poly(factor)
    assert is_nonnegative(poly) == right
