"""Growth of activations and the mass outside an interval: bounds that hold wherever they are tried, and are tight."""

import math

import mpmath as mp
import numpy as np
import pytest

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.tails import mass_outside, tail_bound, tail_bounds
from lop_theory.balls import arb, fmpq, precision
from tests.activations.test_ranges import FORMULAS


def numbers(bound):
    degree = int(bound.degree.p) / int(bound.degree.q)
    return [float(bound.factor), degree, float(bound.linear), float(bound.quadratic)]


def growth(bound, t):
    factor, degree, linear, quadratic = numbers(bound)
    return factor * t**degree * math.exp(min(700.0, linear * t + quadratic * t * t))


@pytest.mark.parametrize(
    "text", [*FORMULAS, "log(2 + exp(x))", "log(1 + exp(-2*x) + x**2)", "exp(x**2/8)", "exp(abs(x)/3)*x",
             "sqrt(abs(x))*x",
             "exp(x)/(3 + x**2)", "log(1/2 + exp(x**2/9))", "cosh(x/2) + sinh(x)", "exp(-x + x**2/16)"]
)  # fmt: skip
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("start", [2, 5])
def test_tails_bound_the_growth(text, side, start):
    expr = from_formula(text).expr
    bound = tail_bound(expr, fmpq(start), side)
    phi = numpy_function(expr)
    for t in [start, start + 0.5, start + 2, 2 * start + 3, 20, 35]:
        with np.errstate(over="ignore"):
            value = abs(float(phi(np.array([float(side * t)]))[0]))
        if math.isfinite(value):
            assert value <= growth(bound, t) * (1 + 1e-9) + 1e-300, t


@pytest.mark.parametrize(
    ("text", "side", "right"),
    [
        ("x", 1, (1, 1, 0, 0)),
        ("exp(x)", 1, (1, 0, 1, 0)),
        ("exp(-x)", -1, (1, 0, 1, 0)),
        ("exp(x)", -1, (math.exp(-2), 0, 0, 0)),
        ("2*x**3", 1, (2, 3, 0, 0)),
        ("x*exp(x/2 + x**2/8)", 1, (1, 1, 0.5, 0.125)),
        ("x*exp(x/2 + x**2/8)", -1, (1, 1, 0, 0.125)),
        ("log(2 + exp(x))", 1, (math.log(2 + math.exp(2)) + math.log(3) + 1, 1, 0, 0)),
        ("log(2 + exp(x**2/9))", -1, (math.log(2 + math.exp(4 / 9)) + math.log(3) + 1 / 9, 2, 0, 0)),
        ("tanh(x)", 1, (1, 0, 0, 0)),
        ("softplus(x)", 1, (2, 1, 0, 0)),
        ("x/(4 + x**2)", 1, (1 / 8, 1, 0, 0)),
        ("x/(2 + tanh(x))", 1, (1 / (2 + math.tanh(2)), 1, 0, 0)),
        ("abs(x)**(1/2)", 1, (1, 0.5, 0, 0)),
        ("abs(x)**(1/3)", -1, (1, 1 / 3, 0, 0)),
    ],
)
def test_tails_of_simple_functions_are_tight(text, side, right):
    assert numbers(tail_bound(from_formula(text).expr, fmpq(2), side)) == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "side", "right"),
    [
        ("exp(sin(x) + x)", 1, (math.e, 0, 1, 0)),  # factor by factor
        ("exp(tanh(x) + x**2/9)", 1, (math.e, 0, 0, 1 / 9)),
        ("(x*exp(x/2 + x**2/32))**2", 1, (1, 2, 1, 1 / 16)),
        ("(exp(x) + exp(x**2/16))**(1/2)", 1, (2**0.5, 0, 0.5, 1 / 32)),
        ("sqrt(x*x*exp(x/2) + exp(x**2/16)*x)", 1, (2**0.5, 1, 0.25, 1 / 32)),
        ("exp(x**3*tanh(x) + x)", 1, None),
        ("exp(x + x**3*tanh(x))", 1, None),
        ("exp(x*tanh(x))", 1, (1, 0, 1, 0)),  # exp of a bound of the size
        ("exp(x*tanh(x)/4)", -1, (1, 0, 0.25, 0)),
        ("exp(x**2*tanh(x)/9)", 1, (1, 0, 0, 1 / 9)),
        ("exp(abs(x)**(3/2)/9)", 1, (1, 0, 0, 1 / 9)),
        ("exp(sqrt(abs(x)))", 1, (1, 0, 1, 0)),
        ("exp(x**3*tanh(x))", 1, None),
        ("exp(sinh(x))", 1, None),
        ("exp(x*exp(x**2/16))", 1, None),
        ("where(x > 4, x**2, 3*x)", 1, (12, 2, 0, 0)),  # the largest over the pieces that meet the ray
        ("where(x > 4, exp(x), x)", 1, (4, 0, 1, 0)),
        ("where(x > -4, x**2, exp(-x))", -1, (16, 0, 1, 0)),
        ("where(x > 4, exp(x**2/16), x)", 1, (4, 0, 0, 1 / 16)),
        ("where(x > -4, x, x*exp(x**2/16))", -1, (4, 1, 0, 1 / 16)),
        ("where(x > 1, exp(x**3), x)", -1, (1, 1, 0, 0)),  # a piece that does not meet the ray
    ],
)
def test_tails_of_exponentials_and_of_pieces(text, side, right):
    found = tail_bound(from_formula(text).expr, fmpq(2), side)
    if right is None:
        assert found is None
        return
    assert numbers(found) == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("text", ["x", "x**3", "exp(x)", "x*exp(x/2)", "exp(x**2/16)"])
@pytest.mark.parametrize("power", [1, 2])
def test_the_mass_outside_bounds_the_integral(text, power):
    expr = from_formula(text).expr
    phi = numpy_function(expr)
    with precision(64):
        found = float(mass_outside(tail_bounds(expr, fmpq(6)), arb(6), power))
    rate, constant = (0.25, 1.0865) if power == 1 else (0.5, 1.0)
    weight = lambda t: constant * abs(float(phi(np.array([float(t)]))[0])) ** power * math.exp(-rate * float(t) ** 2)  # noqa: E731
    whole = sum(float(mp.quad(weight, [s * 6, s * 9, s * 14, s * 30])) * s for s in (-1, 1)) / math.sqrt(2 * math.pi)
    assert whole <= found
    assert found <= 4 * whole + 1e-12 or text in ("exp(x)", "x*exp(x/2)")


def test_no_mass_bound_where_the_square_is_not_integrable():
    with precision(64):
        bounds = tail_bounds(from_formula("exp(x**2/5)").expr, fmpq(6))
        assert mass_outside(bounds, arb(9), 2).is_finite()
        wide = [b._replace(quadratic=arb("0.26")) for b in bounds]
        assert not mass_outside(wide, arb(6), 2).is_finite()
