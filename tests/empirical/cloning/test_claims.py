"""The claims about cloning, recomputed from the committed records of the laptop preset, and its figures."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from empirical.cloning import claims, records
from empirical.cloning.claims import at_the_end, curve, rank
from empirical.cloning.leap import Signs, find_leap, main
from empirical.cloning.options import Cloning, Setting
from empirical.cloning.verdicts import VERDICTS
from empirical.runs.saved import Group
from empirical.runs.statistics import effect
from lop_theory.errors import InvalidInput
from tests.empirical.ledger import stated, whole_records


@pytest.fixture(scope="module")
def cells() -> records.Cells:
    return records.cells()


def test_the_records_are_whole() -> None:
    assert len(whole_records("cloning")) >= 140


@pytest.mark.parametrize("name", VERDICTS)
def test_claims_state_what_the_records_say(name: str, cells: records.Cells) -> None:
    assert VERDICTS[name].said(cells) in stated(name)


def test_a_model_with_too_few_seeds_is_left_out_by_name_and_decides_nothing(cells: records.Cells) -> None:
    few = {k: Group(g.seeds[:3], g.records[:3]) if k.model == "cnn" else g for k, g in cells.items()}
    claim = VERDICTS["cloning-leaves"]
    assert "Left out, with too few seeds: CNN" in claim.said(few)
    assert claim.lacks(few) is None
    none = {k: Group(g.seeds[:3], g.records[:3]) for k, g in cells.items()}
    assert claim.lacks(none) == "MLP: 3 seeds of the 5 that it takes"


@pytest.mark.claim("cloning-stays")
def test_sgd_and_adam_never_leave(cells: records.Cells) -> None:
    for key, group in cells.items():
        if key.arm in ("sgd", "adam", "matched"):
            assert curve(group, "defect").max() == curve(group, "spread").max() == 0.0


@pytest.mark.claim("cloning-leaves")
@pytest.mark.claim("cloning-capacity")
def test_noise_and_dropout_leave_and_raise_the_rank(cells: records.Cells) -> None:
    for model in claims.models(records.telling(cells)):
        for group in (claims.strongest(cells, model), claims.dropped(cells, model)):
            assert at_the_end(group, "defect").min() > 1e-5
            assert (rank(group, "clone") > rank(group, "base")).all() or model == "vit"
        sgd = cells[Setting(model, "sgd")]  # type: ignore[arg-type]
        assert abs(effect(rank(sgd, "clone"), rank(sgd, "base")).ratio - 1) < 0.25
        assert (rank(sgd, "control") > rank(sgd, "clone")).all() or model == "vit"


@pytest.mark.claim("cloning-one-step")
def test_one_noisy_step_starts_an_escape(cells: records.Cells) -> None:
    defect = curve(cells[Setting("mlp", "noisy_sgd", 0.05, 0.0)], "defect")
    assert (defect[:, 1] > 0).all()
    assert (defect[:, -1] > 2 * defect[:, 1]).all()


@pytest.mark.claim("cloning-capacity")
def test_leaving_does_not_lower_the_mlp_s_training_loss(cells: records.Cells) -> None:
    noisy = at_the_end(claims.strongest(cells, "mlp"), "clone_train_loss")
    stayed = at_the_end(cells[Setting("mlp", "sgd")], "clone_train_loss")
    assert (noisy > stayed).all()


@pytest.mark.claim("cloning-vit")
def test_the_vit_is_not_nearer_than_the_mlp_here(cells: records.Cells) -> None:
    same = records.shared(cells)  # of the ViT three seeds
    vit, mlp = (at_the_end(claims.strongest(same, model), "defect") for model in ("vit", "mlp"))
    assert effect(vit, mlp).ratio > 0.5


@pytest.mark.claim("cloning-rates")
def test_matched_step_sizes_follow_until_rounding_is_amplified(cells: records.Cells) -> None:
    matched, same = (curve(cells[Setting("mlp", arm)], "function_gap") for arm in ("matched", "sgd"))  # type: ignore[arg-type]
    assert matched[:, 0].max() < 1e-5
    assert (matched[:, 1] < 1e-5).sum() == 4  # one seed has leapt by then
    assert not ((matched > 1e-5) & (matched < 1e-2)).any()  # there is nothing between
    assert same[:, 1].min() > 1e-2
    assert matched[:, -1].min() > 1e-2


@pytest.mark.claim("cloning-rounding")
def test_rounding_alone_leaves_in_float32_only(cells: records.Cells) -> None:
    single, double = (cells[Setting("mlp", arm)] for arm in ("redistributed", "redistributed64"))  # type: ignore[arg-type]
    assert curve(single, "defect")[:, 0].max() < 1e-12
    assert (at_the_end(single, "defect") > 1e-3).sum() == 4
    assert curve(double, "defect").max() < 1e-12
    assert curve(double, "distance").max() < 1e-14
    assert np.sum(rank(single, "clone") > 1.1 * rank(single, "base")) == 4


@pytest.mark.claim("cloning-normalisation")
def test_normalised_clones_stay_and_noise_would_have_shown(cells: records.Cells) -> None:
    norms = {group.config["model"]["normalisation"] for group in cells.values()}
    assert norms == {"batch", "layer"}
    assert VERDICTS["cloning-normalisation"].held(cells)
    for key, group in cells.items():
        if key.arm in ("sgd", "adam", "matched"):
            assert curve(group, "defect").max() == 0.0
            assert at_the_end(claims.strongest(cells, key.model), "defect").min() > 1e-2


@pytest.mark.claim("cloning-rates")
def test_a_leap_comes_with_a_sign_that_differs_and_not_without() -> None:
    """A small run of float32 with matched step sizes: one unit's clones open on one sample, the base's does not."""
    options = Cloning(
        seeds=(41,), models=("mlp",), arms=("matched",), side=8, scale=4, batch=64, pretrain=20, steps=200,
        measurements=4, per_class=40, theory=False,
    )  # fmt: skip
    (run,) = options.runs()
    leap = find_leap(run)
    assert leap is not None
    assert leap.is_cause
    assert leap.flipped == run.factor  # one pre-activation of the base
    assert leap.magnitude < leap.rounding < 1e-4  # no tie: two signs of numbers within rounding of 0
    assert leap.after > 1e-3
    assert find_leap(run, until=leap.step) is None
    with pytest.raises(InvalidInput, match="none of matched step sizes"):
        find_leap(replace(run, matched=False))


@pytest.mark.parametrize("arguments", [[], ["mlp"], ["perceptron", "40"], ["mlp", "x"], ["mlp", "40", "41"]])
def test_a_replay_of_no_run_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_network_opens_where_another_does() -> None:
    base, clone = nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU())
    own = Signs(base)
    other = Signs(clone, like=own, factor=2)
    base(torch.tensor([[1.0, -1.0]]))
    opened = clone(torch.tensor([[2.0, -3.0, 4.0, -5.0]]))
    assert opened.tolist() == [[2.0, -3.0, 0.0, 0.0]]  # its own signs do not count
    other.remove()
    assert clone(torch.tensor([[2.0, -3.0, 4.0, -5.0]])).tolist() == [[2.0, 0.0, 4.0, 0.0]]


@pytest.mark.parametrize("number", ["2_1", "b7", "b8", "b11", "b12", "b13"])
def test_figures_draw_from_the_records_and_name_them(number: str, tmp_path: Path) -> None:
    caption = importlib.import_module(f"paper_figs.fig_{number}").draw(tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    assert (tmp_path / "figure.pdf").stat().st_size > 5_000
    for part in ("glyphs", "preset laptop", "seeds 40, 41, 42", "standard deviation"):
        assert part in caption


def test_missing_runs_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"lacks 180 of the 180 runs.*python -m empirical cloning --preset laptop"):
        records.cells("laptop", tmp_path)
