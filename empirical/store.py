"""Run records: crash-safe while a run goes on, one Parquet file and a JSON manifest when it ends.

A run's folder is named by the hash of its canonical configuration. Rows and checkpoint go into a SQLite database
(WAL) in one transaction, so a kill at any moment leaves a consistent pair, from which the deterministic run goes on
to the same result. At the end the Parquet file and then the manifest are put in place by atomic replace; a folder
with a manifest is finished.
"""

import hashlib
import io
import json
import math
import platform
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lop_theory.cli import write_whole
from lop_theory.errors import InvalidInput

Row = dict[str, Any]
LIVE, DATA, MANIFEST = "run.sqlite", "record.parquet", "manifest.json"
PACKAGES = ("numpy", "numba", "pyarrow", "torch")


class Diverged(Exception):  # noqa: N818 - what happened to the run, not a fault of the program
    """The run cannot go on: a named cause, and the rows up to it."""

    def __init__(self, cause: str, rows: list[Row]) -> None:
        super().__init__(cause)
        self.rows = rows


class Busy(Exception):  # noqa: N818
    """Another process holds the run."""


class Record(NamedTuple):
    """A finished (or failed) run: its folder and manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        return self.manifest["config"]

    def columns(self, *names: str) -> tuple[np.ndarray, ...]:
        """Columns as float64 arrays, missing values as NaN."""
        from pyarrow import parquet

        table = parquet.read_table(self.folder / DATA, columns=list(names))
        return tuple(table.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in names)


def canonical(config: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(config: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical configuration."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:16]


def records(folder: Path) -> list[Record]:
    """Every finished record under ``folder``, in the order of their ids."""
    found = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            found.append(Record(path.parent, json.loads(path.read_text())))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput("record", str(path), f"is not a manifest ({error})", "delete its folder") from None
    return found


def finished(folder: Path) -> Record | None:
    """The record in a run's folder, if the run has ended."""
    path = folder / MANIFEST
    return Record(folder, json.loads(path.read_text())) if path.exists() else None


class LiveRecord:
    """The record of a run that is under way. One process at a time: a second one gets :class:`Busy`."""

    def __init__(self, root: Path, config: Any, columns: Mapping[str, str]) -> None:
        self.config, self.columns = asdict(config), columns
        self.id = run_id(self.config)
        self.folder = root / self.id
        self.folder.mkdir(parents=True, exist_ok=True)
        self._database = self._open()
        self._clock = time.perf_counter()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.folder / LIVE, isolation_level=None, check_same_thread=False, timeout=0.2)
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS checkpoint "
                "(one INTEGER PRIMARY KEY CHECK (one = 1), step INTEGER, seconds REAL, resumed INTEGER, arrays BLOB)"
            )
            database.execute("UPDATE checkpoint SET resumed = resumed + 1")
            database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            database.close()
            if "locked" in str(error):
                raise Busy(str(self.folder)) from None
            raise InvalidInput("out", str(self.folder), f"cannot hold a record ({error})", "choose another") from None
        return database

    def checkpoint(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """(step, arrays) of the last commit; ``None`` if there is none."""
        row = self._database.execute("SELECT step, arrays FROM checkpoint").fetchone()
        if row is None:
            return None
        with np.load(io.BytesIO(row[1]), allow_pickle=False) as arrays:
            return row[0], dict(arrays)

    def commit(self, step: int, rows: Iterable[Row], arrays: Mapping[str, np.ndarray]) -> None:
        """Rows and checkpoint, both or neither."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO rows (body) VALUES (?)", [(json.dumps(_plain(r)),) for r in rows])
        self._database.execute(
            "INSERT INTO checkpoint VALUES (1, ?, ?, 0, ?) "
            "ON CONFLICT (one) DO UPDATE SET step = excluded.step, "
            "seconds = seconds + excluded.seconds, arrays = excluded.arrays",
            (step, seconds, buffer.getvalue()),
        )
        self._database.execute("COMMIT")

    def finish(self, *, cause: str | None = None) -> Record:
        """Parquet, then manifest, then the database goes. ``cause`` says why a failed run stopped."""
        rows = [json.loads(body) for (body,) in self._database.execute("SELECT body FROM rows ORDER BY id")]
        write_whole(self.folder / DATA, _parquet(rows, self.columns))
        step, seconds, resumed = self._database.execute("SELECT step, seconds, resumed FROM checkpoint").fetchone()
        manifest = {
            "id": self.id,
            "status": "failed" if cause else "finished",
            "cause": cause,
            "config": self.config,
            "seed": self.config["seed"],
            "steps": step,
            "rows": len(rows),
            "sha256": hashlib.sha256((self.folder / DATA).read_bytes()).hexdigest(),
            "wall_seconds": round(seconds, 3),
            "resumed": resumed,
            **environment(),
        }
        write_whole(self.folder / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
        self.close()
        remove_live(self.folder)
        return Record(self.folder, manifest)

    def close(self) -> None:
        self._database.close()


def remove_live(folder: Path) -> None:
    """Delete what a kill between manifest and clean-up may have left."""
    for suffix in ("-wal", "-shm", ""):
        (folder / f"{LIVE}{suffix}").unlink(missing_ok=True)


def _plain(row: Row) -> Row:
    """Python numbers; what is not finite is left out."""
    return {k: v if isinstance(v, int) else float(v) for k, v in row.items() if math.isfinite(v)}


def _parquet(rows: list[Row], columns: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist(rows, schema=pa.schema([(n, getattr(pa, kind)()) for n, kind in columns.items()]))
    # Differences of step numbers and split floats compress to half of what the default encoding does.
    encoding = {n: "DELTA_BINARY_PACKED" if "int" in kind else "BYTE_STREAM_SPLIT" for n, kind in columns.items()}
    buffer = io.BytesIO()
    parquet.write_table(
        table, buffer, compression="zstd", compression_level=9, use_dictionary=False, column_encoding=encoding
    )
    return buffer.getvalue()


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Versions, commit and device, for the manifest."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": _commit(),
        "device": f"cpu {platform.machine()} {platform.system()}",
    }


def _commit() -> str | None:
    """The commit of the source tree, with + if it has changes; ``None`` outside one."""
    here = Path(__file__).parent
    try:
        run = ["git", "-C", str(here)]
        head = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run(
            [*run, "status", "--porcelain", "--untracked-files=no", "--", "."],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
