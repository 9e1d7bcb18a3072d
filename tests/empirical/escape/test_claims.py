"""The claims about escape, recomputed from the committed records of the laptop runs."""

from pathlib import Path

import numpy as np
import pytest

from empirical.escape import claims, records
from empirical.escape.options import STAGE_1, Stage
from empirical.escape.records import Group
from paper_figs import fig_escape
from tests.empirical.ledger import stated, whole_records


@pytest.fixture(scope="module")
def group() -> Group:
    return records.cell()


def test_the_records_are_whole() -> None:
    assert len(whole_records("escape")) >= 5


@pytest.mark.claim("escape-lop")
def test_the_network_loses_plasticity(group: Group) -> None:
    assert claims.loss_of_plasticity(group) in stated("escape-lop")
    for start in ("half", "end"):
        behind = claims.gain(group, Stage(start, "none"), "fresh")
        assert behind.above == 0
        assert behind.mean < -0.3


@pytest.mark.claim("escape-half")
def test_shrinking_restores_half_lost_plasticity_resets_a_part_and_noise_and_the_escape_direction_do_not(
    group: Group,
) -> None:
    assert claims.recovery(group, "half") in stated("escape-half")
    back = {name: records.recovered(group, Stage("half", name)) for name in claims.perturbed(group)}
    assert back["shrink_perturb"].min() > 0.5
    assert back["redo"].min() > 0.1
    assert back["cbp"].min() > 0.1
    assert back["redo"].mean() < back["shrink_perturb"].mean()
    assert abs(back["escape"].mean()) < 0.2
    assert abs(back["noise"].mean()) < 0.2


@pytest.mark.claim("escape-collapse")
def test_redo_always_brings_most_back_from_a_collapse_others_sometimes_or_never(group: Group) -> None:
    assert claims.recovery(group, "end") in stated("escape-collapse")
    back = {name: np.abs(records.recovered(group, Stage("end", name))) for name in claims.perturbed(group)}
    assert max(back["noise"].max(), back["dropout"].max()) < 0.02
    assert back["escape"].max() < 0.05
    assert back["redo"].min() > 0.5
    assert back["cbp"].min() < 0.1 < back["cbp"].mean()
    collapsed = records.silent_units(group, STAGE_1).whole_layers[:, -1].any(1)
    assert collapsed.sum() == 4


@pytest.mark.claim("escape-generalisation")
def test_what_resets_bring_back_does_not_generalise_and_what_shrinking_brings_back_does(group: Group) -> None:
    assert claims.generalisation(group) in stated("escape-generalisation")
    for start in ("half", "end"):
        held = claims.held_out(group, Stage(start, "redo"))
        assert held.train.min() > 0.85  # as much of the training images as fresh networks, in every seed
        assert (held.probe < held.fresh).all()
    shrunk = claims.held_out(group, Stage("half", "shrink_perturb"))
    assert abs(shrunk.behind.mean) < 0.05
    assert len(claims.held_out(group, Stage("end", "none")).probe) == 0  # nothing regained, nothing said


@pytest.mark.claim("escape-silent")
@pytest.mark.claim("frozen-unit")
def test_silent_units_stay_silent_where_theory_says_so(group: Group) -> None:
    assert claims.silence(group) in stated("escape-silent")
    for name, stages in claims.stages_by_branch(group).items():
        (silent, revived), (_, elsewhere) = claims.ruled(group, stages)
        assert (revived > 0) == (name in ("continual backprop", "ReDo"))
        assert elsewhere > 0
        assert silent > 0 or name == "fresh network"


def test_the_records_are_of_the_protocol_in_which_replaced_weights_have_clocks_of_their_own(group: Group) -> None:
    assert group.config["protocol"] == 2
    assert {"cbp", "redo"} <= set(records.branches(group))


@pytest.mark.claim("escape-curvature")
def test_a_collapsed_network_lies_on_a_plateau_and_the_others_on_saddles(group: Group) -> None:
    assert claims.curvatures(group) in stated("escape-curvature")
    collapsed, others = claims.landscapes(group)
    assert collapsed.networks > 0
    assert collapsed.saddles == 0
    assert collapsed.largest == 0.0
    assert others.saddles > 0.9 * others.networks > 0


def test_the_figure_is_drawn_from_the_records_and_names_them(tmp_path: Path) -> None:
    caption = fig_escape.draw(tmp_path / "escape")
    assert "permuted glyphs with pixel noise 0.3" in caption
    assert "seeds 40, 41, 42, 43, 44" in caption
    assert (tmp_path / "escape.png").stat().st_size > 10_000
