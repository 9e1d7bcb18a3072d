"""Records of runs that have ended: one Parquet file and a JSON manifest in a folder named by the hash of the
canonical configuration. Both are put in place by atomic replace, the manifest last: a folder with a manifest is
finished. Many such folders can be compacted into shards (:mod:`empirical.runs.shards`); readers see both.
"""

import hashlib
import io
import json
import math
import platform
import subprocess
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.runs.shards import shard_of, shards_in
from lop_theory.cli import write_whole
from lop_theory.errors import InvalidInput

Row = dict[str, Any]
DATA, MANIFEST = "record.parquet", "manifest.json"
PACKAGES = ("numpy", "numba", "pyarrow", "torch")
_FIELDS = {"id": str, "config": dict, "seed": int, "status": str}
"""What a manifest has at least."""
NO_PARQUET = "has data that are no Parquet"
SMALL = 2**17
"""Bytes of a file whose table is kept in memory."""
LATER = {"later": True}
"""Metadata of a field that runs had no need of before it existed: at its default it is no part of their identity."""


class Record(NamedTuple):
    """A finished (or failed) run: its folder (or where that would be, if it is in a shard) and manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        return self.manifest["config"]

    def columns(self, *names: str) -> tuple[np.ndarray, ...]:
        """Columns as float64 arrays, missing values as NaN."""
        body = self.data()
        table = None if body is None else _table(body)
        if table is None:
            problem = "has no data" if body is None else NO_PARQUET
            raise InvalidInput("record", str(self.folder), problem, "restore it, or delete it and run it anew")
        return tuple(table.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in names)

    def data(self) -> bytes | None:
        """The Parquet file, if it is there."""
        try:
            return (self.folder / DATA).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            shard = shard_of(self.folder)
            return None if shard is None else shard.data(self.folder.name)


def _table(body: bytes) -> Any:
    """What a Parquet file holds, ``None`` if it is none. Claims and figures ask for a few columns at a time, again and
    again: small tables are kept."""
    return _kept_table(body) if len(body) <= SMALL else _read_table(body)


def _read_table(body: bytes) -> Any:
    from pyarrow import ArrowInvalid, BufferReader, parquet

    try:
        return parquet.ParquetFile(BufferReader(body)).read(use_threads=False)  # half the time
    except (ArrowInvalid, OSError):
        return None


_kept_table = lru_cache(maxsize=256)(_read_table)


def canonical(config: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(config: Any) -> dict[str, Any]:
    """A run's configuration, a dataclass, as manifest and id have it; fields marked :data:`LATER` are left out at their
    defaults, so that runs keep the ids that they had without them."""
    kept = (f for f in fields(config) if not (f.metadata == LATER and getattr(config, f.name) == f.default))
    values = ((f.name, getattr(config, f.name)) for f in kept)
    return {name: identity(value) if is_dataclass(value) else value for name, value in values}


def id_of(config: Any) -> str:
    """The id of a run with this configuration, a dataclass."""
    return run_id(identity(config))


def run_id(config: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical configuration."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:16]


def differing(found: str, config: Mapping[str, Any]) -> str:
    """In a few words, the id of a configuration, as canonical JSON, and where it differs from another."""
    there, here = (dict(_flat(one)) for one in (json.loads(found), config))
    names = [name for name in sorted({*there, *here}) if _shown(there, name) != _shown(here, name)]
    shown = ", ".join(f"{name} {_shown(there, name)}, here {_shown(here, name)}" for name in names)
    return f"{run_id(json.loads(found))}: {shown}"


def _shown(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not given"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def records(folder: Path, wanted: Container[str] | None = None) -> list[Record]:
    """Every finished record under ``folder`` (of the ids that are wanted), in the order of their ids."""
    found: dict[str, Record] = {}
    for path in folder.glob(f"*/{MANIFEST}"):
        if wanted is None or path.parent.name in wanted:
            with suppress(FileNotFoundError):  # compacted meanwhile: it is in its shard
                found[path.parent.name] = Record(path.parent, _parsed(path.read_bytes(), path))
    for shard in shards_in(folder):
        for run in shard.places.keys() - found.keys():
            if wanted is None or run in wanted:
                found[run] = Record(folder / run, _parsed(shard.manifest(run) or b"", shard.path))
    return [found[run] for run in sorted(found)]


def _parsed(body: bytes, path: Path) -> dict[str, Any]:
    """The manifest, which may come from anywhere. Raises ``InvalidInput`` if it is none."""
    try:
        found = json.loads(body, parse_constant=_no_number)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        if lacking := [name for name, kind in _FIELDS.items() if not isinstance(found.get(name), kind)]:
            raise ValueError(f"without a {lacking[0]}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput("record", str(path), f"is not a manifest ({error})", "delete its folder") from None
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def require_intact(found: Iterable[Record]) -> None:
    """Raise ``InvalidInput`` that names the first record whose data, seed or configuration is not what its manifest
    says, or whose data are another's: no two runs give the same numbers.
    """
    seen: dict[str, str] = {}
    for record in found:
        problem = damage(record) or _copied(record, seen)
        if problem is not None:
            raise InvalidInput(
                "record", str(record.folder), problem, "restore it, or delete its folder and run it anew"
            )


def damage(record: Record) -> str | None:
    """Why a record's data, seed or configuration are not what its manifest says; ``None`` if they are."""
    data = record.data()
    if data is None:
        return "has no data"
    if hashlib.sha256(data).hexdigest() != record.manifest.get("sha256"):
        return "has data that its manifest's SHA-256 does not match"
    if not in_its_place(record):
        return "has a configuration that does not hash to its name"
    if record.manifest.get("seed") != record.config.get("seed"):
        return "has a seed that is not its configuration's"
    return None


def in_its_place(record: Record) -> bool:
    """Whether the folder is named by the record's own configuration: it was not moved."""
    return record.folder.name == record.manifest.get("id") == run_id(record.config)


def _copied(record: Record, seen: dict[str, str]) -> str | None:
    """``seen`` maps rows to the folder that first had them, however their file was written."""
    digest = _digest_of_rows(record.data() or b"")
    if digest is None:
        return NO_PARQUET
    first = seen.setdefault(digest, record.folder.name)
    return None if first == record.folder.name else f"has the data of {first}"


@lru_cache(maxsize=256)
def _digest_of_rows(body: bytes) -> str | None:
    table = _table(body)
    if table is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(table.column_names):
        values = table.column(name).to_numpy(zero_copy_only=False)
        digest.update(name.encode() + (repr(values.tolist()).encode() if values.dtype == object else values.tobytes()))
    return digest.hexdigest()


def finished(folder: Path) -> Record | None:
    """The record in a run's folder or shard, if the run has ended. Raises ``InvalidInput`` if its manifest is none."""
    try:
        return Record(folder, _parsed((folder / MANIFEST).read_bytes(), folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        shard = shard_of(folder)
        body = None if shard is None else shard.manifest(folder.name)
        return None if shard is None or body is None else Record(folder, _parsed(body, shard.path))


def write_record(
    folder: Path, config: Mapping[str, Any], columns: Mapping[str, str], rows: list[Row], facts: Mapping[str, Any]
) -> Record:
    """Parquet, then manifest; ``facts`` are how the run went. Equal rows give equal bytes of Parquet."""
    data = _parquet(rows, columns)
    write_whole(folder / DATA, data)
    manifest = {
        "id": run_id(config),
        "config": config,
        "seed": config["seed"],
        "rows": len(rows),
        "sha256": hashlib.sha256(data).hexdigest(),
        **facts,
        **environment(),
    }
    write_whole(folder / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    return Record(folder, manifest)


def plain(row: Row) -> Row:
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
    """Versions and commit, for the manifest."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the source tree, with + if it has changes; ``None`` outside one."""
    here = Path(__file__).parents[1]
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
