"""Sign changes: every zero is enclosed, and between the enclosures the sign does not change."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations import zeros
from lop_theory.activations.ball_table import BALLS
from lop_theory.activations.formula import parse
from lop_theory.activations.piecewise import interior, isolated_pieces, rational_roots
from lop_theory.activations.polynomial_range import enclose_polynomial, has_no_real_root
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import KINKED
from lop_theory.activations.zeros import sign_changes
from lop_theory.balls import arb, arb_poly, fmpq, fmpq_poly, parse_fmpq, precision, within

INF = float("inf")


@pytest.mark.parametrize(
    ("text", "roots"),
    [
        ("x**2 - 2", [-math.sqrt(2), math.sqrt(2)]),
        ("sin(x)", [k * math.pi for k in range(-3, 4)]),
        ("tanh(x) - 0.5", [math.atanh(0.5)]),
        ("exp(x) - 2", [math.log(2)]),
        ("sin(x) - cos(x)", [math.pi / 4 + k * math.pi for k in range(-3, 3)]),
        ("1 - cos(x)", [2 * k * math.pi for k in (-1, 0, 1)]),
        ("x - sqrt(2)", [math.sqrt(2)]),
        ("(x**2 - 2)**2", [-math.sqrt(2), math.sqrt(2)]),
        ("x*(1 - sigmoid(x))", [0.0]),
        ("exp(x)", []),
    ],
)
def test_known_zeros(text, roots):
    around, complete = sign_changes(parse(text), fmpq(-10), fmpq(10), 60)
    assert complete
    assert len(around) == len(roots)
    for (a, b), root in zip(around, roots, strict=True):
        assert float(arb(a)) == pytest.approx(root, abs=1e-12)
        assert b - a <= fmpq(1, 2**55)


@pytest.mark.parametrize("text", ["sin(x)", "tanh(x)*cos(x)", "x**2 - 4", "exp(x) - exp(2)"])
@pytest.mark.parametrize(("lo", "hi"), [(-2, 2), (0, 2), (2, 3), (-1, "5/2")])
def test_zeros_at_the_ends_and_on_the_borders_of_cells_count(text, lo, hi):
    ends = fmpq(lo), hi if isinstance(hi, int) else fmpq(*map(int, hi.split("/")))
    known = {"sin(x)": [0.0], "tanh(x)*cos(x)": [-math.pi / 2, 0.0, math.pi / 2], "x**2 - 4": [-2.0, 2.0]}
    right = [z for z in known.get(text, [2.0]) if float(arb(ends[0])) <= z <= float(arb(ends[1]))]
    around, complete = sign_changes(parse(text), ends[0], fmpq(ends[1]), 50)
    assert complete
    assert [float(arb((a + b) / 2)) for a, b in around] == pytest.approx(right, abs=1e-14)
    assert all(b - a <= fmpq(1, 2**48) for a, b in around)


def test_a_function_that_vanishes_on_an_interval_is_not_settled(monkeypatch):
    """sin² + cos² − 1 has no sign anywhere: what is left is told, and that it is not as narrow as was asked."""
    monkeypatch.setattr(zeros, "_MAX_SPLITS", 300)
    around, complete = sign_changes(parse("sin(x)**2 + cos(x)**2 - 1"), fmpq(0), fmpq(1, 2**30), 60)
    assert not complete
    assert (around[0][0], around[-1][1]) == (0, fmpq(1, 2**30))


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=6), st.sampled_from(["{}", "sin({})", "exp({}) - 2"]))
def test_between_enclosures_the_sign_is_constant(coefficients, form):
    text = form.format("+".join(f"({c})*x**{k}" for k, c in enumerate(coefficients)))
    expr = parse(text)
    around, complete = sign_changes(expr, fmpq(-2), fmpq(2), 40)
    if not complete or not around:
        return
    ends = [fmpq(-2), *(end for pair in around for end in pair), fmpq(2)]
    with precision(200):
        phi = real_function(expr)
        for u, v in list(pairwise(ends))[::2]:
            if u < v:
                values = [phi(arb(u + (v - u) * i / 8)) for i in range(1, 8)]
                assert all(value > 0 for value in values) or all(value < 0 for value in values)


@pytest.mark.parametrize(
    "text",
    ["abs(sin(x))", "max(sin(x), cos(x), sin(2*x))", "relu(abs(x**2 - 2) - sin(x))", "abs((x - 1)*(x**2 - 2))",
     "relu((x + 2)*(x**3 - 3)*x)"],
)  # fmt: skip
def test_isolated_pieces_hold_no_switch_but_at_the_kinks(text):
    parts = isolated_pieces(parse(text), fmpq(4), 60)
    assert (parts[0].lo, parts[-1].hi) == (-4, 4)
    assert all(left.hi == right.lo for left, right in pairwise(parts))
    for part in parts:
        assert part.lo < part.hi
        assert part.hi - part.lo <= fmpq(1, 2**60) or not any(op in str(part.expr) for op in KINKED)


@given(
    st.lists(st.integers(-4, 4), min_size=3, max_size=6).filter(lambda c: c[-1] != 0),
    st.sampled_from([(-INF, INF), (fmpq(-1), INF), (-INF, fmpq(2)), (fmpq(-2), fmpq(3)), (fmpq(1, 3), fmpq(1, 2))]),
)
def test_polynomial_range_encloses_samples(coefficients, ends):
    poly = arb_poly(coefficients)
    found = enclose_polynomial(poly, *ends)
    lo, hi = (fmpq(-30) if ends[0] == -INF else ends[0]), (fmpq(30) if ends[1] == INF else ends[1])
    for i in range(65):
        value = poly(arb(lo + (hi - lo) * i / 64))
        assert not value < found.lo
        assert not value > found.hi
    assert found.lo.is_finite() or not found.hi.is_finite() or coefficients[-1] < 0 or len(coefficients) % 2 == 0


def test_a_positive_polynomial_is_bounded_away_from_zero():
    assert enclose_polynomial(arb_poly([1, 1, 1]), -INF, INF).lo > 0.6


def test_a_newton_step_without_rounding_is_padded():
    """√4 is 2 without rounding, so that the step from anywhere is the zero itself."""
    around, complete = sign_changes(parse("x/sqrt(4) - 1/8"), fmpq(-3, 5), fmpq(3, 4), 60)
    assert complete
    ((a, b),) = around
    assert a < fmpq(1, 4) < b
    assert b - a <= fmpq(1, 2**60)


@pytest.mark.parametrize("coefficients", [[0, 0, "-50", "1/3"], [0, "-1000", 0, 0, 1], [5, 0, "-1/8", 0, "1/100"]])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("lo", [-1, 0, 2])
def test_polynomials_on_a_ray_reach_their_extrema_far_out(coefficients, sign, lo):
    """The least value is at a root of p′, which any of its coefficients may put far out."""
    numbers = [sign * parse_fmpq(str(c)) for c in coefficients]
    found = enclose_polynomial(arb_poly(numbers), fmpq(lo), INF)
    values = np.polynomial.Polynomial([float(n.p) / float(n.q) for n in numbers])
    roots = [r.real for r in values.deriv().roots() if abs(r.imag) < 1e-9 and r.real > lo]
    extreme = (min if sign > 0 else max)(map(values, [lo, *roots]))
    near, far = (found.lo, found.hi) if sign > 0 else (found.hi, found.lo)
    assert float(far) == sign * INF
    assert sign * float(near) <= sign * extreme + 1e-9 * abs(extreme)
    assert near.is_finite()


@pytest.mark.parametrize(
    "text",
    [
        "abs(sin(x))",
        "relu(sin(x))",
        "step(sin(x))",
        "sign(exp(x) - 2)",
        "max(sin(x), cos(x))",
        "min(sin(x), exp(x)/3)",
        "abs((x - 1)*(x**2 - 2))",
        "relu((x + 2)*(x**3 - 3)*x)",
        "max(x**3, 2*x)",
        "sign((x**2 + 1)*(x - 1/2))",
    ],
)
def test_isolated_pieces_are_the_branches_taken(text):
    whole = parse(text)
    with precision(80):
        right = real_function(whole)
        for part in isolated_pieces(whole, fmpq(4), 60):
            middle = arb((part.lo + part.hi) / 2)
            assert abs(real_function(part.expr)(middle) - right(middle)) < 1e-15 or part.hi - part.lo < fmpq(1, 2**59)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-2, 5)), min_size=1, max_size=3), st.sampled_from([1, -2]))
def test_which_polynomials_have_no_real_root(factors, lead):
    """A product of (x − a)² + b: a real root iff some b ≤ 0; times (x − 1), always."""
    poly = fmpq_poly([lead])
    for a, b in factors:
        poly *= fmpq_poly([a * a + b, -2 * a, 1])
    assert has_no_real_root(poly) == all(b > 0 for _, b in factors)
    assert not has_no_real_root(poly * fmpq_poly([-1, 1]))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("coefficients", "lo"), [([3, 0, 1], 0), ([3, 1, 0, 2], 0), ([0, 0, 0, 1], 0), ([2, 1], -5)])
def test_a_polynomial_that_only_rises_has_its_least_value_at_the_start(coefficients, lo, sign):
    found = enclose_polynomial(arb_poly([sign * c for c in coefficients]), fmpq(lo), INF)
    near, far = (found.lo, found.hi) if sign > 0 else (found.hi, found.lo)
    assert near == sign * sum(c * lo**k for k, c in enumerate(coefficients))
    assert float(far) == sign * INF


def test_a_ball_that_ends_at_exactly_zero_has_no_sign():
    """It holds 0, where the step is 1: from below it has both values, from above one."""
    ball = arb(1) + within(arb(1) / 3)
    above, below = ball - ball.lower(), ball - ball.upper()
    assert above >= 0
    assert below <= 0
    assert [zeros._signed(b) for b in (above, below, arb(0), above + 1, below - 1)] == [False, False, False, True, True]
    step = BALLS.table["step"]
    assert step(above) == step(arb(0)) == 1
    assert step(below).contains(arb(0))
    assert step(below).contains(arb(1))
    assert step(below - arb("1e-9")) == 0


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (-1, 0), (0, "1/2")])
def test_a_zero_at_the_end_counts_where_enclosures_are_exact(lo, hi):
    """√4 is 2 without rounding, so that x/√4 on [0, 1] is enclosed by [0, 1/2]."""
    ends = [parse_fmpq(str(e)) for e in (lo, hi)]
    around, complete = sign_changes(parse("x/sqrt(4)"), *ends, 40)
    assert complete
    assert [a <= 0 <= b for a, b in around] == [True]


@pytest.mark.parametrize(
    ("factors", "roots", "complete"),
    [([[-1, 1], [-2, 0, 1]], [1], False), ([[-1, 1], [2, 0, 1]], [1], True), ([[-2, 0, 1]], [], False),
     ([[1, 2], [-3, 1]], [fmpq(-1, 2), 3], True), ([[5]], [], True), ([[1, 1], [1, 1]], [-1], True),
     ([[2, 0, 1]], [], True)],
)  # fmt: skip
def test_the_rational_roots_and_whether_they_are_all(factors, roots, complete):
    poly = fmpq_poly([3])
    for factor in factors:
        poly *= fmpq_poly(factor)
    assert rational_roots(poly) == (roots, complete)


def test_pieces_within_a_reach():
    parse_pieces = isolated_pieces(parse("relu(x - 1) + abs(x + 2)"), fmpq(4), 30)
    assert [(part.lo, part.hi) for part in parse_pieces] == [(-4, -2), (-2, 1), (1, 4)]
    inside = isolated_pieces(parse("relu(x - 1) + abs(x + 2)"), fmpq(3, 2), 30)
    assert [(part.lo, part.hi) for part in inside] == [(fmpq(-3, 2), 1), (1, fmpq(3, 2))]


@pytest.mark.parametrize(
    ("lo", "hi", "right"), [(None, None, 0), (None, 3, 2), (3, None, 4), (1, 2, fmpq(3, 2)), (-2, 1, fmpq(-1, 2))]
)
def test_a_point_inside(lo, hi, right):
    ends = [None if e is None else fmpq(e) for e in (lo, hi)]
    assert interior(*ends) == right


def test_where_signs_are_not_settled_the_switches_stay(monkeypatch):
    monkeypatch.setattr(zeros, "_MAX_SPLITS", 50)
    expr = parse("x*abs(sin(x)**2 + cos(x)**2 - 1)")
    (part,) = isolated_pieces(expr, fmpq(1, 2), 60)
    assert part == (fmpq(-1, 2), fmpq(1, 2), expr)


@pytest.mark.parametrize(
    ("intervals", "gap", "right"),
    [
        ([(0, 4), (1, 2), (5, 6)], 0, [(0, 4), (5, 6)]),  # one inside another ends where the outer one does
        ([(0, 4), (1, 2), (3, 5)], 0, [(0, 5)]),
        ([(0, 1), (1, 2), (3, 4)], 0, [(0, 2), (3, 4)]),
        ([(0, 1), (2, 3), (5, 6)], 1, [(0, 3), (5, 6)]),
    ],
)
def test_intervals_that_meet_become_one(intervals, gap, right):
    found = zeros._merged([(fmpq(a), fmpq(b)) for a, b in intervals], fmpq(gap))
    assert [(int(a.p), int(b.p)) for a, b in found] == right
