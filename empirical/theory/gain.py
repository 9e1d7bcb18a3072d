"""Measured rank gain of a layer against the bound for its measured correlations  [rank-gain] [rank-gain-units].

The theorem speaks of the correlation matrix C of the *units* of one layer over samples: if every pair of
pre-activations is jointly Gaussian, the matrix after the activation is K(C) entrywise and
er₂(K(C))/er₂(C) ≥ 1 + λP(C). Units of a trained network have their own means μ_i and deviations σ_i: unit i then is
φ_i(x) = φ(σ_i x + μ_i) on a standard normal x  [tension-*], with c_i = a_1(φ_i)². The gap bound extends to pairs: by
Cauchy–Schwarz |K_ij(ρ)| = |Σ_k a_k(φ_i)a_k(φ_j)ρ^k| ≤ s|ρ| + (1 − s)ρ² with s = √(c_i c_j), the extremal kernel of
[gap] at c = s, so that ρ² − K_ij² ≥ (1 − s)ρ²(1 − ρ²) and, summed over pairs,

    er₂(after)/er₂(before) ≥ 1 + Σ_{i≠j} (1 − √(c_i c_j)) ρ_ij²(1 − ρ_ij²)/‖C‖_F²,

which is the theorem for equal units. Sampling bends both sides (a sample correlation squared is too large by about
1/samples): difference, bias and standard error come from the jackknife over groups of samples.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import normaltest

from empirical.theory.check import Check, judged
from empirical.theory.probe import Sampled
from lop_theory.activations.catalogue import Activation

Array = NDArray[np.float64]
GROUPS = 20
PAIRS = 128
SIGNIFICANCE = 0.001  # of the family of normality tests of a layer
ERRORS = 4.0  # standard errors below the bound that make a failure
LEAST_SAMPLES = 80
KURTOSIS = 0.1  # times samples: units that are active on a handful of samples have no measurable correlation
REACH, PANELS, NODES = 9.0, 16, 16


class Gain(NamedTuple):
    """Rank gain, its bound, and the standard error of their difference; all corrected for sampling bias."""

    measured: float
    bound: float
    error: float


def check_gain(layer: str, sampled: Sampled) -> Check:
    """pass: the measured gain is at least the bound, up to four standard errors; fail: it is below although no test
    finds the pre-activations non-Gaussian; out of hypothesis: they are, or there is too little to measure."""
    before, after = sampled.before.numpy(), sampled.after.numpy()
    kept = measurable(before, after)
    reason = _unusable(sampled.activation, len(before), kept)
    if reason or sampled.activation is None:
        return Check("rank-gain", layer, "out of hypothesis", float("nan"), float("nan"), reason)
    before, after = before[:, kept], after[:, kept]
    found = rank_gain(before, after, linearity(sampled.activation, before.mean(0), before.std(0)))
    hypothesis = non_gaussian(before)
    holds = found.measured >= found.bound - ERRORS * found.error
    what = f"{len(kept)} units on {len(before)} samples, standard error {found.error:.2g}"
    verdict = judged(hypothesis=hypothesis, holds=holds)
    return Check("rank-gain", layer, verdict, found.measured, found.bound, f"{hypothesis}; {what}".lstrip("; "))


def _unusable(activation: Activation | None, samples: int, kept: NDArray[np.int64]) -> str:
    if activation is None:
        return "the activation is not in the catalogue"
    if samples < LEAST_SAMPLES:
        return f"{samples} samples are too few: {LEAST_SAMPLES} at least"
    return "fewer than two units vary enough to be correlated" if len(kept) < 2 else ""


def measurable(before: Array, after: Array) -> NDArray[np.int64]:
    """Units that vary before and after, the latter on more than a handful of samples; at most a quarter as many as
    samples, so that a correlation matrix can be estimated."""
    varying = (before.std(0) > 0) & (after.std(0) > 0)
    square = (after - after.mean(0)) ** 2
    kurtosis = (square**2).mean(0) / np.where(varying, square.mean(0), 1.0) ** 2
    found = np.flatnonzero(varying & (kurtosis < KURTOSIS * len(after)))
    most = max(2, len(before) // 4)
    return found if len(found) <= most else found[np.linspace(0, len(found) - 1, most).round().astype(int)]


def non_gaussian(before: Array) -> str:
    """Why the hypothesis is not met, or nothing: D'Agostino and Pearson's K² (skewness and kurtosis) of every unit and
    of sums and differences of 128 random pairs, at a level of 0.1 % for all tests together (Bonferroni)."""
    standard = (before - before.mean(0)) / before.std(0)
    rng = np.random.default_rng(0)
    i = rng.integers(0, before.shape[1], PAIRS)
    j = (i + rng.integers(1, before.shape[1], PAIRS)) % before.shape[1]
    tested = np.concatenate([standard, standard[:, i] + standard[:, j], standard[:, i] - standard[:, j]], 1)
    tested = tested[:, tested.std(0) > 1e-9]  # clones: their difference is a constant, which is Gaussian
    p = normaltest(tested, axis=0).pvalue
    level = SIGNIFICANCE / len(p)
    rejected = int((p < level).sum())
    return f"pre-activations are not Gaussian: {rejected} of {len(p)} normality tests reject" if rejected else ""


def linearity(activation: Activation, mean: Array, deviation: Array) -> Array:
    """c_i = a_1² of the standardised x ↦ φ(σ_i x + μ_i), in floats: Gauss–Legendre on panels that end at the kinks."""
    phi = activation.numpy()
    x, weight = _nodes(activation, mean, deviation)
    values = phi(deviation[:, None, None] * x + mean[:, None, None])
    first, second = (weight * values).sum((1, 2)), (weight * values**2).sum((1, 2))
    slope = (weight * values * x).sum((1, 2))
    variance = second - first**2
    return np.clip(slope**2 / np.where(variance > 0, variance, 1.0), 0.0, 1.0)


def _nodes(activation: Activation, mean: Array, deviation: Array) -> tuple[Array, Array]:
    """Nodes and Gaussian weights, units × panels × nodes."""
    kinks = [float(k.p) / float(k.q) for k in activation.kinks()]
    ends = [np.full_like(mean, -REACH), *((k - mean) / deviation for k in kinks), np.full_like(mean, REACH)]
    cuts = np.sort(np.clip(np.stack(ends, 1), -REACH, REACH), 1)
    fractions = np.arange(PANELS) / PANELS
    width = (cuts[:, 1:] - cuts[:, :-1])[:, :, None] / PANELS
    left = (cuts[:, :-1, None] + PANELS * width * fractions).reshape(len(mean), -1, 1)
    width = np.repeat(width, PANELS, 1).reshape(len(mean), -1, 1)
    node, weight = _legendre()
    x = left + width * node
    return x, width * weight * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


@lru_cache(maxsize=1)
def _legendre() -> tuple[Array, Array]:
    node, weight = np.polynomial.legendre.leggauss(NODES)
    return (node + 1) / 2, weight / 2


def rank_gain(before: Array, after: Array, c: Array) -> Gain:
    """The gain and its bound with every group of samples left out once: bias and error of the difference."""
    strength = 1 - np.sqrt(np.outer(c, c))
    squares, squares_after = _squared_correlations(before), _squared_correlations(after)
    norm = squares.sum((1, 2))
    gains = norm / squares_after.sum((1, 2))
    bounds = 1 + (strength * squares * (1 - squares)).sum((1, 2)) / norm
    difference = (gains - bounds)[1:]
    error = float(np.sqrt((GROUPS - 1) / GROUPS * ((difference - difference.mean()) ** 2).sum()))
    gain, bound = (float(GROUPS * x[0] - (GROUPS - 1) * x[1:].mean()) for x in (gains, bounds))
    return Gain(gain, bound, error)


def _squared_correlations(h: Array) -> Array:
    """ρ_ij² (1 on the diagonal) of all samples, then with each of ``GROUPS`` groups left out; the last samples that
    make no full group are not used."""
    size = len(h) // GROUPS
    parts = torch.from_numpy(h[: size * GROUPS] - h.mean(0)).reshape(GROUPS, size, -1)
    gram, total = torch.bmm(parts.mT, parts).numpy(), parts.sum(1).numpy()
    grams = np.concatenate([gram.sum(0)[None], gram.sum(0) - gram])
    totals = np.concatenate([total.sum(0)[None], total.sum(0) - total])
    counts = size * np.array([GROUPS, *[GROUPS - 1] * GROUPS])[:, None, None]
    covariance = grams - totals[:, :, None] * totals[:, None, :] / counts
    variance = np.einsum("gii->gi", covariance)
    scale = np.where(variance > 0, variance, np.inf)
    found = np.clip(covariance**2 / (scale[:, :, None] * scale[:, None, :]), 0.0, 1.0)
    np.einsum("gii->gi", found)[:] = 1.0
    return found
