"""What records cost by their number, in a folder each and compacted into shards: CPU seconds of listing them, of
``sweep status``, of what a figure reads of 100 runs, of recomputing every hash (as ``claims`` does), and of compacting.

    python -m benchmarks store
"""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from empirical.pack.compaction import compact
from empirical.runs.saved import groups
from empirical.runs.store import DATA, MANIFEST, environment, records, require_intact, run_id
from empirical.sweep.grid import Part
from empirical.sweep.status import states

SIZES = (10_000, 100_000)
SEEDS, FIGURE, ROWS = 5, 100, 40
COLUMNS = ("step", "accuracy", "loss", "dead")


@dataclass(frozen=True)
class Synthetic:
    """A run that trains nothing."""

    seed: int
    setting: int
    experiment: str = "synthetic"


def configs(number: int) -> list[Synthetic]:
    return [Synthetic(k % SEEDS, k // SEEDS) for k in range(number)]


def make(root: Path, runs: list[Synthetic]) -> None:
    """Their records, no two of them equal, as the store writes them but faster."""
    for run in runs:
        folder = root / run.experiment / run_id(asdict(run))
        folder.mkdir(parents=True)
        values = np.random.default_rng((run.seed, run.setting)).random((3, ROWS), np.float32)
        columns = dict(zip(COLUMNS, (np.arange(ROWS, dtype=np.int32), *values), strict=True))
        parquet.write_table(pa.table(columns), folder / DATA, compression="zstd", use_dictionary=False)
        manifest = {
            "id": folder.name, "config": asdict(run), "seed": run.seed, "rows": ROWS, "status": "finished",
            "sha256": hashlib.sha256((folder / DATA).read_bytes()).hexdigest(), "steps": ROWS, "cause": None,
            "device": "cpu x86_64 Linux", "together": SEEDS, "resumed": 0, "wall_seconds": 1.0, **environment(),
        }  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def seconds(action: Callable[[], object]) -> float:
    """CPU time, the kernel's for files included."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def figure(root: Path, runs: list[Synthetic]) -> None:
    found = groups("synthetic", "none", runs[:FIGURE], lambda run: run.setting, root)
    assert all(group.stacked("accuracy")[0].shape == (SEEDS, ROWS) for group in found.values())


def reading(root: Path, runs: list[Synthetic]) -> dict[str, float]:
    """CPU seconds of every reader."""
    part = Part("synthetic", "all", "", runs)
    found = {
        "listing": seconds(lambda: records(root / "synthetic")),
        "status": seconds(lambda: states([part], root)),
        "figure": seconds(lambda: figure(root, runs)),
        "a column of every run": seconds(
            lambda: [record.columns("accuracy") for record in records(root / "synthetic")]
        ),
        "hashes": seconds(lambda: require_intact(records(root / "synthetic"))),
    }
    assert len(records(root / "synthetic")) == len(runs)
    return found


def files(root: Path) -> tuple[int, float]:
    """How many files, and megabytes on the disk (blocks)."""
    stats = [path.stat() for path in root.rglob("*") if path.is_file()]
    return len(stats), sum(stat.st_blocks for stat in stats) * 512 / 1e6


def measured(number: int) -> dict[str, dict[str, float]]:
    """Reading before and after compaction."""
    with tempfile.TemporaryDirectory(prefix="lop-store-") as folder:
        root, runs = Path(folder), configs(number)
        make(root, runs)
        found = {}
        for state in ("folders", "shards"):
            if state == "shards":
                print(f"{number:,} records compacted in {seconds(lambda: compact(root)):.1f} s", flush=True)
            found[state] = reading(root, runs)
            count, size = files(root)
            line = ", ".join(f"{name} {value:.2f} s" for name, value in found[state].items())
            print(f"{number:,} in {state}: {line}; {count:,} files, {size:,.0f} MB", flush=True)
    return found


def main() -> None:
    small, large = (measured(number) for number in SIZES)
    for state, times in large.items():
        slopes = {k: math.log(v / small[state][k]) / math.log(SIZES[1] / SIZES[0]) for k, v in times.items()}
        print(f"{state}: growth exponents " + ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items()))


if __name__ == "__main__":
    main()
