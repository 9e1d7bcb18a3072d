"""Records of runs that have ended: one Parquet file and a JSON manifest in a folder named by the hash of the
canonical configuration. Both are put in place by atomic replace, the manifest last: a folder with a manifest is
finished.
"""

import hashlib
import io
import json
import math
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lop_theory.cli import write_whole
from lop_theory.errors import InvalidInput

Row = dict[str, Any]
DATA, MANIFEST = "record.parquet", "manifest.json"
PACKAGES = ("numpy", "numba", "pyarrow", "torch")


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


def require_intact(found: Iterable[Record]) -> None:
    """Raise ``InvalidInput`` that names the first record whose data, seed or configuration is not what its manifest
    says, or whose data are another's: no two runs give the same numbers.
    """
    seen: dict[str, str] = {}
    for record in found:
        problem = _damage(record) or _copied(record, seen)
        if problem is not None:
            raise InvalidInput(
                "record", str(record.folder), problem, "restore it, or delete its folder and run it anew"
            )


def _damage(record: Record) -> str | None:
    data = record.folder / DATA
    if not data.is_file():
        return "has no data"
    if hashlib.sha256(data.read_bytes()).hexdigest() != record.manifest.get("sha256"):
        return "has data that its manifest's SHA-256 does not match"
    if not record.folder.name == record.manifest.get("id") == run_id(record.config):
        return "has a configuration that does not hash to its name"
    if record.manifest.get("seed") != record.config.get("seed"):
        return "has a seed that is not its configuration's"
    return None


def _copied(record: Record, seen: dict[str, str]) -> str | None:
    """``seen`` maps data to the folder that first had them."""
    first = seen.setdefault(record.manifest["sha256"], record.folder.name)
    return None if first == record.folder.name else f"has the data of {first}"


def finished(folder: Path) -> Record | None:
    """The record in a run's folder, if the run has ended."""
    path = folder / MANIFEST
    return Record(folder, json.loads(path.read_text())) if path.exists() else None


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
