"""Bounds inside the kernel and κ, against higher orders and finite differences; what is refused."""

from fractions import Fraction

import mpmath as mp
import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import arb, fmpq, precision, to_exact
from lop_theory.errors import InvalidInput
from lop_theory.gap import kappa
from lop_theory.gap.analysis import analyse
from lop_theory.gap.checker import _inside as inside_interval
from lop_theory.gap.checker import _recomputed
from lop_theory.gap.kappa import _above, _closed, _coarse_minimum, _decreasing, _inside, _newton
from lop_theory.gap.kernel import correlation_kernel, derivative_at_one, slope
from lop_theory.gap.printout import as_json
from lop_theory.gap.rank import polynomial_kernel
from lop_theory.gap.ratio import _geometric, floor_by_tangents, floor_on, least_curvature, ratio_of, value
from lop_theory.gap.ratio import derivatives as ratio_derivatives
from lop_theory.gap.ratio import slope as ratio_slope

PLACES = ["-0.95", "-0.5", "-0.125", "0", "0.125", "0.5", "0.75", "0.95"]


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh"])
@pytest.mark.parametrize("rho", PLACES)
def test_a_short_series_encloses_the_slope_of_a_long_one(name, rho):
    """Three coefficients leave a tail in [0, T] for ρ ≥ 0 and [−T, T] below, T = min(T_n n|ρ|^{n−1}/(1 − |ρ|)², what
    K′(1) leaves · |ρ|^{n−1}): neither missed nor wider."""
    expr, r = activation(name).expr, arb(rho)
    short, long = correlation_kernel(expr, 3), correlation_kernel(expr, 80)
    found, fine = slope(short, r), slope(long, r)
    with precision(64):
        size = abs(r)
        tail = (short.tails[3] * 3 * size**2 / (1 - size) ** 2).min(
            (derivative_at_one(short) - short.squares[1] - 2 * short.squares[2]) * size**2
        )
        poly = short.squares[1] + 2 * short.squares[2] * r
        low, high = (poly, poly + tail) if r >= 0 else (poly - tail, poly + tail)
    assert float(low) - 1e-12 <= float(fine.mid()) <= float(high) + 1e-12
    assert float(found.lower()) == pytest.approx(float(low), abs=1e-8)
    assert float(found.upper()) == pytest.approx(float(high), abs=1e-8)


@pytest.mark.claim("kernel-bounds")
def test_slope_at_the_ends():
    relu = correlation_kernel(activation("relu").expr, 6)
    assert slope(relu, arb(1)).overlaps(derivative_at_one(relu))
    assert float(slope(relu, arb(1)).mid()) == pytest.approx(0.5 / (0.5 - 0.5 / 3.141592653589793), rel=1e-12)
    left = derivative_at_one(relu) - sum(k * s for k, s in enumerate(relu.squares))
    with precision(64):
        poly = sum((k * s * (-1) ** (k - 1) for k, s in enumerate(relu.squares) if k), arb(0))
    assert float(slope(relu, arb(-1)).rad()) == pytest.approx(float(left), rel=1e-6, abs=0)
    assert slope(relu, arb(-1)).contains(poly.mid())
    sign = correlation_kernel(activation("sign").expr, 6)
    assert not slope(sign, arb(1)).is_finite()
    assert slope(sign, arb("0.5")).is_finite()


CELLS = [("0.1", "0.125"), ("0.5", "0.53125"), ("0.8", "0.8125"), ("0.9", "0.90625")]


def r_of(name, n=200):
    return ratio_of(correlation_kernel(activation(name).expr, n))


def inside(p, q, steps=8):
    return [(arb(p) + (arb(q) - arb(p)) * k / steps).mid() for k in range(steps + 1)]


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("name", ["relu", "silu", "selu"])
@pytest.mark.parametrize(("p", "q"), CELLS)
def test_the_least_curvature_is_below_the_second_derivative_and_near_it(name, p, q):
    ratio = r_of(name)
    with precision(128):
        bound = least_curvature(ratio, arb(p), arb(q))
        h = arb(2) ** -24
        seconds = []
        for x in inside(p, q):
            around = [value(ratio, (x + step * h).mid()) for step in (-1, 0, 1)]
            seconds.append(float(((around[0] - 2 * around[1] + around[2]) / h**2).mid()))
    assert float(bound) <= min(seconds) + 1e-6
    if bound > 0:
        assert float(bound) >= min(seconds) - 0.35 * abs(min(seconds)) - 0.3


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("name", ["relu", "silu", "selu"])
@pytest.mark.parametrize(("p", "q"), CELLS)
def test_floors_lie_below_the_ratio_and_near_it(name, p, q):
    ratio = r_of(name)
    with precision(96):
        u, v = arb(p), arb(q)
        values = [float(value(ratio, x).mid()) for x in inside(u, v)]
        first, second = ratio_derivatives(ratio, u, 1), ratio_derivatives(ratio, v, 1)
        floors = [float(floor_on(ratio, u, v)), float(floor_by_tangents(first, second, u, v))]
        slopes = [float(ratio_slope(ratio, x).mid()) for x in (u, v)]
        h = arb(2) ** -30
        quotients = [float(((value(ratio, x + h) - value(ratio, x - h)) / (2 * h)).mid()) for x in (u, v)]
    assert max(floors) <= min(values)
    assert floors[0] >= min(values) - 0.1
    assert floors[1] >= min(values) - 0.005
    assert slopes == pytest.approx(quotients, rel=1e-6, abs=1e-8)


@pytest.mark.claim("gap-sharp")
def test_an_interior_minimum_of_relu():
    ratio = r_of("relu", 48)
    with precision(96):
        assert float(_coarse_minimum(ratio)) == pytest.approx(0.6846, abs=1 / 32)
        found = _inside(ratio, 53)
    assert found.method == "interior"
    assert float(found.value) == pytest.approx(0.355306965635053, rel=1e-6)
    assert float(found.at) == pytest.approx(0.68466145, abs=1e-4)


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(
    ("text", "right"), [("relu(x)", 44), ("gelu(x)", 64), ("step(x-4)", 0), ("elu(x)", 62), ("max(tanh(x), x-1)", 4)]
)
def test_the_grid_point_where_the_search_starts(text, right):
    """In 64ths; κ of relu lies at 0.6847, gelu's at 1, of the others at 3e-6, 0.967 and 0.0695."""
    with precision(96):
        assert _coarse_minimum(ratio_of(correlation_kernel(from_formula(text).expr, 200))) * 64 == right


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(
    ("text", "right"),
    [("gelu(x)", True), ("x + x**2", True), ("x + x**2 + x**3/4", True), ("relu(x)", False), ("elu(x)", False),
     ("sign(x) + x**2", False)],
)  # fmt: skip
def test_where_the_ratio_falls_up_to_one(text, right):
    """relu's rises from 0.68 on, elu's from 0.967 on, and that of what jumps has no slope at 1."""
    with precision(96):
        ratio = ratio_of(correlation_kernel(from_formula(text).expr, 200))
        assert [_decreasing(ratio, arb(start)) for start in (0.25, 0.75, 0.96875)] == [right] * 3


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(
    ("lo", "hi", "lowest"), [(0, 0.5, 0.5), (0.75, 1, 0.75), (0.25, 0.25, 0.25), (0.875, 0.9, 0.875)]
)
def test_whether_the_ratio_lies_above_a_level(lo, hi, lowest, monkeypatch):
    """relu's falls to 0.6847 and rises from there, so that its least value on these intervals is at an end."""
    ratio = r_of("relu")
    with precision(96):
        least = value(ratio, arb(lowest))
        assert _above(ratio, arb(lo), arb(hi), least - 1e-6)
        assert not _above(ratio, arb(lo), arb(hi), least + 1e-6)
        assert not _above(ratio, arb(0), arb(1), least)
        monkeypatch.setattr(kappa, "_MAX_CELLS", 3)
        assert not _above(ratio, arb(0), arb(1), arb("0.35"))  # undecided by so few cells
        assert _above(ratio, arb(0), arb(1), arb("0.1"))


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("start", ["0", "0.05", "0.5", "0.9", "0.99"])
def test_a_critical_point_is_found_in_few_steps_from_anywhere(start, monkeypatch):
    """Of relu's closed kernel, to half the bits, by steps that double what is right."""
    ratio, steps = r_of("relu"), []
    monkeypatch.setattr(kappa, "derivatives", lambda *given: steps.append(0) or ratio_derivatives(*given))
    with mp.workdps(40), precision(140):
        k = lambda r: (mp.sqrt(1 - r * r) + r * (mp.pi - mp.acos(r)) - 1) / (mp.pi - 1)  # noqa: E731
        place = mp.findroot(lambda r: mp.diff(lambda u: (u * u - k(u) ** 2) / (u * u * (1 - u * u)), r), 0.68)
        found = _newton(ratio, arb(start), 100)
        assert found.is_exact()
        assert abs(mp.mpf(found.str(30, radius=False)) - place) < 1e-15
    assert len(steps) <= 10


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(("text", "start"), [("gelu(x)", "0.5"), ("x + x**2", "0")])
def test_where_the_ratio_falls_to_the_end_the_search_ends_below_one(text, start):
    with precision(120):
        ratio = ratio_of(correlation_kernel(from_formula(text).expr, 200))
        assert 1 - 1e-15 < _newton(ratio, arb(start), 100) < 1
        assert _inside(ratio, 100) is None


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(("p", "q"), [("0", "0.3"), ("0.3", "0.8"), ("0.55", "0.9")])
def test_the_least_curvature_is_below_every_sampled_second_derivative(p, q):
    """On wide cells, where r″ varies: r = N/(1 + ρ) of a polynomial, r″ by differences of exact values."""
    ratio = ratio_of(correlation_kernel(from_formula("x + x**2 + x**3/4").expr, 12))
    with precision(192):
        bound, h = float(least_curvature(ratio, arb(p), arb(q))), arb(2) ** -20
        around = [[value(ratio, x + step * h) for step in (-1, 0, 1)] for x in inside(p, q, 40)[1:-1]]
        samples = [float(((a - 2 * b + c) / h**2).mid()) for a, b, c in around]
    assert max(samples) > min(samples) + 0.1
    assert 0.9 * min(samples) < bound <= min(samples)


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("away", ["-0.02", "-0.001", "0.001", "0.02"])
def test_the_infimum_is_enclosed_from_places_off_it(away):
    """κ ∈ [r(m) − r′(m)²/(2 min r″), r(m)] for every m near it, not at the minimum alone."""
    ratio = r_of("relu")
    with precision(96):
        best = _inside(ratio, 53)
        m = (best.at + arb(away)).mid()
        p, q = m - arb("0.125"), m + arb("0.125")
        found = _closed(ratio, m, (p, q), least_curvature(ratio, p, q))
        assert found is not None
        assert found.value.lower() <= best.value.lower()
        assert best.value.upper() <= found.value.upper()
        assert found.at.lower() < best.at.mid() < found.at.upper()
        assert found.value.rad() < (value(ratio, m) - best.value).upper() * 4


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(("p", "q"), [("0.1", "0.125"), ("0.5", "0.53125")])
def test_where_the_ratio_falls_the_tangents_leave_its_right_end(p, q):
    ratio = r_of("relu")
    with precision(96):
        u, v = arb(p), arb(q)
        floor = floor_by_tangents(ratio_derivatives(ratio, u, 1), ratio_derivatives(ratio, v, 1), u, v)
        assert ratio_slope(ratio, v) < 0
        assert arb("-1e-12") < floor - value(ratio, v) < arb("1e-20")


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("rho", ["0", "1/4", "1/2", "7/8"])
@pytest.mark.parametrize("m", range(6))
def test_what_is_left_of_a_geometric_series_and_its_derivatives(m, rho):
    """Σ_{j≥m} ρ^j, Σ jρ^{j−1} and Σ j(j − 1)ρ^{j−2}, term by term."""
    x = Fraction(rho)
    terms = range(m, 400)
    right = [
        float(sum(x**j for j in terms)),
        float(sum(j * x ** (j - 1) for j in terms if j > 0)),
        float(sum(j * (j - 1) * x ** (j - 2) for j in terms if j > 1)),
    ]
    with precision(64):
        place = arb(x.numerator) / x.denominator
        assert [float(_geometric(m, place, order)) for order in range(3)] == pytest.approx(right, rel=1e-12, abs=0)
        assert not _geometric(m, arb(1), 0).is_finite()


@pytest.mark.claim("gap-sharp")
def test_two_coefficients_suffice_for_what_is_nearly_linear():
    """x + 10⁻³⁰relu: to first order r = 2λ(1 − k/ρ)/(1 − ρ²) with k relu's kernel from the second power on, normed."""
    found = analyse("x + relu(x)/10**30", coefficients=2, digits=80)
    with mp.workdps(30):
        whole = lambda r: (mp.sqrt(1 - r * r) + r * (mp.pi - mp.acos(r)) - 1 - mp.pi * r / 2) / (mp.pi / 2 - 1)  # noqa: E731
        ratio = lambda r: 2 * (1 - whole(r) / r) / (1 - r * r)  # noqa: E731
        place = mp.findroot(lambda r: mp.diff(ratio, r), (0.7, 0.85), solver="anderson")
        assert float(found.kappa.at) == pytest.approx(float(place), rel=1e-12)
        assert float(found.kappa.value / found.kern.strength) == pytest.approx(float(ratio(place)), rel=1e-12)


@pytest.mark.claim("rank-gain")
@pytest.mark.parametrize("squares", [[2, -1], [Fraction(1, 2), Fraction(1, 4)], [0.5, 0.6], [-1], [1.5, -0.5, 0.0]])
def test_squares_that_are_no_kernel_are_refused(squares):
    with pytest.raises(InvalidInput, match="squares"):
        polynomial_kernel(squares)


@pytest.mark.claim("rank-gain")
def test_squares_that_are_a_kernel():
    kernel = polynomial_kernel([Fraction(1, 4), Fraction(0), Fraction(3, 4)])
    assert [kernel(Fraction(r, 2)) for r in (-2, -1, 0, 1, 2)] == [-1, Fraction(-7, 32), 0, Fraction(7, 32), 1]
    assert polynomial_kernel([0.5, 0.5 + 1e-13])(1.0) == pytest.approx(1)


@pytest.mark.claim("gap")
def test_only_what_is_known_to_vanish_is_exactly_zero():
    """A coefficient far below the digits asked for is no zero; parity and the degree of a polynomial make zeros."""
    found = _recomputed(from_formula("x + x**2/10**30").expr, 5, 15)
    assert not found[2].is_zero()
    assert found[2].contains(arb(mp.nstr(mp.sqrt(2) * mp.mpf(10) ** -30, 20)).mid())
    assert found[3].is_zero()
    assert found[4].is_zero()
    odd = _recomputed(from_formula("tanh(x)").expr, 5, 15)
    assert [a.is_zero() for a in odd] == [True, False, True, False, True]
    even = _recomputed(from_formula("exp(-x**2)").expr, 5, 15)
    assert [a.is_zero() for a in even] == [True, True, False, True, False]
    assert [float(a) for a in _recomputed(from_formula("3 - 2*x").expr, 4, 15)] == [0, -1, 0, 0]


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("n", [3, 4, 12])
def test_what_the_truncated_series_leave_at_one(n):
    """Of a polynomial all is known: S(1) = Σ (k−1)a_k², S′(1) = Σ (k−1)(k−2)a_k²/2, F′(1) = Σ (k−1)a_k² without
    truncation, T_n what a_n², a_{n+1}², … sum to."""
    expr = from_formula("x**5/40 + x**4/9 + x**3/5 + x").expr
    squares = [float(s.mid()) for s in correlation_kernel(expr, 12).squares]
    found = ratio_of(correlation_kernel(expr, n))
    one, missing = arb(1), range(n, 12)
    known = list(enumerate(squares))[1:]
    whole = [sum((k - 1) * s for k, s in known), sum((k - 1) * (k - 2) / 2 * s for k, s in known)]
    for order in (0, 1):
        assert float(found.s[order](one).mid()) + float(found.s_left[order]) == pytest.approx(whole[order], abs=1e-8)
    assert float(found.tail) == pytest.approx(sum(squares[k] for k in missing), abs=1e-8)
    assert float(found.f_left[0]) == float(found.tail)
    assert float(found.f[1](one).mid()) + float(found.f_left[1]) == pytest.approx(whole[0], abs=1e-8)
    assert found.size == n - 1


@pytest.mark.claim("gap")
@pytest.mark.parametrize(
    ("lo", "hi", "ball", "right"),
    [
        (0, 2, (1, 1), True),
        (0, 1, (2, 3), False),
        (4, 5, (2, 3), False),
        (0, 2, (1, 3), None),
        (2, 2, (1, 3), None),
    ],
)
def test_an_interval_holds_a_ball_or_is_apart_from_it_or_neither(lo, hi, ball, right):
    exact = arb((ball[0] + ball[1]) / 2, (ball[1] - ball[0]) / 2)
    assert inside_interval(exact, fmpq(lo), fmpq(hi)) is right


@pytest.mark.claim("gap")
def test_where_an_interval_touches_a_ball_it_is_not_refuted():
    ball = arb(1.5, 0.5)
    below, above = to_exact(ball.lower()), to_exact(ball.upper())
    assert inside_interval(ball, below, above) is True
    assert inside_interval(ball, below - 1, below) is None
    assert inside_interval(ball, above, above + 1) is None
    tiny = fmpq(1, 10**40)
    assert inside_interval(ball, below - 1, below - tiny) is False
    assert inside_interval(ball, above + tiny, above + 1) is False
    assert inside_interval(ball, below + tiny, above) is None


@pytest.mark.parametrize("name", ["tanh", "relu", "cos", "leaky_relu"])
def test_printed_pairs_enclose_and_are_of_the_digits_asked_for(name):
    found = as_json(analyse(name))
    for key, right in {
        "lambda": lambda a: a.kern.strength, "a1_squared": lambda a: a.kern.c, "k_minus_one": lambda a: a.minus_one,
        "kappa": lambda a: a.kappa.value,
    }.items():  # fmt: skip
        ball = right(analyse(name))
        low, high = (float(found[key][end]) for end in ("lower", "upper"))
        assert low <= float(ball.mid()) + 1e-16
        assert high >= float(ball.mid()) - 1e-16
        assert high - low < 1e-13, key


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(("m", "p", "q"), [("0.3", "0.2", "0.4"), ("0.9", "0.85", "0.95"), ("0.6", "0", "0.65")])
def test_a_place_is_not_the_infimum_while_the_ratio_is_lower_on_one_side(m, p, q):
    """relu's infimum is at 0.6847; a curvature that is made up does not help."""
    ratio = r_of("relu", 96)
    with precision(96):
        assert _closed(ratio, arb(m), (arb(p), arb(q)), arb(1000)) is None
