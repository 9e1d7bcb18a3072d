"""The rank–plasticity tension: proofs checked, false statements refuted by balls."""

from itertools import pairwise

import mpmath as mp
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import arb, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.tension.frozen import frozen_probability, monotone_floor, standardised_probability
from lop_theory.tension.modulation import direction_verdict, relu_bias_strength, scale_limit, tail_limit, unit
from lop_theory.tension.monotone import certify_monotone, strength_at
from lop_theory.verdict import Fails, Holds, Undecided

NOT_MONOTONE_IN_SCALE = ["gelu", "silu", "mish", "selu", "hardswish", "relu6"]
NOT_MONOTONE_IN_BIAS = (
    "gelu silu mish leaky_relu hardswish tanh sigmoid erf arctan hardtanh hardsigmoid softsign sign".split()
)


# ---- relu bias ----


@pytest.mark.claim("tension-relu-bias")
@given(st.fractions(-5, 5, max_denominator=16))
def test_relu_bias_closed_form(b):
    bias = fmpq(b.numerator, b.denominator)
    assert relu_bias_strength(arb(bias)).overlaps(strength_at("relu", fmpq(1), bias))


@pytest.mark.claim("tension-relu-bias")
@given(st.floats(-6, 6))
def test_relu_bias_proof_identity(t):
    """wV − mΦ(1 − Φ) = w²(t + w(1 − tR))(R² + tR − 1) at b = −t, and both factors are positive."""
    with mp.workdps(40):
        t = mp.mpf(t)
        b = -t
        cdf, density = mp.ncdf(b), mp.npdf(b)
        ratio = cdf / density
        first = b * cdf + density
        variance = (b * b + 1) * cdf + b * density - first**2
        left = density * variance - first * cdf * (1 - cdf)
        factors = t + density * (1 - t * ratio), ratio**2 + t * ratio - 1
        assert mp.almosteq(left, density**2 * factors[0] * factors[1], rel_eps=mp.mpf(10) ** -20)
        assert min(factors) > 0


@pytest.mark.claim("tension-relu-bias")
def test_relu_bias_proof_identity_symbolically():
    """The factorisation is a polynomial identity in t, w = w(t) and Q = 1 − Φ(t) (R = Q/w)."""
    t, w, q = sp.symbols("t w Q", positive=True)
    ratio, first = q / w, w - t * q
    variance = (1 + t**2) * q - t * w - first**2
    left = w * variance - first * q * (1 - q)
    assert sp.simplify(left - w**2 * (t + w * (1 - t * ratio)) * (ratio**2 + t * ratio - 1)) == 0


@pytest.mark.claim("tension-tanh-gain")
def test_chebyshev_hypotheses_symbolically():
    """tanh: z/tanh z and 2z/sinh 2z. erf: with D = (1 − 2z²)erf − z·erf′, D(0) = 0 and D′ = −4z·erf < 0; D has the
    sign of (zφ′/φ)′.
    """
    z = sp.Symbol("z", positive=True)
    f, g = z / sp.tanh(z), z * sp.diff(sp.tanh(z), z) / sp.tanh(z)
    assert (
        sp.simplify(
            (sp.diff(f, z) * sp.tanh(z) ** 2 - (sp.sinh(2 * z) - 2 * z) / (2 * sp.cosh(z) ** 2)).rewrite(sp.exp)
        )
        == 0
    )
    assert sp.simplify((g - 2 * z / sp.sinh(2 * z)).rewrite(sp.exp)) == 0
    slope = sp.diff(sp.erf(z), z)
    sign = (1 - 2 * z**2) * sp.erf(z) - z * slope
    assert sp.simplify(sp.diff(z * slope / sp.erf(z), z) - slope * sign / sp.erf(z) ** 2) == 0
    assert sp.simplify(sp.diff(sign, z) + 4 * z * sp.erf(z)) == 0
    assert sp.limit(sign, z, 0) == 0


@pytest.mark.claim("tension-relu-bias")
def test_relu_bias_is_certified_decreasing_on_an_interval():
    assert certify_monotone("relu", "bias", (fmpq(-4), fmpq(4)), fixed=fmpq(1), sense="decreasing")


@pytest.mark.claim("tension-relu-bias")
def test_relu_bias_limits():
    with precision(400):
        assert relu_bias_strength(arb(8)) < 1e-14
        assert relu_bias_strength(arb(-12)) > 1 - 1e-15


# ---- tanh gain ----


@pytest.mark.claim("tension-tanh-gain")
def test_tanh_gain_is_certified_increasing_on_an_interval():
    assert isinstance(
        certify_monotone("tanh", "scale", (fmpq(1), fmpq(5, 4)), fixed=fmpq(0), sense="increasing"), Holds
    )
    assert isinstance(
        certify_monotone("tanh", "scale", (fmpq(1), fmpq(5, 4)), fixed=fmpq(0), sense="decreasing"), Fails
    )
    assert certify_monotone("tanh", "scale", (fmpq(1, 4), fmpq(4)), fixed=fmpq(0), sense="increasing")


@pytest.mark.claim("tension-tanh-gain")
@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid"])
@given(st.floats(0.01, 5), st.floats(1.001, 3))
def test_chebyshev_hypotheses(name, z, factor):
    """z/φ increases and zφ′/φ decreases on z > 0 (sigmoid centred)."""
    functions = {
        "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2),
        "erf": (mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)),
        "sigmoid": (lambda x: mp.tanh(x / 2) / 2, lambda x: mp.sech(x / 2) ** 2 / 4),
    }
    phi, slope = functions[name]
    with mp.workdps(40):
        u, v = mp.mpf(z), mp.mpf(z) * factor
        assert u / phi(u) < v / phi(v)
        assert u * slope(u) / phi(u) > v * slope(v) / phi(v)


@pytest.mark.claim("tension-tanh-gain")
def test_tanh_gain_limit_is_not_one():
    limit = scale_limit("tanh")
    strengths = [strength_at("tanh", fmpq(a), fmpq(0)) for a in (1, 4, 16, 64)]
    assert all(u < v for u, v in pairwise(strengths))
    assert strengths[-1] < limit
    assert limit - strengths[-1] < 0.01
    assert limit < 0.3634
    for name in ("relu", "sin"):
        with pytest.raises(InvalidInput, match="odd"):
            scale_limit(name)


# ---- the other activations ----


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize("name", NOT_MONOTONE_IN_SCALE)
def test_not_monotone_in_scale(name):
    assert isinstance(direction_verdict(name, "scale"), Fails)


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize("name", NOT_MONOTONE_IN_BIAS)
def test_not_monotone_in_bias(name):
    found = direction_verdict(name, "bias")
    assert isinstance(found, Fails)
    places, strengths = found.witness
    assert places[0] < places[1] < places[2]
    ends = strengths[0], strengths[2]
    assert all(strengths[1] > e for e in ends) or all(strengths[1] < e for e in ends)


@pytest.mark.claim("tension-monotone")
def test_a_grid_is_no_proof():
    assert isinstance(direction_verdict("tanh", "scale"), Undecided)


@pytest.mark.claim("tension-monotone")
@pytest.mark.parametrize("name", ["softplus", "elu", "selu", "sigmoid"])
def test_strength_does_not_tend_to_one_on_an_exponential_tail(name):
    """λ → 1 − 1/(e − 1) ≈ 0.418 as b → −∞."""
    assert abs(strength_at(name, fmpq(1), fmpq(-16)) - tail_limit(fmpq(1))) < 1e-4
    assert tail_limit(fmpq(1)) < 0.4181


# ---- freezing ----


@pytest.mark.claim("tension-freezing")
@pytest.mark.parametrize(("name", "bias"), [("abs", "0"), ("hermite", "0"), ("square", "0"), ("silu", "-1.9")])
def test_maximal_strength_without_freezing(name, bias):
    """λ ≥ 0.98 with almost no frozen mass: the paper's statement is false in general."""
    found = unit(name, bias=bias, epsilon="0.01")
    assert found.strength > 0.98
    assert found.frozen.standardised < 0.02


@pytest.mark.claim("tension-freezing")
def test_sine_reaches_strength_near_one_without_freezing():
    found = unit("sin", scale="3", epsilon="0.01")
    assert found.strength > 0.99
    assert found.frozen.standardised < 0.01


@pytest.mark.claim("tension-freezing")
@pytest.mark.parametrize("name", ["relu", "tanh", "softplus", "elu", "hardtanh", "sigmoid", "leaky_relu"])
@given(
    st.sampled_from(["-3", "-1", "0", "2"]),
    st.sampled_from(["1", "4"]),
    st.sampled_from([fmpq(1, 10), fmpq(1, 2), fmpq(1)]),
)
def test_floor_for_monotone_activations(name, bias, scale, epsilon):
    expr = activation(name, scale=scale, bias=bias).expr
    strength = strength_at(name, fmpq(scale), fmpq(bias))
    found = standardised_probability(expr, epsilon)
    assert found.rad() < 1e-6
    assert found >= monotone_floor(strength, arb(epsilon)) - 1e-6


@pytest.mark.claim("tension-freezing")
def test_raw_reading_depends_on_the_scale_of_phi():
    found = frozen_probability("softplus", bias="-10")
    assert found.raw > 0.999
    assert found.standardised < 0.001


@pytest.mark.claim("tension-freezing")
def test_frozen_probability_of_relu_is_exact():
    found = frozen_probability("relu", bias="-1")
    with mp.workdps(20):
        assert abs(mp.mpf(found.raw.str(20, radius=False)) - mp.ncdf(1)) < 1e-14


def test_frozen_mass_far_from_the_origin_is_not_counted_twice():
    assert frozen_probability("relu", bias="20").raw < 1e-80
    assert frozen_probability("hardtanh", scale="1/20").raw < 1e-80


def test_frozen_probability_against_numpy():
    import numpy as np

    z = np.random.default_rng(3).normal(size=400_000)
    for name, scale in (("tanh", "3"), ("gelu", "2"), ("sin", "2")):
        found = frozen_probability(name, scale=scale, epsilon="0.1")
        slope = activation(name).derivative_numpy()(float(scale) * z)
        assert float(found.raw) == pytest.approx((np.abs(slope) < 0.1).mean(), abs=0.005)
        assert float(found.modulated) == pytest.approx((np.abs(float(scale) * slope) < 0.1).mean(), abs=0.005)


@pytest.mark.parametrize("epsilon", ["0", "-1", "abc"])
def test_epsilon_is_checked(epsilon):
    with pytest.raises(InvalidInput, match="epsilon"):
        unit("tanh", epsilon=epsilon)
    with pytest.raises(InvalidInput, match="epsilon"):
        frozen_probability("tanh", epsilon=epsilon)
