"""Whose a checkpoint is: what was moved, copied or forged under another run's name is refused by name."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from empirical.continual.options import CONTINUAL, Continual
from empirical.pack.archive import Run, runs_in
from empirical.pack.merging import merge
from empirical.runs.live import LIVE, LiveRecord, checkpoint_of, reached, state_of
from empirical.runs.report import unnamed_shown
from empirical.runs.run import Job, carry_out
from empirical.runs.store import canonical, differing, id_of, identity
from empirical.sweep.grid import Part
from empirical.sweep.status import states
from lop_theory.errors import InvalidInput
from tests.empirical.runs.tiny import COLUMNS, EVERY, EXPERIMENT, Simulation, TinyRun

OWN, OTHER = TinyRun(0), TinyRun(0, steps=90)


def begun(root: Path, run: TinyRun, advances: int = 2) -> Path:
    """The folder of a run with that many advances behind it."""
    live, simulation = LiveRecord(root / "tiny", run, COLUMNS), Simulation([run], None, 0)
    live.commit(0, simulation.first_rows()[0], simulation.states()[0])
    for _ in range(advances):
        live.commit(simulation.step + EVERY, simulation.advance()[0].rows, simulation.states()[0])
    live.close()
    return live.folder


def go(root: Path, run: TinyRun):
    return carry_out(Job(EXPERIMENT, (run,), root, "cpu"))[0]


def unnamed(folder: Path) -> None:
    """As an earlier version left it."""
    with sqlite3.connect(folder / LIVE) as database:
        database.execute("DROP TABLE owner")
    database.close()


def test_a_checkpoint_under_another_run_s_name_is_refused_and_kept(tmp_path: Path) -> None:
    moved = begun(tmp_path, OWN).rename(tmp_path / "tiny" / id_of(OTHER))
    before = reached(checkpoint_of(moved))
    for _ in range(2):
        with pytest.raises(InvalidInput, match=rf"checkpoint of another run \({id_of(OWN)}: steps 60, here 90\)"):
            go(tmp_path, OTHER)
    assert reached(checkpoint_of(moved)) == before
    assert state_of(moved) == ("another's", 2 * EVERY)
    moved.rename(tmp_path / "tiny" / id_of(OWN))
    outcome = go(tmp_path, OWN)
    assert outcome.record is not None
    assert outcome.record.manifest["resumed"] == 1
    assert "unnamed_until" not in outcome.record.manifest


def test_a_bf16_run_is_no_fp32_run(tmp_path: Path) -> None:
    """The configurations that a hand is likeliest to mix up; nothing is trained before the refusal."""
    options: Continual = replace(CONTINUAL["smoke"], models=("mlp",), normalisations=("none",), arms=("continual",))
    (half,), (full,) = (replace(options, precision=precision).runs() for precision in ("bf16", "fp32"))
    folder = tmp_path / "continual"
    LiveRecord(folder, half, COLUMNS).close()
    (folder / id_of(half)).rename(folder / id_of(full))
    with pytest.raises(InvalidInput, match=r"optimiser\.precision 'bf16', here not given"):
        carry_out(Job(EXPERIMENT._replace(name="continual"), (full,), tmp_path, "cpu"))


def test_a_record_under_another_run_s_name_is_not_that_run_s(tmp_path: Path) -> None:
    outcome = go(tmp_path, OWN)
    assert outcome.record is not None
    outcome.record.folder.rename(tmp_path / "tiny" / id_of(OTHER))
    with pytest.raises(InvalidInput, match=rf"record of another run \({id_of(OWN)}\)"):
        go(tmp_path, OTHER)
    (found,) = states([Part("tiny", "all", "", [OTHER])], tmp_path)["tiny: all"]
    assert (found.state, found.record) == ("another's", None)


def test_what_an_earlier_version_left_goes_on_and_the_record_says_so(tmp_path: Path) -> None:
    folder = begun(tmp_path, OWN)
    unnamed(folder)
    assert reached(checkpoint_of(folder)) == (2 * EVERY, None, None)
    assert state_of(folder) == ("interrupted", 2 * EVERY)
    outcome, whole = go(tmp_path, OWN), go(tmp_path / "whole", OWN)
    assert outcome.record is not None
    assert whole.record is not None
    assert outcome.record.manifest["unnamed_until"] == 2 * EVERY
    assert outcome.record.data() == whole.record.data()
    assert [line for line in unnamed_shown([outcome, whole]) if line.startswith("1 runs went on")]
    assert not [*unnamed_shown([whole, outcome._replace(skipped=True)])]


def test_an_earlier_version_s_is_named_from_then_on(tmp_path: Path) -> None:
    folder = begun(tmp_path, OWN)
    unnamed(folder)
    LiveRecord(tmp_path / "tiny", OWN, COLUMNS).close()
    assert reached(checkpoint_of(folder)).run == id_of(OWN)
    folder.rename(tmp_path / "tiny" / id_of(OTHER))
    with pytest.raises(InvalidInput, match="checkpoint of another run"):
        go(tmp_path, OTHER)


def test_it_neither_leaves_nor_enters_an_archive(tmp_path: Path) -> None:
    moved = begun(tmp_path / "here", OWN).rename(tmp_path / "here" / "tiny" / id_of(OTHER))
    with pytest.raises(InvalidInput, match=f"is the checkpoint of tiny/{id_of(OWN)}"):
        runs_in(tmp_path / "here")
    for place in (f"tiny/{id_of(OTHER)}", f"bitflip/{id_of(OWN)}"):
        with pytest.raises(InvalidInput, match=f"is the checkpoint of tiny/{id_of(OWN)}"):
            merge([Run(place, {LIVE: checkpoint_of(moved)})], tmp_path / "there")
    assert not (tmp_path / "there").exists()
    unnamed(moved)
    assert merge([Run(f"tiny/{id_of(OTHER)}", {LIVE: checkpoint_of(moved)})], tmp_path / "there").new


def of_another(database: sqlite3.Connection) -> None:
    database.execute("UPDATE owner SET config = ?", (canonical(identity(OTHER)),))


def of_nothing(database: sqlite3.Connection) -> None:
    database.execute("UPDATE owner SET config = '[]'")


def of_bytes(database: sqlite3.Connection) -> None:
    database.execute("UPDATE owner SET config = x'00ff'")


def of_endless(database: sqlite3.Connection) -> None:
    database.execute("UPDATE owner SET config = ?", ("[" * 100_000,))


@pytest.mark.parametrize("forge", [of_another, of_nothing, of_bytes, of_endless])
def test_a_forged_name_is_refused_everywhere(forge: Callable[[sqlite3.Connection], None], tmp_path: Path) -> None:
    folder = begun(tmp_path, OWN, advances=0)
    with sqlite3.connect(folder / LIVE) as database:
        forge(database)
    database.close()
    copy = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-copy")))
    with pytest.raises(InvalidInput, match=f"{folder.name}.*checkpoint of"):
        go(tmp_path, OWN)
    assert state_of(folder) == ("another's", 0)
    with pytest.raises(InvalidInput):
        runs_in(copy)


def test_a_difference_is_named_to_the_field() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}
    assert (
        differing(canonical(one), other).partition(": ")[2]
        == "b.c 2, here 4, b.d 3, here not given, e not given, here 5"
    )
