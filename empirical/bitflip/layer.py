"""The metrics of the hidden layer, compiled: definitions of :mod:`lop_theory.metrics`, whose calls alone would take
twice as long as the training between two measurements of five units."""

import numpy as np

from empirical.bitflip.units import activate
from empirical.compilation import compiled

DEAD_VALUE, DEAD_SHARE, COSINE, LARGE = 1e-7, 0.95, 0.95, 1e-14
NAMES = (
    "dead", "duplicate_before", "duplicate", "duplicate_before_as_coded", "duplicate_as_coded",
    "effective_rank_before", "effective_rank", "stable_rank", "participation_ratio",
)  # fmt: skip


@compiled()
def numbers(incoming: np.ndarray, bias: np.ndarray, inputs: np.ndarray, activation: int) -> np.ndarray:
    """The metrics in the order of :data:`NAMES`: ``incoming`` is (inputs, units), ``inputs`` (samples, inputs)."""
    before = np.dot(inputs, incoming) + bias
    after = np.empty_like(before)
    activate(activation, before.ravel(), after.ravel())
    found = np.full(9, np.nan)
    gram = np.dot(before.T, before)
    if np.isfinite(np.diag(gram)).all():
        found[1], found[3] = _duplicates(gram)
        found[5], _ = _ranks(_smaller(before, gram))
    gram = np.dot(after.T, after)
    if np.isfinite(np.diag(gram)).all():
        found[0] = _dead(after)
        found[2], found[4] = _duplicates(gram)
        found[6], found[7] = _ranks(_smaller(after, gram))
        found[8] = _participation(after, gram)
    return found


@compiled()
def _dead(h: np.ndarray) -> float:
    """Share of units with |h| < 1e-7 on more than 95 % of samples."""
    units, dead = h.shape[1], 0
    zeros = np.zeros(units, np.int64)
    for k in range(len(h)):
        for i in range(units):
            zeros[i] += abs(h[k, i]) < DEAD_VALUE
    for i in range(units):
        dead += zeros[i] / len(h) > DEAD_SHARE
    return dead / units


@compiled()
def _duplicates(gram: np.ndarray) -> tuple[float, float]:
    """Shares of units whose cosine with another is above .95, and with a later one (the authors' code)."""
    units, any_other, later = len(gram), 0, 0
    scale = np.zeros(units)
    for i in range(units):
        norm = np.sqrt(max(gram[i, i], 0.0))
        if norm > 0.0:
            scale[i] = 1.0 / norm
    for i in range(units):
        after = before = False
        for j in range(units):
            if i != j and gram[i, j] * scale[i] * scale[j] > COSINE:
                after, before = after or j > i, before or j < i
        any_other += after or before
        later += after
    return any_other / units, later / units


@compiled()
def _smaller(h: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """HᵀH or HHᵀ, whose eigenvalues above 0 are the same."""
    return gram if len(h) >= len(gram) else np.dot(h, h.T)


@compiled()
def _ranks(gram: np.ndarray) -> tuple[float, float]:
    """exp of the entropy of the normalised singular values, and ‖H‖_F²/‖H‖₂²; 0 for a layer of zeros."""
    alive = np.flatnonzero(np.diag(gram) > 0.0)
    if alive.size == 0:
        return 0.0, 0.0
    squares = np.maximum(np.linalg.eigvalsh(gram[alive][:, alive]), 0.0)
    sigma = np.sqrt(squares)
    total, entropy = sigma.sum(), 0.0
    if total == 0.0:
        return 0.0, 0.0
    for value in sigma:
        if value > 0.0:
            entropy -= value / total * np.log(value / total)
    return np.exp(entropy), squares.sum() / squares.max()


@compiled()
def _participation(h: np.ndarray, gram: np.ndarray) -> float:
    """‖H̃‖_F⁴ / tr((H̃ᵀH̃)²) of centred H̃; 0 for constant activations."""
    units, trace, square, plain = len(gram), 0.0, 0.0, 0.0
    mean = np.zeros(units)
    for k in range(len(h)):
        for i in range(units):
            mean[i] += h[k, i]
    mean /= len(h)
    for i in range(units):
        plain += gram[i, i]
        trace += max(gram[i, i] - len(h) * mean[i] * mean[i], 0.0)
        for j in range(units):
            centred = gram[i, j] - len(h) * mean[i] * mean[j]
            square += centred * centred
    return trace * trace / square if trace > LARGE * plain else 0.0
