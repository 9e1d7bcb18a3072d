"""The claim about remedies, recomputed from the committed records of the laptop runs."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
from empirical.remedies import claims, records
from empirical.remedies.options import CONTROLS, REMEDIES, REMEDIES_PRESETS
from empirical.remedies.verdicts import (
    NOTHING,
    PART,
    SURPASS,
    lazy_training_avoids_the_loss,
    remedies_surpass_fresh_networks,
)
from paper_figs import fig_remedies
from tests.empirical.ledger import stated, whole_records


@pytest.fixture(scope="module")
def cells() -> claims.Cells:
    return records.cells()


def test_the_records_are_whole(cells: claims.Cells) -> None:
    kept = whole_records("remedies")
    seeds = REMEDIES_PRESETS["laptop"].seeds
    assert all(cell.group.seeds == seeds for cell in cells.values())
    used = {record.folder.name for cell in cells.values() for record in cell.group.records}
    assert used <= {record.folder.name for record in kept}


def test_strengths_were_chosen_on_other_seeds_alone(cells: claims.Cells) -> None:
    options = REMEDIES_PRESETS["laptop"]
    kept = whole_records("remedies")
    for name, (strength, _) in cells.items():
        tuning = [record for record in kept if record.config["seed"] in options.tuning]
        assert records.chosen(options, name, tuning) == strength
        if len(REMEDIES[name].tried) > 1:
            means = {s: [] for s in REMEDIES[name].tried}
            for record in tuning:
                if record.config["remedy"] == name:
                    means[record.config["strength"]].append(record.columns("accuracy")[0].mean())
            assert all(len(values) == 2 for values in means.values())
            assert max(means, key=lambda s: sum(means[s])) == strength


@pytest.mark.claim("remedies")
def test_some_remedies_surpass_fresh_networks_and_need_not_take_clones_apart(cells: claims.Cells) -> None:
    assert claims.comparison(cells) in stated("remedies")
    assert set(CONTROLS) <= cells.keys()
    for name in SURPASS:
        assert (records.share(cells, name) > 1).all()
    for name in PART:
        assert (records.share(cells, name) < 1).all()
    assert sum(REMEDIES[name].unclones for name in SURPASS) == len(SURPASS) - 7
    for name in NOTHING:
        assert cells[name].strength == max(REMEDIES[name].tried)
    assert set(REMEDIES) == set(cells)
    assert all(REMEDIES[name].unclones for name in PART)


@pytest.mark.claim("lazy-rich")
def test_lazy_training_loses_far_less_and_seeds_differ_on_whether_anything(cells: claims.Cells) -> None:
    assert claims.laziness(cells) in stated("lazy-rich")
    assert records.early(cells["lazy"].group).mean() > records.early(cells["plain"].group).mean()
    assert (records.late(cells["lazy"].group) > records.late(cells["plain"].group) + 0.3).all()
    assert lazy_training_avoids_the_loss(cells) is None
    assert lazy_training_avoids_the_loss({**cells, "lazy": cells["plain"]}) is False  # all seeds lose
    assert lazy_training_avoids_the_loss({**cells, "lazy": cells["layer_norm"]}) is True  # none does
    assert lazy_training_avoids_the_loss({**cells, "lazy": cells["upgd"]}) is None  # it does not learn as fast


@pytest.mark.parametrize(
    ("name", "records_of"),
    [
        ("fire", "weight_decay"),
        ("weight_decay", "fire"),
        ("plain", "dropout"),
        ("upgd", "dropout"),
        ("dropout", "upgd"),
    ],
)
def test_the_verdict_fails_with_the_records_of_another(cells: claims.Cells, name: str, records_of: str) -> None:
    assert remedies_surpass_fresh_networks(cells)
    assert not remedies_surpass_fresh_networks({**cells, name: cells[records_of]})


def test_the_figure_is_drawn_from_the_records(tmp_path: Path) -> None:
    assert "seeds 40, 41, 42, 43, 44" in fig_remedies.draw(tmp_path / "remedies")
    assert (tmp_path / "remedies.png").stat().st_size > 10_000
