"""The claims about continual classification, recomputed from the committed records of the laptop preset."""

import importlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from empirical.continual import claims, records
from empirical.continual.claims import change, correlation, difference, effect, net_change, since_best
from empirical.continual.options import CONTINUAL
from empirical.continual.records import Setting, accuracy, layers, missing
from empirical.runs.store import run_id
from lop_theory.errors import InvalidInput
from paper_figs.continual_panels import provenance
from tests.empirical.ledger import stated, whole_records

MLP, FRESH, CBP = Setting("mlp"), Setting("mlp", arm="fresh"), Setting("mlp", arm="cbp")


@pytest.fixture(scope="module")
def cells() -> claims.Cells:
    return records.cells()


@pytest.fixture(scope="module")
def repaired() -> claims.Cells:
    return records.cells("repair")


def test_the_records_are_whole_and_of_the_presets() -> None:
    wanted = {run_id(asdict(run)) for preset in ("laptop", "repair") for run in CONTINUAL[preset].runs()}
    found = {record.manifest["id"] for record in whole_records("continual")}
    assert found
    assert found <= wanted


def test_arms_share_their_first_networks(cells: claims.Cells) -> None:
    """The control is the same network in the first task, bit for bit, and another one later."""
    for name in ("effective_rank", "dead"):
        plain, fresh = (layers(cells[setting], name) for setting in (MLP, FRESH))
        assert np.array_equal(plain[:, 0], fresh[:, 0])
        assert not np.array_equal(plain[:, 1:], fresh[:, 1:])


@pytest.mark.claim("continual-lop")
def test_plasticity_is_lost_with_dead_units_and_falling_rank_but_fresh_networks_look_the_same(
    cells: claims.Cells,
) -> None:
    assert claims.symptoms(cells) in stated("continual-lop")
    assert claims.loses_plasticity(cells, "mlp")
    assert change(cells, MLP, "accuracy").mean < -0.6
    assert net_change(cells, MLP, "dead").sign == 1
    assert net_change(cells, MLP, "rank/units").sign == -1
    assert net_change(cells, MLP, "duplicate").sign == -1  # they do not rise
    assert correlation(cells, MLP, "accuracy", "rank/units") > 0.5
    assert correlation(cells, MLP, "accuracy", "dead or duplicate") < -0.5
    assert abs(difference(cells, MLP, FRESH, "rank/units").mean) < 0.05  # a network that learns has the same rank
    assert difference(cells, MLP, FRESH, "saturated").mean > 0.9
    assert (layers(cells[MLP], "dead")[:, -5:, -1] == 1).all()  # its last layer is dead, every unit
    assert layers(cells[FRESH], "dead")[:, :, -1].max() < 0.6


@pytest.mark.claim("continual-lop")
def test_the_transformer_loses_again_with_duplicates_and_without_dead_units(cells: claims.Cells) -> None:
    vit, fallen = Setting("vit"), {"accuracy": -1, "duplicate": 1, "rank/units": -1}
    assert {name: since_best(cells, vit, name).sign for name in fallen} == fallen
    assert since_best(cells, vit, "accuracy").mean < -0.2
    assert since_best(cells, vit, "dead").mean < 0.01
    for kept in (Setting("vit", "batch"), Setting("vit", "layer"), Setting("cnn"), Setting("resnet18")):
        assert since_best(cells, kept, "accuracy").mean > -0.03


@pytest.mark.claim("continual-normalisation")
def test_normalisation_prevents(cells: claims.Cells) -> None:
    assert claims.normalisation(cells) in stated("continual-normalisation")
    for norm in ("batch", "layer"):
        setting = Setting("mlp", norm)
        assert change(cells, setting, "accuracy").mean > 0
        assert accuracy(cells[setting])[:, -5:].min() > 0.98
        assert difference(cells, setting, MLP, "dead").sign == -1
        assert difference(cells, setting, MLP, "rank/units").sign == 1


@pytest.mark.claim("continual-cbp")
def test_continual_backprop_prevents_most_of_the_loss(repaired: claims.Cells) -> None:
    assert claims.continual_backprop(repaired) in stated("continual-cbp")
    assert {repaired[setting].seeds for setting in (MLP, FRESH, CBP)} == {repaired[CBP].seeds}
    assert difference(repaired, CBP, MLP, "dead").sign == -1
    assert claims.late(accuracy(repaired[CBP])).min() > 0.5
    assert claims.late(accuracy(repaired[MLP])).max() < 0.25
    assert difference(repaired, CBP, FRESH, "accuracy").sign == -1
    assert net_change(repaired, CBP, "loss").sign == 1
    assert repaired[CBP].config["protocol"] == 2


def test_arms_that_did_not_change_keep_their_ids() -> None:
    for run in CONTINUAL["repair"].runs():
        assert run.protocol == (2 if run.optimiser.repair in ("cbp", "redo") else 1)


def test_statistics_of_known_numbers() -> None:
    found = effect(np.array([1.0, 2.0, -3.0]))
    assert (found.mean, found.up, found.seeds, found.sign) == (0.0, 2, 3, 0)
    assert found.std == pytest.approx(np.sqrt(14 / 3))
    assert effect(np.array([1.0, 2.0])).sign == 1
    assert effect(-np.array([1.0, 2.0])).sign == -1


@pytest.mark.parametrize("figure", ["3_1", "3_2", "4_1", "b3", "b4", "b5", "b6"])
def test_figures_draw_from_the_records_and_name_them(figure: str, tmp_path: Path) -> None:
    caption = importlib.import_module(f"paper_figs.fig_{figure}").draw(tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 15_000
    assert (tmp_path / "figure.pdf").stat().st_size > 5_000
    for part in ("permuted glyphs with pixel noise 0.3", "preset laptop", "seeds 40, 41, 42", "standard deviation"):
        assert part in caption


def test_what_has_not_been_run_is_named_with_its_command(cells: claims.Cells, tmp_path: Path) -> None:
    part = {setting: group for setting, group in cells.items() if setting != FRESH}
    assert FRESH in missing(part, "laptop")
    assert "mlp, no norm, fresh" in provenance(part)
    assert "python -m empirical continual --preset laptop --models" in provenance(part)
    with pytest.raises(InvalidInput, match=r"lacks 48 of the 48 runs.*python -m empirical continual --preset laptop"):
        records.cells("laptop", tmp_path)
