"""Runs of an archive into a folder: what is there stays unless it is the same run, less far."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from empirical.pack.archive import Run, require_own, run_at
from empirical.runs.live import Busy, remove_live
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
        try:
            here = run_at(folder / run.place)
        except Busy:
            found.conflicts.append(f"{run.place}: is held by a process")
            continue
        if here is not None and here.ended and run.ended and here.files[DATA] != run.files[DATA]:
            found.conflicts.append(f"{run.place}: has other data here")
        elif here is None or _further(run, here):
            _put(run, folder / run.place)
            found.new.append(run.place)
        else:
            found.same.append(run.place)
    return found


def refused(runs: Iterable[Run]) -> dict[str, str]:
    """Place → why :func:`merge` would refuse every run of an archive that holds this one."""
    found, first = dict[str, str](), dict[bytes, str]()
    for run in runs:
        try:
            _require_sound([run])
        except InvalidInput as error:
            found[run.place] = error.requirement
            continue
        body = run.files.get(DATA)
        if body is not None and (other := first.setdefault(body, run.place)) != run.place:
            found[run.place] = f"has the data of {other}"
    return found


def _further(run: Run, here: Run) -> bool:
    """A record is further than any checkpoint."""
    return not here.ended and (run.ended or run.step > here.step)


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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput("archive", f"{place.parent.name}/{place.name}", f"is no record ({error})") from None
    return found


def _require_database(run: Run) -> None:
    try:
        require_own(run)
    except ValueError as error:
        raise InvalidInput("archive", run.place, str(error), "pack and copy it anew") from None


def _put(run: Run, place: Path) -> None:
    """The manifest last, for a folder with a manifest is finished; then the database that it makes needless goes."""
    place.mkdir(parents=True, exist_ok=True)
    for name in sorted(run.files, key=MANIFEST.__eq__):
        write_whole(place / name, run.files[name])
    if run.ended:
        remove_live(place)
