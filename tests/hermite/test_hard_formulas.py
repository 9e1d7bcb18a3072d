"""Formulas that once fell short: the right λ (quadrature at 40 digits, split at the kinks), or the right refusal."""

import mpmath as mp
import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.activations.complex_boxes import complex_function
from lop_theory.balls import acb, arb, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import expand
from lop_theory.hermite.panels import _panels

STRENGTHS = {
    "sign(x-sqrt(2))": "0.7027582544058346456535",
    "step(x-pi)": "0.9901936051254734171169",
    "step(tanh(x)-0.5)": "0.4299818969091503779393",
    "sign(x-pi/4)": "0.4930147095524306792101",
    "sqrt(abs(x-0.1))": "0.9862747012707578077908",
    "(0.02*x**3+0.5*x**2+x+0.1)/(1+abs(0.3*x+0.5*x**2))": "0.2272975117430159997463",
    "x/sqrt(1+x+x**2)": "0.09294385174236478187654",
    "x/(1+abs(x+x**2))": "0.2407310507317771050801",
    "max(sin(x),cos(x),sin(2*x))": "0.6595350102892982074079",
    "max(x,x*sigmoid(x))": "0.1799049304179363722966",
    "sin(x)/x": "1.0",
    "(exp(x)-1)/x": "0.2325532865342769276605",
    "x if x>0.5 else 0.1*x": "0.2617547284733890298892",
    "x*(x>0.25)": "0.2883743712217972618312",
    "0.5*gelu(x)+silu(2*x)": "0.2801597106349069971973",
    "z*tanh(softplus(z))": "0.1944929965738544128411",
}


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("text", STRENGTHS)
def test_strength(text):
    found = expand(from_formula(text).expr, 2)
    with precision(100):
        strength = 1 - found.coefficients[1] * found.coefficients[1]
        assert strength.overlaps(arb(STRENGTHS[text]) + arb(0, 1e-20))
        assert strength.rad() < 1e-15


@pytest.mark.parametrize(
    "text",
    [
        "sign(sin(x))", "sign(x**2-2)", "relu(x-0.2)**1.5", "abs(x-1/3)**1.5", "x**3/(1+x+x**2)", "log(1+x+x**2)",
        "exp(x-x**2)*abs(x)", "exp(x**2/8+x)", "sqrt(abs(sin(x)))", "exp(x**2/4.1)", "exp(x**2/8 + tanh(x))",
    ],
)  # fmt: skip
def test_is_expanded(text):
    assert all(a.rad() <= 1e-15 for a in expand(from_formula(text).expr, 4).coefficients)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("sqrt(x**2+x+1/4)", "abs(x+1/2)"),
        ("sqrt(x**4-2*x**2+1)", "abs(x**2-1)"),
        ("abs(1-cos(x))**1.5", "abs(sin(x/2))**3"),
    ],
)
def test_roots_of_double_zeros(text, same):
    """Where the argument of a root touches 0 without a change of sign."""
    found, plain = (expand(from_formula(formula).expr, 8).coefficients for formula in (text, same))
    assert all(a.overlaps(b) and a.rad() <= 1e-15 for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize(("name", "scale"), [("silu", "300"), ("mish", "100"), ("sigmoid", "-1000")])
def test_large_scales(name, scale):
    assert all(a.rad() <= 1e-15 for a in expand(activation(name, scale=scale).expr, 4).coefficients)


@pytest.mark.parametrize("text", ["relu(x-1e400)", "max(x,1e400)", "sin(1e300*x)", "x/(x**2-2)", "1e400*sign(x)*0"])
def test_beyond_reach_is_refused_in_one_line(text):
    with pytest.raises(InvalidInput) as caught:
        expand(from_formula(text).expr)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["asinh(2.9*x+1/3)", "exp(-(2.9*x+12)**2) + asinh(2.9*x+1/3)", "sqrt(1+9*x**2)", "log(1+x**2)"]
)
def test_wide_boxes_far_from_the_cut_are_analytic(text):
    """A library's asinh that is finite on tiny boxes only once cost 5,727 panels."""
    with precision(200):
        assert len(_panels(from_formula(text).expr, fmpq(15), 78)) < 100


@pytest.mark.parametrize("centre", [(3, 0), (-3, 0), (0.5, 0.5), (-20, 2), (0, 0.5), (0.1, -3)])
def test_asinh_of_a_box_holds_its_values(centre):
    box = acb(arb(centre[0], 0.05), arb(centre[1], 0.05))
    found = complex_function(from_formula("asinh(x)").expr)(box)
    for corner in [(-0.04, -0.04), (0.03, 0.02), (0, 0)]:
        point = mp.mpc(centre[0] + corner[0], centre[1] + corner[1])
        value = mp.asinh(point)
        assert found.is_finite()
        assert abs(float(found.real.mid()) - float(value.real)) <= float(found.real.rad()) + 1e-12
        assert abs(float(found.imag.mid()) - float(value.imag)) <= float(found.imag.rad()) + 1e-12
