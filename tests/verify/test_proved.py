"""Proofs count as evidence only if the audit accepted these very sources."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lop_theory.report.ledger import Claim
from lop_theory.verify import proved as module
from lop_theory.verify.finding import NotHere
from lop_theory.verify.outcome import recompute
from lop_theory.verify.proved import theorems

ROOT = Path(__file__).parents[2]
CLAIM = Claim("gap", "Lemma A.1", "s", "holds", ("proved",), proofs=("Gap.v:gap_bound",))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose audit answers as told, and whose compilation succeeds or fails."""

    def make(*, fresh: bool, compiles: bool) -> None:
        (tmp_path / "tests").mkdir()
        audit = tmp_path / "proofs" / "audit"
        audit.mkdir(parents=True)
        (audit / "__init__.py").touch()
        (audit / "__main__.py").write_text(f"raise SystemExit({0 if fresh else 1})\n")
        (tmp_path / "proofs" / "Makefile").write_text(
            f"all:\n\t@{'true' if compiles else 'echo no proof >&2; false'}\n"
        )
        monkeypatch.setattr(module, "root", lambda: tmp_path)

    module._audited.cache_clear()
    yield make
    module._audited.cache_clear()


def test_audited_sources_are_evidence(checkout):
    checkout(fresh=True, compiles=False)
    (found,) = theorems(CLAIM, compile=False)
    assert (found.about, found.holds, found.evidence) == ("paper", True, "proved")
    (found,) = theorems(CLAIM._replace(corrected="c"), compile=False)
    assert (found.about, found.holds) == ("corrected", True)


def test_a_claim_said_to_be_proved_without_a_theorem_has_no_evidence(checkout):
    checkout(fresh=True, compiles=False)
    found = recompute(CLAIM._replace(proofs=()), 1)
    assert (found.state, found.findings[0].detail) == ("differs", "the ledger names no theorem for it")


@pytest.mark.parametrize("verdict", ["holds", "corrected", "false", "undecided"])
def test_what_theorems_say_does_not_follow_the_registered_verdict(checkout, verdict):
    checkout(fresh=True, compiles=False)
    link = "Gap.v:gap_refuted"
    claim = CLAIM._replace(verdict=verdict, corrected="c", proofs=(*CLAIM.proofs, link), refuted=(link,))
    refuting, proving = theorems(claim, compile=False)
    assert (refuting.about, refuting.holds, refuting.detail[:11]) == ("paper", False, "gap_refuted")
    assert (proving.about, proving.holds, proving.detail[:9]) == ("corrected", True, "gap_bound")


def test_theorems_that_are_not_accepted_refute_nothing(checkout, monkeypatch):
    checkout(fresh=False, compiles=False)
    monkeypatch.setattr(module, "which", lambda _: "/usr/bin/coqc")
    claim = CLAIM._replace(refuted=CLAIM.proofs, corrected="c")
    (found,) = theorems(claim, compile=True)
    assert (found.about, found.holds) == ("paper", None)


def test_changed_sources_are_not_checked_unless_they_compile_now(checkout, monkeypatch):
    checkout(fresh=False, compiles=True)
    monkeypatch.setattr(module, "which", lambda _: "/usr/bin/coqc")
    with pytest.raises(NotHere, match="not audited since they changed"):
        list(theorems(CLAIM, compile=False))
    module._audited.cache_clear()
    assert [found.holds for found in theorems(CLAIM, compile=True)] == [True]


def test_proofs_that_do_not_compile_leave_the_claim_undecided(checkout, monkeypatch):
    checkout(fresh=False, compiles=False)
    monkeypatch.setattr(module, "which", lambda _: "/usr/bin/coqc")
    (found,) = theorems(CLAIM, compile=True)
    assert found.holds is None
    assert "make proofs fails" in found.detail


def test_without_coq_or_checkout_they_are_not_checked(checkout, monkeypatch, tmp_path):
    checkout(fresh=False, compiles=True)
    monkeypatch.setattr(module, "which", lambda _: None)
    with pytest.raises(NotHere, match="needs Coq"):
        list(theorems(CLAIM, compile=True))
    shutil.rmtree(tmp_path / "proofs")
    module._audited.cache_clear()
    with pytest.raises(NotHere, match="not part of an installed package"):
        list(theorems(CLAIM, compile=True))


@pytest.mark.parametrize("change", ["Gap.v", "Extra.v", "claims.toml"])
def test_the_stamp_is_stale_after_any_change(tmp_path, change):
    """A copy of the sources with a fresh stamp; then one more blank line in a proof, a new file, another pin."""
    folder = tmp_path / "proofs"
    shutil.copytree(ROOT / "proofs", folder, ignore=shutil.ignore_patterns("*.vo*", "*.glob", "build", ".*"))
    shutil.copy(ROOT / "claims.toml", tmp_path)
    (folder / "build").mkdir()
    run = [sys.executable, "-m", "audit"]
    assert subprocess.run([*run, "fresh"], cwd=folder, check=False).returncode == 1
    assert subprocess.run([*run, "stamp"], cwd=folder, check=False).returncode == 0
    assert subprocess.run([*run, "fresh"], cwd=folder, check=False).returncode == 0
    target = tmp_path / change if change.endswith(".toml") else folder / change
    text = target.read_text() if target.exists() else ""
    target.write_text(
        text.replace('evidence = ["proved"', 'evidence = ["tested"') if change.endswith(".toml") else text + "\n"
    )
    assert subprocess.run([*run, "fresh"], cwd=folder, check=False).returncode == 1
