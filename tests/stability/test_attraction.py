"""Noise that attracts to saddles, against an ODE solve, exact paths, sampled SGD, and boundary-value problems."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.errors import InvalidInput
from lop_theory.stability.attraction import (
    attraction_rate,
    attracts,
    capture_probability,
    moment_rate,
    sgd_attraction_rate,
    sgd_lyapunov_exponent,
)
from lop_theory.verdict import Fails, Holds, Undecided

pytestmark = pytest.mark.claim("later-stochastic-collapse")
curvatures, noises = st.floats(-2, 2), st.floats(0.05, 4)


def by_quadrature(distance, inner, radius, curvature, noise):
    """P(inner before radius) for L = hx²/2 + x⁴/4, D = sx²/2, from the scale function by quadrature."""
    from scipy.integrate import quad

    def scale_density(x):
        return x ** (2 * curvature / noise) * math.exp(x**2 / noise)

    def scale(a, b):
        return quad(lambda u: math.exp(u) * scale_density(math.exp(u)), math.log(a), math.log(b), limit=200)[0]

    return scale(distance, radius) / scale(inner, radius)


@pytest.mark.claim("later-stochastic-collapse")
@given(curvatures, noises)
def test_the_sign_of_alpha_decides_whether_zero_captures(curvature, noise):
    alpha = attraction_rate(curvature, noise)
    verdict = attracts(curvature, noise)
    assert isinstance(verdict, Holds if alpha > 0 else Fails if alpha < 0 else Undecided)
    probability = capture_probability(0.5, 1.0, curvature, noise)
    assert (probability > 0) == (alpha > 0)
    if (
        abs(alpha) / noise > 0.2 and abs(curvature) / noise < 8
    ):  # the limit inner → 0 of the nonlinear equation agrees about the sign
        near, nearer = (by_quadrature(0.5, inner, 1.0, curvature, noise) for inner in (1e-6, 1e-12))
        assert (nearer > 0.5 * near) == (alpha > 0)


@pytest.mark.claim("later-stochastic-collapse")
@given(curvatures, noises, st.integers(0, 2**31))
def test_exact_paths_of_the_linear_equation(curvature, noise, seed):
    """log|x_t| of dx = −hx dt + s x dB has mean −αt: by Milstein-free exact increments of log x in Itô's sense."""
    rng, steps, t = np.random.default_rng(seed), 4000, 400.0
    dt = t / steps
    increments = -(curvature + noise / 2) * dt + math.sqrt(noise) * rng.normal(0, math.sqrt(dt), steps)
    deviation = 5 * math.sqrt(noise * t)
    assert abs(increments.sum() + attraction_rate(curvature, noise) * t) < deviation


@pytest.mark.claim("later-stochastic-collapse")
@pytest.mark.parametrize(("curvature", "noise"), [(-0.3, 1.0), (0.2, 0.5), (-0.5, 0.4)])
def test_euler_maruyama_has_the_itos_rate_and_heun_stratonovichs(curvature, noise):
    """log-growth of two discretisations that share nothing with the formula."""
    rng, dt, steps, paths = np.random.default_rng(5), 1e-2, 2000, 400
    noises_ = math.sqrt(noise) * rng.normal(0, math.sqrt(dt), (steps, paths))
    euler = 1 - curvature * dt + noises_
    predictor = euler
    heun = 1 + (-curvature * dt + noises_) * (1 + predictor) / 2
    error = 4 * math.sqrt(noise / (dt * steps * paths)) + 0.02
    for factors, reading in ((euler, "ito"), (heun, "stratonovich")):
        rate = np.log(np.abs(factors)).mean() / dt
        assert rate == pytest.approx(-attraction_rate(curvature, noise, reading), abs=error)


@pytest.mark.claim("later-stochastic-collapse")
def test_moments_grow_while_paths_collapse():
    assert attraction_rate(-0.25, 1.0) == 0.25
    assert moment_rate(2, -0.25, 1.0) == 1.5
    assert moment_rate(0.25, -0.25, 1.0) < 0 < moment_rate(0.75, -0.25, 1.0)
    # E x² of the linear Itô equation solves m′ = (−2h + s²) m
    assert moment_rate(2, 0.3, 0.5) == pytest.approx(-2 * 0.3 + 0.5)


@pytest.mark.claim("later-stochastic-collapse")
def test_sgd_collapses_onto_a_saddle():
    """Factors 1/4 and 2: mean curvature −1/8, yet the product of a pair of steps is 1/2."""
    assert sgd_attraction_rate([0.75, -1.0], 1.0) == pytest.approx(math.log(2) / 2)
    x, rng = 1.0, np.random.default_rng(0)
    for choice in rng.permuted([0, 1] * 200):
        x *= 0.25 if choice else 2.0
    assert x == 0.5**200
    assert sgd_attraction_rate([1.0, -5.0], 1.0) == math.inf
    assert sgd_attraction_rate([-0.5, -0.2], 0.1) < 0


@pytest.mark.claim("later-stochastic-collapse")
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_small_steps_of_sgd_are_the_ito_reading(samples):
    step = 1e-4
    h, square = np.mean(samples), np.mean(np.square(samples))
    expected = step * (h + step * square / 2)
    assert sgd_attraction_rate(samples, step) == pytest.approx(expected, abs=1e-11)


@pytest.mark.claim("later-stochastic-collapse")
def test_the_lyapunov_exponent_in_one_dimension_and_on_commuting_hessians():
    exponent, error = sgd_lyapunov_exponent(np.array([[[0.75]], [[-1.0]]]), 1.0)
    assert exponent == pytest.approx(-math.log(2) / 2, abs=5 * error + 1e-3)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    curvatures = rng.uniform(-1, 2, (4, 3))
    commuting = np.array([rotation @ np.diag(row) @ rotation.T for row in curvatures])
    exponent, error = sgd_lyapunov_exponent(commuting, 0.3)
    best = max(-sgd_attraction_rate(list(column), 0.3) for column in curvatures.T)
    assert exponent == pytest.approx(best, abs=5 * error + 1e-3)
    assert abs(sgd_lyapunov_exponent(np.zeros((1, 2, 2)), 0.1)[0]) < 1e-15
    assert sgd_lyapunov_exponent(np.ones((1, 1, 1)), 1.0) == (-math.inf, 0.0)


@pytest.mark.claim("later-stochastic-collapse")
def test_every_direction_attracts_and_the_set_does_not():
    """Traceless curvatures ±3 in every orientation, mean −1/5: α > 0 along each axis, the plane repels at log 1.04.

    (By Jensen's formula the traceless part alone has exponent 0.)
    """
    angles = np.linspace(0, np.pi, 8, endpoint=False)
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reflect = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = [(a, reflect @ a) for a in axes]
    samples = np.array([s * 3 * (np.outer(a, b) + np.outer(b, a)) - np.eye(2) / 5 for a, b in turned for s in (1, -1)])
    step = 0.2
    along = [sgd_attraction_rate([float(a @ h @ a) for h in samples], step) for a in axes]
    exponent, error = sgd_lyapunov_exponent(samples, step)
    assert min(along) > 0
    assert exponent > 5 * error > 0
    assert exponent == pytest.approx(math.log(1.04), abs=4 * error)


def test_refusals():
    for shape in ((0, 2, 2), (2, 2), (1, 2, 3)):
        with pytest.raises(InvalidInput):
            sgd_lyapunov_exponent(np.zeros(shape), 0.1)
    with pytest.raises(InvalidInput):
        attracts(1.0, -1.0)
    with pytest.raises(InvalidInput):
        capture_probability(2.0, 1.0, 1.0, 1.0)
    with pytest.raises(InvalidInput):
        sgd_attraction_rate([], 0.1)
    assert isinstance(attracts(-0.5, 1.0), Undecided)
    assert isinstance(attracts(0.1, 5.0, "stratonovich"), Holds)
    assert isinstance(attracts(-0.1, 5.0, "stratonovich"), Fails)
    assert capture_probability(0.5, 1.0, 1.0, 0.0) == 1.0
    assert capture_probability(0.5, 1.0, 0.0, 0.0) == 0.0
    assert capture_probability(0.25, 1.0, 0.5, 2.0) == 1 - 0.25**1.5
    assert capture_probability(0.5, 2.0, 0.5, 2.0) == 1 - 0.25**1.5
    for distance, radius in ((0.0, 1.0), (1.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(InvalidInput):
            capture_probability(distance, radius, 1.0, 1.0)


rationals = st.fractions(-3, 3, max_denominator=8)


@pytest.mark.claim("later-stochastic-collapse")
@given(rationals, rationals, rationals.map(abs))
def test_moments_of_geometric_brownian_motion(order, h, s):
    """E|x|^p of dx = −h x dt + √s x dB grows at −ph + ½p(p − 1)s (Itô), −ph + ½p²s (Stratonovich)."""
    assert moment_rate(order, h, s) == -order * h + order * (order - 1) * s / 2
    assert moment_rate(order, h, s, "stratonovich") == -order * h + order**2 * s / 2


@pytest.mark.claim("later-stochastic-collapse")
def test_without_noise_the_curvature_decides():
    assert isinstance(attracts(1.0, 0.0), Holds)
    assert isinstance(attracts(-1.0, 0.0), Fails)


def test_the_exponents_error_is_that_of_twenty_batches():
    """log|1 − h| of the draws themselves, batch by batch."""
    hessians = np.array([[[0.5]], [[-0.25]]])
    rng = np.random.default_rng(3)
    rng.normal(size=1)
    growth = np.log([0.5, 1.25])[rng.integers(0, 2, 400)]
    value, error = sgd_lyapunov_exponent(hessians, 1.0, steps=400, seed=3)
    assert value == pytest.approx(growth.mean())
    assert error == pytest.approx(growth.reshape(20, 20).mean(1).std(ddof=1) / math.sqrt(20))


def test_the_exponent_takes_twenty_steps_and_refuses_nineteen():
    hessians = np.array([[[0.5]], [[-0.25]]])
    value, error = sgd_lyapunov_exponent(hessians, 1.0, steps=20)
    assert math.log(0.5) <= value <= math.log(1.25)
    assert error > 0
    for shape, steps in (((2, 1, 1), 19), ((0, 1, 1), 20), ((2, 1, 2), 20), ((1, 1), 20)):
        with pytest.raises(InvalidInput, match="hessians, steps"):
            sgd_lyapunov_exponent(np.ones(shape), 1.0, steps=steps)
