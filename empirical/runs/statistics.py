"""Statistics over seeds that the experiments' claims, tables and figures share.

The effect of one arm over another is a ratio within a seed: its geometric mean over seeds, Cohen's d of its logarithm
(mean / standard deviation over seeds, n − 1) and the number of seeds in which it exceeds 1.
"""

from typing import NamedTuple

import numpy as np


class Effect(NamedTuple):
    """A ratio over seeds: geometric mean, Cohen's d of its logarithm, seeds above 1, seeds."""

    ratio: float
    d: float
    above: int
    seeds: int

    def __str__(self) -> str:
        return f"×{self.ratio:.2f} (d {self.d:.1f}, {self.above}/{self.seeds} up)"


def effect(numerator: np.ndarray, denominator: np.ndarray) -> Effect:
    """The effect of paired values, one pair a seed."""
    logs = np.log(numerator / denominator)
    return Effect(float(np.exp(logs.mean())), float(logs.mean() / logs.std(ddof=1)), int((logs > 0).sum()), len(logs))


def windowed(values: np.ndarray, size: int) -> np.ndarray:
    """Means over consecutive windows of ``size`` along the last axis (a remainder is dropped)."""
    whole = values.shape[-1] // size
    return values[..., : whole * size].reshape(*values.shape[:-1], whole, size).mean(-1)


def first(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Per seed, the mean over the first ``share`` of a run (seeds × times)."""
    return values[:, : max(1, round(share * values.shape[1]))].mean(1)


def last(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Per seed, the mean over the last ``share`` of a run (seeds × times)."""
    return values[:, -max(1, round(share * values.shape[1])) :].mean(1)
