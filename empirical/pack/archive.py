"""The archive: a ZIP file of runs, each with its record, or its database if it is under way, and an index of hashes.

Nothing in it is executed: records are JSON and Parquet, a database has three tables and nothing else.
"""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from empirical.runs.live import LIVE, Busy, checkpoint_of, reached
from empirical.runs.shards import SHARDS, shard_of, shards_in
from empirical.runs.store import DATA, MANIFEST, canonical
from lop_theory.errors import InvalidInput

INDEX = "index.json"
_PLACE = re.compile(r"[a-z0-9_]{1,40}/[0-9a-f]{16}")
_RECORD, _UNDER_WAY = {DATA, MANIFEST}, {LIVE}
_MOST_BYTES = 4_000_000_000
"""Of all files of an archive: a small one that unpacks to more is refused before it does."""
_INDEX_BYTES = 100_000_000
_ENTRY_BYTES = 200
"""What an entry of a ZIP file takes besides its content, generously."""
_MALFORMED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, TypeError, ValueError)
"""What reading a malformed archive raises: structure and checksums; data that do not inflate, or end early; no index;
an encrypted entry, another compression or an index nested too deep; an index of other types; an index that lies."""


class Run(NamedTuple):
    """``place`` is EXPERIMENT/ID; ``files`` are those of a record, or the database of a run that is under way."""

    place: str
    files: dict[str, bytes]

    @property
    def ended(self) -> bool:
        return MANIFEST in self.files

    @property
    def size(self) -> int:
        """Bytes in an archive, at most."""
        return sum(len(body) + _ENTRY_BYTES for body in self.files.values())

    @property
    def step(self) -> int:
        """How far a run is that is under way."""
        return reached(self.files[LIVE]).step


def runs_in(folder: Path) -> list[Run]:
    """What can travel: runs that have ended, in the order in which they did, then those that are interrupted, the
    furthest first. A run that a process holds stays."""
    when = {path.parent: path.stat().st_mtime_ns for path in folder.glob(f"*/*/{MANIFEST}")}
    for shard in (shard for path in folder.glob(f"*/{SHARDS}") for shard in shards_in(path.parent)):
        when = {shard.path.parents[1] / run: ended for run, ended in shard.times().items()} | when
    ended = [run for path in sorted(when, key=lambda path: (when[path], path)) if (run := run_at(path))]
    interrupted = list[Run]()
    for path in sorted(folder.glob(f"*/*/{LIVE}")):
        with suppress(Busy):
            if (run := run_at(path.parent)) and not run.ended:
                interrupted.append(run)
    return ended + sorted(interrupted, key=lambda run: -run.step)


def run_at(folder: Path) -> Run | None:
    """The record in a run's folder or shard, else its database, else nothing. Raises ``Busy`` if a process holds the
    run, and ``InvalidInput`` if its record lacks the data."""
    place = f"{folder.parent.name}/{folder.name}"
    if (folder / MANIFEST).exists():
        if not (folder / DATA).is_file():
            raise InvalidInput("runs", str(folder), "has a manifest without data", "delete the folder and run it anew")
        return Run(place, {name: (folder / name).read_bytes() for name in (DATA, MANIFEST)})
    shard = shard_of(folder)
    if shard is not None and (row := shard.row(folder.name)) is not None:
        return Run(place, {DATA: row.data, MANIFEST: row.manifest})
    return _under_way(folder, place) if (folder / LIVE).exists() else None


def _under_way(folder: Path, place: str) -> Run:
    run = Run(place, {LIVE: checkpoint_of(folder)})
    try:
        require_own(run)
    except ValueError as error:
        raise InvalidInput("runs", str(folder), f"has a {LIVE} that {error}", "move it back, or delete it") from None
    return run


def require_own(run: Run) -> None:
    """Raise ``ValueError`` if the database of a run that is under way is none, or says that it is another run's."""
    found = reached(run.files[LIVE])
    if found.run is not None and f"{found.experiment}/{found.run}" != run.place:
        raise ValueError(f"is the checkpoint of {found.experiment}/{found.run}")


def fitting(runs: Iterable[Run], limit: float) -> tuple[list[Run], list[Run]]:
    """The runs that an archive of ``limit`` bytes holds, taken in their order, and those that it does not."""
    taken, left, used = list[Run](), list[Run](), 0
    for run in runs:
        size = run.size + len(run.files) * _ENTRY_BYTES  # its lines in the index
        (taken if used + size <= limit else left).append(run)
        used += size if used + size <= limit else 0
    return taken, left


def packed(runs: Iterable[Run]) -> bytes:
    """The archive. Equal records give equal bytes."""
    files = {f"{run.place}/{name}": body for run in runs for name, body in run.files.items()}
    index = {name: [len(body), hashlib.sha256(body).hexdigest()] for name, body in files.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in {INDEX: canonical(index).encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpacked(path: Path) -> list[Run]:
    """The runs of an archive. Raises ``InvalidInput`` if it is truncated or altered, or holds anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _grouped(_verified(archive))
    except OSError as error:
        raise InvalidInput("archive", str(path), f"cannot be read ({error.strerror or error})") from None
    except _MALFORMED as error:
        raise InvalidInput(
            "archive", str(path), f"is truncated or altered ({error})", "pack and copy it anew"
        ) from None


def _verified(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Name → content, each of the size and hash that the index says."""
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in archive.infolist()):
        raise ValueError("it is compressed in another way than packed ones")
    index = _index(archive)
    if sorted(archive.namelist()) != sorted([INDEX, *index]):
        raise ValueError("its index names other files than it holds")
    sizes = [size for size, _ in index.values()]
    if min(sizes, default=0) < 0 or sum(sizes) > _MOST_BYTES:
        raise ValueError(f"it would unpack to more than {_MOST_BYTES:,} bytes")
    found = {}
    for name, (size, sha256) in index.items():
        with archive.open(name) as entry:
            body = entry.read(size + 1)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            raise ValueError(f"{name} is not what its index says")
        found[name] = body
    return found


def _index(archive: zipfile.ZipFile) -> dict[str, Any]:
    with archive.open(INDEX) as entry:
        index = json.loads(entry.read(_INDEX_BYTES))
    if not isinstance(index, dict):
        raise ValueError("its index is no object")
    return index


def _grouped(files: dict[str, bytes]) -> list[Run]:
    found: dict[str, dict[str, bytes]] = {}
    for name, body in files.items():
        place, _, file = name.rpartition("/")
        found.setdefault(place, {})[file] = body
    for place, own in found.items():
        if not _PLACE.fullmatch(place) or set(own) not in (_RECORD, _UNDER_WAY):
            raise ValueError(f"{place!r} is no run")
    return [Run(place, own) for place, own in found.items()]
