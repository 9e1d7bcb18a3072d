"""Figures and claims read records of the precision, preset and source that are named, and say which."""

from dataclasses import replace
from pathlib import Path

import pytest

from empirical.claims.command import main as claims
from empirical.cloning.options import CLONING
from empirical.cloning.records import cells as cloned
from empirical.continual import records
from empirical.continual.options import CONTINUAL, Continual
from empirical.continual.records import cells
from empirical.runs.run import Job, carry_out
from empirical.runs.saved import COMMITTED, Chosen
from lop_theory.errors import InvalidInput
from paper_figs import fig_3_1
from paper_figs.__main__ import FIGURES, FIXED, main

TINY: Continual = replace(
    CONTINUAL["smoke"], seeds=(0, 1), models=("mlp",), normalisations=("none",), arms=("continual", "fresh"), tasks=2,
    steps=20, side=8, scale=16, per_class=8, probe_per_class=4, theory=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both precisions in one folder."""
    from empirical.continual.simulation import EXPERIMENT

    root = tmp_path_factory.mktemp("runs")
    for precision in ("fp32", "bf16"):
        for run in replace(TINY, precision=precision).runs():
            carry_out(Job(EXPERIMENT, (run,), root, "cpu"))
    return root


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The laptop's sizes are tiny here."""
    monkeypatch.setitem(records.CONTINUAL, "laptop", TINY)


def test_only_the_precision_that_is_named_is_read(runs: Path) -> None:
    full, half = (cells(*Chosen(root=runs, precision=precision)) for precision in ("fp32", "bf16"))
    assert full.keys() == half.keys()
    for key, group in half.items():
        assert {record.config["optimiser"]["precision"] for record in group.records} == {"bf16"}
        assert all("precision" not in record.config["optimiser"] for record in full[key].records)
    assert any(
        (group.stacked("loss", layer=-1)[0] != full[key].stacked("loss", layer=-1)[0]).any()
        for key, group in half.items()
    )


def test_a_figure_of_bf16_records_says_so(runs: Path, tmp_path: Path) -> None:
    assert main(["3.1", "--records", str(runs), "--precision", "bf16", "--out", str(tmp_path)]) == 0
    caption = (tmp_path / "figure_3.1.txt").read_text()
    assert "20 steps of batch 32 each in bf16" in caption
    assert "From preset laptop --precision bf16;" in caption
    assert "in bf16" not in fig_3_1.draw(tmp_path / "full", COMMITTED._replace(root=runs))


def test_a_claim_about_bf16_records_says_so_and_holds_for_no_other(runs: Path, capsys) -> None:
    assert claims(["continual-lop", "--records", str(runs), "--precision", "bf16"]) == 0
    said = capsys.readouterr().out
    assert "20 steps in bf16, fresh control" in said
    assert "the ledger does not say" in said
    assert '"evidence": "no evidence"' in said
    claims(["continual-lop", "--records", str(runs)])
    assert "in bf16" not in capsys.readouterr().out


def test_other_pictures_and_tf32_are_other_runs(runs: Path) -> None:
    """TF32 records can be read where there is no GPU; of these there are none."""
    for chosen, shown in (
        (Chosen(root=runs, source="scenes"), "laptop --source scenes"),
        (Chosen(root=runs, precision="tf32"), "laptop --precision tf32"),
    ):
        with pytest.raises(InvalidInput, match=f"lacks 4 of the 4 runs of the preset {shown}; run: .*--preset {shown}"):
            cells(*chosen)
    with pytest.raises(InvalidInput, match=r"lacks \d+ of the \d+ runs of the preset smoke --precision bf16"):
        cloned("smoke", runs, "bf16")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["3.1", "--precision", "fp8"], "precision='fp8'"),
        (["3.1", "--preset", "laptops"], "preset='laptops': is unknown; one of: smoke"),
        (["3.1", "--source", "pictures"], "source"),
        (["3.1", "A.1", "--precision", "bf16"], "figures='A.1': does not depend on --precision"),
    ],
)
def test_wrong_choices_are_named(arguments: list[str], named: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=named):
        main([*arguments, "--out", str(tmp_path / "figures")])
    assert not (tmp_path / "figures").exists()
    with pytest.raises(InvalidInput, match="about records in bf16"):
        claims(["bitflip-lop", "--precision", "bf16"])


def test_every_figure_but_the_fixed_ones_takes_a_choice() -> None:
    from importlib import import_module
    from inspect import signature

    taking = {
        name
        for name, file in FIGURES.items()
        if "chosen" in signature(import_module(f"paper_figs.{file}").draw).parameters
    }
    assert taking == FIGURES.keys() - set(FIXED)


def test_a_choice_is_the_preset_s_options_changed() -> None:
    run = Chosen("laptop", Path(), "bf16", "scenes").options(CLONING).runs()[0]
    assert (run.optimiser.precision, run.data.source) == ("bf16", "scenes")
    assert Chosen().options(CLONING) == replace(CLONING["laptop"], precision="fp32")
