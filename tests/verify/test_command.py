"""``python -m lop_theory verify``: what cannot be checked is never a pass, and a difference is shown."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lop_theory import __main__ as top
from lop_theory.errors import InvalidInput
from lop_theory.verify import __main__ as command
from lop_theory.verify import outcome as outcomes
from lop_theory.verify.__main__ import main
from lop_theory.verify.finding import Finding, NotHere
from lop_theory.verify.table import not_recomputed

ROOT = Path(__file__).parents[2]


def refusing(_: int):
    raise NotHere("needs a GPU", "run it where one is")


def lying(_: int):
    return [Finding("paper", False, "exact counterexample", "planted")]


CERTIFIED = Finding("paper", True, "certified by balls", "text")


def _claim(name):
    return next(claim for claim in command.load(ROOT / "claims.toml") if claim.id == name)


@pytest.fixture
def ledger(monkeypatch):
    """The ledger with some claims altered."""

    def alter(**changes):
        claims = [c._replace(**changes.get(c.id.replace("-", "_"), {})) for c in command.load(ROOT / "claims.toml")]
        monkeypatch.setattr(command, "load", lambda _: claims)

    return alter


def test_a_claim_with_all_its_findings(capsys):
    assert main(["--only", "clone-support", "rank-equality", "--fast"]) == 0
    out = capsys.readouterr().out
    assert out.count("the paper failed (exact counterexample)") == 4
    assert out.count("the correction held (tested)") == 2


def test_json_is_one_object_a_claim(capsys):
    assert main(["--only", "gap-parity", "linear-step", "--fast", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["claim"], r["registered"], r["recomputed"]) for r in rows] == [
        ("gap-parity", "holds", "holds"),
        ("linear-step", "corrected", "corrected"),
    ]
    assert all(r["findings"] and r["source"].startswith("arXiv") for r in rows)


def test_a_wrong_verdict_in_the_ledger_is_a_difference(ledger, capsys):
    ledger(clone_support={"verdict": "holds"})
    assert main(["--only", "clone-support", "--fast"]) == 1
    assert "- clone-support: holds\n+ clone-support: corrected" in capsys.readouterr().out


def test_a_planted_refutation_is_a_difference(ledger, monkeypatch, capsys):
    ledger(gap={"checks": (f"{__name__}:lying",)})
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    assert main(["--only", "gap", "--fast"]) == 1
    assert "planted" in capsys.readouterr().out


def test_evidence_that_is_registered_and_not_recomputed_is_named(ledger, capsys):
    """A stronger kind than any check gives is not taken over from the ledger; a kind that is given is not named."""
    assert main(["--only", "gap-parity", "mehler", "--fast"]) == 0
    assert "exact counterexample" not in capsys.readouterr().out
    ledger(mehler={"evidence": ("exact counterexample", "certified by balls", "tested")})
    assert main(["--only", "mehler", "--fast"]) == 0
    assert "registered, not recomputed here: exact counterexample\n" in capsys.readouterr().out
    assert main(["--only", "mehler", "--fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_recomputed"] == ["exact counterexample"]


def test_the_table_names_what_its_checks_did_not_give():
    outcome = outcomes.Outcome(_claim("gap")._replace(evidence=("measured", "tested", "proved")), (CERTIFIED,), (), 0.0)
    line = "registered, not recomputed here (see their tests): gap: measured, proved"
    assert not_recomputed([outcome, outcome._replace(unchecked=("needs Coq",))]) == line
    assert not_recomputed([outcome._replace(claim=_claim("gap")._replace(evidence=("tested",)))]) == ""


def test_what_cannot_be_checked_is_said_and_counts_only_when_strict(ledger, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    ledger(gap={"checks": (f"{__name__}:refusing",)})
    assert main(["--only", "gap", "--fast"]) == 0
    assert "not checked here: needs a GPU: run it where one is" in capsys.readouterr().out
    assert main(["--only", "gap", "--fast", "--strict"]) == 1


def test_without_torch_the_claims_about_models_are_not_checked():
    """What has a proof besides may agree by it; the rest says what it lacks."""
    code = "import sys; sys.modules['torch'] = None; from lop_theory.__main__ import main; sys.exit(main(sys.argv[1:]))"
    only = ["saddle", "module-certificate"]
    arguments = [sys.executable, "-c", code, "verify", "--only", *only, "--fast", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["claim"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["module-certificate"]["state"] == "not checked here"
    for row in rows.values():
        assert "pip install 'lop-theory[torch]'" in row["not_checked_here"][0]
        assert {finding["evidence"] for finding in row["findings"]} <= {"proved"}


@pytest.mark.parametrize("arguments", [["--only", "gapp"], ["--only", ""]])
def test_unknown_claims_are_named(arguments):
    with pytest.raises(InvalidInput, match="is no claim of the ledger"):
        main(arguments)


def test_the_top_command_lists_its_commands_one_a_line(capsys):
    assert top.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(top.COMMANDS)
    with pytest.raises(InvalidInput, match=re.escape("one of: verify, gap")):
        top.main(["verfy"])
    assert top.main(["gap", "--act", "tanh"]) == 0
    assert "certified     yes" in capsys.readouterr().out


def _child(monkeypatch, code):
    """A ledger whose measured claims ask the command ``code``."""
    monkeypatch.setattr(outcomes, "_RUNNING", {})
    outcomes._answers.cache_clear()
    arguments = [sys.executable, "-c", code]
    popen = subprocess.Popen
    monkeypatch.setattr(outcomes.subprocess, "Popen", lambda _, **options: popen(arguments, **options))


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; sys.exit('error: this command needs pyarrow; pip')", 1, "exit code 1"),
        (
            "import sys; print('error: this command needs pyarrow; pip', file=sys.stderr); sys.exit(2)",
            0,
            "pyarrow; pip",
        ),
        ("import sys; print('error: records of two lengths', file=sys.stderr); sys.exit(2)", 1, "of two lengths"),
        ("print('garbage')", 1, "JSONDecodeError"),
        ("print()", 1, "JSONDecodeError"),
        ("pass", 1, "says nothing about cloning-vit"),
    ],
)
def test_only_a_missing_package_excuses_a_command(monkeypatch, capsys, code, status, said):
    """The ledger has this claim undecided, which a command that breaks does not confirm."""
    _child(monkeypatch, code)
    assert main(["--only", "cloning-vit"]) == status
    assert said in capsys.readouterr().out
    outcomes._answers.cache_clear()


def test_an_interrupted_verification_leaves_no_process(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    _child(monkeypatch, "import time; time.sleep(100)")
    monkeypatch.setattr(command, "recompute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--only", "cloning-vit"])
    assert [process.poll() is None for process in outcomes._RUNNING.values()] == [False]
