"""Records that were moved, swapped or edited: neither figures nor commands take them for what they say."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from empirical.runs import saved
from empirical.runs.run import Job, carry_out
from empirical.runs.store import DATA, MANIFEST, id_of, records, require_intact
from empirical.sweep.grid import Part
from empirical.sweep.status import states
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import EXPERIMENT, TinyRun, carried_out

RUNS = [TinyRun(0), TinyRun(1)]
ONE, OTHER = (f"tiny/{id_of(run)}" for run in RUNS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carried_out(RUNS, tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def drawn(root: Path) -> tuple[int, ...]:
    """What figures and claims read."""
    return saved.groups("tiny", "laptop", RUNS, lambda run: run.steps, root)[60].seeds


def edited(**fields: Any) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        place = root / ONE / MANIFEST
        place.write_text(json.dumps(json.loads(place.read_bytes()) | fields))

    return edit


def swapped(root: Path, *names: str) -> None:
    for name in names:
        one, other = ((root / place / name).read_bytes() for place in (ONE, OTHER))
        (root / ONE / name).write_bytes(other)
        (root / OTHER / name).write_bytes(one)


def of_the_other(**fields: Any) -> Callable[[Path], None]:
    """One field of the configuration, which still stands in the folder of the old one."""

    def edit(root: Path) -> None:
        place = root / ONE / MANIFEST
        manifest = json.loads(place.read_bytes())
        place.write_text(json.dumps(manifest | {"config": manifest["config"] | fields}))

    return edit


def linked(root: Path) -> None:
    (root / ONE / DATA).unlink()
    (root / ONE / DATA).symlink_to(root / OTHER / DATA)


def shortened(root: Path) -> None:
    (root / ONE / DATA).write_bytes((root / ONE / DATA).read_bytes()[:-1])


@pytest.mark.parametrize(
    "forge",
    [
        lambda root: swapped(root, DATA),
        lambda root: swapped(root, DATA, MANIFEST),
        of_the_other(protocol=2),
        of_the_other(steps=60.0),
        of_the_other(precision="bf16"),
        edited(seed=1),
        linked,
        shortened,
        lambda root: (root / ONE / DATA).unlink(),
    ],
)
def test_no_figure_is_drawn_from_them(forge: Callable[[Path], None], root: Path) -> None:
    assert drawn(root) == (0, 1)
    forge(root)
    with pytest.raises(InvalidInput, match="record="):
        drawn(root)


def rewritten(root: Path, compression: str, change: float = 0.0) -> None:
    """The rows of the other seed in a file of their own, which the manifest has the hash of."""
    table = parquet.read_table(root / OTHER / DATA)
    if change:
        values = table.column(table.column_names[-1]).to_pylist()
        values[-1] += change
        table = table.set_column(table.num_columns - 1, table.column_names[-1], [values])
    parquet.write_table(table, root / ONE / DATA, compression=compression)
    edited(sha256=hashlib.sha256((root / ONE / DATA).read_bytes()).hexdigest())(root)


@pytest.mark.parametrize("compression", ["snappy", "gzip", "none"])
def test_rows_of_another_seed_are_known_however_they_are_written(compression: str, root: Path) -> None:
    rewritten(root, compression)
    with pytest.raises(InvalidInput, match="has the data of"):
        require_intact(records(root / "tiny"))
    rewritten(root, compression, change=0.5)
    require_intact(records(root / "tiny"))


def test_data_that_are_no_table_are_named(root: Path) -> None:
    (root / ONE / DATA).write_bytes(b"PAR1")
    edited(sha256=hashlib.sha256(b"PAR1").hexdigest())(root)
    with pytest.raises(InvalidInput, match="has data that are no Parquet"):
        require_intact(records(root / "tiny"))


@pytest.mark.parametrize("lost", ["id", "config", "seed", "status"])
@pytest.mark.parametrize("there", [None, [1], float("nan")])
def test_a_manifest_without_what_all_have_is_named_by_every_reader(lost: str, there: Any, root: Path) -> None:
    edited(**{lost: there})(root)
    part = Part("tiny", "all", "", RUNS)
    readers: list[Callable[[], object]] = [
        lambda: drawn(root),
        lambda: require_intact(records(root / "tiny")),
        lambda: states([part], root),
        lambda: carry_out(Job(EXPERIMENT, (RUNS[0],), root, "cpu")),
    ]
    for read in readers:
        with pytest.raises(InvalidInput, match="is not a manifest"):
            read()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"id"', b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_object_is_named(body: bytes, root: Path) -> None:
    (root / ONE / MANIFEST).write_bytes(body)
    for read in (lambda: drawn(root), lambda: carry_out(Job(EXPERIMENT, (RUNS[0],), root, "cpu"))):
        with pytest.raises(InvalidInput, match="is not a manifest"):
            read()
