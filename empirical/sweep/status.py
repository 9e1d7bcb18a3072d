"""What is done of a grid: every run's state from its folder, counted by part."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from empirical.runs.live import state_of
from empirical.runs.store import Record, id_of, in_its_place, records
from empirical.sweep.grid import Part

STATES = ("done", "failed", "running", "interrupted", "another's", "left")
ENDED = ("done", "failed")


class State(NamedTuple):
    """A run, what became of it so far, and its record if it has ended."""

    config: Any
    state: str
    record: Record | None


def states(parts: list[Part], root: Path) -> dict[str, list[State]]:
    """Part → its runs."""
    return {part.label: _states_of(part.runs, root / part.experiment) for part in parts}


def _states_of(runs: Sequence[Any], folder: Path) -> list[State]:
    """Records by one look at the folder and its shards; the other runs one by one."""
    places = [id_of(config) for config in runs]
    ended = {record.folder.name: record for record in records(folder, set(places))}
    return [_state(config, folder / place, ended.get(place)) for config, place in zip(runs, places, strict=True)]


def _state(config: Any, place: Path, record: Record | None) -> State:
    if record is not None and not in_its_place(record):
        return State(config, "another's", None)
    if record is not None:
        return State(config, "failed" if record.manifest["status"] == "failed" else "done", record)
    live = state_of(place)
    return State(config, "left" if live is None else live[0], None)


def counts(found: list[State]) -> Counter[str]:
    """State → how many."""
    return Counter(run.state for run in found)
