"""Ranges, growth bounds, strips and tails: true wherever they are tried, and tight where they can be."""

import cmath
import math

import mpmath as mp
import numpy as np
import pytest

from lop_theory.activations import zeros
from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import activation, from_formula, from_label, rational
from lop_theory.activations.expression import ONE, ZERO, X, call, compose, div, num
from lop_theory.activations.piecewise import interior, isolated_pieces
from lop_theory.activations.polynomial_range import Range, enclose_polynomial
from lop_theory.activations.ranges import extended_range
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.singularities import removable, removable_places
from lop_theory.activations.strip import analytic_half_width, strip_bound
from lop_theory.activations.symbolic import parity
from lop_theory.activations.tails import mass_outside, tail_bound, tail_bounds
from lop_theory.activations.vocabulary import above, at_least, opposite, where
from lop_theory.balls import arb, arb_poly, fmpq, precision
from lop_theory.errors import InvalidInput

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
    return value if isinstance(value, float) else fmpq(*map(int, f"{value}/1".split("/")[:2]))


@pytest.mark.parametrize("text", FORMULAS)
def test_ranges_hold_every_value(text):
    expr = from_formula(text).expr
    phi = numpy_function(expr)
    for lo, hi in ENDS:
        found = extended_range(expr, end(lo), end(hi))
        if found is None:
            continue
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


def growth(bound, t):
    return (
        float(bound.factor) * t ** (int(bound.degree.p) / int(bound.degree.q))
        * math.exp(min(700.0, float(bound.linear) * t + float(bound.quadratic) * t * t))
    )  # fmt: skip


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
    if bound is None:
        return
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
        ("tanh(x)", 1, (1, 0, 0, 0)),
        ("softplus(x)", 1, (2, 1, 0, 0)),
        ("x/(4 + x**2)", 1, None),
        ("x/(2 + tanh(x))", 1, (1 / (2 + math.tanh(2)), 1, 0, 0)),
        ("abs(x)**(1/2)", 1, (1, 0.5, 0, 0)),
    ],
)
def test_tails_of_simple_functions_are_tight(text, side, right):
    found = tail_bound(from_formula(text).expr, fmpq(2), side)
    if right is not None:
        numbers = [
            float(found.factor),
            int(found.degree.p) / int(found.degree.q),
            float(found.linear),
            float(found.quadratic),
        ]
        assert numbers == pytest.approx(right, rel=1e-9, abs=1e-12)


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


def test_labels_are_read_back():
    for given in (
        activation("tanh"), activation("leaky_relu", slope="1/10"), activation("gelu", scale=2),
        activation("elu", alpha=2, scale="1/2", bias=-1), activation("relu", bias="1/3"),
    ):  # fmt: skip
        read = from_label(given.label)
        assert (read.name, read.parameters, read.scale, read.bias) == given[:2] + given[3:]
    assert activation("tanh").label == "tanh"
    assert activation("tanh", scale=2, bias=1).label == "tanh(scale=2, bias=1)"


def test_conditions_and_their_opposites():
    c = above(X, ONE)
    assert opposite(opposite(c)) == c
    assert opposite(at_least(X, ONE)) != at_least(X, ONE)
    for condition in (c, at_least(X, ONE)):
        values = [numpy_function(e)(np.array([0.0, 1.0, 2.0])) for e in (condition, opposite(condition))]
        assert np.array_equal(values[0] + values[1], np.ones(3))
    swapped = where(opposite(c), X, ONE)
    assert swapped == where(c, ONE, X)


@pytest.mark.parametrize(
    ("lo", "hi", "right"), [(None, None, 0), (None, 3, 2), (3, None, 4), (1, 2, "3/2"), (-2, 1, "-1/2")]
)
def test_a_point_inside(lo, hi, right):
    ends = [None if e is None else fmpq(e) for e in (lo, hi)]
    assert interior(*ends) == end(right)


@pytest.mark.parametrize(
    ("text", "side", "right"),
    [
        ("exp(sin(x) + x)", 1, (math.e, 0, 1, 0)),  # factor by factor
        ("exp(tanh(x) + x**2/9)", 1, (math.e, 0, 0, 1 / 9)),
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
    numbers = (found.factor, found.degree.p / found.degree.q, found.linear, found.quadratic)
    assert [float(n) for n in numbers] == pytest.approx(right, rel=1e-9, abs=1e-12)


def test_a_polynomial_of_uncertain_degree_has_no_range_on_a_ray():
    found = enclose_polynomial(arb_poly([0, -1, arb(0, 1e-3)]), fmpq(0), INFINITE)
    assert (float(found.lo), float(found.hi)) == (-INFINITE, INFINITE)


def test_ranges_beyond_the_doubles():
    largest = 1.7976931348623157e308
    up, down = from_formula("exp(x)"), from_formula("-exp(x)")
    assert up.range_on(fmpq(1000), fmpq(1001)) == (largest, INFINITE)
    assert down.range_on(fmpq(1000), fmpq(1001)) == (-INFINITE, -largest)
    assert from_formula("log(x)").range_on(fmpq(-1), fmpq(1)) == (-INFINITE, INFINITE)


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("exp(x)*step(x)", [0]),
        ("relu(x) + exp(min(x, 0)) - 1", []),
        ("where(x > 1, exp(x), exp(1)*x)", []),  # equal at 1, but no ball proves it: not listed
        ("where(x > 1, exp(x), 3*x)", [1]),
        ("where(x > 1, x**2, x)", []),
        ("where(x > 1, x**2, 2*x)", [1]),
        ("where(x > -2, sin(x), cos(x))", [-2]),
    ],
)
def test_jumps_are_decided_by_the_values_on_both_sides(text, jumps):
    assert list(from_formula(text).jumps()) == jumps


def test_where_quotients_can_be_filled_in():
    for text, places in [
        ("x + sin(x)/x*((exp(x - 1) - 1)/(x - 1))", {0, 1}), ("tanh(1/x)", set()), ("exp(sin(x)/x)", {0}),
        ("sqrt(x)/x", set()), ("(x**2 - 4)/(x - 2)", {2}), ("x*(x - 2)", set()),
        ("sin(x)/((x + 1)**2 - 1)", {0}),
    ]:  # fmt: skip
        assert removable_places(from_formula(text).expr) == places, text
    assert not real_function(from_formula("log(1 + x)/x").expr)(arb(-0.5, 1)).is_finite()  # as far as −3/2
    assert real_function(from_formula("log(1 + x)/x").expr)(arb(0, 0.5)).is_finite()


def test_where_signs_are_not_settled_the_switches_stay(monkeypatch):
    monkeypatch.setattr(zeros, "_MAX_SPLITS", 50)
    expr = from_formula("x*abs(sin(x)**2 + cos(x)**2 - 1)").expr
    (part,) = isolated_pieces(expr, fmpq(1, 2), 60)
    assert part == (fmpq(-1, 2), fmpq(1, 2), expr)


def test_labels_of_formulas_and_rationals_as_parameters():
    text = "x*sigmoid(2*x) + 1/3"
    assert from_label(text) == (text, (), from_formula(text).expr, 1, 0)
    assert activation("leaky_relu", slope=fmpq(1, 10)) == activation("leaky_relu", slope="1/10")
    deep = "(" * 100 + "x" + "+1)" * 100
    with pytest.raises(InvalidInput, match="parentheses"):
        from_formula(deep)
    assert from_label(deep).expr.op == "add"  # what was written by us may be longer


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


def test_an_activation_as_other_libraries_have_it():
    import sympy as sp

    t = sp.Symbol("t")
    act = activation("leaky_relu", scale=2)
    assert act.exact()(fmpq(-3)) == fmpq(-6, 100)
    assert act.ball()(arb(3)) == 6
    assert sp.simplify(activation("tanh", bias=1).sympy(t) - sp.tanh(t + 1)) == 0


@pytest.mark.parametrize("text", [*FORMULAS, "sqrt(x)", "log(x)", "sinh(x)**2", "sinh(x)**3", "exp(x)**(1/3)", "tan(x)",
                                  "exp(x)**(-1)", "sinh(x)**(-2)", "exp(x)/x", "x*exp(x)", "cosh(x)**2"])  # fmt: skip
def test_ranges_are_rounded_outwards(text):
    """What few bits enclose holds what many bits enclose."""
    expr = from_formula(text).expr
    for lo, hi in [*ENDS, ("1/3", "2/3"), ("-2/3", "1/7"), (1, "10/7")]:
        found = list[Range]()
        for bits in (30, 200):
            with precision(bits):
                found.append(
                    extended_range(expr, *((e if isinstance(e, float) else rational("end", e)) for e in (lo, hi)))
                )
        if None not in found:
            (low, high), (least, largest) = found
            assert low <= least, (lo, hi)
            assert largest <= high, (lo, hi)


@pytest.mark.parametrize(("order", "found"), [(1, 1), (7, 7), (8, 8), (9, 0)])
def test_removable_singularities_up_to_order_eight(order, found):
    for text in (f"sin(x)**{order}/x**{order}", f"x**{order}*exp(x)/tanh(x)**{order}"):
        assert [spot.order for spot in removable(from_formula(text).expr)] == [found] * (found > 0)


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
        ("softplus(7*x)", None, 0),
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


@pytest.mark.parametrize(
    ("op", "ball", "values"),
    [("step", (-1, 0), (0, 1)), ("step", (-2, -1), (0,)), ("step", (-1, 1), (0, 1)),
     ("sign", (-1, 0), (-1, 0)), ("sign", (0, 1), (0, 1)), ("abs", (-3, 1), (0, 3)), ("relu", (-1, 2), (0, 2))],
)  # fmt: skip
def test_balls_that_touch_a_kink(op, ball, values):
    """step(0) = 1, sign(0) = 0."""
    middle, half = (ball[0] + ball[1]) / 2, (ball[1] - ball[0]) / 2
    with precision(64):
        found = real_function(call(op, X))(arb(middle, half))
    assert all(found.contains(v) for v in values)
    assert len(values) > 1 or found == values[0]
