"""Guessed integrals, boxes and decimals of the Coq file, printed ends and places: each against its definition."""

import math
from fractions import Fraction
from types import SimpleNamespace

import mpmath as mp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.formula import parse
from lop_theory.balls import arb, within
from lop_theory.gap import coq
from lop_theory.gap.printout import _ends, place
from lop_theory.gap.propagation import _is_homogeneous

THIRD = mp.mpf(1) / 3
INTERVALS = mp.MPIntervalContext()  # with a precision of its own
INTERVALS.dps = 40
FUNCTIONS = {
    "tanh(x) + 1/2": lambda x: mp.tanh(x) + 0.5,
    "relu(x - 1/3)": lambda x: max(x - THIRD, 0),
    "x**2": lambda x: x * x,
}


@pytest.mark.parametrize("text", FUNCTIONS)
def test_guessed_integrals_and_the_strength_from_boxes_around_them(text):
    phi = FUNCTIONS[text]
    weights = [phi, lambda x: phi(x) ** 2, lambda x: x * phi(x)]
    right = [float(mp.quad(lambda x, f=f: f(x) * mp.exp(-x * x / 2), [-8, 0, THIRD, 2, 8])) for f in weights]
    found = coq._integrals(parse(text))
    assert found == pytest.approx(right, rel=1e-12, abs=1e-12)
    boxes = [coq._box(value) for value in found]
    for (low, high), value in zip(boxes, right, strict=True):
        assert low < Fraction(value) < high
        room = Fraction(coq.ROOM * max(1, math.ceil(abs(value))), 10**coq.DECIMALS)
        assert high - low == 2 * room
        assert (low * 10**coq.DECIMALS).denominator == 1
    e, q, a = (value / math.sqrt(2 * math.pi) for value in right)
    strength = 1 - a**2 / (q - e**2)
    low, high = coq._enclosure(boxes)
    assert low < strength < high
    assert high - low <= Fraction(3, 10**6)
    assert (low * 10**6).denominator == (high * 10**6).denominator == 1


def box(top, unit):
    """Boxes of tenths, up to 0.8 wide."""
    pairs = st.tuples(st.integers(-top, top), st.integers(0, 8))
    return pairs.map(lambda v: (Fraction(v[0], 10) * unit, Fraction(v[0] + v[1], 10) * unit))


SMALL = Fraction(1, 1000)  # so small a variance shows the 1e-11 that lie beyond 8


@given(
    st.sampled_from([Fraction(1), SMALL]).flatmap(
        lambda unit: st.tuples(box(40, unit), st.integers(0, 8).map(lambda w: ((45 * unit**2), (45 + w) * unit**2)))
    ),
    box(40, 1),
)
def test_the_strength_from_boxes_is_that_of_interval_arithmetic(boxes, a):
    """1 − (a/m)²/(q/m − (e/m)²) by mpmath's intervals, with what lies beyond 8 added, rounded outwards to 1e-6."""
    e, q = boxes
    with mp.workdps(40):
        tail = INTERVALS.mpf(["-1e-11", "1e-11"])
        interval = lambda ends: INTERVALS.mpf([mp.mpf(v.numerator) / v.denominator for v in ends]) + tail  # noqa: E731
        m = INTERVALS.mpf(["2.5066282741", "2.5066282751"]) + tail
        right = 1 - (interval(a) / m) ** 2 / (interval(q) / m - (interval(e) / m) ** 2)
        low, high = (mp.mpf(v.numerator) / v.denominator for v in coq._enclosure([e, q, a]))
        below, above = mp.mpf(right.a) - low, high - mp.mpf(right.b)
    assert 0 <= below <= 1.02e-6
    assert 0 <= above <= 1.02e-6


@pytest.mark.parametrize(
    ("value", "right"), [(0, 0.0), ("1/4", 0.25), ("-3/2", -1.5), ("12", 12.0), ("-1/1000", -0.001)]
)
def test_decimals_of_coq(value, right):
    text = coq.decimal(Fraction(value))
    assert float(text.replace("(- ", "-").rstrip(")")) == right
    assert text.startswith("(- ") == (right < 0)
    assert len(text.rstrip(")").rpartition(".")[2]) == coq.DECIMALS


@pytest.mark.parametrize(
    ("middle", "radius", "bounds", "right"),
    [
        (0.5, 0.25, (0, 1), (0.25, 0.75)),
        (0.9, 0.25, (0, 1), (0.65, 1.0)),
        (0.1, 0.25, (0, 1), (0.0, 0.35)),
        (0.1, 0.25, None, (-0.15, 0.35)),
        (-0.9, 0.25, (-1, 1), (-1.0, -0.65)),
        (0.5, 0.5, (0, 1), (0.0, 1.0)),
        (0.5, 2.0, (0, 1), (0.0, 1.0)),
    ],
)
def test_printed_ends_stay_where_the_value_is_known_to_be(middle, radius, bounds, right):
    low, high = _ends(arb(middle) + within(arb(radius)), 6, bounds)
    assert right[0] - 2e-6 <= float(low) <= right[0]
    assert right[1] <= float(high) <= right[1] + 2e-6


@pytest.mark.parametrize(
    ("method", "at", "right"),
    [
        ("linear", 0.5, "everywhere (linear)"),
        ("parity", 0, "rho -> 0"),
        ("end", 1, "rho -> 1"),
        ("newton", 0.25, "rho = 0.25"),
    ],
)
def test_places(method, at, right):
    assert place(SimpleNamespace(method=method, at=arb(at))).startswith(right)


def test_the_place_of_cells_is_an_interval_up_to_one():
    text = place(SimpleNamespace(method="cells", at=arb(0.9) + within(arb(0.2))))
    low, high = (float(end) for end in text.removeprefix("rho in [").rstrip("]").split(","))
    assert 0.699998 <= low <= 0.7
    assert 1.0 <= high <= 1.000001


@pytest.mark.parametrize(
    ("text", "right"),
    [("relu(x)", True), ("abs(x)", True), ("x", True), ("max(x, x/4)", True), ("relu(x - 1)", False),
     ("relu(x) + 1", False),
     ("max(x, 2*x - 1)", False), ("x*abs(x)", False), ("tanh(x)", False), ("step(x)", False), ("x - 1", False)],
)  # fmt: skip
def test_what_is_homogeneous(text, right):
    assert _is_homogeneous(parse(text)) == right
