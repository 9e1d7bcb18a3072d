"""Archives of runs: there and back the same, nothing overwritten, nothing accepted that was altered."""

import json
import random
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from empirical.__main__ import main
from empirical.pack.archive import Run, fitting, packed, runs_in, unpacked
from empirical.pack.merging import merge, refused
from empirical.runs import run
from empirical.runs.live import LIVE, LiveRecord, reached
from empirical.runs.run import Job, carry_out
from empirical.runs.store import DATA, MANIFEST, finished
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import COLUMNS, EXPERIMENT, TinyRun

DONE, STOPPED = TinyRun(0), TinyRun(1)


def job(root: Path, config: TinyRun) -> Job:
    return Job(EXPERIMENT, (config,), root, "cpu")


def stop_early(root: Path) -> None:
    """One window of the run, then its lease is over."""

    class Short(run.Lease):
        over = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Lease", Short)
        (outcome,) = carry_out(job(root, STOPPED))
    assert outcome.problem == run.STOPPED


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished run, and one that a lease ended."""
    root = tmp_path / "runs"
    carry_out(job(root, DONE))
    stop_early(root)
    return root


def place_of(root: Path, name: str) -> Path:
    (found,) = root.glob(f"tiny/*/{name}")
    return found.parent


def test_there_and_back_the_same_and_it_goes_on(runs: Path, tmp_path: Path, capsys) -> None:
    archive, there = tmp_path / "runs.zip", tmp_path / "there"
    assert main(["pack", str(runs), str(archive)]) == 0
    assert "1 records, 1 checkpoints" in capsys.readouterr().out
    for shown in ("2 runs new or further, 0 here before", "0 runs new or further, 2 here before"):
        assert main(["unpack", str(archive), str(there)]) == 0
        assert shown in capsys.readouterr().out
    for name in (DATA, MANIFEST):
        assert (place_of(there, MANIFEST) / name).read_bytes() == (place_of(runs, MANIFEST) / name).read_bytes()
    (gone_on,) = carry_out(job(there, STOPPED))
    (whole,) = carry_out(job(tmp_path / "whole", STOPPED))
    assert gone_on.record is not None
    assert whole.record is not None
    assert (gone_on.record.folder / DATA).read_bytes() == (whole.record.folder / DATA).read_bytes()
    assert len(merge(unpacked(archive), there).same) == 2  # a record stays one


def test_a_checkpoint_that_is_further_wins_and_a_record_over_both(runs: Path, tmp_path: Path) -> None:
    early = unpacked_of(runs, tmp_path)
    there = tmp_path / "there"
    merge(early, there)
    stop_early(runs)
    later = unpacked_of(runs, tmp_path)
    before, after = (next(one for one in found if not one.ended) for found in (early, later))
    assert after.step > before.step
    assert merge(later, there).new == [after.place]
    assert merge(early, there).new == []
    carry_out(job(runs, STOPPED))
    assert len(merge(unpacked_of(runs, tmp_path), there).new) == 1
    assert not list(there.glob(f"tiny/*/{LIVE}"))


def unpacked_of(runs: Path, tmp_path: Path) -> list[Run]:
    (tmp_path / "some.zip").write_bytes(packed(runs_in(runs)))
    return unpacked(tmp_path / "some.zip")


def test_a_disk_that_fills_keeps_what_is_here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    merge(unpacked_of(runs, tmp_path), there)
    kept = place_of(there, LIVE)
    before = reached((kept / LIVE).read_bytes())
    carry_out(job(runs, STOPPED))

    def full(target: Path, _: bytes) -> None:
        raise InvalidInput("file", str(target), "cannot be written (No space left on device)")

    monkeypatch.setattr("empirical.pack.merging.write_whole", full)
    with pytest.raises(InvalidInput, match="No space"):
        merge(unpacked_of(runs, tmp_path), there)
    assert reached((kept / LIVE).read_bytes()) == before


def test_conflicts_are_named_and_change_nothing(runs: Path, tmp_path: Path, capsys) -> None:
    archive = tmp_path / "runs.zip"
    main(["pack", str(runs), str(archive)])
    there = tmp_path / "there"
    other = place_of(runs, MANIFEST)
    mine = there / "tiny" / other.name
    mine.mkdir(parents=True)
    (mine / DATA).write_bytes(b"other")
    (mine / MANIFEST).write_bytes((other / MANIFEST).read_bytes())
    held = LiveRecord(there / "tiny", STOPPED, COLUMNS)
    assert main(["unpack", str(archive), str(there)]) == 1
    shown = capsys.readouterr().err
    assert f"conflict: tiny/{other.name}: has other data here" in shown
    assert "is held by a process" in shown
    held.close()
    assert (mine / DATA).read_bytes() == b"other"


def test_equal_runs_give_equal_archives_and_the_limit_holds(runs: Path, tmp_path: Path, capsys) -> None:
    found = runs_in(runs)
    assert packed(found[:1]) == packed(runs_in(runs)[:1])
    limit = found[0].size + 1000
    taken, left = fitting(found, limit)
    assert (taken, left) == (found[:1], found[1:])
    assert len(packed(taken)) <= limit
    assert main(["pack", str(runs), str(tmp_path / "a.zip"), "--limit", str(limit / 1e6)]) == 1
    assert f"left out by --limit: {found[1].place}" in capsys.readouterr().err


def forged_data(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: body + b"x" if name.endswith(DATA) else body for name, body in files.items()}


def forged_seed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {n: b.replace(b'"seed": 0', b'"seed": 7') if n.endswith(MANIFEST) else b for n, b in files.items()}


def acting_database(files: dict[str, bytes]) -> dict[str, bytes]:
    database = sqlite3.connect(":memory:")
    (name,) = [name for name in files if name.endswith(LIVE)]
    database.deserialize(files[name])
    database.execute("CREATE TRIGGER t AFTER INSERT ON lines BEGIN DELETE FROM checkpoints; END")
    database.commit()
    return files | {name: database.serialize()}


def elsewhere(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"../" + name: body for name, body in files.items()}


def another_experiment(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("tiny", "bitflip"): body for name, body in files.items()}


@pytest.mark.parametrize("forge", [forged_data, forged_seed, acting_database, elsewhere, another_experiment])
def test_what_was_altered_is_refused_and_nothing_is_written(
    runs: Path, tmp_path: Path, forge: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    """The index is made anew, so that its hashes are right."""
    files = forge({f"{one.place}/{name}": body for one in runs_in(runs) for name, body in one.files.items()})
    places: dict[str, dict[str, bytes]] = {}
    for name, body in files.items():
        places.setdefault(name.rpartition("/")[0], {})[name.rpartition("/")[2]] = body
    archive = tmp_path / "forged.zip"
    archive.write_bytes(packed([Run(place, own) for place, own in places.items()]))
    with pytest.raises(InvalidInput):
        main(["unpack", str(archive), str(tmp_path / "there")])
    assert not list((tmp_path / "there").rglob("*.*"))


@pytest.mark.parametrize("cut", [0, 10, 400, -1])
def test_a_truncated_archive_is_refused(runs: Path, tmp_path: Path, cut: int) -> None:
    archive = tmp_path / "cut.zip"
    archive.write_bytes(packed(runs_in(runs))[:cut])
    with pytest.raises(InvalidInput, match="truncated or altered"):
        unpacked(archive)


def test_a_flipped_byte_is_refused_or_changes_nothing(runs: Path, tmp_path: Path) -> None:
    """Structure, names, checksums, deflated data: whatever it hits."""
    archive, draw = tmp_path / "flipped.zip", random.Random(0)
    good = packed(runs_in(runs))
    archive.write_bytes(good)
    whole, refused = unpacked(archive), list[str]()
    for place in draw.sample(range(len(good)), 300):
        flipped = bytearray(good)
        flipped[place] ^= draw.randrange(1, 256)
        archive.write_bytes(flipped)
        try:
            assert unpacked(archive) == whole
        except InvalidInput as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize(
    "index", ["[]", '["x"]', "null", '{"x": 5}', '{"x": [null, "0"]}', '{"x": [-5, "0"]}', "[" * 100_000, "\x00"]
)
def test_an_index_of_another_kind_is_refused(index: str, tmp_path: Path) -> None:
    archive = tmp_path / "index.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.json", index)
        file.writestr("x", b"y")
    with pytest.raises(InvalidInput, match="truncated or altered"):
        unpacked(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("index.json", "{}")
    with pytest.raises(InvalidInput, match="compressed in another way"):
        unpacked(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("files", "named"),
    [({LIVE: b""}, "is empty"), ({DATA: b"", MANIFEST: b"[" * 100_000}, "is no record")],
)
def test_an_empty_database_and_a_manifest_without_end_are_refused(
    files: dict[str, bytes], named: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=named):
        merge([Run("tiny/" + "0" * 16, files)], tmp_path)


def test_an_entry_beside_the_index_and_a_lying_index_are_refused(runs: Path, tmp_path: Path) -> None:
    archive = tmp_path / "more.zip"
    archive.write_bytes(packed(runs_in(runs)))
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("more", b"")
    with pytest.raises(InvalidInput, match="other files"):
        unpacked(archive)
    with zipfile.ZipFile(archive, "w") as bomb:
        bomb.writestr("index.json", json.dumps({"x": [10**12, "0"]}))
        bomb.writestr("x", b"")
    with pytest.raises(InvalidInput, match="more than"):
        unpacked(archive)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pack", "none", "a.zip"], "has no run"),
        (["pack", "none", "a.zip", "--limit", "0"], "limit"),
        (["unpack", "none.zip", "there"], "cannot be read"),
    ],
)
def test_bad_input_is_named(arguments: list[str], named: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=named):
        main(arguments)


def test_a_stopped_run_has_no_record(runs: Path) -> None:
    assert finished(place_of(runs, LIVE)) is None


def test_a_manifest_without_data_is_named(runs: Path, tmp_path: Path) -> None:
    folder = place_of(runs, MANIFEST)
    (folder / DATA).unlink()
    with pytest.raises(InvalidInput, match=f"{folder.name}.*has a manifest without data"):
        main(["pack", str(runs), str(tmp_path / "a.zip")])


def move(root: Path) -> None:
    place = place_of(root, MANIFEST)
    place.rename(place.with_name("0123456789abcdef"))


def alter(root: Path) -> None:
    data = place_of(root, DATA) / DATA
    data.write_bytes(data.read_bytes()[:-1])


def end_early(root: Path) -> None:
    manifest = place_of(root, MANIFEST) / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-9])


def forget_the_configuration(root: Path) -> None:
    manifest = place_of(root, MANIFEST) / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"config": None}))


@pytest.mark.parametrize("spoil", [move, alter, end_early, forget_the_configuration])
def test_what_would_be_refused_is_left_out_and_the_others_travel(
    spoil: Callable[[Path], None], runs: Path, tmp_path: Path, capsys
) -> None:
    """One damaged record must not cost the others, which may be nowhere else when the archive is opened."""
    carry_out(job(tmp_path / "more", TinyRun(2)))
    spoil(runs)
    place = place_of(tmp_path / "more", MANIFEST)
    place.rename(runs / "tiny" / place.name)
    archive = tmp_path / "runs.zip"
    assert main(["pack", str(runs), str(archive)]) == 1
    shown = capsys.readouterr()
    assert "1 records, 1 checkpoints" in shown.out
    assert shown.err.count("left out, for it ") == 1
    assert main(["unpack", str(archive), str(tmp_path / "there")]) == 0
    assert "2 runs new or further" in capsys.readouterr().out


def test_a_copy_s_data_are_left_out(runs: Path) -> None:
    (record,) = (run for run in runs_in(runs) if run.ended)
    other = record._replace(place="tiny/0123456789abcdef")
    assert refused([record]) == {}
    assert [*refused([record, other])] == [other.place]
