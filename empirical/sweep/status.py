"""What is done of a grid: every run's state from its folder, counted by part."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from empirical.runs.live import state_of
from empirical.runs.store import Record, finished, id_of
from empirical.sweep.grid import Part

STATES = ("done", "failed", "running", "interrupted", "left")
ENDED = ("done", "failed")


class State(NamedTuple):
    """A run, what became of it so far, and its record if it has ended."""

    config: Any
    state: str
    record: Record | None


def states(parts: list[Part], root: Path) -> dict[str, list[State]]:
    """Part → its runs."""
    return {part.label: [_state(config, root / part.experiment) for config in part.runs] for part in parts}


def _state(config: Any, folder: Path) -> State:
    place = folder / id_of(config)
    if (record := finished(place)) is not None:
        return State(config, "failed" if record.manifest["status"] == "failed" else "done", record)
    live = state_of(place)
    return State(config, "left" if live is None else live[0], None)


def counts(found: list[State]) -> Counter[str]:
    """State → how many."""
    return Counter(run.state for run in found)
