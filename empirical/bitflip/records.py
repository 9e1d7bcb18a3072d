"""Saved bit-flipping records by width and method, seeds stacked: what figures and claims read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from empirical.bitflip.options import BITFLIP
from empirical.runs import saved
from empirical.runs.saved import FOLDER
from empirical.runs.store import Record


class Cell(NamedTuple):
    """All seeds of one width and method, in the order of the seeds; ``records`` have equal length."""

    width: int
    method: str
    seeds: tuple[int, ...]
    records: tuple[Record, ...]

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps at which bins end, and seeds × bins mean squared errors."""
        steps = self.records[0].columns("step")[0]
        return steps[1:], np.stack([r.columns("error")[0][1:] for r in self.records])

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps of measurement, and seeds × measurements of the metric."""
        steps, first = self.records[0].columns("step", name)
        measured = np.isfinite(first)
        return steps[measured], np.stack([r.columns(name)[0][measured] for r in self.records])


def cells(preset: str = "paper", root: Path = FOLDER) -> dict[tuple[int, str], Cell]:
    """Every width and method of a preset. Raises ``InvalidInput`` naming the command that makes what is missing."""
    runs = BITFLIP[preset].runs()
    found = saved.groups("bitflip", preset, runs, lambda run: (run.width, run.method), root)
    return {key: Cell(*key, *group) for key, group in found.items()}
