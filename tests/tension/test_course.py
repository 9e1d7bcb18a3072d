"""Where λ certainly rises and falls in scale and bias, against λ itself and against coefficients computed anew."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.activations.expression import mul
from lop_theory.balls import arb, arb_poly, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import raw_moments
from lop_theory.tension import course
from lop_theory.tension.course import constant_in_scale, modulated, rises_and_falls
from lop_theory.tension.monotone import certify_monotone, strength_at
from lop_theory.verdict import Undecided

SCALES, BIASES = (fmpq(1, 4), fmpq(4)), (fmpq(-3), fmpq(3))
FORMULAS = ["gelu(x)", "silu(x)", "tanh(x)", "sin(x)", "hardtanh(x)", "x+x**3", "relu(x)+x**2/10", "step(x-1)+x"]


def _segments(text, direction):
    interval, fixed = (SCALES, fmpq(0)) if direction == "scale" else (BIASES, fmpq(1))
    return rises_and_falls(from_formula(text).expr, direction, interval, fixed=fixed)


def _strength(text, direction, at):
    scale, bias = (at, fmpq(0)) if direction == "scale" else (fmpq(1), at)
    return strength_at(from_formula(text).expr, scale, bias)


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("direction", ["scale", "bias"])
def test_segments_cover_the_interval_and_certified_values_move_as_they_say(text, direction):
    found = _segments(text, direction)
    interval = SCALES if direction == "scale" else BIASES
    assert (found[0].lo, found[-1].hi) == interval
    assert all(a.hi == b.lo and a.sign != b.sign for a, b in pairwise(found))
    assert sum((s.hi - s.lo for s in found if s.sign == 0), fmpq(0)) < fmpq(1, 1000)
    for segment in found:
        places = [segment.lo + (segment.hi - segment.lo) * i / 5 for i in range(6)]
        values = [_strength(text, direction, place) for place in places] if segment.sign else []
        for a, b in pairwise(values):
            assert not segment.sign * (b - a) < 0  # equal to the digits at hand is no contradiction
        if values and segment.hi - segment.lo > 1:
            assert segment.sign * (values[-1] - values[0]) > 0


@pytest.mark.claim("tension-monotone")
@given(
    st.sampled_from(["gelu(x)", "step(x-1/3)", "relu(x+1)", "abs(x)*x", "sin(2*x)", "exp(x/2)"]),
    st.sampled_from(["scale", "bias"]),
    st.fractions(-1, 1, max_denominator=40),
)
def test_the_series_enclose_the_coefficients_elsewhere(text, direction, place):
    """c_0, c_1 and d_0 of the series at t against integrals at the modulated place."""
    expr = from_formula(text).expr
    t = fmpq(place.numerator, place.denominator)
    with precision(128):
        if direction == "bias":
            series, moved, factor = course._three_series(expr, "bias", arb(1)), modulated(expr, fmpq(1), t), arb(1)
            at = arb(t)
        else:
            s = 1 + t / 5
            series, moved, factor = course._three_series(expr, "scale", arb(0.22)), modulated(expr, s, fmpq(0)), arb(s)
            at = (arb(s * s) - 1) / 2
        c, _, _ = raw_moments(moved, 2, 100)
        d, _, _ = raw_moments(mul(moved, moved), 2, 100)
        for found, direct in zip(series, (c[0], c[1] / factor, d[0]), strict=True):
            value = found.at(at)[0]
            assert value.overlaps(direct)
            assert value.rad() < 1e-10


@pytest.mark.parametrize(
    ("text", "constant"),
    [("relu(x)", True), ("leaky_relu(x, 0.2)", True), ("x**2", True), ("abs(x)**3", True), ("cos(x)", True),
     ("step(x)", True), ("x + x**2", False), ("relu(x) + 1", True), ("relu(x-1)", False), ("gelu(x)", False),
     ("3*x", True), ("where(x>0, x**2, x)", False)],
)  # fmt: skip
def test_what_does_not_depend_on_the_scale(text, constant):
    assert constant_in_scale(from_formula(text).expr) is constant
    if constant:
        strengths = [strength_at(from_formula(text).expr, scale, fmpq(0)) for scale in (fmpq(1, 3), fmpq(1), fmpq(5))]
        assert strengths[0].overlaps(strengths[1])
        assert strengths[1].overlaps(strengths[2])


def test_what_is_not_decided_is_said():
    """λ(exp(x + b)) does not depend on b: no sign is certain anywhere."""
    flat = from_formula("exp(x)").expr
    assert [s.sign for s in rises_and_falls(flat, "bias", (fmpq(0), fmpq(1)), fixed=fmpq(1), cells=20)] == [0]
    verdict = certify_monotone(flat, "bias", (fmpq(0), fmpq(1)), fixed=fmpq(1), sense="increasing", cells=20)
    assert isinstance(verdict, Undecided)


def test_a_negative_scale_mirrors_the_bias():
    """φ(−x + b) has the λ of φ(x + b)."""
    expr = activation("silu").expr
    forward, backward = (rises_and_falls(expr, "bias", BIASES, fixed=fmpq(a)) for a in (1, -1))
    assert [s.sign for s in forward] == [s.sign for s in backward]


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize("growing", [0, 2])
@pytest.mark.parametrize("t", ["-0.2", "0", "0.3"])
def test_the_slope_of_the_tendency_is_that_of_its_differences(growing, t):
    """Every term of it, with series that share no coefficient."""
    with precision(192):
        c, m, d = [3, 5, -2, 4], [2, -3, 6, 1], [30, 8, -5, 9]
        zero, at, h = arb(0), arb(t), arb(2) ** -40

        def series(coefficients):
            poly = arb_poly(coefficients)
            return course.Series((poly, poly.derivative(), poly.derivative().derivative()), (zero, zero, zero))

        three = series(m), series(c), series(d)
        slope = course._tendency(three, growing, at)[1]
        ahead, behind = (course._tendency(three, growing, at + step)[0] for step in (h, -h))
        assert abs((ahead - behind) / (2 * h) - slope) < 1e-15


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize(
    ("direction", "interval", "fixed", "sense", "named"),
    [("bias", (3, -3), 1, "increasing", "interval"), ("bias", (3, 3), 1, "increasing", "interval"),
     ("scale", (2, 1), 0, "decreasing", "interval"), ("scale", (0, 2), 0, "increasing", "interval"),
     ("scale", (-2, -1), 0, "increasing", "interval"), ("bias", (1, 2), 0, "increasing", "fixed"),
     ("Bias", (1, 2), 1, "increasing", "direction"), ("scale", (1, 2), 1, "falling", "sense")],
)  # fmt: skip
def test_nothing_holds_on_no_interval(direction, interval, fixed, sense, named):
    """An empty interval proves no monotonicity; a scale of 0 or below has no course."""
    lo, hi = map(fmpq, interval)
    with pytest.raises(InvalidInput, match=named):
        certify_monotone("gelu", direction, (lo, hi), fixed=fmpq(fixed), sense=sense)
