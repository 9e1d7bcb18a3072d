"""The claims about continual classification, recomputed from the committed records of the laptop preset."""

import importlib
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure

from empirical.continual import claims, records, verdicts
from empirical.continual.claims import change, correlation, difference, effect, net_change
from empirical.continual.options import CONTINUAL
from empirical.continual.records import Setting, accuracy, layers, missing
from empirical.runs.store import id_of
from lop_theory.errors import InvalidInput
from paper_figs.continual_panels import provenance
from tests.empirical.ledger import stated, whole_records

MLP, FRESH, CBP, REDO = (Setting("mlp", arm=arm) for arm in ("continual", "fresh", "cbp", "redo"))


@pytest.fixture(scope="module")
def cells() -> claims.Cells:
    return records.cells()


def test_the_records_are_whole_and_of_the_preset() -> None:
    wanted = {id_of(run) for run in CONTINUAL["laptop"].runs()}
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
def test_the_cnn_learns_better_and_then_loses(cells: claims.Cells) -> None:
    cnn, fresh = Setting("cnn"), Setting("cnn", arm="fresh")
    best = accuracy(cells[cnn])[:, 5:10].mean(1)
    assert (best > accuracy(cells[fresh]).mean(1)).all()  # better than fresh networks at first
    assert net_change(cells, cnn, "accuracy").sign == -1
    assert (claims.late(accuracy(cells[cnn])) < best - 0.05).all()
    assert (claims.collapse(cells, cnn) > 25).all()


@pytest.mark.claim("continual-normalisation")
def test_normalisation_prevents(cells: claims.Cells) -> None:
    assert claims.normalisation(cells) in stated("continual-normalisation")
    for model, norm in product(("mlp", "cnn"), ("batch", "layer")):
        setting, plain = Setting(model, norm), Setting(model)
        assert change(cells, setting, "accuracy").mean >= 0
        assert accuracy(cells[setting])[:, -5:].min() > 0.98
        assert difference(cells, setting, plain, "accuracy").sign == 1
        assert difference(cells, setting, plain, "dead").sign == -1
        assert difference(cells, setting, plain, "rank/units").sign == 1
        assert difference(cells, setting, plain, "duplicate").mean < 0
        assert difference(cells, setting, plain, "duplicate").up == 0
    assert verdicts.normalisation_prevents(cells)
    assert verdicts.normalisation_prevents({**cells, Setting("cnn", "layer"): cells[Setting("cnn")]}) is False
    assert verdicts.normalisation_prevents({**cells, Setting("cnn", arm="fresh"): cells[MLP]}) is None


@pytest.mark.parametrize(
    ("quantity", "by"), [("accuracy", -0.5), ("dead", 0.4), ("duplicate", 0.01), ("rank/units", -0.6)]
)
def test_normalisation_prevents_each_of_what_it_is_said_to(
    cells: claims.Cells, monkeypatch: pytest.MonkeyPatch, quantity: str, by: float
) -> None:
    """One network in which one of them is worse than without it, all else as it is."""
    spoilt, measured = cells[Setting("cnn", "layer")], claims.QUANTITIES[quantity]
    found = {**claims.QUANTITIES, quantity: lambda group: measured(group) + (by if group is spoilt else 0)}
    monkeypatch.setattr(claims, "QUANTITIES", found)
    assert verdicts.normalisation_prevents(cells) is False


class Planted(NamedTuple):
    """Five seeds, 20 tasks: accuracies from the first task to the last, and shares of units that never change."""

    first: float
    last: float
    dead: float = 0.0
    duplicate: float = 0.0
    rank: float = 0.5
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def stacked(self, *names: str, **_: float) -> tuple[np.ndarray, ...]:
        """One hidden layer of 100 units."""
        walk = np.linspace(self.first, self.last, 20) + 0.001 * np.sin(np.arange(20) + np.arange(5)[:, None])
        constant = {"dead": self.dead, "duplicate_as_paper": self.duplicate, "effective_rank": 100 * self.rank}
        known = {"train_accuracy": walk, "units": np.full((5, 20), 100.0), "layer": np.zeros((5, 20))}
        return tuple(known[name] if name in known else np.full((5, 20), constant[name]) for name in names)


def planted(plain: Planted, normalised: Planted, fresh: Planted) -> claims.Cells:
    parts = {Setting(model): plain for model in ("mlp", "cnn")}
    parts |= {Setting(model, arm="fresh"): fresh for model in ("mlp", "cnn")}
    parts |= {Setting(*names): normalised for names in product(("mlp", "cnn"), ("batch", "layer"))}
    return parts  # type: ignore[return-value]


def test_where_nothing_is_lost_nothing_is_prevented() -> None:
    """Normalisation is better by a hair and fewer units are dead, but plain training loses nothing, or no more than
    the tasks have become harder, or gains less than they have become easier."""
    losing, level = Planted(0.95, 0.5, dead=0.4, duplicate=0.1, rank=0.2), Planted(0.985, 0.985, dead=0.1, rank=0.4)
    normalised, fresh = Planted(0.99, 0.995), Planted(0.9, 0.9)
    assert verdicts.normalisation_prevents(planted(losing, normalised, fresh)) is True
    assert verdicts.normalisation_prevents(planted(level, normalised, fresh)) is None
    for plain, control in ((Planted(0.93, 0.9), Planted(0.95, 0.87)), (Planted(0.85, 0.9), Planted(0.85, 0.94))):
        cells = planted(plain, normalised, control)
        assert records.lacks(cells, "cnn") is None
        assert not claims.loses_part(cells, "cnn")
        assert verdicts.normalisation_prevents(cells) is None


def test_a_loss_is_less_the_control_s_between_the_same_tasks() -> None:
    """The network's best tasks are the second five; the control's own best are others."""

    class Known(NamedTuple):
        learnt: tuple[float, ...]

        def stacked(self, *_names: str, **_: float) -> tuple[np.ndarray, ...]:
            return (np.repeat(self.learnt, 5)[None],)

    cells = {MLP: Known((0.7, 0.9, 0.6)), FRESH: Known((0.95, 0.8, 0.75))}
    found = claims.net_since_best(cells, MLP, "accuracy")  # type: ignore[arg-type]
    assert found.mean == pytest.approx((0.6 - 0.9) - (0.75 - 0.8))


class Learnt(NamedTuple):
    """Accuracies, seeds × tasks, and layers in which every unit is alive and unlike the others."""

    learnt: np.ndarray
    dead: float = 0.0
    duplicate: float = 0.0
    rank: float = 0.9
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def stacked(self, *names: str, **_: float) -> tuple[np.ndarray, ...]:
        ones = np.ones(self.learnt.shape)
        constant = {"dead": self.dead, "duplicate_as_paper": self.duplicate, "effective_rank": 100 * self.rank}
        known = {"train_accuracy": self.learnt, "units": 100 * ones, "layer": 0 * ones}
        return tuple(known[name] if name in known else constant[name] * ones for name in names)


def test_tasks_that_differ_by_chance_lose_nothing() -> None:
    """The best five on end lie above the last five whatever happens, and above what another network learnt of them: in
    two records of five all five seeds looked as if they had lost something."""
    lost = 0
    for seed in range(100):
        plain, control = np.random.default_rng(seed).uniform(0.9, 1.0, (2, 5, 40))
        lost += claims.loses_part({MLP: Learnt(plain), FRESH: Learnt(control)}, "mlp")  # type: ignore[dict-item]
    assert lost <= 6


@pytest.mark.parametrize(("fall", "lost"), [(0.02, True), (0.008, False), (1e-9, False)])
def test_less_than_a_hundredth_is_not_lost(fall: float, lost: bool) -> None:
    level = np.full((5, 40), 0.95)
    cells = {MLP: Learnt(level - fall * (np.arange(40) >= 35)), FRESH: Learnt(level)}
    assert claims.loses_part(cells, "mlp") == lost  # type: ignore[arg-type]


def test_a_normalised_network_that_collapses_and_recovers_has_not_kept_its_plasticity() -> None:
    losing, fresh = Planted(0.95, 0.5, dead=0.4, duplicate=0.1, rank=0.2), Planted(0.9, 0.9)
    learnt = np.full((5, 20), 0.99)
    assert verdicts.normalisation_prevents(planted(losing, Learnt(learnt), fresh)) is True  # type: ignore[arg-type]
    learnt[0, 8:12] = 0.2
    assert verdicts.normalisation_prevents(planted(losing, Learnt(learnt), fresh)) is False  # type: ignore[arg-type]


@pytest.mark.claim("continual-compression")
def test_the_rank_falls_first_and_is_still_above_a_fresh_network_s_when_learning_ends(cells: claims.Cells) -> None:
    assert claims.compression(cells) in stated("continual-compression")
    found = claims.fall(cells, "mlp")
    assert (found.largest < found.collapse).all()
    assert (found.collapse <= 40).all()
    assert (found.rank > 1).all()


def test_a_fall_of_known_numbers() -> None:
    """Rank largest after task 2, learnt to .8 for the last time at task 3, below a half from task 5 on."""

    class Known(NamedTuple):
        seeds: tuple[int, ...] = (0,)
        rank: tuple[float, ...] = (1, 9, 6, 2, 1, 0)
        learnt: tuple[float, ...] = (0.9, 1, 0.85, 0.7, 0.4, 0.2)

        def stacked(self, *names: str, **_: float) -> tuple[np.ndarray, ...]:
            if names == ("train_accuracy",):
                return (np.array([self.learnt]),)
            values = np.repeat(self.rank, 3)[None]
            return values, np.tile([-1.0, 0.0, 1.0], (1, 6))

    fresh = Known(rank=(4, 2, 4, 2, 4, 2))
    found = claims.fall({MLP: Known(), FRESH: fresh}, "mlp")  # type: ignore[dict-item]
    assert (found.largest, found.collapse, found.rank, found.lead) == (2, 5, 2, 3)


def test_the_best_tasks_of_a_run_of_four_are_two() -> None:
    class Short(NamedTuple):
        def stacked(self, *_names: str, **_: float) -> tuple[np.ndarray, ...]:
            return (np.array([[0.9, 1.0, 0.8, 0.5]]),)

    found = claims.since_best({MLP: Short()}, MLP, "accuracy")  # type: ignore[dict-item]
    assert found.mean == pytest.approx(0.65 - 0.95)


@pytest.mark.claim("continual-cbp")
def test_continual_backprop_and_redo_prevent_most_of_the_loss(cells: claims.Cells) -> None:
    assert claims.continual_backprop(cells) in stated("continual-cbp")
    assert {cells[setting].seeds for setting in (MLP, FRESH, CBP, REDO)} == {cells[CBP].seeds}
    assert claims.late(accuracy(cells[MLP])).max() < 0.25
    for repaired, least in ((CBP, 0.5), (REDO, 0.75)):
        assert difference(cells, repaired, MLP, "dead").sign == -1
        assert claims.late(accuracy(cells[repaired])).min() > least
        assert difference(cells, repaired, FRESH, "accuracy").sign == -1
        assert net_change(cells, repaired, "loss").sign == 1
        assert cells[repaired].config["protocol"] == 2
    assert difference(cells, REDO, CBP, "accuracy").up == 4
    assert (claims.collapse(cells, REDO) == 41).all()
    for cnn in (Setting("cnn", arm="cbp"), Setting("cnn", arm="redo")):
        assert claims.late(accuracy(cells[cnn])).min() > 0.97
        assert difference(cells, cnn, Setting("cnn"), "accuracy").sign == 1
        assert difference(cells, cnn, Setting("cnn", arm="fresh"), "accuracy").sign == 1


def test_arms_that_did_not_change_keep_their_ids() -> None:
    for run in CONTINUAL["laptop"].runs():
        assert run.protocol == (2 if run.optimiser.repair in ("cbp", "redo") else 1)


def test_statistics_of_known_numbers() -> None:
    found = effect(np.array([1.0, 2.0, -3.0]))
    assert (found.mean, found.up, found.seeds, found.sign) == (0.0, 2, 3, 0)
    assert found.std == pytest.approx(np.sqrt(14 / 3))
    assert effect(np.array([1.0, 2.0])).sign == 1
    assert effect(-np.array([1.0, 2.0])).sign == -1
    assert effect(np.array([0.0, 0.0])).sign == effect(np.array([0.0, -1.0])).sign == 0


@pytest.mark.parametrize("figure", ["3_1", "3_2", "4_1", "b3", "b4", "b5", "b6"])
def test_figures_draw_from_the_records_and_name_them(figure: str, tmp_path: Path) -> None:
    caption = importlib.import_module(f"paper_figs.fig_{figure}").draw(tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 15_000
    assert (tmp_path / "figure.pdf").stat().st_size > 5_000
    for part in (
        "permuted glyphs with pixel noise 0.3",
        "preset laptop",
        "seeds 40, 41, 42, 43, 44",
        "standard deviation",
    ):
        assert part in caption


def test_what_has_not_been_run_is_named_with_its_command(cells: claims.Cells, tmp_path: Path) -> None:
    part = {setting: group for setting, group in cells.items() if setting != FRESH}
    assert FRESH in missing(part, "laptop")
    shown = provenance(Figure(), part)
    assert "mlp, no norm, fresh" in shown
    assert "python -m empirical continual --preset laptop --models" in shown
    assert "Cannot tell: its control, a fresh network every task, was not run" in shown
    with pytest.raises(InvalidInput, match=r"lacks 80 of the 80 runs.*python -m empirical continual --preset laptop"):
        records.cells("laptop", tmp_path)


def test_a_cnn_whose_control_does_not_learn_says_nothing(cells: claims.Cells) -> None:
    fresh, cnn = Setting("cnn", arm="fresh"), Setting("cnn")
    collapsed = {**cells, fresh: cells[MLP]}  # ends at chance
    assert verdicts.both_lose(cells)
    assert verdicts.both_lose(collapsed) is None
    assert "CNN: cannot tell: its control" in claims.symptoms(collapsed)
    assert claims.tellable(collapsed) == ["mlp", "vit"]
    assert verdicts.both_lose({**cells, cnn: cells[fresh]}) is False  # a fresh network loses nothing


def test_a_figure_says_that_a_control_did_not_learn(cells: claims.Cells) -> None:
    """Above its panels, with data and size; and of those that did, that they did."""
    untaught = {setting: group for setting, group in cells.items() if setting.model == "mlp"}
    untaught[FRESH] = cells[MLP]  # ends at chance
    figure = Figure(figsize=(9, 3))
    caption = provenance(figure, untaught)
    shown = figure.get_suptitle().replace("\n", " ")
    for text in (caption, shown):
        assert "16×16 permuted glyphs" in text
        assert "did NOT learn" in text
        assert "Cannot tell: its control" in text
    figure = Figure(figsize=(9, 3))
    provenance(figure, cells)
    assert "did NOT" not in figure.get_suptitle()
    assert figure.get_suptitle().count("learned") == len(claims.models(cells))
