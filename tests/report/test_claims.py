"""The registry of claims, checked both ways, and every way it could go wrong planted."""

import shutil
from pathlib import Path

import pytest

from lop_theory.errors import InvalidInput
from lop_theory.report.__main__ import main
from lop_theory.report.ledger import Claim, load, problems

ROOT = Path(__file__).parents[2]
SCALAR = (
    "mehler kernel-bounds gap gap-sharp gap-parity entrywise rank-gain rank-equality fixed-points linear-step "
    "tension-relu-bias tension-tanh-gain tension-monotone tension-freezing"
).split()


def test_every_link_resolves():
    assert problems(load(ROOT / "claims.toml"), ROOT) == []


def test_every_scalar_claim_is_registered():
    assert set(SCALAR) <= {claim.id for claim in load(ROOT / "claims.toml")}


_TEST = "tests/gap/test_quartic_bound.py::test_gap_bound_and_its_slack"
GOOD = Claim("gap", "Lemma A.1", "s", "holds", ("tested",), tests=(_TEST,))


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (GOOD._replace(verdict="maybe"), "verdict"),
        (GOOD._replace(evidence=("felt",)), "evidence"),
        (GOOD._replace(verdict="corrected"), "corrected statement"),
        (GOOD._replace(evidence=("proved",)), "without a proof"),
        (GOOD._replace(refuted=("Gap.v:gap_bound",), corrected="c"), "none of its proofs"),
        (GOOD._replace(refuted=("Gap.v:gap_bound",)), "without a corrected statement"),
        (GOOD._replace(tests=()), "neither a test nor a proof"),
        (GOOD._replace(code=("lop_theory.gap:nothing",)), "no such name"),
        (GOOD._replace(code=("lop_theory.nowhere",)), "lop_theory.nowhere"),
        (GOOD._replace(tests=("tests/no.py::test_x",)), "no such file"),
        (GOOD._replace(tests=("tests/gap/test_quartic_bound.py::test_nothing",)), "missing"),
        (GOOD._replace(tests=("tests/gap/test_quartic_bound.py::test_parity_identity",)), "without the marker"),
        (GOOD._replace(tests=("tests/activations/test_formula.py",)), "no test carries its marker"),
        (GOOD._replace(proofs=("No.v:t",)), "no such file"),
        (GOOD._replace(proofs=("Gap.v:no_such_theorem",)), "no such theorem"),
        (GOOD._replace(figures=("Z.9",)), "figure Z.9"),
        (GOOD._replace(uses=("nothing",)), "unknown claim"),
        (GOOD._replace(uses=("gap",)), "cycle"),
    ],
)
def test_planted_faults_are_found(claim, word):
    assert any(word in problem and "gap" in problem for problem in problems([claim], ROOT))


def test_unregistered_markers_and_duplicates_are_found():
    found = problems([GOOD, GOOD], ROOT)
    assert "gap: registered twice" in found
    assert any("'mehler' is not registered" in problem for problem in found)
    assert any("[rank-gain] is not registered" in problem for problem in found)


_ENTRY = "[[claim]]\nid = 'x'\npaper = '-'\nstatement = 's'\nverdict = 'holds'\nevidence = ['tested']\n"


@pytest.mark.parametrize(
    "text",
    [
        "[[claim]]\nid = 'x'",
        "not toml [",
        "",
        "claim = 'none'",
        "claim = ['none']",
        "[claim]\nid = 'x'",
        _ENTRY + _ENTRY,
        _ENTRY.replace("'x'", "'x\"><script>'"),
        _ENTRY.replace("'x'", "''"),
        _ENTRY.replace("'x'", "7"),
        _ENTRY.replace("holds", "maybe"),
        _ENTRY.replace("'holds'", "true"),
        _ENTRY.replace("['tested']", "'tested'"),
        _ENTRY.replace("tested", "felt"),
        _ENTRY + "checks = 'lop_theory.verify.scalar:gap'",
        _ENTRY + "checks = ['os:system']",
        _ENTRY + "checks = ['lop_theory-evil:run']",
        _ENTRY + "checks = ['lop_theory.verify.scalar']",
        _ENTRY + "checks = ['python -m lop_theory-evil']",
        _ENTRY + "checks = ['python -m lop_theory.modules x.pt --model evil:run']",
        _ENTRY + "code = ['lop_theory-evil']",
        _ENTRY + "shown = 'python -m lop_theory-evil'",
        _ENTRY + "tests = ['README.md::x']",
        _ENTRY + "tests = ['../tests/x.py']",
        _ENTRY + "proofs = ['Gap.v']",
        _ENTRY + "proofs = ['Gap.v:']",
        _ENTRY + "checks = ['lop_theory_of_mine:gap']",
        _ENTRY + "code = ['os:system']",
        _ENTRY + "shown = 'python -m antigravity'",
        _ENTRY + "figures = ['<b>']",
        _ENTRY + "uses = [1]",
        _ENTRY.replace("'s'", "'\xe4'"),
    ],
)
def test_broken_files_are_refused(tmp_path, text):
    path = tmp_path / "claims.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInput):
        load(path)
    with pytest.raises(InvalidInput):
        load(tmp_path / "missing.toml")


def test_report_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main([]) == 0
    assert "rank-equality" in capsys.readouterr().out
    assert main(["--markdown"]) == 0
    assert "## gap — holds" in capsys.readouterr().out
    assert main(["--check"]) == 0
    shutil.copy(ROOT / "claims.toml", tmp_path / "claims.toml")
    (tmp_path / "paper_figs").mkdir()
    shutil.copy(ROOT / "paper_figs" / "__main__.py", tmp_path / "paper_figs")
    assert main(["--check", "--claims", str(tmp_path / "claims.toml")]) == 1
