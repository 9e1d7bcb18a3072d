"""The record of a run that is under way: rows and checkpoints in a SQLite database (WAL), both or neither.

A kill at any moment leaves a consistent pair, from which the deterministic run goes on to the same result. The
checkpoint before the last is kept too: runs that train side by side commit one after the other, and after a kill
between two of them the earlier checkpoint is one that all have. The database is locked for as long as its process
lives (without shared memory, so that the folder may be a network's).

It says whose it is: a folder that was moved or copied under the name of another run is refused, never gone on with.
One of an earlier version does not say it; it is gone on with, and the record's manifest says up to which step this is
not known (``unnamed_until``).
"""

import io
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.runs.store import Record, Row, canonical, differing, identity, plain, run_id, write_record
from lop_theory.errors import InvalidInput

LIVE = "run.sqlite"
START = -1
"""The step to resume at when there is nothing to resume from."""
KEPT = 2
_NAMED = (
    "CREATE TABLE IF NOT EXISTS owner (one INTEGER PRIMARY KEY CHECK (one = 1), config TEXT NOT NULL, since INTEGER)"
)
"""Whose run this is, as canonical JSON; at which step that was written down, if the run was under way by then."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY, step INTEGER, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS checkpoints (step INTEGER PRIMARY KEY, arrays BLOB)",
    "CREATE TABLE IF NOT EXISTS life (one INTEGER PRIMARY KEY CHECK (one = 1), seconds REAL, resumed INTEGER, cause)",
    "INSERT OR IGNORE INTO life VALUES (1, 0, 0, NULL)",
)


class Busy(Exception):  # noqa: N818
    """Another process holds the run."""


class LiveRecord:
    """A run's database, held by this process. A second process gets :class:`Busy`."""

    def __init__(self, root: Path, config: Any, columns: Mapping[str, str]) -> None:
        self.config, self.columns = config, columns
        self.facts: dict[str, Any] = {}
        self.identity = identity(config)
        self.folder = root / run_id(self.identity)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._database = _open(self.folder)
        try:
            self._claim()
        except InvalidInput:
            self.close()
            raise
        self._clock = time.perf_counter()

    def _claim(self) -> None:
        """Write down whose database this is, or raise ``InvalidInput`` if it is another run's."""
        found = _owner(self._database)
        if found is None:
            (step,) = self._database.execute("SELECT MAX(step) FROM checkpoints").fetchone()
            with self._database:
                self._database.execute("INSERT INTO owner VALUES (1, ?, ?)", (canonical(self.identity), step))
        elif found != canonical(self.identity):
            raise InvalidInput(
                "out", str(self.folder), f"holds the checkpoint of {_described(found, self.identity)}",
                f"move its {LIVE} back to where it was, or delete the folder",
            )  # fmt: skip

    @property
    def unnamed_until(self) -> int | None:
        """The step up to which nothing says that this is the run's own database, if it was begun by an earlier
        version."""
        return self._database.execute("SELECT since FROM owner").fetchone()[0]

    def steps(self) -> set[int]:
        """Where :meth:`resume` can go on: the last two checkpoints, :data:`START` counting as one."""
        kept = {step for (step,) in self._database.execute("SELECT step FROM checkpoints")}
        return kept if len(kept) == KEPT else {START, *kept}

    def resume(self, step: int) -> dict[str, np.ndarray] | None:
        """The arrays of the checkpoint at ``step``; what came after it is forgotten. ``None`` at :data:`START`."""
        row = self._database.execute("SELECT arrays FROM checkpoints WHERE step = ?", (step,)).fetchone()
        with self._database:
            self._database.execute("UPDATE life SET resumed = resumed + EXISTS (SELECT 1 FROM checkpoints)")
            self._database.execute("DELETE FROM lines WHERE step > ?", (step,))
            self._database.execute("DELETE FROM checkpoints WHERE step > ?", (step,))
        self._clock = time.perf_counter()
        if row is None:
            return None
        with np.load(io.BytesIO(row[0]), allow_pickle=False) as arrays:
            return dict(arrays)

    def commit(
        self, step: int, rows: Iterable[Row], arrays: Mapping[str, np.ndarray], *, cause: str | None = None
    ) -> None:
        """Rows and checkpoint, both or neither; ``cause`` says why the run cannot go on."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        lines = [(step, json.dumps(plain(row))) for row in rows]
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        with self._database:
            self._database.executemany("INSERT INTO lines (step, body) VALUES (?, ?)", lines)
            self._database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (step, buffer.getvalue()))
            self._database.execute(
                "DELETE FROM checkpoints WHERE step NOT IN (SELECT step FROM checkpoints ORDER BY step DESC LIMIT ?)",
                (KEPT,),
            )
            self._database.execute("UPDATE life SET seconds = seconds + ?, cause = ?", (seconds, cause))

    @property
    def cause(self) -> str | None:
        """Why the run cannot go on, if it was committed with a cause."""
        return self._database.execute("SELECT cause FROM life").fetchone()[0]

    def finish(self, **facts: Any) -> Record:
        """Parquet, then manifest, then the database goes. ``facts`` go into the manifest."""
        rows = [json.loads(body) for (body,) in self._database.execute("SELECT body FROM lines ORDER BY id")]
        seconds, resumed, cause = self._database.execute("SELECT seconds, resumed, cause FROM life").fetchone()
        went = {
            "status": "failed" if cause else "finished",
            "cause": cause,
            "steps": max(self.steps()),
            "wall_seconds": round(seconds, 3),
            "resumed": resumed,
            **({} if self.unnamed_until is None else {"unnamed_until": self.unnamed_until}),
            **facts,
        }
        record = write_record(self.folder, self.identity, self.columns, rows, went)
        self.close()
        remove_live(self.folder)
        return record

    def close(self) -> None:
        self._database.close()


def _open(folder: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(folder / LIVE, timeout=0.2)
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")  # a power cut may cost the last commits, never their order
        database.execute("BEGIN IMMEDIATE")
        for statement in (*_TABLES, _NAMED):
            database.execute(statement)
        database.commit()
    except sqlite3.DatabaseError as error:
        database.close()
        if "locked" in str(error):
            raise Busy(str(folder)) from None
        raise InvalidInput(
            "out", str(folder), f"cannot hold a record ({error})", "delete the folder or choose another"
        ) from None
    return database


def checkpoint_of(folder: Path) -> bytes:
    """The database of a run that is interrupted, in one piece. Raises :class:`Busy` if a process holds it."""
    database = _open(folder)
    try:
        database.execute("PRAGMA journal_mode=DELETE")
    finally:
        database.close()
    return (folder / LIVE).read_bytes()


class Reached(NamedTuple):
    """The last step of a database, and the id and the experiment that it says it is of (``None``: an earlier
    version's says nothing)."""

    step: int
    run: str | None
    experiment: str | None


def reached(body: bytes) -> Reached:
    """How far such a database is, which may come from anywhere, and whose. Raises ``ValueError`` if it is none of
    ours."""
    if not body:
        raise ValueError("is empty")
    database = sqlite3.connect(":memory:")
    try:
        database.execute("PRAGMA trusted_schema=OFF")
        database.deserialize(body)
        tables = [
            row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        ]
        if tables not in (_schema(_TABLES), _schema((*_TABLES, _NAMED))):
            raise ValueError("is no run's database")
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise ValueError("is a damaged database")
        (step,) = database.execute("SELECT MAX(step) FROM checkpoints").fetchone()
        config = _owner(database)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"is no run's database ({error})") from None
    finally:
        database.close()
    return Reached(START if step is None else int(step), *(_named(config) if config is not None else (None, None)))


def _owner(database: sqlite3.Connection) -> str | None:
    """Whose database this is, as canonical JSON, if it says so."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'owner'").fetchone() is None:
        return None
    row = database.execute("SELECT config FROM owner").fetchone()
    return None if row is None else row[0]


def _named(config: object) -> tuple[str, str]:
    """The id and the experiment of a configuration. Raises ``ValueError`` if it is none."""
    try:
        found = json.loads(config)  # type: ignore[arg-type]
        return run_id(found), str(found["experiment"])
    except (TypeError, KeyError, ValueError, RecursionError):
        raise ValueError("does not say whose it is, though it should") from None


def _schema(statements: Iterable[str]) -> list[str]:
    """What a run's database consists of: these tables, and nothing that acts by itself."""
    database = sqlite3.connect(":memory:")
    for statement in statements:
        database.execute(statement)
    return [row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]


def remove_live(folder: Path) -> None:
    """Delete what a kill between manifest and clean-up may have left."""
    for suffix in ("-wal", "-shm", ""):
        (folder / f"{LIVE}{suffix}").unlink(missing_ok=True)


def state_of(folder: Path) -> tuple[str, int] | None:
    """("running", START) if a process holds the run, ("interrupted", its last step) if none does, ("another's", that)
    if the folder's name is not that of the run whose database it has, ``None`` if it has not begun."""
    if not (folder / LIVE).exists():
        return None
    try:
        database = _open(folder)
    except Busy:
        return "running", START
    try:
        (step,) = database.execute("SELECT MAX(step) FROM checkpoints").fetchone()
        config = _owner(database)
        return "interrupted" if _is_of(config, folder.name) else "another's", START if step is None else step
    finally:
        database.close()


def _is_of(config: str | None, run: str) -> bool:
    try:
        return config is None or _named(config)[0] == run
    except ValueError:
        return False


def _described(found: str, config: Mapping[str, Any]) -> str:
    try:
        _named(found)
    except ValueError:
        return "nobody knows which run: its database is damaged"
    return f"another run ({differing(found, config)})"
