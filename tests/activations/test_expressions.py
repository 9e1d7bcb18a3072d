"""What the structure of an expression tells: its parity, its largest power, the constants that fold."""

import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.expression import ONE, ZERO, X, compose, degree, div, num
from lop_theory.activations.formula import parse
from lop_theory.activations.symbolic import parity
from lop_theory.balls import fmpq


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
