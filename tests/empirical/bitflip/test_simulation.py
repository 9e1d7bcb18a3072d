"""Metrics of a run against NumPy on every input, and the certificate of frozen units against training itself."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from empirical.bitflip.options import BITFLIP, LearnerOptions, StreamOptions
from empirical.bitflip.simulation import Simulation, certified_frozen, layer_metrics_of, layers, learner_from

EVERY = np.array([(*bits, 1) for bits in product((0, 1), repeat=6)], dtype=np.float64)


def some_rows(seed: int, hidden: int = 40) -> np.ndarray:
    """Incoming weights of 6 bits and the bias input, b₁ mostly negative, w₂."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(9, hidden))
    rows[-2] -= rng.exponential(3, size=hidden)
    rows[:, 1] = rows[:, 0]
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_certificate_is_exact(seed: int) -> None:
    rows = some_rows(seed)
    silent = (EVERY @ rows[:7] + rows[7] <= 0).all(0)
    assert np.array_equal(certified_frozen(rows, "relu"), silent)
    assert 0 < silent.sum() < 40
    assert not certified_frozen(rows, "tanh").any()


def test_metrics_against_numpy() -> None:
    rows = some_rows(1)
    found = layer_metrics_of(rows, EVERY, 0)
    before = EVERY @ rows[:7] + rows[7]
    after = np.maximum(before, 0)
    assert found["dead"] == pytest.approx(((after < 1e-7).mean(0) > 0.95).mean())
    for name, h in (("duplicate_before", before), ("duplicate", after)):
        norm = np.linalg.norm(h, axis=0)
        unit = h / np.where(norm > 0, norm, 1)
        similar = unit.T @ unit > 0.95
        np.fill_diagonal(similar, False)
        assert found[name] == pytest.approx(similar.any(1).mean())
        assert found[f"{name}_as_coded"] == pytest.approx(np.triu(similar).any(1).mean())
    assert found["duplicate"] > 0
    for name, h in (("effective_rank_before", before), ("effective_rank", after)):
        p = np.linalg.svd(h, compute_uv=False)
        p = p[p > 1e-7 * p[0]] / p.sum()
        assert found[name] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)
    values = np.linalg.svd(after, compute_uv=False)
    assert found["stable_rank"] == pytest.approx((values**2).sum() / values[0] ** 2)


def test_certified_units_do_not_move_under_sgd() -> None:
    run = next(r for r in BITFLIP["smoke"].runs() if (r.width, r.method) == (50, "sgd"))
    run = replace(run, stream=StreamOptions(flip_every=200), learner=LearnerOptions(step_size=0.05), samples=40_000)
    simulation = Simulation(run)
    rows, _ = layers(simulation.learner)
    rows[-2, :10] = -20.0
    frozen = certified_frozen(rows, "relu")
    assert frozen.sum() >= 10
    before = rows.copy()
    simulation.advance()
    after, _ = layers(learner_from(simulation.states()[0]))
    assert np.array_equal(after[:, frozen], before[:, frozen])
    assert not np.array_equal(after[:, ~frozen], before[:, ~frozen])
