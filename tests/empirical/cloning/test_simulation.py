"""Cloning: distances against oracles, clones that stay and clones that leave, resume, groups, the command."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from empirical.__main__ import main
from empirical.cloning.metrics import Sample, equitable_square, layer_rows, manifold_row, spread_square
from empirical.cloning.options import CLONING, Cloning, CloningRun, setting
from empirical.cloning.simulation import Simulation
from empirical.runs.run import Row
from empirical.runs.store import records
from empirical.theory.clone import cloning as theory_cloning
from empirical.training.models import build
from empirical.training.options import ModelOptions
from lop_theory.errors import InvalidInput
from lop_theory.metrics import distance_to_equitable
from lop_theory.modules import expand
from lop_theory.modules.numeric import signals

torch.set_num_threads(1)
TINY = Cloning(
    models=("mlp",), source="gmm", side=8, scale=16, classes=2, per_class=40, probe_per_class=10, batch=16, pretrain=6,
    steps=12, measurements=3,
)  # fmt: skip
SMALL = {
    **{name: ModelOptions(name, "batch", scale=32) for name in ("mlp", "cnn", "resnet18")},
    "vit": ModelOptions("vit", "layer", scale=64, patch=4),
}


def runs_of(arm: str, **changes: Any) -> list[CloningRun]:
    return replace(TINY, arms=(arm,), **changes).runs()


def rows_of(simulation: Simulation) -> list[list[Row]]:
    """All rows of every run from here on."""
    found: list[list[Row]] = [[] for _ in simulation.runs]
    while simulation.step < simulation.run.length:
        for k, (rows, cause) in enumerate(simulation.advance()):
            assert cause is None
            found[k] += rows
    return found


def networks(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["layer"] == -1 and "defect" in row]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_distances_against_direct_formulas(rows: int, columns: int, a: int, b: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows * a, columns * b, 2))
    maps = (np.arange(rows * a) // a, np.arange(columns * b) // b, np.arange(2))
    blocks = weight.reshape(rows, a, columns, b, 2)
    assert spread_square(weight, maps) == pytest.approx(((blocks - blocks.mean((1, 3), keepdims=True)) ** 2).sum())
    kernels = [
        distance_to_equitable(torch.from_numpy(weight[:, :, k]), maps[0].tolist(), maps[1].tolist()) ** 2
        for k in range(2)
    ]
    if (a, b) != (1, 1):
        assert equitable_square(weight, maps) == pytest.approx(sum(kernels))
        assert (
            equitable_square(blocks.mean((1, 3), keepdims=True).repeat(a, 1).repeat(b, 3).reshape(weight.shape), maps)
            < 1e-24
        )


@pytest.mark.parametrize("name", SMALL)
def test_defects_agree_with_the_theory_s_own_reading(name: str) -> None:
    image = (3, 8, 8)
    base = build(SMALL[name], image, 4, 0).double().eval()
    inputs = torch.randn(8, *image, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    probe = Sample(inputs, torch.arange(8) % 4)
    clone = expand(base, 2, example_input=inputs, traced=True)
    wide = build(SMALL[name], image, 4, 0, widen=2).double().eval()
    wide.load_state_dict(clone.state_dict())
    exact = layer_rows(wide, probe, "clone", 2)
    assert {row[key] for row in exact for key in ("forward_defect", "backward_defect")} == {0.0}
    assert manifold_row(wide, clone.profile.state) == {"spread": 0.0, "distance": 0.0}
    with torch.no_grad():
        for p in wide.parameters():
            p.add_(0.02 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(p.numel())))
    clone.load_state_dict(wide.state_dict())
    theirs = theory_cloning(clone, signals(clone.program, clone.state(), [inputs], seed=0, loss=probe.loss))
    ours = [(row["forward_defect"], row["backward_defect"]) for row in layer_rows(wide, probe, "clone", 2)]
    assert min(min(pair) for pair in ours) > 0
    assert np.allclose(ours, [(1 - f, 1 - b) for f, b in theirs.values()], rtol=1e-6, atol=1e-12)
    assert 0 < manifold_row(wide, clone.profile.state)["distance"] < manifold_row(wide, clone.profile.state)["spread"]


@pytest.mark.claim("cloning-normalisation")
@pytest.mark.claim("cloning-stays")
@pytest.mark.parametrize("normalisation", ["batch", "layer"])
@pytest.mark.parametrize("arm", ["sgd", "adam", "matched"])
def test_copies_stay_copies_bit_by_bit(arm: str, normalisation: str) -> None:
    simulation = Simulation(runs_of(arm, normalisation=normalisation))
    assert "defect" not in simulation.first_rows()[0][0]
    found = networks(rows_of(simulation)[0])
    assert len(found) == 4
    assert {row[key] for row in found for key in ("defect", "spread", "distance")} == {0.0}
    assert {row["theory_fail"] for row in found} == {0}
    assert {row["r2_as_coded"] for row in found} == {0.5}


@pytest.mark.claim("cloning-rates")
def test_matched_step_sizes_alone_make_the_clone_its_base() -> None:
    matched, same = (networks(rows_of(Simulation(runs_of(arm)))[0]) for arm in ("matched", "sgd"))
    assert max(row["function_gap"] for row in matched) < 1e-5
    assert [row["theory_clone_equals_base_pass"] for row in matched] == [2] * 4
    assert max(row["function_gap"] for row in same) > 1e-2
    assert [row["theory_clone_equals_base_out"] for row in same] == [1] * 4


@pytest.mark.claim("cloning-leaves")
@pytest.mark.parametrize("arm", ["noisy_sgd", "dropout"])
def test_noise_and_dropout_break_copies(arm: str) -> None:
    first, *later = networks(rows_of(Simulation(runs_of(arm)))[0])
    assert first["defect"] == first["spread"] == 0.0
    assert min(row["defect"] for row in later) > 1e-7
    assert {row["theory_fail"] for row in later} == {0}  # out of hypothesis, not wrong
    assert min(row["theory_clone_distance_out"] for row in later) == 5
    assert (later[-1].get("clone_noise_ratio", 1.0)) > 0.1


@pytest.mark.claim("cloning-rounding")
def test_clones_that_are_not_copies_start_on_the_manifold_up_to_rounding() -> None:
    for arm, least, most in (("redistributed", 0.0, 1e-6), ("redistributed64", 0.0, 1e-14)):
        first = networks(rows_of(Simulation(runs_of(arm)))[0])[0]
        assert least <= first["distance"] < most
        assert first["spread"] > 0.01
        assert first["function_gap"] < 1e-4


def test_planted_break_fails_the_theory_s_check() -> None:
    simulation = Simulation(runs_of("sgd"))
    simulation.advance()
    with torch.no_grad():
        next(simulation.trainers["clone"].models[0].parameters())[0] += 0.5
    assert simulation._measured(0, {})[0]["theory_fail"] > 0


@pytest.mark.parametrize("arm", ["noisy_sgd", "adam", "dropout"])
def test_resumed_runs_are_the_same(arm: str) -> None:
    runs = runs_of(arm, theory=False)
    whole = Simulation(runs)
    whole.first_rows()
    expected = rows_of(whole)[0]
    stopped = Simulation(runs)
    for _ in range(2):
        stopped.advance()
    again = Simulation(runs, stopped.states(), stopped.step)
    assert rows_of(again)[0] == [row for row in expected if row["step"] > stopped.step]
    end, reached = whole.states()[0], again.states()[0]
    assert end.keys() == reached.keys()
    assert all(np.array_equal(array, end[name]) for name, array in reached.items())


def test_seeds_together_are_seeds_alone_and_measuring_disturbs_nothing() -> None:
    runs = runs_of("noisy_sgd", seeds=(1, 2), theory=True)
    together = rows_of(Simulation(runs))
    for run, rows in zip(runs, together, strict=True):
        alone = Simulation([run])
        assert rows_of(alone)[0] == rows
        before = alone.states()[0]
        alone._measured(0, {})
        assert all(np.array_equal(a, before[name]) for name, a in alone.states()[0].items())
    assert together[0] != together[1]


def test_a_loss_that_is_not_finite_ends_the_run_by_name() -> None:
    simulation = Simulation(runs_of("sgd", step_size=1e30, normalisation="none", seeds=(3,)))
    while not (brought := simulation.advance()[0]).cause and simulation.step < simulation.run.length:
        pass
    assert brought.cause is not None
    assert "loss is not finite" in brought.cause


def test_command_runs_skips_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = (
        "cloning --models mlp --source gmm --side 8 --scale 32 --classes 2 --steps 4 --pretrain 2 --measurements 2 "
        f"--arms sgd noisy_sgd --per-class 20 --out {tmp_path}"
    ).split()
    assert main(tiny) == 0
    assert "2 runs done, 0 already finished" in capsys.readouterr().out
    assert main(tiny) == 0
    shown = capsys.readouterr().out
    assert "0 runs done, 2 already finished" in shown
    assert "mlp noisy_sgd" in shown
    assert {setting(r.config).arm for r in records(tmp_path / "cloning")} == {"sgd", "noisy_sgd"}


def test_every_run_of_a_preset_is_different_and_has_its_setting() -> None:
    for name, options in CLONING.items():
        runs = options.runs()
        assert options.preset == name
        assert len(set(runs)) == len(runs)
        assert len({setting(asdict(run)) for run in runs}) * len(options.seeds) == len(runs)
    paper = CLONING["paper"].size("mlp")
    assert (paper.scale, paper.side, paper.batch, paper.pretrain, paper.steps) == (1, 32, 128, 20 * 391, 500 * 391)
    noises = {setting(asdict(run))[2:4] for run in CLONING["paper"].runs() if run.optimiser.name == "noisy_sgd"}
    assert noises == {(s, d) for s in (0.01, 0.02, 0.05) for d in (0.0, 0.9, 0.99, 0.999, 1.0)}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"models": ()}, "models"),
        ({"arms": ("magic",)}, "arms"),
        ({"factor": 1}, "factor"),
        ({"dropout": (0.0,)}, "dropout"),
        ({"measurements": 7}, "does not divide"),
        ({"step_size": float("nan")}, "step_size"),
        ({"pretrain": 0}, "pretrain"),
        ({"scale": 3}, "scale"),
        ({"sigma": (-1.0,)}, "sigma"),
        ({"seeds": (-1,)}, "seeds"),
        ({"cross": "some"}, "cross"),
    ],
)
def test_bad_options_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        replace(TINY, **changes)
