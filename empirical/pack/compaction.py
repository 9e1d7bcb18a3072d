"""Folders of finished runs into shards, and back. At every moment each run is in its folder, in its shard, or in both.

Failed runs stay folders, so that they can be deleted and run anew; so do damaged ones, those that a process holds and
those whose data are not the shard's.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from empirical.runs.live import LIVE, remove_live, state_of
from empirical.runs.shards import DIGITS, SHARDS, Row, Shard, encoded, opened, path_of, shards_in
from empirical.runs.store import DATA, MANIFEST, Record, damage, finished
from lop_theory.cli import write_whole
from lop_theory.errors import InvalidInput

LOCK = "lock.sqlite"


class Compacted(NamedTuple):
    """Places (EXPERIMENT/ID) that were moved; those that stay as they must, and those that should not, with why."""

    moved: list[str]
    staying: list[str]
    problems: list[str]


def compact(root: Path) -> Compacted:
    """Every finished run under ``root`` into the shard of its experiment and first digit.

    A shard is replaced at once, is on the disk and is read back before the folders go. Raises ``InvalidInput`` if
    another process compacts, or a shard is damaged.
    """
    found = Compacted([], [], [])
    for experiment in _experiments(root, MANIFEST):
        with _held(experiment):
            for digit in DIGITS:
                _compact(experiment, digit, found)
    return found


def loosen(root: Path) -> int:
    """The inverse: every run of a shard in a folder of its own; how many. Raises ``InvalidInput`` if one has a folder
    with other data."""
    count = 0
    for experiment in _experiments(root, ""):
        with _held(experiment):
            for shard in shards_in(experiment):
                _require_one_of_each(experiment, shard)
                count += sum(_loose(experiment / row.id, row) for row in shard.rows())
                shard.path.unlink()
    return count


def _experiments(root: Path, manifest: str) -> list[Path]:
    """Folders with shards, or with manifests of that name."""
    if not root.is_dir():
        raise InvalidInput("runs", str(root), "is no folder", "give --out of the runs")
    inside = [path for path in sorted(root.iterdir()) if path.is_dir()]
    return [
        path
        for path in inside
        if (path / SHARDS).is_dir() or (manifest and next(path.glob(f"*/{manifest}"), None) is not None)
    ]


@contextmanager
def _held(experiment: Path) -> Generator[None]:
    """The only process that writes shards of this experiment."""
    (experiment / SHARDS).mkdir(exist_ok=True)
    database = sqlite3.connect(experiment / SHARDS / LOCK, timeout=0.2)
    try:
        database.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        database.close()
        raise InvalidInput("runs", str(experiment), f"is compacted by another process ({error})", "wait") from None
    try:
        yield
    finally:
        database.close()


def _compact(experiment: Path, digit: str, found: Compacted) -> None:
    folders = [path for path in sorted(experiment.glob(f"{digit}*")) if path.is_dir()]
    shard = opened(experiment / SHARDS / f"{digit}.parquet")
    rows = [row for path in folders if (path / MANIFEST).exists() and (row := _movable(path, shard, found))]
    if any(shard is None or shard.row(row.id) != row for row in rows):
        before = {row.id: row for row in (shard.rows() if shard else ())}
        _write(experiment / SHARDS / f"{digit}.parquet", [*(before | {row.id: row for row in rows}).values()])
    for row in rows:
        _remove(experiment / row.id)
        found.moved.append(f"{experiment.name}/{row.id}")
    _sweep(folders)


def _movable(folder: Path, shard: Shard | None, found: Compacted) -> Row | None:
    """The run as a row of a shard; ``None``, with the reason noted, if it stays."""
    place = f"{folder.parent.name}/{folder.name}"
    try:
        record = finished(folder)
        problem = "has no manifest" if record is None else damage(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        record, problem = None, f"is no record ({error})"
    if record is None or problem is not None:
        found.problems.append(f"{place}: {problem}")
    elif record.manifest["status"] != "finished":
        found.staying.append(f"{place}: failed")
    elif (live := state_of(folder)) is not None and live[0] == "running":
        found.staying.append(f"{place}: is held by a process")
    else:
        return _agreeing(_row(record), shard, place, found)
    return None


def _row(record: Record) -> Row:
    manifest = record.folder / MANIFEST
    data = record.data() or b""
    return Row(record.folder.name, manifest.stat().st_mtime_ns, manifest.read_bytes(), data)


def _agreeing(row: Row, shard: Shard | None, place: str, found: Compacted) -> Row | None:
    there = None if shard is None else shard.data(row.id)
    if there is None or there == row.data:
        return row
    found.problems.append(f"{place}: has other data than its shard")
    return None


def _write(path: Path, rows: list[Row]) -> None:
    """The shard, on the disk and read back."""
    write_whole(path, encoded(rows))
    for name in (path, path.parent):
        handle = os.open(name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    written = opened(path)
    if written is None or list(written.rows()) != sorted(rows):
        raise InvalidInput("shard", str(path), "was written and is not what was written", "check the disk")


def _remove(folder: Path) -> None:
    """The manifest first: a folder without one is no record, so that the shard is asked."""
    (folder / MANIFEST).unlink()
    (folder / DATA).unlink(missing_ok=True)
    remove_live(folder)
    with suppress(OSError):  # other files may be there
        folder.rmdir()


def _sweep(folders: list[Path]) -> None:
    """What a kill between the two removals left."""
    for folder in folders:
        shard = opened(path_of(folder))
        there = shard is not None and folder.name in shard.places
        if there and (folder / DATA).exists() and not (folder / MANIFEST).exists() and not (folder / LIVE).exists():
            (folder / DATA).unlink()
            with suppress(OSError):
                folder.rmdir()


def _require_one_of_each(experiment: Path, shard: Shard) -> None:
    """Raise ``InvalidInput`` if a run is in its folder too, with other data: one of the two would be lost."""
    for row in shard.rows():
        folder = experiment / row.id
        if (folder / MANIFEST).exists() and Record(folder, {}).data() != row.data:
            raise InvalidInput("runs", str(folder), "has other data than its shard", "move or delete this folder")


def _loose(folder: Path, row: Row) -> bool:
    """The run's folder, unless it has one."""
    if (folder / MANIFEST).exists() and (folder / DATA).exists():
        return False
    folder.mkdir(exist_ok=True)
    write_whole(folder / DATA, row.data)
    write_whole(folder / MANIFEST, row.manifest)
    os.utime(folder / MANIFEST, ns=(row.ended, row.ended))
    return True
