"""The bounds inside the monotonicity certificate and the frozen probability, against what their docstrings state."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.activations.piecewise import Piece
from lop_theory.balls import arb, fmpq, precision
from lop_theory.tension.frozen import _rays, below
from lop_theory.tension.monotone import _centre, _lipschitz

sizes = st.floats(0.1, 10)


@given(sizes, sizes)
def test_the_lipschitz_bound_is_the_stated_sum(m, m2):
    """Triangle inequality in Ė = 2c̈_1V + ċ_1V̇ − c_1V̈ with |c_k| ≤ M, V ≤ M², |d_k| ≤ M₂."""
    r = math.sqrt
    c1, c2 = (1 + r(6)) * m, (1 + r(6)) * m + r(6) * (3 + r(20)) * m
    v1, v2 = r(2) * m2 + 2 * r(2) * m**2, r(2) * (2 + r(12)) * m2 + 4 * m**2 + 2 * r(2) * (2 + r(12)) * m**2
    scale = 2 * c2 * m**2 + c1 * v1 + m * v2
    c1, c2 = r(2) * m, r(6) * m
    v1, v2 = m2 + 2 * m**2, r(2) * m2 + 2 * m**2 + 2 * r(2) * m**2
    bias = 2 * c2 * m**2 + c1 * v1 + m * v2
    with precision(64):
        assert scale <= float(_lipschitz("scale", arb(m), arb(m2))) <= 1.002 * scale
        assert bias <= float(_lipschitz("bias", arb(m), arb(m2))) <= 1.002 * bias


@pytest.mark.parametrize("direction", ["scale", "bias"])
@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_the_centre_has_the_sign_and_size_of_the_slope(name, direction):
    """E = 2ċ_1V − c_1V̇ = (V²/c_1) dc/du, for c = c_1²/V and u = log a or b/a: here a difference quotient."""
    from lop_theory.hermite.expansion import expand

    def linearity(u):
        shape = {"scale": math.exp(u), "bias": 0.5} if direction == "scale" else {"scale": 0.75, "bias": 0.75 * u}
        found = expand(activation(name, **{k: fmpq(*v.as_integer_ratio()) for k, v in shape.items()}).expr, 2)
        return float(found.coefficients[1] ** 2), float(found.variance), shape

    u, h = (math.log(0.75), 1e-4) if direction == "scale" else (0.5, 1e-4)
    slope = (linearity(u + h)[0] - linearity(u - h)[0]) / (2 * h)
    c, variance, shape = linearity(u)
    expr = activation(name, **{k: fmpq(*v.as_integer_ratio()) for k, v in shape.items()}).expr
    with precision(64):
        centre, c1 = _centre(expr, direction)
    assert float(c1) ** 2 == pytest.approx(c * variance, rel=1e-9)
    assert float(centre) * float(c1) / variance**2 == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(
    ("lo", "hi", "value", "level", "sure", "unsure"),
    [
        (None, None, 0, 1, 2, 0),
        (None, 0, 0, 1, 1, 0),
        (0, None, 0, 1, 1, 0),
        (-1, 1, 0, 1, 0, 0),
        (None, None, "1/2", "1/4", 0, 2),
        (None, 0, "-1/2", "1/4", 0, 1),
        (0, None, "-1/2", "1/2", 0, 1),
        (0, None, "1/2", "1/2", 0, 1),
        (None, None, "-1/2", "3/4", 2, 0),
    ],
)
def test_rays_count_where_the_whole_range_is_below(lo, hi, value, level, sure, unsure):
    """In units of P(Z > 1): a constant below the level is sure, another stays open, a piece without rays has none."""
    ends = [None if x is None else fmpq(x) for x in (lo, hi)]
    with precision(64):
        found = _rays(
            Piece(*ends, from_formula(str(value)).expr), arb(fmpq(*map(int, f"{level}/1".split("/")[:2]))), fmpq(1)
        )
    ray = 0.15865525393145705
    assert [float(mass) for mass in found] == pytest.approx([sure * ray, unsure * ray], abs=1e-15)


def test_rays_are_of_their_own_side():
    """exp(x) is below 1 on (−∞, −1), not on (1, ∞)."""
    with precision(64):
        for formula in ("exp(x)", "exp(-x)"):
            found = _rays(Piece(None, None, from_formula(formula).expr), arb(1), fmpq(1))
            assert [float(mass) for mass in found] == pytest.approx([0.15865525393145705] * 2)


@pytest.mark.parametrize(("formula", "level", "right"), [("x", "1", 0.6826894921370859), ("exp(x)", "1", 0.5)])
def test_a_mass_is_enclosed(formula, level, right):
    with precision(64):
        found = below(from_formula(formula).expr, arb(level))
    assert float(found.lower()) <= right <= float(found.upper())
    assert float(found.rad()) < 1e-3
