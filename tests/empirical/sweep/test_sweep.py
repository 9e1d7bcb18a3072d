"""The grid of the paper, its status, its cost, and the command that carries it out."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest

from empirical.__main__ import main
from empirical.cloning.options import CLONING
from empirical.continual.options import CONTINUAL, Continual
from empirical.runs.execution import Execution
from empirical.runs.live import LiveRecord
from empirical.runs.run import Job, Lease, carry_out
from empirical.runs.store import Record, id_of, records
from empirical.sweep import command, estimate, plan
from empirical.sweep.grid import SEEDS, Part, paper_grid
from empirical.sweep.order import by_comparison, comparison
from empirical.sweep.status import counts, states
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import COLUMNS, EXPERIMENT, TinyRun

PAPER = paper_grid("paper", SEEDS)


def test_grid_has_about_two_thousand_runs_each_once() -> None:
    runs = [run for part in PAPER for run in part.runs]
    assert 1_800 <= len(runs) <= 2_200
    assert len({id_of(run) for run in runs}) == len(runs)
    assert {run.seed for run in runs} == {40, 41, 42, 43, 44}
    assert set(Counter(run.seed for run in runs).values()) == {len(runs) // 5}


def test_grid_has_the_settings_of_the_specification() -> None:
    runs = {run for part in PAPER for run in part.runs}
    assert set(CONTINUAL["paper"].runs()) | set(CLONING["paper"].runs()) <= runs
    plain = {
        (r.model.name, r.model.normalisation, r.model.affine, r.model.dropout, r.optimiser.step_size)
        for r in runs
        if r.experiment == "continual" and not r.fresh and r.optimiser.repair == "none"
    }
    layers = [("none", True), ("batch", True), ("batch", False), ("layer", True), ("layer", False)]
    names = ("mlp", "cnn", "resnet18", "vit")
    wanted = product(names, layers, (0.0, 0.1), (1e-2, 1e-3, 1e-4))
    assert plain >= {(name, *layer, dropout, rate) for name, layer, dropout, rate in wanted}
    noisy = {
        (r.model.name, r.optimiser.sigma, r.optimiser.noise_decay)
        for r in runs
        if r.experiment == "cloning" and r.optimiser.name == "noisy_sgd"
    }
    assert noisy >= set(product(names, (0.01, 0.02, 0.05), (0.0, 0.9, 0.99, 0.999, 1.0)))
    dropped = {(r.model.name, r.model.dropout) for r in runs if r.experiment == "cloning"}
    assert dropped >= set(product(names, (0.0, 0.1, 0.2)))


def test_states(tmp_path: Path) -> None:
    done, wild, held, stopped, left = runs = [TinyRun(seed, diverge_at=3 if seed == 1 else -1) for seed in range(5)]
    carry_out(Job(EXPERIMENT, (done,), tmp_path, "cpu"))
    carry_out(Job(EXPERIMENT, (wild,), tmp_path, "cpu"))
    for run in (held, stopped):
        live = LiveRecord(tmp_path / "tiny", run, COLUMNS)
        live.commit(5, [{"step": 5}], {})
        if run is stopped:
            live.close()
        else:
            running = live
    found = states([Part("tiny", "all", "", runs)], tmp_path)["tiny: all"]
    assert [run.state for run in found] == ["done", "failed", "running", "interrupted", "left"]
    assert [run.config for run in found] == [done, wild, held, stopped, left]
    assert counts(found)["done"] == 1
    running.close()


def test_operations_against_a_count_by_hand() -> None:
    """Multiplications with addition count twice, a backward pass as two forward ones; biases do not count."""
    by_name = {run.model.name: run for run in CONTINUAL["paper"].runs()}
    mlp, cnn = by_name["mlp"], by_name["cnn"]
    dense = 3 * 64 * 64 * 128 + 4 * 128 * 128 + 128 * 10
    assert estimate.operations(mlp) == 3 * 2 * dense * mlp.batch * mlp.length
    convolutions = 9 * (64**2 * 3 * 64 + 32**2 * 64 * 128 + 16**2 * 128 * 256) + 8 * 8 * 256 * 512 + 512 * 10
    assert estimate.operations(cnn) == 3 * 2 * convolutions * cnn.batch * cnn.length
    assert estimate.assumed_seconds(mlp) == 2e-3 * 20_000
    cloning = next(r for r in CLONING["paper"].runs() if r.model.name == "mlp" and r.matched)
    base = 3 * 32 * 32 * 128 + 4 * 128 * 128 + 128 * 10
    clone = 3 * 32 * 32 * 256 + 4 * 256 * 256 + 256 * 10
    assert not cloning.control
    assert estimate.operations(cloning) == 6 * cloning.batch * (base * cloning.length + clone * cloning.steps)


def test_measured_times_come_before_assumptions() -> None:
    runs = [run for run in CONTINUAL["paper"].runs() if run.model.name in ("mlp", "cnn")]
    mlp = next(run for run in runs if run.model.name == "mlp")
    facts = {"device": "cuda A100", "steps": 1000, "wall_seconds": 50.0, "together": 5}
    measured = estimate.seconds_a_step([(mlp, Record(Path(), facts))], "cuda")
    assert measured == {("continual", "mlp", 128, "fp32"): 0.01}
    assert estimate.seconds_a_step([(mlp, Record(Path(), facts))], "cpu") == {}
    cost = estimate.gpu_hours(runs, estimate.Rates(measured, {}), 0.25)
    mlps = [run for run in runs if run.model.name == "mlp"]
    others = sum(estimate.assumed_seconds(run) for run in runs if run.model.name != "mlp")
    assert cost.measured == len(mlps)
    assert cost.hours * 3600 == pytest.approx(0.25 * 0.01 * 20_000 * len(mlps) + others)
    assert estimate.core_hours(runs, {}) == (0.0, 0, 0)


def test_other_classes_of_a_measured_model_take_its_rate() -> None:
    """Twice the batch at one rate of operations is twice the time; another device, model or precision says nothing."""
    mlp = next(run for run in CONTINUAL["paper"].runs() if run.model.name == "mlp")
    facts = {"device": "cuda H100", "steps": 1000, "wall_seconds": 50.0, "together": 5}
    known = estimate.rates([(mlp, Record(Path(), facts))], "cuda H100")
    wider = replace(mlp, batch=2 * mlp.batch)
    assert estimate.gpu_hours([wider], known, 1.0) == (pytest.approx(2 * 0.01 * mlp.length / 3600), 0, 1)
    assert estimate.gpu_hours([mlp], known, 1.0) == (pytest.approx(0.01 * mlp.length / 3600), 1, 0)
    coarse = replace(mlp, optimiser=replace(mlp.optimiser, precision="bf16"))
    assert estimate.gpu_hours([coarse], known, 1.0)[1:] == (0, 0)
    assert estimate.rates([(mlp, Record(Path(), facts))], "cuda A100") == ({}, {})


def test_the_grid_can_have_other_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run for part in paper_grid("paper", (40,), {"source": "glyphs"}) for run in part.runs]
    assert {run.data.source for run in runs} == {"glyphs"}
    assert main(["sweep", "paper-grid", "--dry-run", "--source", "glyphs", "--seeds", "40", "--parts", "figures"]) == 0
    assert "from measured times of their class on cuda" in " ".join(capsys.readouterr().out.split())


def small_grid(_preset: str, seeds: tuple[int, ...], *_: object) -> list[Part]:
    options = Continual(
        models=("mlp",), normalisations=("none",), arms=("continual",), source="gmm", classes_per_task=2, tasks=2,
        steps=10, scale=8, batch=8, per_class=20, probe_per_class=10, theory=False, seeds=seeds,
    )  # fmt: skip
    faster = replace(options, step_sizes=(1e30,))
    return [Part("continual", "calm", "the first", options.runs()), Part("continual", "wild", "", faster.runs())]


def test_the_command_carries_out_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "paper_grid", small_grid)
    common = ["--out", str(tmp_path), "--seeds", "40", "41"]
    assert main(["sweep", "paper-grid", *common, "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "GPU-hours left, estimated: 0.0 for 4 runs (0 from measured" in capsys.readouterr().out
    assert main(["sweep", "paper-grid", *common, "--parts", "calm"]) == 0
    assert {r.manifest["status"] for r in records(tmp_path / "continual")} == {"finished"}
    assert main(["sweep", "paper-grid", *common]) == 1
    shown = capsys.readouterr()
    assert "2 runs done, 2 already finished" in shown.out
    assert shown.err.count("not finite") == 2
    assert main(["sweep", "status", *common]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "│ all" in line)
    assert [cell.strip() for cell in row.split("│")[2:8]] == ["4", "2", "2", "0", "0", "0"]


def test_a_comparison_is_complete_before_the_next_begins() -> None:
    for part in PAPER:
        ordered = by_comparison(part.runs, lambda run: float(run.model.name != "vit"))
        assert Counter(ordered) == Counter(part.runs)
        keys = [comparison(run) for run in ordered]
        assert sum(a != b for a, b in pairwise(keys)) + 1 == len(set(keys))
        names = [run.model.name == "vit" for run in ordered]
        assert names == sorted(names, reverse=True)
    arms = {(run.fresh, run.optimiser.repair) for run in by_comparison(PAPER[0].runs, lambda _: 0.0)[:15]}
    assert {(True, "none"), (False, "none"), (False, "cbp")} <= arms


def test_a_budget_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "paper_grid", small_grid)
    common = ["sweep", "paper-grid", "--out", str(tmp_path), "--seeds", "40", "--parts", "calm"]
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "over", True)
        assert main([*common, "--budget", "500"]) == 75
    with pytest.raises(InvalidInput, match=r"too short for one window .*--budget"):
        main([*common, "--budget", "1e-9"])
    with pytest.raises(SystemExit, match="2"):
        main([*common, "--budget", "5", "--stop-after", "5"])
    assert "is --stop-after under another name" in capsys.readouterr().err
    for budget in ("-3", "nan"):
        with pytest.raises(SystemExit, match="2"):
            main([*common, "--budget", budget])
        assert f"budget={float(budget)}: must be seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "paper-grid, status"),
        (["grid"], "paper-grid, status"),
        (["status", "--parts", "nonsense"], "continual: figures"),
        (["status", "--preset", "huge"], "paper, laptop, smoke"),
        (["status", "--out", __file__], "is no folder"),
    ],
)
def test_bad_input_is_named(arguments: list[str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        main(["sweep", *arguments])


def test_the_plan_counts_nodes_bytes_and_the_longest_chain() -> None:
    runs = [run for run in CONTINUAL["paper"].runs() if run.model.name in ("mlp", "vit")]
    vits = [run for run in runs if run.model.name == "vit"]
    execution = Execution(device="cuda")
    together = plan.planned(runs, lambda run: 7200.0 if run in vits else 3600.0, {"continual": 1e3}, execution, 4)
    seeds = len({run.seed for run in runs})
    assert together.jobs * seeds == len(runs)
    assert together.node_hours == pytest.approx((len(runs) + len(vits)) / 4)
    assert (together.record_bytes, together.measured) == (len(runs) * 1e3, 0)
    assert together.longest is not None
    assert (together.longest.hours, together.longest.runs) == (2 * seeds, seeds)
    assert together.longest.first in vits
    assert together.checkpoint_bytes == seeds * 24 * max(estimate.parameters(run) for run in runs)
    alone = plan.planned(runs, lambda _: 3600.0, {plan.size_class(runs[0]): 10.0}, Execution(device="cpu"), 4)
    assert alone.jobs == len(runs)
    assert alone.measured == sum(plan.size_class(run) == plan.size_class(runs[0]) for run in runs) > 0
    assert alone.record_bytes == 10 * alone.measured
    assert alone.longest is not None
    assert alone.longest.hours == 1
    assert plan.planned([], lambda _: 1.0, {}, execution, 1).longest is None
    mlp = next(run for run in runs if run not in vits)
    assert estimate.parameters(mlp) == (3 * 64 * 64 + 1) * 128 + 4 * (128 + 1) * 128 + (128 + 1) * 10
    cloning = next(r for r in CLONING["paper"].runs() if r.model.name == "mlp" and r.control)
    base, clone = ((3 * 32 * 32 + 1) * w + 4 * (w + 1) * w + 5 * 2 * w + (w + 1) * 10 for w in (128, 256))  # BatchNorm
    assert estimate.parameters(cloning) == base + 2 * clone  # the control is as wide


def test_a_dry_run_prints_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "paper_grid", small_grid)
    common = ["sweep", "paper-grid", "--dry-run", "--out", str(tmp_path), "--seeds", "40", "41", "--node-devices", "2"]
    assert main(common) == 0
    shown = capsys.readouterr().out
    assert "plan: 4 jobs, " in shown
    assert "on nodes of 2 cores" in shown
    assert "MB of records (0 runs by records of their class here" in shown
    assert "longest chain: " in shown
    with pytest.raises(SystemExit) as refused:
        main([*common[:-1], "0"])
    assert refused.value.code == 2
    assert "node_devices=0: must be at least 1" in capsys.readouterr().err
