"""Gauss–Legendre on one panel: the ball holds the integral, also where so few nodes are used that the error shows."""

import mpmath
import pytest

from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.formula import parse
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import fmpq, precision
from lop_theory.hermite.panels import Panel, _Branch, _gauss, _panel_error, _size_near

FORMULAS = {"exp(2*x)": lambda x: mpmath.exp(2 * x), "sin(3*x)": lambda x: mpmath.sin(3 * x), "x^3": lambda x: x**3}
PANELS = ((fmpq(0), fmpq(1)), (fmpq(-1, 2), fmpq(3, 2)), (fmpq(2), fmpq(5, 2)))


def panel_of(text, lo, hi):
    expr = parse(text)
    branch = _Branch(expr, complex_function(expr), real_function(expr))
    return Panel(lo, hi, branch, _size_near(branch.on_boxes, lo, hi))


def integrals(function, lo, hi):
    """∫ φ·he_k·w for k < 4, he_k orthonormal, and ∫ φ²·w."""
    hermite = [
        lambda _: 1,
        lambda x: x,
        lambda x: (x**2 - 1) / mpmath.sqrt(2),
        lambda x: (x**3 - 3 * x) / mpmath.sqrt(6),
    ]
    ends = [mpmath.mpf(int(end.p)) / int(end.q) for end in (lo, hi)]
    first = [mpmath.quad(lambda x, he=he: function(x) * he(x) * mpmath.npdf(x), ends) for he in hermite]
    return first, mpmath.quad(lambda x: function(x) ** 2 * mpmath.npdf(x), ends)


@pytest.mark.parametrize("bits", [-40, 2, 30])
@pytest.mark.parametrize(("lo", "hi"), PANELS, ids=str)
@pytest.mark.parametrize("text", FORMULAS)
def test_a_panel_encloses_its_integrals(text, lo, hi, bits):
    panel = panel_of(text, lo, hi)
    with precision(90), mpmath.workprec(90):
        row, square = _gauss(panel, 4, bits)
        first, second = integrals(FORMULAS[text], lo, hi)
        for ball, value in zip([*row.entries(), square], [*first, second], strict=True):
            assert ball.contains(_ball(value))
            assert bits < 0 or ball.rad() < 2.0**-bits


def test_two_nodes_are_off_by_what_a_ball_of_rounding_does_not_hold():
    """Of the lowest precision: without its error ball the result would be wrong, so the test above sees one missing."""
    lo, hi = PANELS[1]
    panel = panel_of("exp(2*x)", lo, hi)
    with precision(90), mpmath.workprec(90):
        assert _panel_error(lo, hi, panel.size, 4, -40)[2] == 2
        row, square = _gauss(panel, 4, -40)
        first, second = integrals(FORMULAS["exp(2*x)"], lo, hi)
        for ball, value in zip([*row.entries(), square], [*first, second], strict=True):
            assert abs(ball.mid() - _ball(value)) > 1e-6


def _ball(value):
    from lop_theory.balls import arb

    return arb(mpmath.nstr(value, 22))
