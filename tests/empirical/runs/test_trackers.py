"""TensorBoard and W&B see what is recorded; neither can stop a run."""

import json
from pathlib import Path

import pytest

from empirical.runs import trackers
from empirical.runs.execution import Execution
from empirical.runs.report import run_experiment
from empirical.runs.run import Job, carry_out
from empirical.runs.store import records
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import EXPERIMENT, TinyRun

RUNS = [TinyRun(0), TinyRun(1)]


def go(execution: Execution) -> int:
    return run_experiment(EXPERIMENT, RUNS, execution, show=lambda _: None)


def test_tensorboard_has_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'trackers' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert go(Execution(out=str(tmp_path / "runs"), tensorboard=str(tmp_path / "events"))) == 0
    for record in records(tmp_path / "runs" / "tiny"):
        events = EventAccumulator(str(tmp_path / "events" / "tiny" / record.manifest["id"]))
        events.Reload()
        step, loss = record.columns("step", "loss")
        assert [e.step for e in events.Scalars("loss")] == step[1:].tolist()
        assert [e.value for e in events.Scalars("loss")] == pytest.approx(loss[1:].tolist())


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra 'trackers' is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert go(Execution(out=str(tmp_path), wandb="plasticity")) == 0
    written = {path.parent.name.split("-")[-1] for path in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert written == {record.manifest["id"] for record in records(tmp_path / "tiny")}


class Broken:
    """A tracker that fails at once, or in the middle, or at the end."""

    moment = "begin"
    logged = 0

    def __init__(self, *_: object) -> None:
        self._fail("begin")

    def _fail(self, moment: str) -> None:
        if Broken.moment == moment:
            raise ConnectionError("the network\nis gone")

    def log(self, step: int, _numbers: dict[str, float]) -> None:
        Broken.logged += 1
        self._fail("log" if step == 30 else "")

    def close(self) -> None:
        self._fail("close")


@pytest.mark.parametrize(("moment", "logged"), [("begin", 0), ("log", 7), ("close", 13)])
def test_a_broken_tracker_is_named_and_left_out(
    moment: str, logged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trackers, "TensorBoard", Broken)
    monkeypatch.setattr(Broken, "moment", moment)
    monkeypatch.setattr(Broken, "logged", 0)
    assert go(Execution(out=str(tmp_path), tensorboard="anywhere")) == 0
    assert Broken.logged == logged
    assert capsys.readouterr().err.count("Broken is left out from here on (ConnectionError: the network is gone)") == 1
    assert [r.manifest["status"] for r in records(tmp_path / "tiny")] == ["finished"] * 2


def test_trackers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "TensorBoard", Broken)
    monkeypatch.setattr(Broken, "moment", "")
    assert go(Execution(out=str(tmp_path / "with"), tensorboard="anywhere")) == 0
    carry_out(Job(EXPERIMENT, tuple(RUNS), tmp_path / "without", "cpu"))
    seen, unseen = ([r.manifest["sha256"] for r in records(tmp_path / w / "tiny")] for w in ("with", "without"))
    assert seen == unseen


def test_missing_package_is_named_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match=r"wandb='p': needs the package wandb; pip install 'lop-theory\[trackers\]'"):
        go(Execution(out=str(tmp_path), wandb="p"))
    assert not list(tmp_path.iterdir())


def test_layers_have_names_of_their_own() -> None:
    assert trackers.numbers({"step": 3, "layer": 1, "rank": 2.0}) == {"layer 1/rank": 2.0}
    assert trackers.numbers({"step": 3, "layer": -1, "loss": 2.0}) == {"loss": 2.0}
    assert json.dumps(trackers.numbers({"step": 3, "loss": 1})) == '{"loss": 1}'
