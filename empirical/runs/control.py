"""When a comparison over seeds says anything: seeds enough, and a control that learns tasks of equal difficulty.

"Nothing was lost" says nothing of a network that could not learn these tasks in the first place. The control is a
fresh network for every task; what it does not learn cannot be lost.
"""

from typing import NamedTuple

import numpy as np

LEAST_SEEDS = 5
SPAN = 5
"""Tasks at the beginning and at the end of a run that are compared; of fewer than twice as many, half."""
LEARNT = 0.8
"""Training accuracy that the control must reach at the end of a task, mean over its tasks, in every seed."""
EVEN = 0.1
"""By how much the control's accuracy may differ, on average, between the first and the last tasks."""


class Control(NamedTuple):
    """A fresh-network control: seeds × tasks, its training accuracy at the end of each task."""

    accuracy: np.ndarray

    @property
    def reached(self) -> float:
        """The least of the seeds' means."""
        return float(self.accuracy.mean(1).min())

    @property
    def learnt(self) -> bool:
        """Whether it reached :data:`LEARNT` in every seed; NaN is no number that is reached."""
        return self.reached >= LEARNT

    @property
    def uneven(self) -> float:
        """How much easier (or harder) the last tasks are to a network that knows none of the others."""
        return float((late(self.accuracy) - early(self.accuracy)).mean())

    def __str__(self) -> str:
        return f"{self.accuracy.mean():.3f}, least seed {self.reached:.3f}"


def early(values: np.ndarray) -> np.ndarray:
    """Per seed, the mean over the first tasks."""
    return values[:, : span(values)].mean(1)


def late(values: np.ndarray) -> np.ndarray:
    """Per seed, the mean over the last tasks."""
    return values[:, -span(values) :].mean(1)


def span(values: np.ndarray) -> int:
    """How many tasks at each end are compared: they share none, if there are two."""
    return max(1, min(SPAN, values.shape[1] // 2))


def too_few(seeds: int) -> str | None:
    """Why so few seeds cannot tell, or ``None`` if they are enough."""
    return None if seeds >= LEAST_SEEDS else f"{seeds} seeds of the {LEAST_SEEDS} that it takes"


def cannot_tell(control: Control) -> str | None:
    """Why a comparison with this control says nothing, or ``None`` if it does."""
    if not control.learnt:
        return f"its control, a fresh network every task, does not learn ({control}; {LEARNT:g} is asked)"
    if abs(control.uneven) > EVEN:
        return f"first and last tasks are not equally hard: the control's accuracy differs by {control.uneven:+.2f}"
    return too_few(len(control.accuracy))
