"""Records: content addresses, resume after a real kill -9, skipping, named failures, one process at a time."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

from empirical.bitflip.options import BITFLIP, Bitflip, BitflipRun, CbpOptions, LearnerOptions, StreamOptions
from empirical.bitflip.simulation import COLUMNS, EXPERIMENT, Simulation
from empirical.runs import live, store
from empirical.runs.run import HELD, Job, Outcome, carry_out
from lop_theory.errors import InvalidInput
from tests.empirical.runs.killing import killed_after

SMALL = BitflipRun(
    seed=3, width=6, method="switch", samples=20_000, stream=StreamOptions(flip_every=500), learner=LearnerOptions(),
    cbp=CbpOptions(replacement_rate=1e-3), bin=500, measure_every=1_000, probe=200,
)  # fmt: skip


def outcome_of(config: BitflipRun, root: Path) -> Outcome:
    (outcome,) = carry_out(Job(EXPERIMENT, (config,), root, "cpu"))
    return outcome


def go(config: BitflipRun, root: Path) -> store.Record:
    record = outcome_of(config, root).record
    assert record is not None
    return record


def _in_the_middle(body: bytes) -> bytes:
    """One column is something else; what says where it lies is left."""
    return body[:8] + bytes(b ^ 255 for b in body[8:400]) + body[400:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> store.Record:
    return go(SMALL, tmp_path_factory.mktemp("whole"))


def test_record_has_bins_metrics_and_manifest(whole: store.Record) -> None:
    step, error, rank = whole.columns("step", "error", "stream_effective_rank")
    assert step.tolist() == list(range(0, 20_001, 500))
    assert np.isnan(error[0])
    assert (error[1:] > 0).all()
    assert np.isfinite(rank[step % 1000 == 0]).all()
    assert np.isnan(rank[step % 1000 != 0]).all()
    manifest = whole.manifest
    assert manifest["id"] == whole.folder.name == store.run_id(manifest["config"])
    assert (manifest["status"], manifest["seed"], manifest["steps"]) == ("finished", 3, 20_000)
    assert {"versions", "commit", "device", "wall_seconds"} <= set(manifest)
    assert sorted(p.name for p in whole.folder.iterdir()) == [store.MANIFEST, store.DATA]


def test_measuring_does_not_disturb_the_run(whole: store.Record, tmp_path: Path) -> None:
    from dataclasses import replace

    rarely = go(replace(SMALL, measure_every=20_000, probe=10), tmp_path)
    assert np.array_equal(*(r.columns("error")[0] for r in (whole, rarely)), equal_nan=True)
    simulation = Simulation(SMALL)
    before = {k: v.copy() for k, v in simulation.states()[0].items()}
    simulation.metrics()
    assert all(np.array_equal(before[k], v) for k, v in simulation.states()[0].items())


def slowly(_steps: int) -> None:
    time.sleep(0.02)


def test_kill_dash_nine_and_resume_give_the_same_record(whole: store.Record, tmp_path: Path) -> None:
    job = Job(EXPERIMENT, (SMALL,), tmp_path, "cpu")
    killed = [killed_after(job, seconds, slowly) for seconds in (0.0, 0.1)]
    assert any(killed)
    assert live.state_of(whole.folder) is None
    record = go(SMALL, tmp_path)
    assert record.manifest["sha256"] == whole.manifest["sha256"]
    assert (record.folder / store.DATA).read_bytes() == (whole.folder / store.DATA).read_bytes()


def test_every_kill_between_two_commits_is_harmless(whole: store.Record, tmp_path: Path) -> None:
    """A process that dies right after each commit in turn; the last one finishes."""
    for _ in range(21):
        record = live.LiveRecord(tmp_path / "bitflip", SMALL, COLUMNS)
        step = max(record.steps())
        arrays = record.resume(step)
        simulation = Simulation(SMALL, arrays, max(step, 0))
        (rows,) = simulation.first_rows() if arrays is None else [simulation.advance()[0].rows]
        record.commit(simulation.step, rows, simulation.states()[0])
        record.close()
    assert go(SMALL, tmp_path).manifest["sha256"] == whole.manifest["sha256"]


def test_death_between_parquet_and_manifest(
    whole: store.Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "environment", die)
        with pytest.raises(KeyboardInterrupt):
            go(SMALL, tmp_path)
    assert list(tmp_path.glob("*/*/record.parquet"))
    assert store.records(tmp_path / "bitflip") == []
    assert go(SMALL, tmp_path).manifest["sha256"] == whole.manifest["sha256"]


def test_finished_runs_are_skipped_and_left_as_they_are(tmp_path: Path) -> None:
    record = go(SMALL, tmp_path)
    times = [p.stat().st_mtime_ns for p in sorted(record.folder.iterdir())]
    assert outcome_of(SMALL, tmp_path).skipped
    assert [p.stat().st_mtime_ns for p in sorted(record.folder.iterdir())] == times


def test_divergence_is_a_failed_record_with_a_cause(tmp_path: Path) -> None:
    from dataclasses import replace

    wild = replace(SMALL, method="sgd", learner=LearnerOptions(activation="leaky_relu", step_size=3.0))
    record = go(wild, tmp_path)
    assert record.manifest["status"] == "failed"
    assert "not finite" in record.manifest["cause"]
    assert "step size 3.0" in record.manifest["cause"]
    assert record.manifest["steps"] < SMALL.samples
    assert outcome_of(wild, tmp_path).skipped


def test_a_run_under_way_is_held_by_one_process(tmp_path: Path) -> None:
    record = live.LiveRecord(tmp_path / "bitflip", SMALL, COLUMNS)
    assert outcome_of(SMALL, tmp_path) == Outcome(SMALL, None, problem=HELD)
    assert live.state_of(record.folder) == ("running", live.START)
    record.close()
    assert live.state_of(record.folder) == ("interrupted", live.START)
    assert outcome_of(SMALL, tmp_path).record is not None
    assert live.state_of(record.folder) is None


def test_identity_is_the_content_of_the_configuration() -> None:
    ids = {store.run_id(json.loads(store.canonical(vars_of(run)))) for run in Bitflip(seeds=(0, 1, 2)).runs()}
    assert len(ids) == 3 * 2 * 3
    assert store.run_id({"b": 1, "a": 2.5}) == store.run_id({"a": 2.5, "b": 1})
    assert store.run_id({"a": 1}) != store.run_id({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.run_id({"a": float("nan")})


@pytest.mark.parametrize("preset", ["smoke", "paper"])
def test_ids_of_saved_runs_are_what_they_were(preset: str) -> None:
    ids = {"smoke": "77ccb23187204994", "paper": "0c02e9082b29295d"}
    assert store.run_id(vars_of(BITFLIP[preset].runs()[0])) == ids[preset]


def vars_of(run: BitflipRun) -> dict:
    from dataclasses import asdict

    return asdict(run)


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / store.MANIFEST).write_text("{")
    with pytest.raises(InvalidInput, match=r"manifest\.json"):
        store.records(tmp_path)


@pytest.mark.parametrize("kept", [0, store.SMALL])
@pytest.mark.parametrize("damage", [lambda body: body[:0], lambda body: body[: len(body) // 2], _in_the_middle])
def test_data_that_are_no_parquet_are_named(whole, tmp_path, monkeypatch, kept, damage) -> None:
    monkeypatch.setattr(store, "SMALL", kept)
    body = whole.data()
    assert body is not None
    place = tmp_path / whole.folder.name
    place.mkdir()
    (place / store.DATA).write_bytes(damage(body))
    forged = whole.manifest | {"sha256": hashlib.sha256(damage(body)).hexdigest()}
    broken = store.Record(place, forged)
    for read in (lambda: broken.columns("step"), lambda: store.require_intact([broken])):
        with pytest.raises(InvalidInput, match="has data that are no Parquet; restore it"):
            read()


def test_small_tables_are_kept_and_nobody_can_write_into_them(whole, monkeypatch) -> None:
    body = whole.data()
    assert body is not None
    assert store._table(body) is store._table(bytes(bytearray(body)))
    (first,) = whole.columns("step")
    first[:] = -1.0
    assert (whole.columns("step")[0] >= 0).all()
    monkeypatch.setattr(store, "SMALL", len(body) - 1)
    assert store._table(body) is not store._table(body)
