"""Where a formula is filled in, jumps or has a kink, and where it stays undefined."""

import numpy as np
import pytest

from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.expression import X, call
from lop_theory.activations.formula import parse
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.singularities import removable, removable_places
from lop_theory.balls import acb, arb, fmpq, precision


def test_where_quotients_can_be_filled_in():
    for text, places in [
        ("x + sin(x)/x*((exp(x - 1) - 1)/(x - 1))", {0, 1}), ("tanh(1/x)", set()), ("exp(sin(x)/x)", {0}),
        ("sqrt(x)/x", set()), ("(x**2 - 4)/(x - 2)", {2}), ("x*(x - 2)", set()),
        ("sin(x)/((x + 1)**2 - 1)", {0}), ("sin(x)/(1/x)", set()), ("(1/sin(x))/x", set()), ("x/log(sin(x))", set()),
    ]:  # fmt: skip
        assert removable_places(from_formula(text).expr) == places, text
    assert not real_function(from_formula("log(1 + x)/x").expr)(arb(-0.5, 1)).is_finite()  # as far as −3/2
    assert real_function(from_formula("log(1 + x)/x").expr)(arb(0, 0.5)).is_finite()


@pytest.mark.parametrize(("order", "found"), [(1, 1), (7, 7), (8, 8), (9, 0)])
def test_removable_singularities_up_to_order_eight(order, found):
    for text in (f"sin(x)**{order}/x**{order}", f"x**{order}*exp(x)/tanh(x)**{order}"):
        assert [spot.order for spot in removable(from_formula(text).expr)] == [found] * (found > 0)


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


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("sin(x)/x", 0, 1),
        ("(exp(x)-1)/x", 0, 1),
        ("x/tanh(x)", 0, 1),
        ("(1-cos(x))/x**2", 0, 0.5),
        ("(x**2-1)/(x-1)", 1, 2),
        ("sin(3*x+1)/(3*x+1)", fmpq(-1, 3), 1),
        ("sinc(x) + x", 0, 1),
    ],
)
def test_removable_singularities_are_filled_in(text, place, value):
    expr, at = parse(text), arb(fmpq(place))
    with precision(100):
        wide = real_function(expr)(at + arb(0, 1e-3))
        assert wide.contains(arb(value)) or abs(wide - value) < 1e-20
        assert wide.rad() < 1e-2
        box = complex_function(expr)(acb(at + arb(0, 1e-3), arb(0, 1e-3)))
        assert box.is_finite()
        assert abs(box - value) < 0.1
    assert numpy_function(expr)(np.array([float(at), 2.0]))[0] == pytest.approx(value)


@pytest.mark.parametrize("text", ["1/x", "cos(x)/x", "sin(x)/x**2", "abs(x)/x", "(exp(x) - 1.0001)/x", "x/sin(x - 1)"])
def test_true_singularities_stay(text):
    assert not real_function(parse(text))(arb(0, 1e-3) if "- 1)" not in text else arb(1, 1e-3)).is_finite()


@pytest.mark.parametrize("text", ["sqrt(x)/x", "x**(1/2)/x", "sqrt(x)*x/x", "sqrt(x**2)/x", "sqrt(x**3)/x"])
def test_beside_a_branch_point_nothing_is_removable(text):
    expr = parse(text)
    assert removable(expr) == ()
    assert not real_function(expr)(arb(0, 1e-3)).is_finite()
