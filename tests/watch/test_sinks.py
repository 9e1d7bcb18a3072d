"""Where records go, and that none of it can stop a run."""

import io
import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lop_theory import watch  # noqa: E402
from lop_theory.watch.record import record_of  # noqa: E402
from lop_theory.watch.sinks import lines_of  # noqa: E402
from tests.watch.nets import X, clone, losses, mlp, silence, train  # noqa: E402


def run(*sinks, steps=6, resume=None, every=2):
    model = silence(clone(mlp()))
    monitor = watch(model, X, every=every, loss=losses, measures=("churn",), sinks=sinks)
    if resume is not None:
        monitor.load_state_dict(resume)
    with monitor:
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), steps)
    return monitor


def test_a_record_survives_json_to_the_last_bit():
    monitor = run()
    for found in monitor.records:
        again = record_of(json.loads(json.dumps(found.as_json(), allow_nan=False)))
        assert again.as_json() == found.as_json()
        assert again.alarms == found.alarms
        assert math.isnan(again.whole.ntk_rank)


def test_lines_of_json_and_an_interrupted_run(tmp_path):
    path = tmp_path / "run.jsonl"
    first = run(str(path), steps=5)
    assert [line["step"] for line in lines_of(path)] == [2, 4]
    path.write_text(path.read_text() + '{"step": 6, "who')  # cut off by a crash
    saved = {"steps": 3, "records": [found.as_json() for found in first.records[:1]]}
    run(path, steps=5, resume=saved)
    assert [line["step"] for line in lines_of(path)] == [2, 4, 6, 8]
    assert lines_of(path)[0] == first.records[0].as_json()


def test_parquet_has_every_number(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    monitor = run(tmp_path / "run.parquet")
    rows = parquet.read_table(tmp_path / "run.parquet").to_pylist()
    assert {(r["step"], r["name"]): r["value"] for r in rows} == {
        (f.step, name): value for f in monitor.records for name, value in f.numbers().items()
    }
    assert any(r["name"] == "1/alarm_permanent" and r["value"] == 2 for r in rows)


def test_tensorboard_has_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = run(watch.TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {name for f in monitor.records for name in f.numbers()}
    assert [e.step for e in events.Scalars("churn")] == [2, 4, 6]
    assert [e.value for e in events.Scalars("churn")] == pytest.approx([f.whole.churn for f in monitor.records])


class FakeRun:
    """What W&B's run and MLflow's ``log_metrics`` are asked to do."""

    def __init__(self):
        self.metrics, self.logged = [], []

    def define_metric(self, name, **options):
        self.metrics.append((name, options))

    def log(self, numbers, **options):
        self.logged.append((numbers, options))


def test_wandb_has_every_number_at_a_step_of_its_own():
    active = FakeRun()
    monitor = run(watch.WandB(active))
    assert active.metrics == [("plasticity/step", {}), ("plasticity/*", {"step_metric": "plasticity/step"})]
    assert active.logged == [
        ({**{f"plasticity/{n}": v for n, v in f.numbers().items()}, "plasticity/step": f.step}, {})
        for f in monitor.records
    ]


def test_mlflow_has_every_number_under_names_that_it_allows():
    active = FakeRun()
    monitor = run(watch.MLflow("7", active.log))
    assert active.logged == [(f.numbers(), {"step": f.step, "run_id": "7"}) for f in monitor.records]
    odd = monitor.records[0]._replace(layers={"a:relu#2": monitor.records[0].layers["1"]}, alarms=())
    watch.MLflow("7", active.log).log(odd)
    assert "a:relu_2/dead" in active.logged[-1][0]


def test_the_live_table_shows_layers_and_alarms():
    console = pytest.importorskip("rich.console").Console(record=True, width=140, file=io.StringIO())
    run(watch.LiveTable(console))
    shown = console.export_text()
    assert "step 6" in shown
    assert "2 permanent, 1 undecided" in shown
    assert "permanent: 1: 2 units (0 1) trapped" in shown


# ---- nothing stops a run ----


class Lost:
    """A tracker that fails in the middle."""

    def __init__(self, moment):
        self.moment, self.calls = moment, 0

    def log(self, found):
        self.calls += 1
        if self.moment == "log" and found.step == 4:
            raise ConnectionError("the network\nis gone")

    def close(self):
        if self.moment == "close":
            raise OSError("too late")


@pytest.mark.parametrize(("moment", "calls"), [("log", 2), ("close", 3)])
def test_a_lost_tracker_is_named_once_and_left_out(moment, calls, tmp_path, capsys):
    lost, path = Lost(moment), tmp_path / "run.jsonl"
    monitor = run(lost, path)
    assert (len(monitor.records), lost.calls, len(lines_of(path))) == (3, calls, 3)
    said = capsys.readouterr().err
    assert said.count("Lost is left out from here on") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_stops_nothing(tmp_path, capsys, monkeypatch):
    sink = watch.JSONLines(tmp_path / "run.jsonl")
    monkeypatch.setattr("lop_theory.watch.sinks.write_whole", lambda *_: None)
    sink.path = Path("/dev/full")
    monitor = run(sink)
    assert len(monitor.records) == 3
    assert "No space left on device" in capsys.readouterr().err
    monitor.try_report("/nowhere/page.html")
    assert "not written" in capsys.readouterr().err
