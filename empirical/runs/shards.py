"""Records of many runs in few files: ``OUT/EXPERIMENT/shards/D.parquet`` holds those whose id begins with the digit D.

A row is a run: id, when it ended, its manifest and its Parquet file, both byte for byte, so that hashes stay what they
are. A run's own folder counts before its row. Pages have checksums, which are verified whenever they are read.
``python -m empirical compact`` writes shards, atomically, and only then removes the folders.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lop_theory.errors import InvalidInput

SHARDS = "shards"
DIGITS = "0123456789abcdef"
_KINDS = {"id": "string", "ended": "int64", "manifest": "binary", "data": "binary"}
_GROUP_BYTES = 4_000_000
"""Data of a row group, which are read together."""
_GROUPS_KEPT = 16


class Row(NamedTuple):
    """A run that has ended (``ended``: nanoseconds of its manifest's file)."""

    id: str
    ended: int
    manifest: bytes
    data: bytes


class Place(NamedTuple):
    """Where the data of a run are: row ``row`` of a row group."""

    group: int
    row: int


class Shard(NamedTuple):
    """What is kept of a shard in memory: all but the data."""

    path: Path
    stamp: tuple[int, int]
    places: dict[str, Place]
    manifests: Any
    ended: Any

    def manifest(self, run: str) -> bytes | None:
        """The manifest of a run, if it is here."""
        at = self.places.get(run)
        return None if at is None else self.manifests[at.group][at.row].as_py()

    def data(self, run: str) -> bytes | None:
        """The data of a run, if it is here."""
        at = self.places.get(run)
        if at is None:
            return None
        ids, data = _data(self.path, self.stamp, at.group)
        if at.row < len(ids) and ids[at.row].as_py() == run:
            return data[at.row].as_py()
        now = opened(self.path)  # the file was replaced since this was read
        return None if now is None else now.data(run)

    def times(self) -> dict[str, int]:
        """When every run ended."""
        return {run: self.ended[group][row].as_py() for run, (group, row) in self.places.items()}

    def row(self, run: str) -> Row | None:
        """A run, if it is here."""
        at = self.places.get(run)
        if at is None:
            return None
        return Row(run, self.ended[at.group][at.row].as_py(), self.manifest(run) or b"", self.data(run) or b"")

    def rows(self) -> Iterator[Row]:
        """All runs, in the order of their ids."""
        return (row for run in self.places if (row := self.row(run)) is not None)


def path_of(folder: Path) -> Path:
    """The shard in which the run of this folder would be."""
    return folder.parent / SHARDS / f"{folder.name[:1]}.parquet"


def shard_of(folder: Path) -> Shard | None:
    """That shard, if there is one. Raises ``InvalidInput`` if it is damaged."""
    return opened(path_of(folder))


def shards_in(experiment: Path) -> list[Shard]:
    """All shards of an experiment."""
    found = (opened(experiment / SHARDS / f"{digit}.parquet") for digit in DIGITS)
    return [shard for shard in found if shard is not None]


def opened(path: Path) -> Shard | None:
    """A shard, read anew if the file is another than the last time."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=64)
def _read(path: Path, stamp: tuple[int, int]) -> Shard:
    file = _file(path)
    ids: list[list[str]] = []
    manifests, ended = [], []
    try:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["id", "ended", "manifest"])
            ids.append(table.column("id").to_pylist())
            ended.append(table.column("ended").combine_chunks())
            manifests.append(table.column("manifest").combine_chunks())
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    flat = [run for group in ids for run in group]
    if flat != sorted(set(flat)) or any(not _belongs(run, path) for run in flat):
        raise _damaged(path, "its ids are not those of a shard")
    places = {run: Place(group, row) for group, names in enumerate(ids) for row, run in enumerate(names)}
    return Shard(path, stamp, places, manifests, ended)


def _belongs(run: str, path: Path) -> bool:
    return len(run) == 16 and set(run) <= set(DIGITS) and run[0] == path.stem


def _file(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        kinds = {field.name: str(field.type) for field in file.schema_arrow}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from None
    if kinds != _KINDS:
        raise _damaged(path, "has other columns")
    return file


@lru_cache(maxsize=_GROUPS_KEPT)
def _data(path: Path, _stamp: tuple[int, int], group: int) -> tuple[Any, Any]:
    """Ids and data of a row group; the stamp tells files of one name apart."""
    try:
        table = _file(path).read_row_group(group, columns=["id", "data"])
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    return table.column("id").combine_chunks(), table.column("data").combine_chunks()


def _damaged(path: Path, why: str) -> InvalidInput:
    line = " ".join(why.split())
    return InvalidInput("shard", str(path), f"is truncated or altered ({line})", "restore it from a copy")


def encoded(rows: Iterable[Row]) -> bytes:
    """The file of these runs, which have one first digit. Equal rows give equal bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"string": pa.string(), "int64": pa.int64(), "binary": pa.binary()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in _KINDS.items()])
    sink = pa.BufferOutputStream()
    compression: Any = {"id": "zstd", "ended": "zstd", "manifest": "zstd", "data": "none"}  # compressed already
    how: Any = {"use_dictionary": False, "compression": compression, "write_page_checksum": True}
    with parquet.ParquetWriter(sink, schema, **how) as writer:
        for group in _grouped(sorted(rows)):
            writer.write_table(pa.Table.from_pylist([row._asdict() for row in group], schema=schema))
    return sink.getvalue().to_pybytes()


def _grouped(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows in the groups that are read together."""
    group, size = list[Row](), 0
    for row in rows:
        group.append(row)
        size += len(row.data)
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
