"""The escape experiment: branches against plain continual training, resumption, perturbations, records."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from empirical.continual import simulation as continual
from empirical.continual.metrics import Probe
from empirical.continual.records import END, FIRST_STEP
from empirical.escape import simulation as escape
from empirical.escape.metrics import clones_found, found_lost, layer_moments, revived, silent, spectrum
from empirical.escape.options import BRANCHES, STAGE_1, Escape, EscapeRun, Perturbations, Stage, half_lost
from empirical.escape.perturb import leave_clones
from empirical.escape.records import area, cell, curves, final, recovered
from empirical.escape.simulation import COLUMNS, EXPERIMENT, Place, Simulation, place
from empirical.runs.saved import NETWORK, group_of
from empirical.runs.store import Record, Row
from empirical.training.options import DataOptions, ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer
from lop_theory.errors import InvalidInput

TINY = Escape(
    seeds=(3,), side=8, scale=8, per_class=8, probe_per_class=4, before=2, after=2, steps=6, batch=8, window=3,
    spectrum=3, classes_per_task=3, starts=("end",),
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(**changes: object) -> EscapeRun:
    return replace(TINY, **changes).runs()[0]


def rows_of(runs: list[EscapeRun]) -> list[list[Row]]:
    simulation = Simulation(runs)
    rows = simulation.first_rows()
    while simulation.step < runs[0].length:
        for own, brought in zip(rows, simulation.advance(), strict=True):
            assert brought.cause is None
            own.extend(brought.rows)
    return rows


PLACE = ("start", "branch")


def branch_rows(
    rows: list[Row], name: str | None, drop: tuple[str, ...] = ("step", *PLACE), start: str = "end"
) -> list[Row]:
    wanted = (STAGE_1 if name is None else Stage(start, name)).numbers
    return [{k: v for k, v in row.items() if k not in drop} for row in rows if wanted.items() <= row.items()]


@pytest.fixture(scope="module")
def whole() -> list[Row]:
    torch.set_num_threads(1)
    return rows_of([tiny()])[0]


def test_rows_hold_declared_columns_and_branches_see_the_same_tasks(whole: list[Row]) -> None:
    assert {name for row in whole for name in row} <= set(COLUMNS)
    for name in BRANCHES:
        places = [(r["task"], r["moment"], r["layer"]) for r in branch_rows(whole, name)]
        assert places == [(r["task"], r["moment"], r["layer"]) for r in branch_rows(whole, "none")]
    steps = [row["step"] for row in whole if row["layer"] == NETWORK]
    assert steps == sorted(steps)
    assert steps[-1] == tiny().length


def test_stage_1_and_the_unperturbed_branch_are_plain_continual_training(whole: list[Row]) -> None:
    plain = continual.Simulation([tiny().continual(None)])
    rows = plain.first_rows()[0]
    while plain.step < 4 * 6:
        rows += [row for row in plain.advance()[0].rows if row["moment"] != FIRST_STEP]
    found = [*branch_rows(whole, None, PLACE), *branch_rows(whole, "none", PLACE)]
    assert len(found) == len(rows)
    for own, other in zip(found, rows, strict=True):
        assert {k: own[k] for k in other} == other


def test_perturbations_of_no_size_change_nothing() -> None:
    still = Perturbations(sigma=0, dropout=0, shrink=1, perturb=0, escape=0)
    rows = rows_of([tiny(perturbations=still)])[0]
    none = [{k: v for k, v in row.items() if not k.startswith("escape")} for row in branch_rows(rows, "none")]
    for name in ("noise", "dropout", "shrink_perturb", "escape"):
        found = [{k: v for k, v in row.items() if not k.startswith("escape")} for row in branch_rows(rows, name)]
        assert found == none
    assert branch_rows(rows, "fresh") != none


def test_perturbations_of_some_size_change_something(whole: list[Row]) -> None:
    none = [row["loss"] for row in branch_rows(whole, "none") if "loss" in row]
    for name in ("fresh", "noise", "dropout", "shrink_perturb", "escape"):
        assert [row["loss"] for row in branch_rows(whole, name) if "loss" in row] != none
    lengths = [row["escape_length"] for row in branch_rows(whole, "escape") if "escape_length" in row]
    assert len(lengths) == 2
    assert min(lengths) > 0


def test_half_is_lost_at_the_first_task_nearer_to_chance_than_to_the_first_tasks() -> None:
    assert not half_lost([0.9] * 5, 0.2)
    assert not half_lost([0.9] * 5 + [0.56], 0.2)
    assert half_lost([0.9] * 5 + [0.54], 0.2)
    assert not half_lost([0.1] * 4, 0.2)


def test_branches_begin_where_half_was_lost_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escape, "half_lost", lambda accuracies, _: len(accuracies) == 1)
    run = tiny(starts=("half", "end"), branches=("fresh", "none"), before=2)
    assert run.stages == [Stage("half", "fresh"), Stage("half", "none"), Stage("end", "none")]
    simulation = Simulation([run])
    simulation.advance()
    after_one = simulation._inner.states()[0]["model/values"]
    rows = simulation.advance()[0].rows
    after_two = simulation._inner.states()[0]["model/values"]
    for start, network in (("half", after_one), ("end", after_two)):
        simulation = Simulation([run], simulation.states(), simulation.step)
        while place(run, simulation.step).stage != Stage(start, "none"):
            rows += simulation.advance()[0].rows
        rows += simulation.advance()[0].rows
        begun = Simulation([run], simulation.states(), simulation.step - run.steps)._inner
        assert np.array_equal(begun.states()[0]["model/values"], network)
    tasks = {start: [r["task"] for r in branch_rows(rows, "none", start=start)] for start in ("half", "end")}
    assert set(tasks["half"]) == {2, 3}
    assert set(tasks["end"]) == {2}


@pytest.mark.claim("frozen-unit")
def test_silent_units_of_the_first_layer_stay_silent_without_noise_and_repair() -> None:
    simulation = Simulation([tiny(branches=("none", "dropout", "noise"), window=40, steps=160, before=1, after=1)])
    with torch.no_grad():
        simulation._inner.trainer.models[0].get_parameter("1.bias")[:8] = -60.0
    rows = []
    while simulation.step < simulation.run.length:
        rows += [r for r in simulation.advance()[0].rows if r["layer"] == 0]
    for name in (None, "none", "dropout"):
        (row,) = branch_rows(rows, name)
        assert row["silent"] >= 8
        assert row["revived"] == 0
    assert branch_rows(rows, "noise")[0]["silent"] >= 8


def test_silent_units_are_zero_on_all_images_and_revived_ones_are_not() -> None:
    model, probe = cloned_mlp()
    before = silent(model, probe.inputs)
    assert before[0].tolist() == [False, False, True, False, False, False]
    with torch.no_grad():
        model[1].bias[2] = 100.0
    assert revived(before, silent(model, probe.inputs)) == [{"silent": 1, "revived": 1}]
    assert revived(before, before) == [{"silent": 1, "revived": 0}]


def test_resumed_at_any_task_it_is_the_same_run(whole: list[Row]) -> None:
    run, stops = tiny(), (6, 12, 18, 24, 42, 90)
    simulation = Simulation([run])
    rows = simulation.first_rows()[0]
    while simulation.step < run.length:
        if simulation.step in stops:
            simulation = Simulation([run], simulation.states(), simulation.step)
        rows += simulation.advance()[0].rows
    assert rows == whole
    ended = Simulation([run], simulation.states(), run.length)
    assert ended.states()[0].keys() == simulation.states()[0].keys()


def test_seeds_together_are_the_seeds_alone(whole: list[Row]) -> None:
    own = tiny(branches=("none", "dropout", "escape"))
    other = replace(own, seed=4)
    assert EXPERIMENT.group(other) == EXPERIMENT.group(own)
    together = rows_of([other, own])
    for name in (None, *own.branches):
        assert branch_rows(together[1], name) == branch_rows(whole, name)
        assert branch_rows(together[0], name) != branch_rows(whole, name)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_cause() -> None:
    simulation = Simulation([tiny()])
    with torch.no_grad():
        next(simulation._inner.trainer.models[0].parameters()).fill_(float("nan"))
    assert "not finite" in (simulation.advance()[0].cause or "")


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (0, Place(STAGE_1, 0)), (11, Place(STAGE_1, 11)), (12, Place(Stage("end", "none"), 12)),
        (23, Place(Stage("end", "none"), 23)), (24, Place(Stage("end", "fresh"), 12)),
        (107, Place(Stage("end", "escape"), 23)), (108, Place(Stage("end", "escape"), 24)),
    ],
)  # fmt: skip
def test_places(step: int, found: Place) -> None:
    assert place(tiny(), step) == found


def test_noisy_adam_is_adam_on_noisy_gradients() -> None:
    options = OptimiserOptions("noisy_adam", 0.01, sigma=0.5, noise_scaling="norm")
    trainer = Trainer([nn.Linear(3, 2)], options, [7])
    own = nn.Linear(3, 2)
    own.load_state_dict(trainer.models[0].state_dict())
    adam, noise = torch.optim.Adam(own.parameters(), lr=0.01), torch.Generator().manual_seed(7)
    draw = torch.Generator().manual_seed(0)
    for _ in range(5):
        x, y = torch.randn(4, 3, generator=draw), torch.tensor([0, 1, 1, 0])
        trainer.step(x[None], y[None])
        adam.zero_grad()
        cross_entropy(own(x), y).backward()
        for p in own.parameters():
            assert p.grad is not None
            p.grad += torch.randn(p.shape, generator=noise) * 0.5 * p.grad.norm() / p.numel() ** 0.5
        adam.step()
    for p, q in zip(own.parameters(), trainer.models[0].parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)
    assert trainer.noise_ratio(0) > 0


def cloned_mlp() -> tuple[nn.Sequential, Probe]:
    """An MLP of six units, of which 0 and 1 are clones and 2 is dead, on 12 pictures of 3 classes."""
    draw = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * 0.4)
        model[1].bias[:3] = torch.tensor([0.5, 0.5, -100.0])
        model[1].weight[1] = model[1].weight[0]
    inputs = torch.rand(12, 1, 4, 4, generator=draw) * 2 - 1
    return model, Probe(inputs, torch.arange(12) % 3, torch.ones(3, dtype=torch.bool))


def test_leaving_clones_separates_them_by_a_step_of_the_given_length() -> None:
    model, probe = cloned_mlp()
    before = torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
    found = leave_clones(model, probe, 0.1, 0)
    moved = torch.cat([p.detach().reshape(-1) for p in model.parameters()]) - before
    assert found["escape_curvature"] < 0
    assert float(moved.norm()) == pytest.approx(found["escape_length"], rel=1e-5)
    assert found["escape_length"] == pytest.approx(0.1 * float(before.norm()), rel=1e-6)
    assert not torch.equal(model[1].weight[0], model[1].weight[1])
    assert all(p.grad is None for p in model.parameters())
    assert model.training


def test_without_clones_nothing_is_moved() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight[:], model[1].bias[:] = torch.eye(2), 0.0
    probe = Probe(torch.eye(2), torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool))
    kept = {name: p.clone() for name, p in model.state_dict().items()}
    assert leave_clones(model, probe, 0.1, 0) == {"escape_length": 0.0}
    assert spectrum(model, probe, 3) == {"clones": 0}
    assert all(torch.equal(kept[name], p) for name, p in model.state_dict().items())


def test_lost_units_are_found_and_beside_exact_clones_the_loss_is_a_saddle() -> None:
    model, probe = cloned_mlp()
    lost = found_lost(model, probe, tiny())
    assert lost.certified is not None
    assert lost.dead[0].tolist() == lost.certified[0].tolist() == [False, False, True, False, False, False]
    assert lost.duplicate[0][:2].all()
    assert clones_found(model, layer_moments(model, probe))[1] >= 2
    assert spectrum(model, probe, 20)["saddle"] == 1
    for other in (ModelOptions(normalisation="batch"), ModelOptions("cnn")):
        assert found_lost(model, probe, replace(tiny(), model=other)).certified is None
    assert found_lost(model, probe, replace(tiny(), data=DataOptions("gmm"))).certified is None


def recorded(tmp_path: Path) -> list[Record]:
    from empirical.runs.run import Job, carry_out

    outcomes = carry_out(Job(EXPERIMENT, tuple(TINY.runs()), tmp_path, "cpu"))
    found = [outcome.record for outcome in outcomes]
    assert all(record is not None and record.manifest["status"] == "finished" for record in found)
    return [record for record in found if record is not None]


def test_recovered_shares_and_the_table_come_from_the_rows(tmp_path: Path, whole: list[Row], capsys) -> None:
    found = recorded(tmp_path)
    group = group_of(found)
    own = {name: [r["train_accuracy"] for r in branch_rows(whole, name) if r["layer"] == NETWORK] for name in BRANCHES}
    for name in BRANCHES:
        assert curves(group, Stage("end", name))[0].ravel() == pytest.approx(own[name])
        assert final(group, Stage("end", name))[0] == pytest.approx(own[name][1::2])
    assert curves(group, STAGE_1).shape == (1, 2, 2)
    for name in ("none", "fresh", "escape"):
        lost = np.mean(own["fresh"]) - np.mean(own["none"])
        share = (np.mean(own[name]) - np.mean(own["none"])) / lost if lost > 0 else np.nan
        assert recovered(group, Stage("end", name))[0] == pytest.approx(share, nan_ok=True, abs=1e-5)
    assert area(group, Stage("end", "none")).shape == (1, 2)
    from empirical.escape.command import print_table

    print_table(found)
    shown = capsys.readouterr().out
    assert "escape direction" in shown
    assert "curvature" in shown
    ends = [row for row in whole if row["moment"] == END and row["layer"] == NETWORK and "saddle" in row]
    assert len(ends) <= 9


def test_missing_runs_are_named_with_their_command(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="python -m empirical escape --preset laptop"):
        cell("laptop", tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"branches": ("nothing",)}, "branches"),
        ({"branches": ()}, "branches"),
        ({"starts": ("middle",)}, "starts"),
        ({"seeds": (-1,)}, "seeds"),
        ({"model": "vit"}, "model"),
        ({"window": 4}, "window"),
        ({"after": 0}, "after"),
        ({"spectrum": -1}, "spectrum"),
        ({"preset": "huge"}, "preset"),
        ({"perturbations": Perturbations(dropout=1.0)}, "dropout"),
        ({"perturbations": Perturbations(sigma=float("nan"))}, "sigma"),
        ({"perturbations": Perturbations(noise_scaling="loud")}, "noise_scaling"),
    ],
)
def test_wrong_options_are_refused_by_name(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        replace(TINY, **changes)
