"""Saved persistence records, one group of seeds a setting: distances, the Grönwall bound along the run, rounding.

All lengths are in units of the norm of the weights at the start.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from empirical.persistence.options import PERSISTENCE, Setting, setting
from empirical.runs import saved
from empirical.runs.saved import FOLDER, Group
from empirical.runs.store import Record

Cells = dict[Setting, Group]
SLACK = 0.02
"""Of the bound, between two measurements: the curvature's change meanwhile, and second order in the distance."""
ROUNDING = 2.0**-52
"""Of float64, against which ε is measured: a step moves the weights by at most so much of their norm more."""
NEAR = 1e-2
"""The bound is of first order: distances beyond this are not judged, nor what comes after them."""


def cells(preset: str = "laptop", root: Path = FOLDER) -> Cells:
    """Every setting of a preset. Raises ``InvalidInput`` naming the command that makes what is missing."""
    runs = PERSISTENCE[preset].runs()
    return saved.groups("persistence", preset, runs, lambda run: setting(asdict(run)), root)


def grouped(records: Iterable[Record]) -> Cells:
    """Settings of any finished records, in their order."""
    found: dict[Setting, list[Record]] = {}
    for record in records:
        found.setdefault(setting(record.config), []).append(record)
    return {key: saved.group_of(own) for key, own in found.items()}


def whole(group: Group) -> bool:
    """Whether no number is missing and no length is negative."""
    lengths = group.stacked("distance", "norm", "rounding")
    numbers = (*lengths, *group.stacked("lowest", "highest"))
    return all(bool(np.isfinite(n).all()) for n in numbers) and all(bool((n >= 0).all()) for n in lengths)


def steps(group: Group) -> np.ndarray:
    """Steps of the measurements."""
    return group.stacked("step")[0][0]


def distances(group: Group) -> np.ndarray:
    """Seeds × measurements: ‖P(θ − w)‖."""
    distance, norm = group.stacked("distance", "norm")
    return distance / norm[:, :1]


def drift(group: Group) -> np.ndarray:
    """Seeds × measurements: Σε, the largest distance that rounding alone can have led to, had nothing amplified it."""
    return np.cumsum(_added(group), 1)


def _added(group: Group) -> np.ndarray:
    """Seeds × measurements: Σε since the measurement before, the first 0."""
    rounding, norm = group.stacked("rounding", "norm")
    count = np.diff(steps(group), prepend=0)
    return (rounding + count * ROUNDING * norm) / norm[:, :1]


def factors(group: Group) -> np.ndarray:
    """Seeds × intervals: by how much the distance grows at most, the larger g of both ends at every step."""
    lowest, highest = group.stacked("lowest", "highest")
    rate = group.config["step_size"]
    growth = np.maximum(np.abs(1 - rate * lowest), np.abs(1 - rate * highest))
    return np.maximum(growth[:, 1:], growth[:, :-1]) ** np.diff(steps(group))


def bounds(group: Group) -> np.ndarray:
    """Seeds × measurements: b₀ = d₀, b ← (1 + slack) G (b + Σε of the interval), the Grönwall bound with rounding."""
    grown, added = (1 + SLACK) * factors(group), _added(group)
    found = [distances(group)[:, 0]]
    for k in range(grown.shape[1]):
        found.append(grown[:, k] * (found[-1] + added[:, k + 1]))
    return np.stack(found, 1)


def judged(group: Group) -> np.ndarray:
    """Seeds × measurements: whether the distance has been small until then, so that the bound speaks of it."""
    near = distances(group) <= NEAR
    return np.logical_and.accumulate(near, 1)


def exceeded(group: Group) -> np.ndarray:
    """Seeds × measurements: whether a small distance is above the bound."""
    return judged(group) & (distances(group) > bounds(group))
