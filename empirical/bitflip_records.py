"""Saved bit-flipping records by width and method, seeds stacked: what figures and claims read."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from empirical.presets import BITFLIP, Bitflip
from empirical.store import Record, canonical, records
from lop_theory.errors import InvalidInput

FOLDER = Path(__file__).parent.parent / "results"


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
    options = BITFLIP[preset]
    wanted = {_identity(run): run for run in options.runs()}
    found = {_key(r): r for r in records(root / "bitflip") if r.manifest["status"] == "finished" and _key(r) in wanted}
    missing = [run for key, run in wanted.items() if key not in found]
    if missing:
        raise InvalidInput(
            "results",
            str(root / "bitflip"),
            f"lacks {len(missing)} of the {len(wanted)} runs of the preset {preset}",
            f"run: python -m empirical bitflip --preset {preset} --out {root}",
        )
    return {
        (width, method): Cell(width, method, options.seeds, tuple(_of(found, wanted, width, method, options)))
        for width in options.width
        for method in options.method
    }


def _identity(run: object) -> str:
    from dataclasses import asdict

    return canonical(asdict(run))


def _key(record: Record) -> str:
    return canonical(record.config)


def _of(found: dict, wanted: dict, width: int, method: str, options: Bitflip) -> Iterable[Record]:
    by_seed = {run.seed: key for key, run in wanted.items() if (run.width, run.method) == (width, method)}
    return [found[by_seed[seed]] for seed in options.seeds]


def windowed(values: np.ndarray, size: int) -> np.ndarray:
    """Means over consecutive windows of ``size`` along the last axis (a remainder is dropped)."""
    whole = values.shape[-1] // size
    return values[..., : whole * size].reshape(*values.shape[:-1], whole, size).mean(-1)


def last(values: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Per seed, the mean over the last ``share`` of a run (seeds × times)."""
    return values[:, -max(1, round(share * values.shape[1])) :].mean(1)
