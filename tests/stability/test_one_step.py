"""The guaranteed gain of one step: exact on sampled losses, attained, and false beside its hypotheses."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.errors import InvalidInput
from lop_theory.stability.one_step import best_step, gain_at, gradient_moments

fractions = st.fractions(-4, 4, max_denominator=6)


def logistic(w, x):
    return np.log1p(np.exp(-x @ w)).mean()


@pytest.mark.claim("later-one-step-gain")
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_expected_gain_of_a_logistic_loss(seed, size):
    """Single samples are unbiased draws; the smoothness λ_max(XᵀX)/(4n) holds everywhere."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(8, size)), rng.normal(size=size)
    draws = -x / (1 + np.exp(x @ w))[:, None]
    smoothness = np.linalg.eigvalsh(x.T @ x)[-1] / 32
    step, gain = best_step(*gradient_moments(draws), smoothness)
    found = np.mean([logistic(w, x) - logistic(w - step * g, x) for g in draws])
    assert found >= gain - 1e-12
    for other in (step / 2, 1.5 * step, 2 * step):
        realised = np.mean([logistic(w, x) - logistic(w - other * g, x) for g in draws])
        assert realised >= gain_at(other, *gradient_moments(draws), smoothness) - 1e-12


@pytest.mark.claim("later-one-step-gain")
@given(st.lists(fractions, min_size=1, max_size=5), st.fractions("1/4", 4, max_denominator=6))
def test_attained_by_the_parabola(draws, smoothness):
    mean = sum(draws) / len(draws)
    assume(mean)
    moments = gradient_moments(np.array(draws, dtype=object)[:, None])
    assert moments == (mean**2, sum(g * g for g in draws) / len(draws))
    step, gain = best_step(*moments, smoothness)
    theta = mean / smoothness
    falls = [smoothness / 2 * (theta**2 - (theta - step * g) ** 2) for g in draws]
    assert sum(falls) / len(falls) == gain == moments[0] ** 2 / (2 * smoothness * moments[1])
    assert all(gain_at(step + d, *moments, smoothness) < gain for d in (Fraction(1, 9), Fraction(-1, 9)))


@pytest.mark.claim("later-one-step-gain")
def test_false_for_a_biased_gradient_and_for_the_curvature_of_the_start():
    assert Fraction(1, 2) - Fraction(3, 2) ** 2 / 2 < 0, "theta²/2 at 1 with g = −G and step 1/2 loses"
    loss = lambda t: -t + t**2 / 2 + 10 * t**4  # noqa: E731
    step, gain = best_step(Fraction(1), Fraction(1), Fraction(1))
    assert loss(Fraction(0)) - loss(step) == Fraction(-19, 2) < gain == Fraction(1, 2)


def test_the_guaranteed_gain_is_that_of_a_parabola():
    assert gain_at(Fraction(1, 3), Fraction(2), Fraction(5), Fraction(3, 2)) == Fraction(2, 3) - Fraction(5, 12)


def test_refusals():
    for bad in ((0, 1, 1), (2, 1, 1), (1, 1, 0), (float("nan"), 1, 1)):
        with pytest.raises(InvalidInput):
            best_step(*bad)


@pytest.mark.claim("later-rank-blindness")
@given(st.integers(0, 2**31), st.floats(-60, 60))
def test_every_rank_metric_is_blind_to_scale(seed, exponent):
    torch = pytest.importorskip("torch")
    from lop_theory import metrics as M

    h = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).relu()
    plain, scaled = (M.layer_metrics(v) for v in (h, h * 10.0**exponent))
    for name in ("effective_rank", "stable_rank", "participation_ratio", "renyi2_rank"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-6)


@pytest.mark.claim("later-rank-blindness")
def test_the_gain_of_a_head_scales_at_a_fixed_step_and_not_at_its_best():
    rng = np.random.default_rng(1)
    h, y = rng.normal(size=(6, 3)), rng.normal(size=6)

    def gain(scale, step):
        v = step * (scale * h).T @ y
        return (y @ y - np.sum((scale * h @ v - y) ** 2)) / 2

    top = np.linalg.norm(h, 2) ** 2
    assert gain(1e-3, 0.5 / top) / gain(1.0, 0.5 / top) == pytest.approx(1e-6, rel=1.0)
    assert gain(1e-3, 1e6 * 0.5 / top) == pytest.approx(gain(1.0, 0.5 / top), rel=1e-9)
