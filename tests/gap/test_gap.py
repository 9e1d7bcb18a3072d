"""Kernel, quartic gap bound, κ, certificates and their checker."""

import json
from fractions import Fraction
from itertools import pairwise

import mpmath as mp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula
from lop_theory.balls import arb, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import analyse
from lop_theory.gap.certificate import certify, digest, to_json, verdict
from lop_theory.gap.checker import check
from lop_theory.gap.kappa import _derivatives, _series, sharp_constant
from lop_theory.gap.kernel import (
    at_minus_one,
    correlation_kernel,
    derivative_at_one,
    fixed_points,
    slope,
    standard_kernel,
    value,
)
from lop_theory.gap.quartic_bound import bound, gap
from lop_theory.verdict import Fails, Holds, Undecided
from tests.oracles import MP_ACTIVATIONS

NONLINEAR = [n for n in CATALOGUE if n != "identity"]


@st.composite
def kernels(draw) -> list[Fraction]:
    """a_1², a_2², … ≥ 0 with sum 1, exact."""
    weights = draw(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
    return [Fraction(w, sum(weights)) for w in weights]


def series(squares: list[Fraction], rho: Fraction) -> Fraction:
    return sum((s * rho**k for k, s in enumerate(squares, 1)), Fraction(0))


correlations = st.fractions(-1, 1, max_denominator=40)


# ---- the bound on arbitrary kernels, in exact rationals ----


@pytest.mark.claim("kernel-bounds")
@given(kernels(), correlations)
def test_kernel_bounds(squares, rho):
    t, c = abs(rho), squares[0]
    k = series(squares, rho)
    assert abs(k) <= t
    assert abs(k) <= c * t + (1 - c) * t * t
    assert series(squares, Fraction(1)) == 1


@pytest.mark.claim("gap")
@given(kernels(), correlations)
def test_gap_bound_and_its_slack(squares, rho):
    c, strength, t = squares[0], 1 - squares[0], abs(rho)
    margin = rho**2 - series(squares, rho) ** 2 - strength * rho**2 * (1 - rho**2)
    assert margin >= c * strength * rho**2 * (1 - t) ** 2 >= 0


@pytest.mark.claim("gap-sharp")
@given(st.fractions(0, 1, max_denominator=30), st.integers(1, 10**6))
def test_strength_is_the_best_constant_given_c(c, steps):
    """For g = cρ + (1 − c)ρ²: r(ρ) − λ = cλ(1 − ρ)/(1 + ρ), which tends to 0 as ρ → 1."""
    rho = 1 - Fraction(1, steps + 1)
    ratio = (rho**2 - series([c, 1 - c], rho) ** 2) / (rho**2 * (1 - rho**2))
    assert ratio - (1 - c) == c * (1 - c) * (1 - rho) / (1 + rho)


@pytest.mark.claim("gap-parity")
@given(kernels(), correlations)
def test_parity_identity(squares, s):
    even = series([0 if k % 2 else w for k, w in enumerate(squares, 1)], s)
    odd = series([w if k % 2 else 0 for k, w in enumerate(squares, 1)], s)
    gaps = [r * r - series(squares, r) ** 2 for r in (s, -s)]
    assert gaps[1] == gaps[0] + 4 * even * odd


@pytest.mark.claim("gap-sharp")
@given(kernels(), st.booleans(), st.fractions(0, 1, max_denominator=30))
def test_kappa_of_pure_parity(squares, odd, rho):
    pure = [w if (k % 2 == 1) == odd else 0 for k, w in enumerate(squares, 1)]
    if sum(pure) == 0 or rho in (0, 1):
        return
    pure = [w / sum(pure) for w in pure]
    c = pure[0]
    ratio = (rho**2 - series(pure, rho) ** 2) / (rho**2 * (1 - rho**2))
    assert ratio >= (1 - c) * (1 + c)


# ---- the kernels of real activations ----


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("name", ["relu", "sign", "erf", "sin", "cos"])
def test_kernel_contains_the_classical_closed_form(name):
    """relu: arc-cosine kernel; sign: (2/π)asin ρ; erf: asin(2ρ/3)/asin(2/3); sin, cos: sinh ρ/sinh 1, (cosh ρ −
    1)/(cosh 1 − 1).
    """
    root = mp.sqrt
    closed = {
        "relu": lambda r: (
            ((root(1 - r * r) + r * (mp.pi - mp.acos(r))) / (2 * mp.pi) - 1 / (2 * mp.pi)) / (0.5 - 1 / (2 * mp.pi))
        ),
        "sign": lambda r: 2 / mp.pi * mp.asin(r),
        "erf": lambda r: mp.asin(2 * r / 3) / mp.asin(mp.mpf(2) / 3),
        "sin": lambda r: mp.sinh(r) / mp.sinh(1),
        "cos": lambda r: (mp.cosh(r) - 1) / (mp.cosh(1) - 1),
    }[name]
    kern = standard_kernel(activation(name).expr)
    with mp.workdps(30):
        for i in range(-16, 17):
            ball = value(kern, arb(i) / 16)
            with precision(160):
                assert ball.overlaps(arb(mp.nstr(closed(mp.mpf(i) / 16), 28)) + arb(0, 1e-26)), i
            if abs(i) <= 12:
                assert ball.rad() < 1e-14


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", NONLINEAR)
def test_kernel_at_minus_one_and_one(name):
    kern = correlation_kernel(activation(name).expr)
    assert value(kern, arb(1)) == 1
    last = at_minus_one(kern)
    parity = kern.expansion.parity
    if parity == "mixed":
        assert last > -1
        assert last < 1
    else:
        assert last == (-1 if parity == "odd" else 1)
    partial = sum(((-1) ** k * s for k, s in enumerate(kern.squares)), arb(0))
    assert abs(last - partial) <= kern.tails[kern.order] + 1e-14
    assert derivative_at_one(kern) > 1 or not derivative_at_one(kern).is_finite()


@pytest.mark.claim("kernel-bounds")
@pytest.mark.parametrize("name", ["relu", "tanh", "silu", "gelu", "elu"])
def test_slope_is_the_kernel_of_the_derivative(name):
    """K′(0) = c, K′ increases on [0, 1], and a difference quotient of K lies between its values."""
    kern = standard_kernel(activation(name).expr)
    assert slope(kern, arb(0)).overlaps(kern.c)
    places = [arb(i) / 8 for i in range(8)]
    for u, v in pairwise(places):
        quotient = (value(kern, v) - value(kern, u)) * 8
        assert not quotient < slope(kern, u)
        assert not quotient > slope(kern, v)


@pytest.mark.claim("kernel-bounds")
def test_stein():
    """E φ̄′(Z) = a_1 for absolutely continuous φ; at a jump it fails (sign: E φ′ = 0, a_1 = √(2/π))."""
    from lop_theory.activations.symbolic import derivative
    from lop_theory.hermite.expansion import expand, mean

    for name in ("tanh", "relu", "gelu", "selu"):
        expansion = expand(activation(name).expr, 2)
        assert (mean(derivative(activation(name).expr), 64) / expansion.variance.sqrt()).overlaps(
            expansion.coefficients[1]
        )
    assert not mean(derivative(activation("sign").expr), 64).overlaps(
        expand(activation("sign").expr, 2).coefficients[1]
    )


@pytest.mark.claim("gap")
@pytest.mark.parametrize("name", NONLINEAR)
def test_gap_exceeds_bound_by_balls(name):
    kern = standard_kernel(activation(name).expr)
    for i in range(-20, 21):
        rho = arb(i) / 20
        margin = gap(kern, rho) - bound(kern, rho)
        assert margin.rad() < 0.05
        assert margin > -1e-12 or margin.contains(0)


@pytest.mark.claim("gap-parity")
def test_gap_at_minus_one_is_positive_for_relu():
    kern = correlation_kernel(activation("relu").expr)
    assert gap(kern, arb(-1)) > 0.78
    assert gap(correlation_kernel(activation("tanh").expr), arb(-1)) == 0


@pytest.mark.parametrize("rho", ["1.0000001", "-2"])
def test_kernel_refuses_what_is_no_correlation(rho):
    with pytest.raises(InvalidInput, match="rho"):
        value(correlation_kernel(activation("tanh").expr), arb(rho))


@pytest.mark.claim("fixed-points")
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "abs", "sigmoid", "silu"])
def test_fixed_points(name):
    """Iterating K drives every |ρ| < 1 to 0; −1 is fixed exactly for odd φ̄."""
    kern = standard_kernel(activation(name).expr)
    places = dict(fixed_points(kern))
    assert places[0] == "attracting"
    assert places[1] == "repelling"
    assert (-1 in places) == (kern.expansion.parity == "odd") == bool(value(kern, arb(-1)) == -1)
    with precision(64):
        for start in (-0.99, -0.5, 0.9, 0.999):
            rho = arb(start)
            for _ in range(400):
                rho = value(kern, rho).mid().max(arb(-1)).min(arb(1))
            assert abs(rho) < 0.2


# ---- κ ----


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize("name", sorted(set(NONLINEAR) & set(MP_ACTIVATIONS)))
def test_kappa_is_the_infimum_of_samples(name):
    """No sampled ratio lies below κ, and one comes close (grid in mpmath floats from 200 squares)."""
    expr = activation(name).expr
    sharp = sharp_constant(correlation_kernel(expr))
    kern = standard_kernel(expr)
    lowest = mp.inf
    for i in range(1, 200):
        rho = arb(i) / 200
        ratio = gap(kern, rho) / (rho * rho * (1 - rho * rho))
        assert not ratio < sharp.value.lower() - 1e-14
        lowest = min(lowest, float(ratio.upper()))
    assert lowest - float(sharp.value) < 0.02
    assert sharp.value >= kern.strength - 1e-14 or sharp.value.overlaps(kern.strength)


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(
    ("name", "method"), [("tanh", "parity"), ("gelu", "end"), ("relu", "interior"), ("hardswish", "cells")]
)
def test_kappa_methods(name, method):
    sharp = sharp_constant(correlation_kernel(activation(name).expr))
    assert sharp.method == method
    assert sharp.value.rad() < (1e-5 if method == "cells" else 1e-15)


@pytest.mark.claim("gap-sharp")
def test_kappa_of_relu_against_its_closed_kernel():
    """r from the arc-cosine kernel, minimised by mpmath."""
    with mp.workdps(25):
        k = lambda r: ((mp.sqrt(1 - r * r) + r * (mp.pi - mp.acos(r))) - 1) / (mp.pi - 1)  # noqa: E731
        ratio = lambda r: (r * r - k(r) ** 2) / (r * r * (1 - r * r))  # noqa: E731
        place = mp.findroot(lambda r: mp.diff(ratio, r), 0.68)
        sharp = sharp_constant(correlation_kernel(activation("relu").expr))
        assert abs(mp.mpf(sharp.value.str(20, radius=False)) - ratio(place)) < 1e-14
        assert abs(mp.mpf(float(sharp.at)) - place) < 1e-6


@pytest.mark.claim("gap-sharp")
@pytest.mark.parametrize(
    "text", ["relu(x)**2", "relu(x)**3", "relu(x)**2 + x", "x*sigmoid(x)", "x*(1 + erf(x/sqrt(2)))/2"]
)
def test_derivatives_of_the_series_at_one_hold_the_exact_values(text):
    """N(1) = 2(K′(1) − 1) and N′(1) = S′(1)·2 + S(1)·F′(1), S′(1) = (K″(1) − 2K′(1) + 2)/2, F′(1) = K′(1) − 1."""
    kern = correlation_kernel(from_formula(text).expr, 48)
    first, second = derivative_at_one(kern, 1), derivative_at_one(kern, 2)
    n0, n1 = _derivatives(_series(kern), arb(1), 1)
    with precision(80):
        assert n0.overlaps(2 * (first - 1))
        assert n1.overlaps((second - 2 * first + 2) + (first - 1) ** 2)


@pytest.mark.claim("gap-sharp")
def test_kappa_of_two_terms_is_lambda_at_one():
    """√c he_1 + √λ he_2 attains the constant λ as ρ → 1: x + x² has c = 1/3."""
    sharp = sharp_constant(correlation_kernel(from_formula("x + x**2").expr))
    assert sharp.method == "end"
    assert sharp.value.overlaps(arb(2) / 3)


# ---- certificates ----


@pytest.mark.claim("gap")
@pytest.mark.parametrize("name", NONLINEAR)
def test_every_nonlinear_activation_is_certified(name):
    found = analyse(activation(name))
    assert found.verdict == Holds("certified by balls")
    assert found.certificate.strength[0] > 0
    assert Fraction(found.certificate.kappa_floor, 10**18) <= Fraction(
        str(found.kappa.value.upper().str(25, radius=False))
    )


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "softsign", "square"])
def test_checker_accepts(name):
    kern = correlation_kernel(activation(name).expr)
    data = to_json(certify(kern), kern, name)
    assert check(json.loads(json.dumps(data)))


def resealed(data: dict) -> dict:
    """The certificate with a fresh digest, as a forger who knows the format would write it."""
    payload = {k: v for k, v in data.items() if k != "sha256"}
    return payload | {"sha256": digest(payload)}


def bumped(text: str, place: int = -1) -> str:
    """The decimal with one digit moved by one."""
    return text[:place] + str((int(text[place]) + 1) % 10) + (text[place + 1 :] if place != -1 else "")


def leaves(node, path=()):
    """Paths of every number in the certificate."""
    if isinstance(node, dict):
        for key in ("coefficients", "a1_squared", "lambda", "slack", "kappa_floor"):
            yield from leaves(node[key], (key,))
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from leaves(item, (*path, i))
    else:
        yield path


@pytest.mark.claim("gap")
def test_checker_refuses_every_altered_number_even_with_a_fresh_digest():
    """The digest catches any edit. With the digest forged too, a derived number is caught in its last digit, and a
    coefficient as soon as
    its interval misses the true value (an interval that still holds it is a true statement)."""
    kern = correlation_kernel(activation("relu").expr, 6)
    data = to_json(certify(kern), kern, "relu")
    paths = list(leaves(data))
    assert len(paths) == 12 + 2 + 2 + 32 + 1
    for path in paths:
        altered = json.loads(json.dumps(data))
        node = altered
        for key in path[:-1]:
            node = node[key]
        original = node[path[-1]]
        node[path[-1]] = bumped(original)
        assert isinstance(check(altered), Fails)
        node[path[-1]] = bumped(original, -3 if path[0] == "coefficients" else -1)
        assert isinstance(check(resealed(altered)), Fails), path


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(formula="tanh(x)"),
        lambda d: d.update(linear=True),
        lambda d: d["coefficients"].pop(),
        lambda d: d["slack"].pop(),
        lambda d: d.update(digits=12),
        lambda d: d.update(digits="fifteen"),
        lambda d: d.update(statement="anything"),
        lambda d: d["coefficients"].__setitem__(1, ["0.9", "0.8"]),
        lambda d: d.update(formula="__import__('os')"),
        lambda d: d.update(formula=5),
        lambda d: d.update(formula="1/x"),
        lambda d: d.update(linear=[]),
        lambda d: d.update(activation="relu\nforged: certificate holds"),
        lambda d: d["slack"].__setitem__(0, "1e999999999"),
        lambda d: d["coefficients"].__setitem__(1, ["-1e99999999", "1e99999999"]),
        lambda d: d.update(kappa_floor=0.5),
    ],
)
def test_checker_refuses_forgeries(edit):
    kern = correlation_kernel(activation("relu").expr, 6)
    data = to_json(certify(kern), kern, "relu")
    edit(data)
    assert isinstance(check(resealed(data)), Fails)


def test_verdicts_other_than_holds():
    kern = correlation_kernel(activation("tanh").expr)
    good = certify(kern)
    assert isinstance(verdict(good._replace(square_sum_low=10**18 + 1)), Fails)
    assert isinstance(verdict(good._replace(slack=(-1, *good.slack[1:]))), Fails)
    nearly_linear = correlation_kernel(from_formula("x + sin(x)/100000000000").expr)
    assert isinstance(verdict(certify(nearly_linear)), Undecided)
    assert verdict(certify(correlation_kernel(from_formula("x + sin(x)/100000000000").expr, 20, 40)))
    assert verdict(certify(correlation_kernel(activation("identity").expr)))


def test_certificate_bounds_do_not_depend_on_ball_luck():
    """The stored decimals alone fix every derived number."""
    kern = correlation_kernel(activation("silu").expr)
    assert certify(kern) == certify(kern)
    assert fmpq(certify(kern).strength[0], 10**18) <= fmpq(certify(kern).strength[1], 10**18)
