"""Metrics of a run against NumPy on every input, and the certificate of frozen units against training itself."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from empirical.bitflip.options import BITFLIP, LearnerOptions, StreamOptions
from empirical.bitflip.simulation import Simulation, certified_frozen, layer_metrics_of, layers, learner_from
from empirical.bitflip.units import ACTIVATIONS, activate
from lop_theory.metrics import layer_metrics

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


@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)))
@pytest.mark.parametrize("hidden", [5, 40, 100])
def test_metrics_are_those_of_the_library(hidden: int, activation: int) -> None:
    """More units than samples, units alike, dead ones, and constant ones too."""
    rows = some_rows(hidden, hidden)
    rows[:, 2], rows[:-2, 3], rows[-2, 3] = -rows[:, 0], 0.0, 1.0
    for inputs in (EVERY, EVERY[:32], EVERY[:1]):
        found = layer_metrics_of(rows, inputs, activation)
        before = inputs @ rows[:-2] + rows[-2]
        after = np.empty_like(before)
        activate(activation, before.ravel(), after.ravel())
        b, a = (layer_metrics(torch.from_numpy(h)) for h in (before, after))
        expected = {
            "dead": a.dead, "duplicate_before": b.duplicate_as_paper, "duplicate": a.duplicate_as_paper,
            "duplicate_before_as_coded": b.duplicate_as_coded, "duplicate_as_coded": a.duplicate_as_coded,
            "effective_rank_before": b.effective_rank, "effective_rank": a.effective_rank,
            "stable_rank": a.stable_rank, "participation_ratio": a.participation_ratio,
        }  # fmt: skip
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            # singular values that are rounding count with their square root; variances cancel
            close = {"effective_rank": 1e-5, "effective_rank_before": 1e-5, "participation_ratio": 1e-6}.get(name, 1e-9)
            assert found[name] == pytest.approx(value, rel=close, abs=1e-12), name


def test_metrics_of_what_is_not_finite_are_none() -> None:
    rows = some_rows(3)
    rows[0, 4] = np.inf
    assert np.isnan(list(layer_metrics_of(rows, EVERY, 0).values())).all()
    rows = some_rows(3, 5)
    rows[-2], rows[:-2] = -100.0, 0.0
    found = layer_metrics_of(rows, EVERY, 0)
    assert (found["dead"], found["effective_rank"], found["stable_rank"], found["participation_ratio"]) == (1, 0, 0, 0)
