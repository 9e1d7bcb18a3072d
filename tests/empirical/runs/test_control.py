"""A comparison says something only where its control learns, its tasks are equally hard and its seeds suffice; every
claim that rests on records goes through that."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from empirical.claims.command import EXPERIMENTS
from empirical.runs import saved
from empirical.runs.control import LEAST_SEEDS, Control, cannot_tell, too_few
from empirical.runs.measured import findings
from empirical.runs.saved import Group
from lop_theory.verify.finding import Finding, recomputed_verdict

GOOD = np.full((LEAST_SEEDS, 12), 0.95)


def _changed(tasks: slice, value: float, seeds: slice = slice(None)) -> np.ndarray:
    found = GOOD.copy()
    found[seeds, tasks] = value
    return found


def test_a_control_that_learns_equally_hard_tasks_tells() -> None:
    assert cannot_tell(Control(GOOD)) is None
    assert cannot_tell(Control(np.full_like(GOOD, 0.8))) is None
    assert cannot_tell(Control(_changed(slice(6, 7), 0.2, slice(1)))) is None  # one network of sixty


@pytest.mark.parametrize(
    ("accuracy", "word"),
    [
        (np.full_like(GOOD, 0.79), "does not learn"),
        (_changed(slice(None), 0.23, slice(4, 5)), "does not learn"),  # one seed of five
        (_changed(slice(3, 4), np.nan, slice(1)), "does not learn"),
        (_changed(slice(-5, None), 0.84), "not equally hard"),
        (_changed(slice(5), 0.84), "not equally hard"),
        (_changed(slice(3), 0.84)[:, :6], "not equally hard"),  # of six tasks three are first, three last
        (_changed(slice(1), 0.84)[:, :2], "not equally hard"),
        (GOOD[1:], "4 seeds of the 5"),
    ],
)
def test_what_cannot_tell_says_why(accuracy: np.ndarray, word: str) -> None:
    assert word in (cannot_tell(Control(accuracy)) or "")


def test_three_seeds_are_too_few() -> None:
    assert too_few(3) == "3 seeds of the 5 that it takes"
    assert too_few(5) is None


def _claims(*experiments: str) -> list[tuple[str, str]]:
    return [(e, name) for e in experiments for name in import_module(f"empirical.{e}.verdicts").VERDICTS]


class Untaught(Group):
    """A control that stays at chance: every training accuracy of it is 0.2."""

    def stacked(self, *names: str, **where: float) -> tuple[np.ndarray, ...]:
        found = Group.stacked(self, *names, **where)
        pairs = zip(names, found, strict=True)
        return tuple(np.full_like(v, 0.2) if n in ("train_accuracy", "at_end") else v for n, v in pairs)


def _untaught(experiment: str) -> Any:
    """The committed records, with a control that does not learn."""
    cells = getattr(import_module(f"empirical.{experiment}.records"), EXPERIMENTS[experiment])()
    if experiment == "escape":
        return Untaught(*cells)
    if experiment == "remedies":
        return {**cells, "fresh": cells["fresh"]._replace(group=Untaught(*cells["fresh"].group))}
    return {key: Untaught(*group) if key.arm == "fresh" else group for key, group in cells.items()}


@pytest.mark.claim("continual-lop")
@pytest.mark.parametrize(("experiment", "name"), _claims("continual", "escape", "remedies"))
def test_no_claim_rests_on_a_control_that_does_not_learn(experiment: str, name: str, planted: Callable) -> None:
    claim, cells = import_module(f"empirical.{experiment}.verdicts").VERDICTS[name], planted(experiment)
    assert "does not learn" in (claim.lacks(cells) or "")
    rows = [*findings(name, claim, cells, "")]  # the ledger does not say this: no evidence at all
    assert [row["holds"] for row in rows] == [None]


@pytest.fixture(scope="module")
def planted() -> Callable[[str], Any]:
    found: dict[str, Any] = {}
    return lambda experiment: found.setdefault(experiment, found.get(experiment) or _untaught(experiment))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_three_seeds_leave_every_claim_undecided(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the ledger says of the claim, and with its own sentence in it."""
    verdicts = import_module(f"empirical.{experiment}.verdicts")
    whole = saved.group_of
    monkeypatch.setattr(saved, "group_of", lambda found: whole([*found][:3]))
    cells = getattr(import_module(f"empirical.{experiment}.records"), EXPERIMENTS[experiment])()
    for name, claim in verdicts.VERDICTS.items():
        assert claim.lacks(cells) is not None, name


def test_a_claim_that_cannot_tell_is_undecided_even_if_its_sentence_stands_in_the_ledger() -> None:
    from empirical.continual.verdicts import VERDICTS

    claim = VERDICTS["continual-lop"]._replace(sentence=lambda _: "Measured: all.", lacks=lambda _: "its control")
    rows = [*findings("x", claim, None, "Measured: all. Cannot tell: its control.")]
    found = [Finding(row["about"], row["holds"], row["evidence"], row["detail"]) for row in rows]
    assert recomputed_verdict(found) == "undecided"
    assert found[0].evidence == "measured"
    assert [row["holds"] for row in findings("x", claim, None, "Measured: all.")] == [None]
