"""The trapezoid rule's error bound: true on coarse grids, where the error is seen, and the formula that is stated."""

import mpmath as mp
import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.strip import StripBound
from lop_theory.balls import arb, precision
from lop_theory.hermite.trapezoid import _errors, _node_count, _tail, moments, plan

HERMITE = (lambda _: mp.mpf(1), lambda x: x, lambda x: (x * x - 1) / mp.sqrt(2), lambda x: (x**3 - 3 * x) / mp.sqrt(6))


def sums(phi, step, count):
    """h Σ_{|j| ≤ count} φ(jh)he_k(jh)w(jh) for k < 4, and the same of φ²."""
    nodes = [step * j for j in range(-count, count + 1)]
    values = [phi(x) * mp.npdf(x) * step for x in nodes]
    found = [mp.fsum(v * he(x) for v, x in zip(values, nodes, strict=True)) for he in HERMITE]
    return found, mp.fsum(v * phi(x) for v, x in zip(values, nodes, strict=True))


def integrals(phi):
    line = [-12, -6, -3, 0, 3, 6, 12]
    return [mp.quad(lambda x, he=he: phi(x) * he(x) * mp.npdf(x), line) for he in HERMITE], mp.quad(
        lambda x: phi(x) ** 2 * mp.npdf(x), line
    )


CASES = {
    "sin x": (mp.sin, lambda d: d.cosh(), 0),
    "cos x": (mp.cos, lambda d: d.cosh(), 0),
    "x": (lambda x: x, None, 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("width", "step", "count"), [(1.0, 2.5, 4), (2.0, 1.75, 2), (1.5, 1.0, 4), (2.5, 1.25, 8)])
def test_the_bound_holds_where_the_error_is_seen(name, width, step, count):
    """|sin z|, |cos z| ≤ cosh Im z; |z| ≤ 1 + |z|."""
    phi, factor, degree = CASES[name]
    with precision(64):
        bound = StripBound(factor(arb(width)) if factor else arb(1), degree)
        errors, square_error = _errors(bound, arb(width), arb(step), count, 4)
    (found, square), (right, right_square) = sums(phi, mp.mpf(step), count), integrals(phi)
    for k in range(4):
        assert abs(found[k] - right[k]) <= float(errors[k]), k
    assert abs(square - right_square) <= float(square_error)


@pytest.mark.parametrize(("degree", "factor"), [(0, 1.5), (1, 1.0), (2, 0.5)])
@pytest.mark.parametrize(("width", "step", "count"), [(1.0, 0.5, 9), (2.0, 0.25, 40)])
def test_the_bound_is_the_stated_formula(degree, factor, width, step, count):
    """2 exp(d²/2)√(E|φ|²·E|he_k|²)/(exp(2πd/h) − 1) and the two tails, where mpmath adds E|he_k(Z + id)|² by itself."""
    bound = StripBound(arb(factor), degree)
    with precision(64):
        errors, square_error = _errors(bound, arb(width), arb(step), count, 4)
        second = float(bound.second_moment(arb(width)))
        tails = [float(_tail(bound, arb(step * count), quarter=quarter)) for quarter in (True, False)]
    common = 2 * mp.exp(width**2 / 2) / (mp.exp(2 * mp.pi * width / step) - 1)
    for k, he in enumerate(HERMITE):
        size = mp.quad(lambda x, he=he: abs(he(x + 1j * width)) ** 2 * mp.npdf(x), [-14, 0, 14])
        assert float(errors[k]) == pytest.approx(float(common * mp.sqrt(second * size)) + tails[0], rel=1e-9)
    assert float(square_error) == pytest.approx(float(common) * second + tails[1], rel=1e-9)


@pytest.mark.parametrize("quarter", [True, False])
@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("x", [3.0, 5.0])
def test_the_tail_bounds_the_integral(quarter, degree, x):
    bound = StripBound(arb(1.5), degree)
    with precision(64):
        found = float(_tail(bound, arb(x), quarter=quarter))
    power, constant, rate = (degree, 1.5 * 1.0865, 0.25) if quarter else (2 * degree, 1.5**2, 0.5)
    whole = mp.quad(lambda t: 2 * constant * (1 + t) ** power * mp.exp(-rate * t * t), [x, x + 5, x + 30])
    right = float(whole / mp.sqrt(2 * mp.pi))
    assert right <= found <= 3 * right


def test_where_the_integrand_still_grows_there_is_no_tail_bound():
    with precision(64):
        assert not _tail(StripBound(arb(1), 40), arb(1), quarter=True).is_finite()
        assert _node_count(StripBound(arb(1), 3), arb("1e-5"), 64) is None  # more nodes than are allowed


@pytest.mark.parametrize("bits", [40, 64, 200])
def test_a_plan_meets_its_precision(bits):
    for formula in ("tanh(x)", "sin(2*x)", "exp(-x**2)"):
        found = plan(from_formula(formula).expr, 8, bits)
        assert found is not None
        assert all(e <= arb(2) ** -bits for e in (*found.error, found.square_error))
        assert all(e > arb(2) ** (-bits - 60) for e in found.error), "finer than it need be"
        assert 30 * float(found.step) > 1


def test_no_strip_no_moments():
    assert plan(from_formula("abs(x)").expr, 4, 64) is None
    assert moments(from_formula("abs(x)").expr, 4, 64) is None
