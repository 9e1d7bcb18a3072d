"""The claims about bit-flipping, recomputed from the committed records of the paper-size runs."""

from pathlib import Path

import numpy as np
import pytest

from empirical.bitflip import claims, records, verdicts
from empirical.runs.statistics import effect, windowed
from lop_theory.errors import InvalidInput
from paper_figs import fig_b1, fig_b2
from tests.empirical.ledger import stated, whole_records


@pytest.fixture(scope="module")
def cells() -> claims.Cells:
    return records.cells()


def test_the_records_are_whole() -> None:
    assert len(whole_records("bitflip")) >= 160


def test_switch_and_sgd_share_their_first_half(cells: claims.Cells) -> None:
    for width in claims.widths(cells):
        (steps, sgd), (_, switch) = cells[width, "sgd"].bins(), cells[width, "switch"].bins()
        half = steps <= 2_500_000
        assert np.array_equal(sgd[:, half], switch[:, half])
        assert not np.array_equal(sgd[:, ~half], switch[:, ~half])


@pytest.mark.claim("bitflip-lop")
def test_sgd_loses_plasticity(cells: claims.Cells) -> None:
    assert claims.loss_of_plasticity(cells) in stated("bitflip-lop")
    for width in claims.widths(cells):
        cell = cells[width, "sgd"]
        grown = effect(claims.errors_at_the_end(cell), claims.early_error(cell))
        assert grown.ratio > 2
        assert grown.above == grown.seeds == 10
        assert claims.at_the_end(cell, "stream_dead").mean() > 0.9


@pytest.mark.claim("bitflip-cbp-recovers")
def test_continual_backprop_recovers(cells: claims.Cells) -> None:
    assert claims.recovery(cells) in stated("bitflip-cbp-recovers")
    for width in claims.widths(cells):
        cell = cells[width, "switch"]
        healed = effect(claims.errors_at_the_end(cell), claims.before_switch(cell))
        assert healed.ratio < 0.4
        assert healed.above == 0
        assert claims.at_the_end(cell, "stream_dead").mean() < 0.05


@pytest.mark.claim("bitflip-dropout")
def test_dropout_harms_wide_learners_early_and_saves_none(cells: claims.Cells) -> None:
    assert claims.dropout(cells) in stated("bitflip-dropout")
    for width in claims.widths(cells):
        dropped, sgd, cbp = (cells[width, method] for method in ("dropout", "sgd", "cbp"))
        assert effect(claims.errors_at_the_end(dropped), claims.errors_at_the_end(sgd)).ratio > 1
        assert (claims.errors_at_the_end(dropped) > 2 * claims.errors_at_the_end(cbp)).all()
        assert claims.at_the_end(dropped, "stream_dead").mean() > 0.9
        if width >= 50:
            assert (claims.early_error(dropped) > claims.early_error(sgd)).all()
            assert effect(claims.early_error(dropped), claims.early_error(sgd)).ratio > 2
    assert verdicts.dropout_is_mixed_or_harmful(cells)
    helped = {**cells, **{(w, "dropout"): cells[w, "cbp"] for w in claims.widths(cells)}}
    with np.errstate(invalid="ignore"):  # no difference at all has no effect size
        assert not verdicts.dropout_is_mixed_or_harmful(helped)


@pytest.mark.claim("bitflip-width")
def test_disparity_grows_with_width_but_not_in_every_sense(cells: claims.Cells) -> None:
    assert claims.width_disparity(cells) in stated("bitflip-width")
    end = {key: claims.errors_at_the_end(cell) for key, cell in cells.items()}
    ratio = [effect(end[w, "sgd"], end[w, "cbp"]).ratio for w in claims.widths(cells)]
    assert ratio == sorted(ratio)
    assert effect(end[100, "sgd"] / end[100, "cbp"], end[5, "sgd"] / end[5, "cbp"]).above == 10
    assert effect(end[100, "sgd"], end[5, "sgd"]).above == 0  # wider is better, not worse, in SGD's own error
    difference = {w: end[w, "sgd"] - end[w, "cbp"] for w in (5, 100)}
    assert abs(difference[100].mean() - difference[5].mean()) < difference[5].std()


@pytest.mark.claim("bitflip-duplicates")
def test_duplicates_before_the_activation(cells: claims.Cells) -> None:
    assert claims.duplicates(cells) in stated("bitflip-duplicates")
    before = [claims.at_the_end(cells[w, "sgd"], "stream_duplicate_before").mean() for w in claims.widths(cells)]
    assert before == sorted(before)
    assert before[-1] > 0.9


def test_effect_of_known_ratios() -> None:
    found = effect(np.array([2.0, 8.0, 1.0]), np.array([1.0, 1.0, 2.0]))
    logs = np.log([2.0, 8.0, 0.5])
    assert found.ratio == pytest.approx(2.0)
    assert found.d == pytest.approx(logs.mean() / np.sqrt(((logs - logs.mean()) ** 2).sum() / 2))
    assert (found.above, found.seeds) == (2, 3)


@pytest.mark.parametrize("figure", [fig_b1, fig_b2])
def test_figures_draw_from_the_records_and_name_them(figure, tmp_path: Path) -> None:
    caption = figure.draw(tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    assert (tmp_path / "figure.pdf").stat().st_size > 5_000
    for part in ("bit-flipping", "preset paper", "seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9", "standard deviation"):
        assert part in caption


def test_missing_runs_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"lacks 160 of the 160 runs.*python -m empirical bitflip --preset paper"):
        records.cells("paper", tmp_path)


def test_windows_are_means() -> None:
    assert windowed(np.arange(14.0).reshape(2, 7), 3).tolist() == [[1.0, 4.0], [8.0, 11.0]]
