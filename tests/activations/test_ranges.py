"""Ranges on intervals: true wherever they are tried, and tight where they can be."""

import math

import numpy as np
import pytest

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.expression import ONE, X, call, div
from lop_theory.activations.polynomial_range import Range, enclose_polynomial
from lop_theory.activations.ranges import UNKNOWN, _span, extended_range
from lop_theory.balls import arb, arb_poly, fmpq, parse_fmpq, precision

INFINITE = float("inf")
FORMULAS = [
    "x", "3 - 2*x", "x**2", "x**3 - x", "-x**2 + 1", "exp(x)", "exp(-x)", "exp(-x**2)", "sin(x)", "cos(3*x)",
    "tanh(2*x)",
    "sigmoid(x)", "softplus(x)", "atan(x)", "erf(x)", "asinh(x)", "sinh(x)", "cosh(x)", "abs(x)", "relu(x)", "sign(x)",
    "max(x, 1)", "min(x, -1)", "x*tanh(x)", "x*sigmoid(x)", "1/(1 + x**2)", "x/(1 + abs(x))", "sqrt(1 + x**2)",
    "log(1 + exp(x))", "log(2 + x**2)", "x*exp(-x**2)", "tanh(softplus(x))", "abs(x - 1)*abs(x)",
]  # fmt: skip
ENDS = [(-1, 1), (0, 2), (-3, -1), ("1/2", 5), (-INFINITE, INFINITE), (-INFINITE, -1), (2, INFINITE), (-7, 0)]


def end(value):
    return value if isinstance(value, float) else parse_fmpq(str(value))


@pytest.mark.parametrize("text", FORMULAS)
def test_ranges_hold_every_value(text):
    expr = from_formula(text).expr
    phi = numpy_function(expr)
    for lo, hi in ENDS:
        found = extended_range(expr, end(lo), end(hi))
        inside = np.linspace(max(float(end(lo)) if not isinstance(lo, str) else 0.5, -30), min(float(hi), 30), 301)
        values = phi(inside)
        assert float(found.lo) <= values.min() + 1e-9 * (1 + abs(values.min())), (lo, hi)
        assert float(found.hi) >= values.max() - 1e-9 * (1 + abs(values.max())), (lo, hi)


@pytest.mark.parametrize(
    ("text", "lo", "hi", "right"),
    [
        ("sin(x)", 0, 1, (0, math.sin(1))),
        ("sin(x)", -1, 1, (-math.sin(1), math.sin(1))),
        ("cos(x)", 1, 2, (math.cos(2), math.cos(1))),
        ("sin(x)", 0, INFINITE, (-1, 1)),
        ("tanh(x)", -INFINITE, 1, (-1, math.tanh(1))),
        ("exp(x)", -INFINITE, INFINITE, (0, INFINITE)),
        ("softplus(x)", -INFINITE, 0, (0, math.log(2))),
        ("atan(x)", 1, INFINITE, (math.pi / 4, math.pi / 2)),
        ("atan(x)", -INFINITE, 1, (-math.pi / 2, math.pi / 4)),
        ("sigmoid(x)", -INFINITE, INFINITE, (0, 1)),
        ("step(x)", -INFINITE, INFINITE, (0, 1)),
        ("tanh(x)", -INFINITE, INFINITE, (-1, 1)),
        ("log(x)", 1, 2, (0, math.log(2))),
        ("x**2 - x", 0, 1, (-1 / 4, 0)),
        ("asinh(x)", 0, INFINITE, (0, INFINITE)),
        ("abs(x)", -3, 2, (0, 3)),
        ("abs(x)", -3, -2, (2, 3)),
        ("abs(x)", 2, 3, (2, 3)),
        ("x**2", -3, 2, (0, 9)),
        ("x**3", -3, 2, (-27, 8)),
        ("x**3", -INFINITE, INFINITE, (-INFINITE, INFINITE)),
        ("x**2", -INFINITE, 0, (0, INFINITE)),
        ("max(x, 1)", -3, 2, (1, 2)),
        ("min(x, 1)", -3, 2, (-3, 1)),
        ("cosh(x)", -2, 1, (1, math.cosh(2))),
        ("3 - 2*x", -1, 1, (1, 5)),
        ("sqrt(x)", 1, 4, (1, 2)),
        ("log(x)", 1, INFINITE, (0, INFINITE)),
        ("1/(1 + x**2)", 0, 1, (0.5, 1)),
        ("sign(x)", -2, -1, (-1, -1)),
        ("relu(x)", -2, 3, (0, 3)),
        ("relu(x)", -INFINITE, INFINITE, (0, INFINITE)),
        ("step(x)", -1, 1, (0, 1)),
        ("sign(x)", -INFINITE, INFINITE, (-1, 1)),
        ("erf(x)", -INFINITE, INFINITE, (-1, 1)),
        ("asinh(x)", -INFINITE, 0, (-INFINITE, 0)),
        ("cosh(x)", -INFINITE, -1, (math.cosh(1), INFINITE)),
        ("sinh(x)", -INFINITE, INFINITE, (-INFINITE, INFINITE)),
        ("sqrt(x)", 0, INFINITE, (0, INFINITE)),
        ("tan(x)", 0, 1, (0, math.tan(1))),
        ("1/x", 2, INFINITE, (0, 0.5)),
        ("1/x", -INFINITE, -2, (-0.5, 0)),
        ("exp(x)**(-1)", 0, 1, (math.exp(-1), 1)),
        ("sinh(x)**(-2)", -2, -1, (math.sinh(2) ** -2, math.sinh(1) ** -2)),
        ("sinh(x)**(-3)", -2, -1, (-(math.sinh(1) ** -3), -(math.sinh(2) ** -3))),
        ("sinh(x)**(-1)", 1, INFINITE, (0, 1 / math.sinh(1))),
        ("sinh(x)**2", -1, 2, (0, math.sinh(2) ** 2)),
        ("sinh(x)**2", -2, 1, (0, math.sinh(2) ** 2)),
        ("sinh(x)**2", -2, -1, (math.sinh(1) ** 2, math.sinh(2) ** 2)),
        ("sinh(x)**2", -INFINITE, 0, (0, INFINITE)),
        ("sinh(x)**3", -INFINITE, 1, (-INFINITE, math.sinh(1) ** 3)),
        ("exp(x)**(1/3)", 0, 3, (1, math.e)),
        ("exp(x)**(2/3)", -INFINITE, INFINITE, (0, INFINITE)),
        ("(1 + x**2)**(-1/2)", 0, INFINITE, (0, 1)),
        ("x*exp(x)", 1, 2, (math.e, 2 * math.exp(2))),
        ("x*exp(x)", -2, -1, (-2 * math.exp(-1), -math.exp(-2))),
        ("x*exp(x)", -1, 2, (-math.exp(2), 2 * math.exp(2))),
        ("x*exp(-x)", 0, INFINITE, (0, INFINITE)),
        ("exp(x)/x", 1, 2, (math.e / 2, math.exp(2))),
        ("exp(x)/x", -2, -1, (-math.exp(-1), -math.exp(-2) / 2)),
        ("abs(sinh(x))", -2, 1, (0, math.sinh(2))),
        ("max(sinh(x), exp(x))", 0, 1, (1, math.e)),
        ("min(sinh(x), exp(x))", 0, 1, (0, math.sinh(1))),
        ("exp(x) + sinh(x)", 0, 1, (1, math.e + math.sinh(1))),
    ],
)
def test_ranges_of_simple_functions_are_tight(text, lo, hi, right):
    found = extended_range(from_formula(text).expr, end(lo), end(hi))
    slack = 1e-2 if "**" in text else 1e-8  # polynomials by cells
    assert [float(found.lo), float(found.hi)] == pytest.approx(right, rel=slack, abs=slack)


@pytest.mark.parametrize("expr", [call("log", X), div(ONE, X), call("sqrt", X)], ids=["log x", "1/x", "sqrt x"])
def test_what_is_undefined_somewhere_has_no_range(expr):
    assert extended_range(expr, fmpq(-1), fmpq(1)) is None
    assert extended_range(expr, fmpq(1), fmpq(2)) is not None


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [("x**(1/2)", -1, 1), ("sinh(x)**(-2)", -1, 1), ("sinh(x)**(-1)", 0, 1), ("log(x)", 0, 1), ("tan(x)", 0, INFINITE),
     ("tan(x)", -INFINITE, 0), ("tan(x)", 1, 2), ("1/sinh(x)", -1, 0), ("exp(log(x))", -1, 1)],
)  # fmt: skip
def test_no_range_where_a_part_is_undefined(text, lo, hi):
    assert extended_range(from_formula(text).expr, end(lo), end(hi)) is None


def test_a_polynomial_of_uncertain_degree_has_no_range_on_a_ray():
    found = enclose_polynomial(arb_poly([0, -1, arb(0, 1e-3)]), fmpq(0), INFINITE)
    assert (float(found.lo), float(found.hi)) == (-INFINITE, INFINITE)


def test_the_hull_of_ends():
    """An end that is not a number may be any."""
    assert tuple(map(float, _span(arb(2), arb(-1), arb(3), arb(0)))) == (-1, 3)
    assert tuple(map(float, _span(arb(2)))) == (2, 2)
    assert _span(arb(1), arb.nan()) == UNKNOWN
    assert tuple(map(float, UNKNOWN)) == (-INFINITE, INFINITE)


def test_ranges_beyond_the_doubles():
    largest = 1.7976931348623157e308
    up, down = from_formula("exp(x)"), from_formula("-exp(x)")
    assert up.range_on(fmpq(1000), fmpq(1001)) == (largest, INFINITE)
    assert down.range_on(fmpq(1000), fmpq(1001)) == (-INFINITE, -largest)
    assert from_formula("log(x)").range_on(fmpq(-1), fmpq(1)) == (-INFINITE, INFINITE)


@pytest.mark.parametrize("text", [*FORMULAS, "sqrt(x)", "log(x)", "sinh(x)**2", "sinh(x)**3", "exp(x)**(1/3)", "tan(x)",
                                  "exp(x)**(-1)", "sinh(x)**(-2)", "exp(x)/x", "x*exp(x)", "cosh(x)**2"])  # fmt: skip
def test_ranges_are_rounded_outwards(text):
    """What few bits enclose holds what many bits enclose."""
    expr = from_formula(text).expr
    for lo, hi in [*ENDS, ("1/3", "2/3"), ("-2/3", "1/7"), (1, "10/7")]:
        found = list[Range]()
        for bits in (30, 200):
            with precision(bits):
                found.append(extended_range(expr, end(lo), end(hi)))
        if None not in found:
            (low, high), (least, largest) = found
            assert low <= least, (lo, hi)
            assert largest <= high, (lo, hi)
