"""Bounds, reaches, cuts and moments of single cells, each against its definition in mpmath or plain floats."""

import math
from itertools import pairwise

import mpmath as mp
import pytest
from numpy.polynomial.hermite_e import HermiteE

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.formula import parse
from lop_theory.activations.piecewise import pieces
from lop_theory.activations.strip import StripBound
from lop_theory.activations.tails import mass_outside, tail_bounds
from lop_theory.activations.zeros import _cells as unit_points
from lop_theory.balls import arb, arb_series, fmpq, parse_fmpq, precision, series_length, working_bits
from lop_theory.errors import InvalidInput
from lop_theory.hermite import adaptive, panels, recursion, taylor, trapezoid
from lop_theory.hermite.taylor import Cell

CRAMER = 1.086435
GROWING = {"tanh(x)": mp.tanh, "x**3": lambda x: x**3, "exp(x)": mp.exp, "exp(x**2/9)": lambda x: mp.exp(x * x / 9)}


def he(k, x):
    """Normalised probabilists' Hermite polynomial."""
    return HermiteE.basis(k)(x) / math.sqrt(math.factorial(k))


@pytest.mark.parametrize(("lo", "hi", "nearest"), [(-1, 2, 0.0), (1, 2, 1.0), (-5, -3, 3.0), (0, 1, 0.0)])
@pytest.mark.parametrize("size", [0.5, 3.0])
def test_crude_bounds_are_width_times_size_times_the_weight_nearest_to_zero(lo, hi, nearest, size):
    linear, squared = panels._crude(fmpq(lo), fmpq(hi), arb(size))
    width = (hi - lo) / math.sqrt(2 * math.pi)
    assert float(linear) == pytest.approx(width * size * CRAMER * math.exp(-(nearest**2) / 4), rel=1e-4, abs=0)
    assert float(squared) == pytest.approx(width * size**2 * math.exp(-(nearest**2) / 2), rel=1e-9, abs=0)


def reaches(expr, bits):
    """(X, where the search starts, its step, 2^−target to be reached by the integrals of these powers of φ)."""
    start = fmpq(int(4 * math.sqrt(2.8 * bits)), 4)
    found = panels._reach(expr, bits)[0]
    yield found, start, fmpq(1, 4) if found <= start + 1 else 4, bits + 2, (1, 2)
    yield taylor._reach(expr, bits)[0], fmpq(4 * int(math.sqrt(0.7 * bits) / 2)), 2, bits, (1, 2)
    yield adaptive._reach(expr, bits)[0], fmpq(int(math.sqrt(2.8 * bits)) + 2), 4, bits, (1,)


@pytest.mark.parametrize("text", GROWING)
@pytest.mark.parametrize("bits", [30, 90])
def test_beyond_the_reach_nothing_counts_and_a_step_before_it_did(text, bits):
    expr = from_formula(text).expr
    with precision(64), mp.workdps(40):
        for reach, start, step, target, powers in reaches(expr, bits):
            tail = mp.quad(lambda x: GROWING[text](x) ** 2 * mp.npdf(x), [mp.mpf(float(arb(reach))), mp.inf])
            assert 0 < tail < mp.mpf(2) ** -target
            outside = {
                x: [mass_outside(tail_bounds(expr, x), arb(x), power) for power in powers]
                for x in (reach, reach - step)
            }
            assert all(m < arb(2) ** -target for m in outside[reach])
            assert reach >= start
            if reach > start:
                assert any(m > arb(2) ** -target for m in outside[reach - step])


def test_what_grows_too_fast_is_told_with_its_rate():
    with pytest.raises(InvalidInput, match=r"may grow like exp\(0\.3·x²\) and the limit is exp\(x²/4\)"):
        panels.moments(parse("exp(0.3*x**2)"), 3, 40)
    with pytest.raises(InvalidInput, match="is not shown to be square-integrable"):
        adaptive.coefficient(parse("exp(x**2)"), 1, 30)
    with pytest.raises(taylor.Unsettled, match="no growth bound"):
        taylor.moments(parse("exp(exp(x))"), 2, 30)


def test_a_piece_beyond_the_reach_is_left_out_not_integrated_backwards():
    """Continued to the left, exp(10(30 − x)) would be e^180 where the integral ends."""
    found = adaptive.coefficient(parse("where(x > 30, exp(10*(30 - x)), x)"), 1, 40)
    assert float(found.mid()) == pytest.approx(1, abs=1e-11)
    assert float(found.rad()) < 1e-10


@pytest.mark.parametrize(
    ("lo", "hi", "right"),
    [
        ("-3/2", "2", [-1.5, -1, 0, 1, 2]),
        ("0", "1", [0, 1]),
        ("1/4", "1/2", [0.25, 0.5]),
        ("-2", "-1/2", [-2, -1, -0.5]),
    ],
)
def test_cells_end_at_whole_numbers(lo, hi, right):
    ends = [parse_fmpq(str(end)) for end in (lo, hi)]
    assert [float(arb(x)) for x in unit_points(*ends)] == right
    assert [(float(arb(a)), float(arb(b))) for a, b in panels._unit_cells(*ends)] == list(pairwise(right))


@pytest.mark.parametrize(
    ("text", "lo", "hi", "zero"),
    [("x - sqrt(2)", 1, 2, lambda: mp.sqrt(2)), ("1 - exp(x)", -1, 2, lambda: 0),
     ("exp(x) - 3", 0, 4, lambda: mp.log(3)), ("tanh(x) - 1/2", 0, 1, lambda: mp.atanh(0.5)),
     ("x**3 - 2", 1, 2, lambda: mp.cbrt(2))],
)  # fmt: skip
def test_two_cuts_enclose_the_zero_of_a_monotone_switch(text, lo, hi, zero):
    bits = 60
    with precision(4 * bits), mp.workprec(4 * bits):
        cuts = taylor._crossing(parse(text), fmpq(lo), fmpq(hi), bits)
        assert 1 <= len(cuts) <= 2
        assert cuts[-1] - cuts[0] <= fmpq(1, 2 ** (bits + 16))
        for cut in cuts:
            assert abs(mp.mpf(int(cut.p)) / int(cut.q) - zero()) <= mp.mpf(2) ** -(bits + 16)
        assert taylor._crossing(parse("sin(3*x)"), fmpq(lo), fmpq(hi), bits) == ()


@pytest.mark.parametrize(
    ("text", "centre", "radius", "sign"),
    [("x", 1, 1, 1), ("x", -1, 1, -1), ("x", 0, 1, None), ("-x", 1, 1, -1), ("-x", -1, 1, 1), ("x**2 + 3", 0, 1, 1),
     ("-3 - x**2", 0, 1, -1), ("3 - cos(x)", 0, 1, 1), ("exp(x) - 1", 2, 2, 1), ("exp(x) - 1", -2, 2, -1),
     ("exp(x) - 1", 0, 2, None), ("1/x", 0, 1, None)],
)  # fmt: skip
def test_zero_counts_on_either_side_of_a_switch(text, centre, radius, sign):
    with precision(200):
        assert taylor._sign(parse(text), Cell(fmpq(centre), fmpq(radius), None, None)) == sign


def test_steps_and_magnitudes():
    assert [taylor._rounded(v, 16) for v in (0, 1, 16, 17, 32)] == [0, 16, 16, 32, 32]
    for size in (1.0, 0.75, 8.0, 9.0, 2.0**-40, 3e20):
        exponent = taylor._magnitude(arb(size))
        assert size <= 2.0**exponent <= 4 * size
    assert taylor._magnitude(arb(0)) < -(10**6)


@pytest.mark.parametrize(("centre", "radius"), [(0, 1), (3, "1/2"), (-6, 2), (1, 1)])
def test_amplitudes_bound_the_integrand_on_the_box_of_twice_the_radius(centre, radius):
    r = parse_fmpq(str(radius))
    half, size = float(arb(r)), 1.5
    linear, squared = taylor._amplitudes(Cell(fmpq(centre), r, None, None), arb(size))
    steps = [i / 10 - 1 for i in range(21)]
    box = [mp.mpc(centre + 2 * half * u, 2 * half * v) for u in steps for v in steps]
    weight = max(abs(mp.exp(-z * z / 2)) / mp.sqrt(2 * mp.pi) for z in box)
    on_cell = max(abs(he(k, centre + half * u)) for k in range(12) for u in steps)
    assert 2 * half * size * weight * on_cell <= float(linear)
    assert float(squared) == pytest.approx(float(2 * half * size**2 * weight), rel=1e-6, abs=0)
    far = abs(centre) + half
    assert float(linear) == pytest.approx(
        float(2 * half * size * weight) * CRAMER * math.exp(far**2 / 4), rel=1e-4, abs=0
    )


def test_moments_of_a_series_and_hermite_polynomials_about_a_point():
    coefficients, n = [1.0, -2.0, 0.5, 3.0], 5
    with precision(80), series_length(4):
        found = taylor._monomial_moments(arb_series(coefficients), 4, n)
    for j, value in enumerate(found):
        right = sum(c * 2 / (i + j + 1) for i, c in enumerate(coefficients) if (i + j) % 2 == 0)
        assert float(value) == pytest.approx(right, abs=1e-14)
    with precision(80):
        matrix = taylor._shifted_hermite(fmpq(3, 2), fmpq(1, 2), n, working_bits())
    for s in (-1.0, -0.3, 0.0, 0.7):
        for k in range(n):
            value = sum(float(matrix[j, k]) * s**j for j in range(n))
            assert value == pytest.approx(he(k, 1.5 + s / 2), abs=1e-12)


@pytest.mark.parametrize("text", ["exp(x/2 + 1)", "x*exp(-x)", "relu(x - 1)", "where(x > 0, x**2*exp(-2*x), 1 - x)"])
def test_the_recursion_is_the_integral_over_each_piece(text):
    expr, n = parse(text), 5
    with precision(90):
        for part in pieces(expr):
            found = recursion._piece(part, n)
            ends = [
                -mp.inf if part.lo is None else float(arb(part.lo)),
                mp.inf if part.hi is None else float(arb(part.hi)),
            ]
            terms = {float(arb(b)): [float(c) for c in p.coeffs()] for b, p in recursion.terms(part.expr).items()}

            def value(x, terms=terms):
                return mp.fsum(mp.polyval(p[::-1], x) * mp.exp(b * x) for b, p in terms.items() if p)

            for k in range(n):
                right = mp.quad(lambda x, k=k: value(x) * he(k, x) * mp.npdf(x), ends)
                assert float(found[k]) == pytest.approx(float(right), abs=1e-9)


SUMS_OF_EXPONENTIALS = {
    "exp(x/2) + x**2": lambda x: mp.exp(x / 2) + x**2,
    "x**2 + exp(x/2)": lambda x: mp.exp(x / 2) + x**2,
    "(exp(x) + x)*(1 - exp(-2*x))": lambda x: (mp.exp(x) + x) * (1 - mp.exp(-2 * x)),
    "(x + exp(x + 1))**3/4": lambda x: (x + mp.exp(x + 1)) ** 3 / 4,
}


@pytest.mark.parametrize("text", SUMS_OF_EXPONENTIALS)
def test_terms_add_up_to_the_formula(text):
    """Σ p_β(x)·e^{βx}, whichever of two terms has an exponent that the other has not."""
    found = {float(arb(b)): [float(c) for c in p.coeffs()] for b, p in recursion.terms(parse(text)).items()}
    for x in (-1.5, -0.25, 0.0, 2.0):
        total = mp.fsum(mp.polyval(p[::-1], x) * mp.exp(b * x) for b, p in found.items() if p)
        assert float(total) == pytest.approx(float(SUMS_OF_EXPONENTIALS[text](x)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("bits", [18, 60, 200])
def test_far_means_that_the_weighted_polynomials_are_below_the_precision(bits):
    """exp(−x²/4) < 2^(−2·bits), to the tenth of x."""
    nearest = next(i for i in range(1000) if recursion._is_far(i / 10, bits)) / 10
    assert math.exp(-(nearest**2) / 4) < 2.0 ** (-2 * bits) <= math.exp(-((nearest - 0.2) ** 2) / 4)


@pytest.mark.parametrize("step", [0.3, 0.05, 0.7, 1.9])
def test_a_dyadic_step_is_just_below(step):
    found = float(trapezoid._dyadic_below(step))
    assert step * 31 / 32 <= found <= step
    assert found * 2**12 == int(found * 2**12)


@pytest.mark.parametrize("quarter", [True, False])
@pytest.mark.parametrize(("factor", "degree"), [(3, 0), (0.5, 1), (2, 3)])
@pytest.mark.parametrize("x", [6, 9])
def test_the_tail_of_a_strip_bound_bounds_its_integral(quarter, factor, degree, x):
    """2∫ₓ^∞ CRAMER·factor·(1 + t)^p exp(−t²/4)/√(2π) dt for φ·he_k·w, or the square of the bound times w."""
    with precision(64):
        found = float(trapezoid._tail(StripBound(arb(factor), degree), arb(x), quarter=quarter))
    size = lambda t: factor * (1 + t) ** degree  # noqa: E731 - the bound of φ
    density = lambda t: CRAMER * size(t) * mp.exp(-t * t / 4) if quarter else size(t) ** 2 * mp.exp(-t * t / 2)  # noqa: E731
    right = float(2 * mp.quad(density, [x, x + 2, x + 8, x + 30]) / mp.sqrt(2 * mp.pi))
    assert right <= found <= 1.2 * right


def test_no_tail_where_the_bound_still_rises():
    with precision(64):
        assert not trapezoid._tail(StripBound(arb(1), 40), arb(3), quarter=True).is_finite()


@pytest.mark.parametrize(("x", "far"), [(3, False), (-3, False), (25, True), (-25, True)])
def test_hermite_values_at_the_end_of_a_piece(x, far):
    """Far out by Cramér's bound alone."""
    with precision(60):
        end = recursion._Boundary(arb(x), 6)
        bound = CRAMER * math.exp(x * x / 4)
    assert len(end.hermite) == 6
    for k, ball in enumerate(end.hermite):
        assert ball.contains(arb(he(k, x))) or abs(float(ball) - he(k, x)) <= 1e-12 * abs(he(k, x))
        assert float(ball.rad()) == (pytest.approx(bound, rel=1e-4) if far and k else pytest.approx(0, abs=1e-9))
    assert float(end.weight) == pytest.approx(float(mp.npdf(x)), rel=1e-12)
