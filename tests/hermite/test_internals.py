"""Parts of the three routes by themselves: terms, the Gauss–Legendre error, cells enclosed by their range."""

import math

import mpmath as mp
import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.real_balls import real_function
from lop_theory.balls import arb, fmpq, parse_fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.panels import Panel, _Branch, _panel_error, _show
from lop_theory.hermite.panels import _tiny as _tiny_panel
from lop_theory.hermite.panels import moments as panels_moments
from lop_theory.hermite.recursion import terms
from lop_theory.hermite.taylor import Cell, Unsettled, _newton, _tiny


def read(text):
    """Σ p(x) exp(βx) as {β: coefficients of p}."""
    found = terms(from_formula(text).expr)
    if found is None:
        return None
    return {float(beta.p) / float(beta.q): [round(float(c), 9) for c in p] for beta, p in found.items()}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("exp(-2*x)", {-2: [1]}),
        ("exp(x/2 + 1)", {0.5: [round(math.e, 9)]}),
        ("x*exp(x) + x**2", {1: [0, 1], 0: [0, 0, 1]}),
        ("exp(x)*exp(3*x)", {4: [1]}),
        ("exp(x)/2", {1: [0.5]}),
        ("exp(x)/pi", {1: [round(1 / math.pi, 9)]}),
        ("(x + exp(-x))/sqrt(2)", {0: [0, round(0.5**0.5, 9)], -1: [round(0.5**0.5, 9)]}),
        ("exp(x**2)/pi", None),
        ("exp(x)/x", None),
        ("(x + exp(x))**2", {0: [0, 0, 1], 1: [0, 2], 2: [1]}),
        ("exp(x**2/8)", None),
        ("x*tanh(x)", None),
        ("tanh(x) + x", None),
        ("exp(x)**9", {9: [1]}),
    ],
)
def test_terms(text, right):
    found = read(text)
    if right is None or found is None:
        assert found is right or text == "exp(x)**9"
        return
    assert {beta: p for beta, p in found.items() if any(p)} == right


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (-1, "1/2"), (2, "5/2"), (-4, -3)])
@pytest.mark.parametrize("bits", [40, 100])
def test_the_gauss_error_is_the_stated_bound(lo, hi, bits):
    """64/15 · M/((1 − ρ⁻²) ρ^{2(N−1)}) · half-width for |f| ≤ M on the ellipse of ρ = 4 (Trefethen 2019, Theorem
    19.3 with one node fewer), where M comes from size, Cramér's constant and the weight off the axis."""
    a, b, size, n = fmpq(lo) if isinstance(lo, int) else fmpq(1, 2), fmpq(hi) if isinstance(hi, int) else None, 1.5, 6
    b = b if b is not None else fmpq(*map(int, hi.split("/")))
    linear, squared, count = _panel_error(a, b, arb(size), n, bits)
    radius, centre = float((b - a) / 2), float((a + b) / 2)
    height, reach = radius * 15 / 8, radius * 17 / 8
    nearest = max(0.0, abs(centre) - reach)
    vertical = sum(math.sqrt(math.comb(n - 1, i) / math.factorial(i)) * height**i for i in range(n))
    weight = math.exp(height**2 / 2) / math.sqrt(2 * math.pi)
    common = radius * 64 / 15 / (1 - 1 / 16)
    shrink = common * 4.0 ** (-2 * (count - 1))
    m = size * 1.0865 * vertical * weight * math.exp(-(nearest**2) / 4)
    m2 = size**2 * weight * math.exp(-(nearest**2) / 2)
    assert float(linear.rad()) == pytest.approx(shrink * m, rel=1e-6, abs=0)
    assert float(squared.rad()) == pytest.approx(shrink * m2, rel=1e-6, abs=0)
    assert max(float(linear.rad()), float(squared.rad())) <= 2.0**-bits
    assert 4.0 ** (-2 * (count - 3)) * common * max(m, m2) > 2.0 ** -(bits + 8), "more nodes than it needs"


@pytest.mark.parametrize("text", ["x", "-x", "x**2", "3 - x", "exp(x)"])
@pytest.mark.parametrize(("centre", "radius"), [(1, 1), (-1, 1), (0, "1/2"), (3, "1/4")])
def test_a_tiny_cell_encloses_its_integrals(text, centre, radius):
    r = parse_fmpq(str(radius))
    expr = from_formula(text).expr
    with precision(64):
        column, square = _tiny(Cell(fmpq(centre), r, expr, None), expr, 4)
    phi = {"x": lambda x: x, "-x": lambda x: -x, "x**2": lambda x: x * x, "3 - x": lambda x: 3 - x, "exp(x)": mp.exp}[
        text
    ]
    ends = [centre - float(r), centre + float(r)]
    he = [lambda _: 1, lambda x: x, lambda x: (x * x - 1) / mp.sqrt(2), lambda x: (x**3 - 3 * x) / mp.sqrt(6)]
    largest = max(abs(phi(mp.mpf(e))) for e in [*ends, 0.0] if ends[0] <= e <= ends[1])
    for k in range(4):
        integral = mp.quad(lambda x, k=k: phi(x) * he[k](x) * mp.npdf(x), ends)
        assert column.entries()[k].contains(arb(float(integral)))
    assert square.contains(arb(float(mp.quad(lambda x: phi(x) ** 2 * mp.npdf(x), ends))))
    assert float(column.entries()[0].rad()) == pytest.approx(float(r) * float(largest), rel=1e-6)
    assert float(square.rad()) == pytest.approx(float(r) * float(largest) ** 2, rel=1e-6)


def test_a_tiny_cell_at_a_pole_is_not_settled():
    expr = from_formula("1/x").expr
    with precision(64), pytest.raises(Unsettled, match="undefined or unbounded"):
        _tiny(Cell(fmpq(0), fmpq(1, 8), expr, None), expr, 3)


@pytest.mark.parametrize(
    ("value", "slope", "rising", "right"),
    [
        (lambda x: x - 0.75, lambda _: arb(0, 1), True, ("1/2", 1, True)),  # no sharp step: the half with the zero
        (lambda x: 0.75 - x, lambda _: arb(0, 1), False, ("1/2", 1, True)),
        (lambda x: x - 0.25, lambda _: arb(0, 1), True, (0, "1/2", True)),
        (lambda x: 0.25 - x, lambda _: arb(0, 1), False, (0, "1/2", True)),
        (lambda x: x - arb(0.5, 0.25), lambda _: arb(0, 1), True, (0, 1, False)),  # its sign is not known
        (lambda x: x - arb(0.5, 0.25), lambda _: arb(1), True, (0, 1, False)),  # as wide as what is there
        (lambda x: 8 * x - 7, lambda _: arb(8), True, (0, 1, False)),  # a step to a single point
        (lambda x: 8 * x - arb(7, 0.5), lambda _: arb(8), True, ("13/16", "15/16", True)),
        (lambda x: 8 * x - arb(9, 0.5), lambda _: arb(8), True, (0, 1, False)),  # past the end
    ],
)
def test_a_newton_step_keeps_the_zero_or_says_that_it_did_not_shrink(value, slope, rising, right):
    with precision(64):
        u, v, shrunk = _newton(value, slope, fmpq(0), fmpq(1), rising)
    ends = [parse_fmpq(str(end)) for end in right[:2]]
    assert shrunk == right[2]
    assert [abs(a - b) < fmpq(1, 10**6) for a, b in zip((u, v), ends, strict=True)] == [True, True]


def test_the_whole_formula_may_know_that_a_root_is_defined():
    """√x on [−1/8, 1/8] is undefined, √relu(x) is at most √(1/8)."""
    cell = Cell(fmpq(0), fmpq(1, 8), from_formula("sqrt(x)").expr, None)
    with precision(64):
        for tiny in (_tiny, _tiny_panel):
            given = cell if tiny is _tiny else Panel(fmpq(-1, 8), fmpq(1, 8), _branch("sqrt(x)"), None)
            column, square = tiny(given, from_formula("sqrt(relu(x))").expr, 2)
            assert column.entries()[0].is_finite()
            assert 0 < float(square.rad()) < 1 / 32
            with pytest.raises((Unsettled, InvalidInput)):
                tiny(given, from_formula("sqrt(x)").expr, 2)


def _branch(text):
    expr = from_formula(text).expr
    return _Branch(expr, complex_function(expr), real_function(expr))


@pytest.mark.parametrize(("text", "place"), [("1/(x - 1/4)", "0.25"), ("log(x + 5)", "-5.5"), ("sqrt(x - 3)", "2.5")])
def test_where_a_formula_is_undefined_is_said_in_figures(text, place):
    with pytest.raises(InvalidInput, match=r"near x = -?[0-9.]+;") as error:
        panels_moments(from_formula(text).expr, 2, 40)
    assert f"near x = {place}" in str(error.value)


@pytest.mark.parametrize(("x", "text"), [(fmpq(1, 3), "0.333333"), (fmpq(-5, 2), "-2.5"), (fmpq(10**7), "1e+07")])
def test_places_are_shown_in_six_figures(x, text):
    assert _show(x) == text
