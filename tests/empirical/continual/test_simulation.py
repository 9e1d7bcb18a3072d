"""Continual classification: options, the protocol of a task, metrics that leave no trace, resume, the command."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from empirical.__main__ import main
from empirical.continual.metrics import COLUMNS, Probe, accuracies, layer_rows, network_row
from empirical.continual.options import CONTINUAL, Continual, ContinualRun
from empirical.continual.records import END, FIRST_STEP, INITIALISATION, TRAINING, Setting, setting
from empirical.continual.simulation import Simulation, model_seed
from empirical.runs.saved import NETWORK, group_of, groups
from empirical.runs.store import records
from empirical.streams.tasks import as_inputs, batch_indices, open_source, task
from empirical.training.models import build
from empirical.training.options import DataOptions, ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer, classifier
from lop_theory.errors import InvalidInput
from tests.empirical.refusal import refusal

torch.set_num_threads(1)
DATA = DataOptions("gmm", side=12, per_class=16, probe_per_class=6)


def tiny(**changes: object) -> ContinualRun:
    """A run of two tasks of seven steps, windows of three."""
    base = ContinualRun(
        seed=3, model=ModelOptions("mlp", scale=8), data=DATA, optimiser=OptimiserOptions(step_size=0.01), fresh=False,
        tasks=2, classes_per_task=2, steps=7, batch=8, window=3, theory=False,
    )  # fmt: skip
    return replace(base, **changes)


def rows_of(simulation: Simulation) -> list[list[dict]]:
    """All rows of every run, from where it is to the end."""
    found: list[list[dict]] = [[] for _ in simulation.runs]
    while simulation.step < simulation.run.length:
        for own, (rows, cause) in zip(found, simulation.advance(), strict=True):
            assert cause is None
            own.extend(rows)
    return found


def test_rows_of_a_run_and_their_moments() -> None:
    simulation = Simulation([tiny()])
    rows = [*simulation.first_rows()[0], *rows_of(simulation)[0]]
    whole = [(row["step"], row["task"], row["moment"]) for row in rows if row["layer"] == NETWORK]
    one_task = [(1, FIRST_STEP), (3, TRAINING), (6, TRAINING), (7, END)]
    assert whole == [(0, 0, INITIALISATION), *((s + 7 * t, t, m) for t in (0, 1) for s, m in one_task)]
    assert all(row.keys() <= COLUMNS.keys() for row in rows)
    measured = [row["layer"] for row in rows if row["moment"] != TRAINING and row["layer"] != NETWORK]
    assert measured == [*range(5)] * 5
    assert all(np.isfinite(v) for row in rows for v in row.values())


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_metrics_never_change_the_run(normalisation: str) -> None:
    """The same steps by the engine alone, unmeasured, end in the same weights, buffers and optimiser, bit for bit."""
    run = tiny(model=ModelOptions("mlp", normalisation, dropout=0.2, scale=8))
    simulation = Simulation([run])
    simulation.first_rows()
    rows_of(simulation)
    source = open_source(run.data)
    model = build(run.model, source.image, source.classes, model_seed(run.seed, 0))
    trainer = Trainer([model], run.optimiser, [run.seed])
    for index in range(run.tasks):
        drawn = task(source, run.data, run.seed, index, run.classes_per_task)
        images, labels = as_inputs(drawn.images), torch.from_numpy(drawn.labels)
        mask = torch.zeros(1, source.classes, dtype=torch.bool)
        mask[0, list(drawn.classes)] = True
        trainer.reset_head()
        for step in range(run.steps):
            at = torch.from_numpy(batch_indices(run.seed, index, step, run.batch, len(labels)))
            trainer.step(images[at][None], labels[at][None], mask)
    plain, measured = trainer.state(0), simulation.states()[0]
    assert plain.keys() == measured.keys()
    for name, array in plain.items():
        assert np.array_equal(array, measured[name]), name


def test_a_run_goes_on_from_any_checkpoint() -> None:
    for arm in (tiny(), tiny(fresh=True), tiny(optimiser=OptimiserOptions(step_size=0.01, repair="cbp"))):
        whole = Simulation([arm])
        expected = rows_of(whole)[0]
        stopped = Simulation([arm])
        before = [row for _ in range(4) for row in stopped.advance()[0].rows]
        resumed = Simulation([arm], stopped.states(), stopped.step)
        assert before + rows_of(resumed)[0] == expected
        for name, array in whole.states()[0].items():
            assert np.array_equal(array, resumed.states()[0][name]), name


def test_seeds_together_are_seeds_alone() -> None:
    runs = [tiny(seed=seed) for seed in (3, 4)]
    together = rows_of(Simulation(runs))
    for run, rows in zip(runs, together, strict=True):
        alone = rows_of(Simulation([run]))[0]
        assert [row.keys() for row in alone] == [row.keys() for row in rows]
        for own, other in zip(alone, rows, strict=True):
            assert [*own.values()] == pytest.approx([*other.values()], rel=1e-4, abs=1e-6)
    assert together[0] != together[1]


def test_the_head_is_zero_at_a_task_and_the_control_begins_anew() -> None:
    continual, fresh = Simulation([tiny(window=7)]), Simulation([tiny(window=7, fresh=True)])
    assert continual.advance()[0].rows == fresh.advance()[0].rows  # the same network in the first task
    for simulation in (continual, fresh):
        simulation._begin_task(1)
        assert all(not p.any() for p in classifier(simulation.trainer.models[0]).parameters())
    image, classes = fresh.source.image, fresh.source.classes
    new = build(fresh.run.model, image, classes, model_seed(3, 1))
    hidden = [name for name, _ in new.named_parameters()][:-2]
    for name in hidden:
        assert torch.equal(fresh.trainer.models[0].get_parameter(name), new.get_parameter(name))
        assert not torch.equal(continual.trainer.models[0].get_parameter(name), new.get_parameter(name))


def test_a_run_that_diverges_stops_alone() -> None:
    simulation = Simulation([tiny(seed=3), tiny(seed=4)])
    with torch.no_grad():
        next(simulation.trainer.models[0].parameters()).fill_(float("nan"))
    first, second = simulation.advance()
    assert "is not finite" in str(first.cause)
    assert first.rows == []
    assert second.cause is None
    assert second.rows


def test_accuracies_and_norms_against_plain_definitions() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 5))
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(30, 4, generator=generator), torch.randint(1, 3, (30,), generator=generator)
    allowed = torch.tensor([False, True, True, False, False])
    output = model(inputs).detach().numpy()
    masked = float(np.mean(1 + output[:, 1:3].argmax(1) == labels.numpy()))
    among_all = float(np.mean(output.argmax(1) == labels.numpy()))
    assert accuracies(model, inputs, labels, allowed) == pytest.approx((masked, among_all))
    row = network_row(model, Probe(inputs, labels, allowed), theory=False)
    loss = torch.nn.functional.cross_entropy(model(inputs)[:, 1:3], labels - 1)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert row["probe_loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-4)


def test_layer_metrics_against_plain_definitions() -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5))
    with torch.no_grad():
        model[0].bias[0] = -100  # dead
        model[0].weight[2], model[0].bias[2] = 2 * model[0].weight[1], 2 * model[0].bias[1]  # duplicates
        model[2].weight[:, 3] = 0  # no gradient
    inputs, labels = torch.randn(40, 4), torch.randint(0, 5, (40,))
    (row,) = layer_rows(model, Probe(inputs, labels, torch.ones(5, dtype=torch.bool)))
    h = torch.relu(model[0](inputs)).detach().requires_grad_()
    torch.nn.functional.cross_entropy(model[2](h), labels, reduction="sum").backward()
    mean = h.detach().abs().mean(0)
    for name, share in (("saturated", 1.0), ("saturated_as_coded", 1 / 40)):
        small = (share * h.grad.abs() / mean.clamp_min(1e-12) < 1e-4).double().mean(0) > 0.99
        assert row[name] == pytest.approx(float(small.double().mean()))
    assert row["saturated"] >= 1 / 8
    assert row["dead"] == 1 / 8
    assert row["dormant"] == pytest.approx(float((mean <= 0.025 * mean.mean()).double().mean()))
    assert row["duplicate_as_paper"] >= 2 / 8 > row["duplicate_as_coded"] - 1 / 8


def test_settings_are_varied_one_at_a_time_or_crossed() -> None:
    options = Continual(
        models=("mlp", "vit"), normalisations=("none", "layer"), affine=(True, False), dropout=(0.0, 0.1),
        arms=("continual", "fresh", "cbp"), seeds=(1, 2),
    )  # fmt: skip
    found = {setting(asdict(run)) for run in options.runs()}
    assert len(options.runs()) == 2 * len(found)
    mlp = [Setting("mlp"), Setting("mlp", "layer"), Setting("mlp", "layer", affine=False), Setting("mlp", dropout=0.1)]
    vit = [s._replace(model="vit") for s in mlp]
    arms = [Setting("mlp", arm="fresh"), Setting("mlp", arm="cbp"), Setting("vit", arm="fresh")]
    assert found == {*mlp, *vit, *arms}
    crossed = {setting(asdict(run)) for run in replace(options, cross="all").runs()}
    assert len(crossed) == 3 * 2 * 3 + 3 * 2 * 2  # normalisation and affine, dropout, arms (no CBP for a ViT)
    assert found < crossed


def test_presets_have_their_sizes() -> None:
    for preset, steps in (("paper", 500), ("paper-epochs", 10_000)):
        runs = CONTINUAL[preset].runs()
        assert {run.steps for run in runs} == {steps}
        assert {(run.tasks, run.classes_per_task, run.batch, run.data.side, run.model.scale) for run in runs} == {
            (40, 5, 128, 64, 1)
        }
        assert {run.seed for run in runs} == {40, 41, 42, 43, 44}
        assert {(run.model.name, run.optimiser.step_size) for run in runs} == {
            ("mlp", 1e-3), ("cnn", 1e-3), ("resnet18", 1e-3), ("vit", 1e-4)
        }  # fmt: skip
    smoke = CONTINUAL["smoke"].runs()
    assert {run.model.name for run in smoke} == {"mlp", "cnn", "resnet18", "vit"}
    assert all(run.theory for run in smoke)
    assert any(run.fresh for run in smoke)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--tasks", "0"], "tasks"),
        (["--models", "rnn"], "--models"),
        (["--step-sizes", "-1"], "step_sizes"),
        (["--dropout", "1.5"], "dropout"),
        (["--scale", "3"], "scale"),
        (["--noise", "-1"], "noise"),
        (["--seeds", "-4"], "seeds"),
        (["--preset", "big"], "smoke, laptop, paper, paper-epochs"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in refusal(["continual", *arguments], capsys)


@pytest.mark.parametrize("command", ["continual", "cloning", "escape"])
def test_data_that_are_not_here_are_said_before_anything_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = [command, "--source", "cifar10", "--preset", "smoke", "--out", str(tmp_path / "runs")]
    assert "source='cifar10': is not on this machine; run: python -m empirical data" in refusal(asked, capsys)
    assert not (tmp_path / "runs").exists()


TINY = ["continual", "--models", "mlp", "--normalisations", "none", "--source", "gmm", "--noise", "0", "--tasks", "2",
        "--steps", "4", "--batch", "8", "--side", "8", "--scale", "8", "--per-class", "8", "--theory", "False",
        "--classes-per-task", "2", "--arms", "continual", "fresh", "--seeds", "1", "2"]  # fmt: skip


def test_the_command_and_its_saved_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "4 runs done" in shown
    assert "mlp, no norm, fresh" in shown
    assert str(tmp_path / "continual") in shown
    found = records(tmp_path / "continual")
    group = group_of(r for r in found if not r.config["fresh"])
    assert group.seeds == (1, 2)
    values, layer = group.stacked("dead", "layer", moment=END)
    assert values.shape == (2, 2 * 6)
    assert np.array_equal(layer[0], [*range(-1, 5)] * 2)
    with pytest.raises(
        InvalidInput, match=r"lacks .* of the preset smoke.*python -m empirical continual --preset smoke"
    ):
        groups("continual", "smoke", CONTINUAL["smoke"].runs(), lambda run: run.model, tmp_path)


@pytest.mark.parametrize("permuted", [False, True])
def test_a_graph_on_bytes_drawn_ahead_goes_as_eager_does(permuted: bool) -> None:
    """What a GPU does, on the CPU: pictures stay bytes, are drawn by threads, and steps are static ones."""
    run = tiny(data=DataOptions("glyphs", 8, permuted, 6, 3), model=ModelOptions("mlp", "batch", dropout=0.2, scale=8))
    runs = [replace(run, seed=seed) for seed in (3, 4)]
    plain, graph = Simulation(runs), Simulation(runs, engine="graph", drawers=2)
    assert graph.tasks(0)[0].images.dtype == torch.uint8
    for left, right in zip(rows_of(plain), rows_of(graph), strict=True):
        assert [row.keys() for row in left] == [row.keys() for row in right]
        for a, b in zip(left, right, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4) if "loss" in a else True
    assert graph.facts == {"engine": {"name": "graph", "because": "asked for"}}
    assert plain.facts["engine"]["name"] == "eager"
    whole, resumed = (Simulation(runs, engine="graph") for _ in range(2))
    rows_of(whole)
    resumed.advance()
    resumed = Simulation(runs, resumed.states(), resumed.step, engine="graph")
    rows_of(resumed)
    for left, right in zip(whole.states(), resumed.states(), strict=True):
        assert all(np.array_equal(left[name], right[name]) for name in left)
