"""``python -m empirical claims``: a verdict follows from intact records and true sentences only."""

import hashlib
import json
import shutil

import pyarrow as pa
import pytest
from pyarrow import parquet

from empirical.claims import command
from empirical.claims.command import EXPERIMENTS, main
from empirical.runs.measured import Measured, findings
from empirical.runs.saved import FOLDER
from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import load
from lop_theory.report.place import LEDGER, root


def rows(capsys, *arguments):
    assert main(list(arguments)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def copied(tmp_path):
    """The escape records, to be damaged."""
    shutil.copytree(FOLDER / "escape", tmp_path / "escape")
    return tmp_path


def _measured():
    return {name for experiment in EXPERIMENTS for name in command._verdicts(experiment)}


def test_every_measured_claim_is_recomputed(capsys):
    found = rows(capsys)
    assert {row["claim"] for row in found} == _measured()
    undecided = {row["claim"] for row in found if row["holds"] is None}
    assert undecided == {c.id for c in load(root() / LEDGER) if c.verdict == "undecided" and c.id in _measured()}
    assert {"cloning-vit", "lazy-rich"} <= undecided
    assert {row["evidence"] for row in found} == {"measured"}


def test_damaged_records_are_named_and_leave_their_claims_undecided(copied, capsys):
    data = next((copied / "escape").glob("*/record.parquet"))
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    found = rows(capsys, "escape-lop", "--records", str(copied))
    assert [(row["holds"], row["evidence"]) for row in found] == [(None, "no evidence")]
    assert data.parent.name in found[0]["detail"]
    assert "SHA-256" in found[0]["detail"]


def test_a_record_under_another_configuration_is_refused(copied, capsys):
    manifest = next((copied / "escape").glob("*/manifest.json"))
    manifest.write_text(manifest.read_text().replace('"lr": ', '"lr": 1', 1).replace('"seed": 4', '"seed": 5'))
    found = rows(capsys, "escape-lop", "--records", str(copied))
    assert [row["holds"] for row in found] == [None]


def _resealed(manifest, **changes):
    """A manifest that says of its data and itself whatever a forger wants."""
    data = (manifest.parent / "record.parquet").read_bytes()
    changed = {**json.loads(manifest.read_text()), "sha256": hashlib.sha256(data).hexdigest(), **changes}
    manifest.write_text(json.dumps(changed))


def test_a_seed_that_was_copied_from_another_is_refused(copied, capsys):
    first, second = sorted((copied / "escape").glob("*/manifest.json"))[:2]
    shutil.copy(first.parent / "record.parquet", second.parent / "record.parquet")
    _resealed(second)
    found = rows(capsys, "escape-lop", "--records", str(copied))
    assert [row["evidence"] for row in found] == ["no evidence"]
    assert f"has the data of {first.parent.name}" in found[0]["detail"]


def test_a_manifest_of_another_seed_is_refused(copied, capsys):
    manifest = next((copied / "escape").glob("*/manifest.json"))
    _resealed(manifest, seed=99)
    assert "seed that is not its configuration's" in rows(capsys, "escape-lop", "--records", str(copied))[0]["detail"]


@pytest.mark.parametrize("damage", ["half", "no table", "NaN"])
def test_resealed_records_of_another_form_are_no_evidence(copied, capsys, damage):
    """Their digest matches, so that only the statistics can notice; other experiments keep their verdicts."""
    path = next((copied / "escape").glob("*/record.parquet"))
    table = parquet.read_table(path)
    if damage == "no table":
        path.write_bytes(b"PAR1")
    else:
        for k, field in enumerate(table.schema if damage == "NaN" else ()):
            table = (
                table.set_column(k, field, pa.nulls(len(table), field.type))
                if pa.types.is_floating(field.type)
                else table
            )
        parquet.write_table(table if damage == "NaN" else table.slice(0, len(table) // 2), path)
    _resealed(path.parent / "manifest.json")
    found = rows(capsys, "escape-lop", "escape-half", "escape-collapse", "--records", str(copied))
    assert {row["claim"] for row in found} == {"escape-lop", "escape-half", "escape-collapse"}
    assert "no evidence" in {row["evidence"] for row in found}


def test_missing_records_are_undecided(tmp_path, capsys):
    found = rows(capsys, "escape-half", "--records", str(tmp_path))
    assert [row["holds"] for row in found] == [None]
    assert "python -m empirical escape --preset" in found[0]["detail"]


def test_a_sentence_that_the_ledger_does_not_state_is_undecided(monkeypatch, capsys):
    monkeypatch.setattr(command, "load", lambda _: [])
    found = rows(capsys, "escape-lop")
    assert [row["holds"] for row in found] == [None]
    assert "the ledger does not say what the records say" in found[0]["detail"]


@pytest.mark.parametrize(
    ("held", "refuted", "holds"),
    [
        (True, None, [True]),
        (False, None, [False]),
        (None, None, [None]),
        (True, True, [True, False]),
        (True, False, [True, None]),
    ],
)
def test_conditions_decide(held, refuted, holds):
    claim = Measured(lambda _: "s", lambda _: held, None if refuted is None else lambda _: refuted)
    assert [row["holds"] for row in findings("x", claim, None, "says s.")] == holds


def test_an_empty_sentence_says_nothing():
    [row] = findings("x", Measured(lambda _: "", lambda _: True), None, "says s.")
    assert row["evidence"] == "no evidence"


def test_a_sentence_inside_another_is_not_stated():
    claim = Measured(lambda _: "Measured: 2 of 2.", lambda _: True)
    assert [row["holds"] for row in findings("x", claim, None, "It holds. Measured: 2 of 2.")] == [True]
    assert [row["holds"] for row in findings("x", claim, None, "It is false that Measured: 2 of 2.")] == [None]


def test_unknown_claims_are_named():
    with pytest.raises(InvalidInput, match="is no measured claim"):
        main(["escape-lopp"])


def test_records_are_a_folder(tmp_path):
    for wrong in (tmp_path / "none", __file__):
        with pytest.raises(InvalidInput, match="is no folder"):
            main(["--records", str(wrong)])
