"""Strips of analyticity: how wide they are, and what bounds the complex values on them."""

import cmath
import math

import mpmath as mp
import numpy as np
import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.strip import analytic_half_width, strip_bound
from lop_theory.balls import arb, precision

COMPLEX = {
    "sin(x)": cmath.sin, "cos(2*x)": lambda z: cmath.cos(2 * z), "tanh(x)": cmath.tanh, "x**2 + 1": lambda z: z * z + 1,
    "sigmoid(x)": lambda z: 1 / (1 + cmath.exp(-z)), "softplus(x)": lambda z: cmath.log(1 + cmath.exp(z)),
    "atan(x)": cmath.atan, "exp(-x**2)": lambda z: cmath.exp(-z * z), "x*tanh(x/2)": lambda z: z * cmath.tanh(z / 2),
    "tanh(softplus(x))": lambda z: cmath.tanh(cmath.log(1 + cmath.exp(z))), "3*x/2": lambda z: 1.5 * z,
    "erf(x)": lambda z: complex(mp.erf(mp.mpc(z))), "exp(-x**2 + x)": lambda z: cmath.exp(-z * z + z),
    "sin(x)*cos(x)": lambda z: cmath.sin(z) * cmath.cos(z),
}  # fmt: skip


@pytest.mark.parametrize("text", COMPLEX)
@pytest.mark.parametrize("width", [0.25, 0.75, 1.25])
def test_strips_bound_complex_values(text, width):
    with precision(64):
        bound = strip_bound(from_formula(text).expr, arb(width))
    if bound is None:
        assert text not in ("sin(x)", "x**2 + 1", "3*x/2", "exp(-x**2)")
        return
    for x in np.linspace(-12, 12, 97):
        for y in (-width, -width / 2, 0.0, width / 3, width):
            z = complex(x, y)
            assert abs(COMPLEX[text](z)) <= float(bound.factor) * (1 + abs(z)) ** bound.degree * (1 + 1e-9), z


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x", math.inf),
        ("exp(x)*sin(x) + x**3", math.inf),
        ("tanh(x)", math.pi / 2),
        ("tanh(2*x)", math.pi / 4),
        ("tanh(2*x) + sigmoid(x)", math.pi / 4),
        ("sigmoid(-3*x)", math.pi / 3),
        ("softplus(x/2)", 2 * math.pi),
        ("atan(4*x)", 0.25),
        ("asinh(x)", 1),
        ("tanh(softplus(x))", 3 * math.pi / 4),
        ("x*tanh(softplus(2*x))", 3 * math.pi / 8),
        ("tanh(x)**3", math.pi / 2),
        ("tanh(x)/5", math.pi / 2),
        ("erf(x)", math.inf),
        ("abs(x)", None),
        ("1/(1 + x**2)", None),
        ("tanh(x**2)", None),
        ("sqrt(1 + x**2)", None),
        ("(1 + x**2)**(-2)", None),
    ],
)
def test_the_strip_of_analyticity(text, right):
    found = analytic_half_width(from_formula(text).expr)
    assert found is right if right is None else float(found) == pytest.approx(right)


@pytest.mark.parametrize(
    ("text", "factor", "degree"),
    [
        ("sin(2*x + 1)", math.cosh(1), 0),
        ("cos(x)", math.cosh(0.5), 0),
        ("tanh(x)", 1, 0),
        ("tanh(2*x)", math.tan(1), 0),
        ("tanh(4*x)", None, 0),
        ("sigmoid(x)", 1, 0),
        ("sigmoid(5*x)", (1 + math.tan(1.25)) / 2, 0),
        ("sigmoid(7*x)", None, 0),
        ("softplus(x + 3)", math.log(2) + 4 + math.pi, 1),
        ("softplus(4*x)", math.log(2) + 4 - math.log(math.sin(2)) + math.pi, 1),
        ("softplus(12*x/5)", math.log(2) + 2.4 + math.pi, 1),  # of an angle between π/3 and π/2
        ("softplus(7*x)", None, 0),
        ("tanh(12*x/5)", math.tan(1.2), 0),
        ("tanh(softplus(12*x/5))", 3, 0),
        ("tanh(softplus(x))", 3, 0),
        ("tanh(softplus(4*x))", None, 0),
        ("erf(x)", 1 + 2 / math.sqrt(math.pi) * 0.5 * math.exp(0.25), 0),
        ("atan(x)", math.pi / 2 + math.log(3) / 2, 0),
        ("atan(2*x)", None, 0),
        ("exp(-2*x**2 + x + 1)", math.exp(1 + 1 / 8 + 0.5), 0),
        ("exp(x)", None, 0),
        ("exp(x**2)", None, 0),
        ("x", 1, 1),
        ("x**3", 1, 3),
        ("5*x**2", 5, 2),
        ("x**2/4", 0.25, 2),
        ("x + 7", 8, 1),
        ("x*sin(x)/sqrt(2)", math.cosh(0.5) / math.sqrt(2), 1),
        ("sin(x)/pi", math.cosh(0.5) / math.pi, 0),
        ("1/x", None, 0),
        ("x**(-1)", None, 0),
        ("abs(x)", None, 0),
        ("tanh(x**2)", None, 0),
    ],
)
def test_strip_bounds_are_those_of_their_rules(text, factor, degree):
    with precision(64):
        found = strip_bound(from_formula(text).expr, arb(0.5))
    assert (found is None) == (factor is None)
    if found is not None:
        assert (float(found.factor), found.degree) == (pytest.approx(factor, rel=1e-12), degree)
