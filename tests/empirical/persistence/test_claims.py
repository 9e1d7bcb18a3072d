"""The claims about persistence, recomputed from the committed records; a bound that cannot fail would be seen to."""

import numpy as np
import pytest

from empirical.persistence import records
from empirical.persistence.options import Persistence, PersistenceRun, Setting
from empirical.persistence.records import exceeded
from empirical.persistence.simulation import Simulation
from empirical.persistence.verdicts import VERDICTS, persists
from lop_theory.errors import InvalidInput
from tests.empirical.ledger import stated, whole_records


@pytest.fixture(scope="module")
def cells() -> records.Cells:
    return records.cells()


def test_the_records_are_whole() -> None:
    assert len(whole_records("persistence")) >= 55


@pytest.mark.claim("persistence-run")
@pytest.mark.claim("persistence-rounding")
@pytest.mark.parametrize("name", VERDICTS)
def test_claims_state_what_the_records_say_and_hold(name: str, cells: records.Cells) -> None:
    assert VERDICTS[name].sentence(cells) in stated(name)
    assert VERDICTS[name].held(cells)


def test_with_a_control_that_keeps_the_bound_nothing_is_claimed(cells: records.Cells) -> None:
    tame = {**cells, Setting("noise", "float32"): cells[Setting("copies", "float32")]}
    assert persists(tame) is None


def test_a_bound_with_a_tenth_of_the_growth_is_broken(cells: records.Cells, monkeypatch) -> None:
    group = cells[Setting("beside", "float64")]
    assert not exceeded(group).any()
    grown = records.factors(group)
    monkeypatch.setattr(records, "factors", lambda _: np.exp(np.log(grown) * 0.02) * 0.98)
    assert exceeded(group).any()


def tiny(arm: str, arithmetic: str = "float64") -> PersistenceRun:
    (run,) = Persistence(arms=(arm,), arithmetics=(arithmetic,), tasks=2, steps=10, per_class=2, width=2, side=4).runs()
    return run


def trained(run: PersistenceRun) -> tuple[Simulation, list[float]]:
    simulation = Simulation([run])
    found = [simulation.first_rows()[0][0]["distance"]]
    while simulation.step < run.length:
        found.append(simulation.advance()[0].rows[0]["distance"])
    return simulation, found


def test_copies_stay_the_control_leaves_and_beside_begins_where_it_says() -> None:
    assert trained(tiny("copies"))[1] == [0.0] * 3
    assert trained(tiny("noise"))[1][-1] > 1e-6
    assert max(trained(tiny("redistributed"))[1]) < 1e-13
    simulation, found = trained(tiny("beside"))
    line = simulation.lines[0]
    assert found[0] == pytest.approx(1e-4 * float(line.network.start.norm()), rel=1e-9)


def test_an_interrupted_run_goes_on_to_the_same_end() -> None:
    run = tiny("noise", "float32")
    whole, _ = trained(run)
    half = Simulation([run])
    half.advance()
    again = Simulation([run], half.states(), half.step)
    again.advance()
    assert again.states()[0]["point"].tolist() == whole.states()[0]["point"].tolist()


def test_bad_options_are_named() -> None:
    for given in ({"every": 7}, {"factor": 1}, {"step_size": -1.0}, {"arms": ("away",)}):
        with pytest.raises(InvalidInput):
            Persistence(**given)


@pytest.mark.parametrize("column", ["distance", "lowest", "rounding"])
def test_numbers_that_are_missing_or_no_lengths_hold_nothing(column: str, cells: records.Cells) -> None:
    key = Setting("beside", "float64")

    class Altered(type(cells[key])):
        def stacked(self, *names: str):
            wrong = [n.copy() for n in super().stacked(*names)]
            for name, numbers in zip(names, wrong, strict=True):
                if name == column:
                    numbers[0, -1] = np.nan
            return tuple(wrong)

    altered = {**cells, key: Altered(*cells[key])}
    assert [verdict.held(cells) for verdict in VERDICTS.values()] == [True, True]
    assert [verdict.held(altered) for verdict in VERDICTS.values()] == [None, None]
