"""Runs of an archive into a folder: what is there stays unless it is the same run, less far."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from empirical.pack.archive import Run
from empirical.runs.live import LIVE, Busy, checkpoint_of, reached, remove_live
from empirical.runs.store import DATA, MANIFEST, finished, require_intact
from lop_theory.cli import write_whole
from lop_theory.errors import InvalidInput


class Merged(NamedTuple):
    """Places of runs: put here, here before, and in conflict with what is here (with the reason)."""

    new: list[str]
    same: list[str]
    conflicts: list[str]


def merge(runs: list[Run], folder: Path) -> Merged:
    """Every run into its place. Nothing is written before all runs have been checked.

    Raises ``InvalidInput`` if a record is damaged, is another's, or a database is none of ours.
    """
    _require_sound(runs)
    found = Merged([], [], [])
    for run in runs:
        problem = _conflict(run, folder / run.place)
        if problem is not None:
            found.conflicts.append(f"{run.place}: {problem}")
        elif _known(run, folder / run.place):
            found.same.append(run.place)
        else:
            _put(run, folder / run.place)
            found.new.append(run.place)
    return found


def _require_sound(runs: list[Run]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            place = Path(folder, run.place)
            place.mkdir(parents=True)
            if run.ended:
                for name, body in run.files.items():
                    (place / name).write_bytes(body)
            else:
                _require_database(run)
        require_intact(record for run in runs if run.ended and (record := _record(Path(folder, run.place))))


def _record(place: Path):
    try:
        found = finished(place)
        if found is None or found.config["experiment"] != place.parent.name:
            raise ValueError("is of another experiment than its folder")
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InvalidInput("archive", f"{place.parent.name}/{place.name}", f"is no record ({error})") from None
    return found


def _require_database(run: Run) -> None:
    try:
        reached(run.files[LIVE])
    except ValueError as error:
        raise InvalidInput("archive", run.place, str(error), "pack and copy it anew") from None


def _conflict(run: Run, place: Path) -> str | None:
    """Why the run cannot be merged."""
    here = finished(place)
    if here is not None:
        differs = run.ended and (place / DATA).read_bytes() != run.files[DATA]
        return "has other data here" if differs else None
    try:
        if (place / LIVE).exists():
            checkpoint_of(place)
    except Busy:
        return "is held by a process"
    return None


def _known(run: Run, place: Path) -> bool:
    """Whether what is here is as far."""
    if finished(place) is not None:
        return True
    if run.ended or not (place / LIVE).exists():
        return False
    return reached(checkpoint_of(place)) >= run.step


def _put(run: Run, place: Path) -> None:
    """The manifest last: a folder with a manifest is finished."""
    place.mkdir(parents=True, exist_ok=True)
    remove_live(place)
    for name in sorted(run.files, key=MANIFEST.__eq__):
        write_whole(place / name, run.files[name])
