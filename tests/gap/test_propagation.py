"""Gain, order or chaos, and the correlation to which inputs tend, against Gauss–Hermite quadrature in floats."""

import numpy as np
import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import arb
from lop_theory.gap.kernel import correlation_kernel
from lop_theory.gap.propagation import _bisected, _excess, propagate

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS = WEIGHTS / np.sqrt(2 * np.pi)


def _map(phi, rho):
    """C(ρ) = E φ(X)φ(Y)/E φ²."""
    y = rho * NODES[:, None] + np.sqrt(1 - rho * rho) * NODES[None, :]
    product = WEIGHTS @ (phi(NODES)[:, None] * phi(y)) @ WEIGHTS
    return product / (WEIGHTS @ phi(NODES) ** 2)


@pytest.mark.parametrize("text", ["gelu(x)", "silu(2*x)", "tanh(x)+1/2", "sin(x)+x**2/4", "x**2/3+x", "exp(-x**2)+x"])
def test_numbers_against_quadrature(text):
    act = from_formula(text)
    phi, slope = act.numpy(), act.derivative_numpy()
    found = propagate(correlation_kernel(act.expr))
    second = WEIGHTS @ phi(NODES) ** 2
    for ball, expected in [
        (found.mean, WEIGHTS @ phi(NODES)),
        (found.second, second),
        (found.gain, second**-0.5),
        (found.chi, WEIGHTS @ slope(NODES) ** 2 / second),
    ]:
        assert float(ball) == pytest.approx(expected, abs=1e-8)
    assert found.phase == ("chaos" if found.chi > 1 else "order")
    place = float(found.tends_to)
    if found.phase == "chaos":
        assert 0 <= place < 1
        assert found.tends_to.rad() < 1e-11
        assert found.rate.rad() < 1e-9
        assert _map(phi, place) == pytest.approx(place, abs=1e-8)
        step = 1e-4
        rate = (_map(phi, place + step) - _map(phi, max(place - step, -1))) / (2 * step)
        assert float(found.rate) == pytest.approx(rate, abs=1e-6)
        assert found.rate < 1
    rho = 0.3
    for _ in range(3000):
        rho = _map(phi, min(rho, 1.0)) if abs(rho - place) > 1e-4 else place
    assert rho == pytest.approx(place, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "phase"),
    [("relu(x)", "edge"), ("leaky_relu(x, 0.3)", "edge"), ("abs(x)", "edge"), ("x", "edge"), ("softplus(x)", "order"),
     ("sign(x)", "chaos"), ("relu(x)**2", "chaos"), ("sigmoid(x)", "order"), ("exp(x)", "undecided"),
     ("relu(x)+1/10", "order")],
)  # fmt: skip
def test_phases(text, phase):
    found = propagate(correlation_kernel(from_formula(text).expr))
    assert found.phase == phase
    assert (found.tends_to is None) == (phase == "undecided" or text == "x")
    if phase == "order":
        assert found.tends_to == 1


def test_odd_activations_tend_to_zero():
    found = propagate(correlation_kernel(activation("tanh").expr))
    assert found.tends_to is not None
    assert found.tends_to.contains(arb(0))
    assert found.tends_to.rad() < 1e-15


@pytest.mark.parametrize("text", ["gelu(x)", "sin(x)+x**2/4", "relu(x)**2", "sin(2*x)+1/3"])
@pytest.mark.parametrize("n", [3, 5, 8])
def test_a_short_series_leaves_what_it_cannot_decide_and_no_more(text, n):
    """C(ρ) − ρ has no sign on the enclosure of ρ*, up to its ends, and is of one sign on each side; ρ* is inside."""
    expr = from_formula(text).expr
    short, fine = correlation_kernel(expr, n), correlation_kernel(expr, 60)
    found, right = _bisected(short), _bisected(fine)
    low, high = found.lower(), found.upper()
    assert low <= right.mid() <= high
    for share in ("0.001", "0.1", "0.9", "0.999"):
        inside = _excess(short, (low + (high - low) * arb(share)).mid())
        assert found.rad() < 1e-12 or not (inside > 0 or inside < 0)
    assert _excess(short, (low - 1e-9).mid().max(arb(0))) > 0 or low <= 1e-9
    assert _excess(short, (high + 1e-9).mid()) < 0


def test_a_meeting_point_that_halving_hits_is_known_to_all_digits():
    """φ = x² − 1/2 has mean 1/2 and variance 2, so C = (1/4 + 2ρ²)/(9/4): C(1/8) = 1/8 with C′ = 2/9."""
    found = propagate(correlation_kernel(from_formula("x**2 - 1/2").expr))
    for ball, right in ((found.tends_to, arb(1) / 8), (found.rate, arb(2) / 9)):
        assert ball.overlaps(right)
        assert ball.rad() < 1e-17
