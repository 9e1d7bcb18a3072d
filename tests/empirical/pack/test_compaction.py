"""Shards: the same bytes and answers as folders, nothing lost at any kill, nothing accepted that was altered."""

import json
import os
import random
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from empirical.__main__ import main
from empirical.pack import compaction
from empirical.pack.archive import packed, runs_in, unpacked
from empirical.pack.compaction import compact, loosen
from empirical.pack.merging import merge
from empirical.runs import shards
from empirical.runs.live import LIVE, LiveRecord
from empirical.runs.run import Job, carry_out
from empirical.runs.saved import groups
from empirical.runs.store import DATA, MANIFEST, finished, records, require_intact, run_id
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import COLUMNS, EXPERIMENT, TinyRun, carried_out

RUNS = [TinyRun(seed, steps=10) for seed in range(12)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carried_out(RUNS, tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def answers(root: Path) -> list:
    """What readers say."""
    found = records(root / "tiny")
    require_intact(found)
    return [(r.folder, r.manifest, r.data(), *(c.tobytes() for c in r.columns("step", "loss"))) for r in found]


def folders(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob(f"tiny/*/{MANIFEST}"))


def place(root: Path, run: TinyRun) -> Path:
    return root / "tiny" / run_id(asdict(run))


def test_readers_see_the_same_and_runs_are_skipped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = answers(root)
    assert main(["compact", str(root)]) == 0
    assert f"{len(RUNS)} runs moved into shards, 0 stay" in capsys.readouterr().out
    assert folders(root) == []
    assert {p.suffix for p in (root / "tiny" / "shards").iterdir()} == {".parquet", ".sqlite"}
    assert [p.name for p in (root / "tiny").iterdir()] == ["shards"]
    assert answers(root) == before
    assert all(outcome.skipped for run in RUNS for outcome in carry_out(Job(EXPERIMENT, (run,), root, "cpu")))
    (group,) = groups("tiny", "smoke", RUNS, lambda _: 0, root).values()
    assert group.stacked("loss")[0].shape == (len(RUNS), 3)
    times = [path.stat().st_mtime_ns for path in sorted((root / "tiny" / "shards").glob("*.parquet"))]
    assert compact(root).moved == []
    assert [path.stat().st_mtime_ns for path in sorted((root / "tiny" / "shards").glob("*.parquet"))] == times


def test_undoing_gives_the_folders_back_to_the_byte(root: Path, made: Path) -> None:
    compact(root)
    assert loosen(root) == len(RUNS)
    assert list((root / "tiny" / "shards").glob("*.parquet")) == []
    for path in made.glob("tiny/*/*"):
        there = root / path.relative_to(made)
        assert there.read_bytes() == path.read_bytes()
    assert loosen(root) == 0


def test_archives_hold_compacted_runs_in_the_order_in_which_they_ended(root: Path, made: Path, tmp_path: Path) -> None:
    compact(root)
    extra = TinyRun(99, steps=10)
    carry_out(Job(EXPERIMENT, (extra,), root, "cpu"))
    found = runs_in(root)
    assert [run.place for run in found] == [*(run.place for run in runs_in(made)), f"tiny/{place(root, extra).name}"]
    archive = tmp_path / "a.zip"
    archive.write_bytes(packed(found))
    assert len(merge(unpacked(archive), root).same) == len(RUNS) + 1
    assert len(merge(unpacked(archive), tmp_path / "there").new) == len(RUNS) + 1


def test_more_runs_join_and_a_folder_counts_before_its_row(root: Path) -> None:
    compact(root)
    more = TinyRun(50, steps=10)
    carry_out(Job(EXPERIMENT, (more,), root, "cpu"))
    first = place(root, RUNS[0])
    shard = shards.shard_of(first)
    assert shard is not None
    row = shard.row(first.name)
    assert row is not None
    first.mkdir()
    (first / DATA).write_bytes(row.data)
    (first / MANIFEST).write_bytes(json.dumps({**json.loads(row.manifest), "wall_seconds": 5.0}).encode())
    record = finished(first)
    assert record is not None
    assert record.manifest["wall_seconds"] == 5.0
    assert len(records(root / "tiny")) == len(RUNS) + 1
    assert len(compact(root).moved) == 2
    assert not first.exists()
    record = finished(first)
    assert record is not None
    assert record.manifest["wall_seconds"] == 5.0
    assert len(records(root / "tiny")) == len(RUNS) + 1


def test_a_sound_folder_mends_the_manifest_of_its_row(root: Path) -> None:
    before, first = answers(root), place(root, RUNS[0])
    saved = {name: (first / name).read_bytes() for name in (DATA, MANIFEST)}
    compact(root)
    shard = shards.shard_of(first)
    assert shard is not None
    rows = [row._replace(manifest=b"{}") if row.id == first.name else row for row in shard.rows()]
    shard.path.write_bytes(shards.encoded(rows))
    first.mkdir()
    for name, body in saved.items():
        (first / name).write_bytes(body)
    compact(root)
    assert not first.exists()
    assert answers(root) == before


def test_undoing_drops_no_run_whose_folder_differs_or_lacks_its_data(root: Path) -> None:
    before, other, bare = answers(root), place(root, RUNS[0]), place(root, RUNS[1])
    manifest = (bare / MANIFEST).read_bytes()
    compact(root)
    other.mkdir()
    (other / DATA).write_bytes(b"other")
    (other / MANIFEST).write_bytes(b"{}")
    with pytest.raises(InvalidInput, match="has other data than its shard"):
        loosen(root)
    shutil.rmtree(other)
    compact(root)
    bare.mkdir(exist_ok=True)
    (bare / MANIFEST).write_bytes(manifest)
    loosen(root)
    assert answers(root) == before


def test_failed_held_damaged_and_other_runs_stay(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = TinyRun(1, steps=15, diverge_at=6)
    carry_out(Job(EXPERIMENT, (failed,), root, "cpu"))
    live = LiveRecord(root / "tiny", RUNS[2], COLUMNS)  # finished, and a process holds it
    under_way = LiveRecord(root / "tiny", TinyRun(70), COLUMNS)
    damaged, copied = place(root, RUNS[3]), place(root, RUNS[4])
    (damaged / DATA).write_bytes(b"x")
    broken = place(root, RUNS[5])
    (broken / MANIFEST).write_text("[]")
    compact_code = main(["compact", str(root)])
    told = capsys.readouterr()
    assert compact_code == 1
    assert "2 stay folders" in told.out
    assert f"left: tiny/{damaged.name}: has data that its manifest's SHA-256" in told.err
    assert f"left: tiny/{broken.name}: is no record" in told.err
    assert set(folders(root)) == {place(root, run).name for run in (failed, RUNS[2], RUNS[3], RUNS[5])}
    live.close()
    under_way.close()
    assert (place(root, TinyRun(70)) / LIVE).exists()
    copied.mkdir()
    for name, body in {DATA: b"other", MANIFEST: b"{}"}.items():
        (copied / name).write_bytes(body)
    assert any(copied.name in problem for problem in compact(root).problems)
    assert (copied / DATA).read_bytes() == b"other"


@pytest.mark.parametrize("at", ["write", "manifest", "data"])
def test_a_kill_at_any_moment_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    before = answers(root)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    if at == "write":
        monkeypatch.setattr(compaction, "_remove", killed)
    else:
        real, dying = Path.unlink, {"manifest": MANIFEST, "data": DATA}[at]
        monkeypatch.setattr(Path, "unlink", lambda path, **kw: killed() if path.name == dying else real(path, **kw))
    with pytest.raises(KeyboardInterrupt):
        compact(root)
    assert answers(root) == before
    monkeypatch.undo()
    compact(root)
    assert answers(root) == before
    assert [path.name for path in (root / "tiny").iterdir()] == ["shards"]


def test_a_shard_replaced_while_it_is_read_gives_the_right_run(root: Path) -> None:
    first, second = sorted(path.name for path in (root / "tiny").iterdir())[:2]
    rows = [
        shards.Row(name, 1, (root / "tiny" / name / MANIFEST).read_bytes(), (root / "tiny" / name / DATA).read_bytes())
        for name in (first, second)
    ]
    same = [row._replace(id="0" + row.id[1:]) for row in rows]
    path = root / "tiny" / "shards" / "0.parquet"
    path.parent.mkdir()
    path.write_bytes(shards.encoded(same[1:]))
    old = shards.opened(path)
    assert old is not None
    path.write_bytes(shards.encoded(same))
    assert old.data(same[1].id) == same[1].data


@pytest.mark.parametrize("spoil", ["cut", "flip", "columns", "digit", "twice", "data"])
def test_altered_shards_are_refused_in_one_line(root: Path, spoil: str) -> None:
    compact(root)
    path = sorted((root / "tiny" / "shards").glob("*.parquet"))[0]
    body = path.read_bytes()
    shard = shards.opened(path)
    assert shard is not None
    rows = list(shard.rows())
    other = "f" if path.stem != "f" else "e"
    changed = {
        "cut": lambda: body[: len(body) // 2],
        "flip": lambda: bytes([*body[:-9], body[-9] ^ 255, *body[-8:]]),
        "columns": _other_columns,
        "digit": lambda: shards.encoded([rows[0]._replace(id=other + rows[0].id[1:])]),
        "twice": lambda: shards.encoded([rows[0], rows[0]]),
        "data": lambda: shards.encoded([row._replace(data=b"x" + row.data[1:]) for row in rows]),
    }[spoil]()
    path.write_bytes(changed)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InvalidInput) as refused:
        require_intact(records(root / "tiny"))
    assert "\n" not in str(refused.value)
    assert refused.value.parameter == ("record" if spoil == "data" else "shard")


def test_no_bit_of_a_shard_flips_unnoticed(root: Path) -> None:
    """What is read is what was written, or is refused: also in the parts of a manifest that no hash covers."""
    from pyarrow import parquet

    compact(root)
    before, draw = answers(root), random.Random(5)
    path = max((root / "tiny" / "shards").glob("*.parquet"), key=lambda path: path.stat().st_size)
    manifests = parquet.ParquetFile(path).metadata.row_group(0).column(2)
    body, refused = path.read_bytes(), 0
    for trial in range(80):
        at = manifests.data_page_offset + draw.randrange(manifests.total_compressed_size)
        path.write_bytes(body[:at] + bytes([body[at] ^ 1 << draw.randrange(8)]) + body[at + 1 :])
        os.utime(path, ns=(trial, trial))
        try:
            assert answers(root) == before
        except InvalidInput:
            refused += 1
    assert refused > 10  # a page has a header, too, of which little is read


def _other_columns() -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"id": ["0" * 16]}), sink)
    return sink.getvalue().to_pybytes()


def test_two_processes_do_not_compact_at_once(root: Path) -> None:
    folder = root / "tiny" / "shards"
    folder.mkdir()
    other = sqlite3.connect(folder / compaction.LOCK)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InvalidInput, match="is compacted by another process"):
        compact(root)
    other.close()
    assert len(compact(root).moved) == len(RUNS)
    with pytest.raises(InvalidInput, match="is no folder"):
        compact(root / "nowhere")
