"""``python -m lop_theory.report``: table, page and errata; what is missing degrades a card, not the page."""

import json
import re
from pathlib import Path

import pytest

from lop_theory.errors import InvalidInput
from lop_theory.report.__main__ import main
from lop_theory.report.ledger import load
from lop_theory.report.page import whole_page
from lop_theory.report.page.formulas import latex

ROOT = Path(__file__).parents[2]
CLAIMS = load(ROOT / "claims.toml")


def test_table_and_errata(capsys, tmp_path):
    assert main([]) == 0
    assert capsys.readouterr().out.count("\n") == len(CLAIMS) + 1
    assert main(["--errata", str(tmp_path / "errata.md")]) == 0
    assert "## clone-support" in (tmp_path / "errata.md").read_text()


@pytest.mark.parametrize(
    ("content", "requirement"),
    [
        (None, "cannot be read"),
        ("", "are empty"),
        ("[]", "no line of verify"),
        ('{"claim": 1}', "no line of verify"),
        ('{"claim": "gap", "state": "agrees", "not_checked_here": [], "findings": [{"about": "paper"}]}', "no line of"),
    ],
)
def test_bad_findings_are_refused_and_leave_the_old_page(tmp_path, content, requirement):
    page, findings = tmp_path / "index.html", tmp_path / "found.jsonl"
    page.write_text("old")
    if content is not None:
        findings.write_text(content)
    with pytest.raises(InvalidInput, match=requirement):
        main(["--html", str(page), "--findings", str(findings)])
    assert page.read_text() == "old"
    with pytest.raises(InvalidInput, match="--html"):
        main(["--findings", str(findings)])


def test_no_place_to_write_is_said_before_any_work():
    with pytest.raises(InvalidInput, match="folder that does not exist"):
        main(["--html", "/nowhere/index.html"])


def test_a_page_without_figures_and_findings(tmp_path):
    page = whole_page(CLAIMS, {}, tmp_path)
    assert page.count("<article") == len(CLAIMS)
    assert "data:image/png" not in page
    assert "B.1 (not drawn here)" in page


def test_findings_are_text_and_never_markup(tmp_path):
    page = whole_page(CLAIMS[:1], {CLAIMS[0].id: ["<script>alert(1)</script>"]}, tmp_path)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_what_was_not_checked_and_what_differs_is_on_the_card(tmp_path):
    rows = [
        {"claim": "gap", "state": "differs", "recomputed": "false", "findings": [], "not_checked_here": []},
        {"claim": "saddle", "state": "not checked here", "findings": [], "not_checked_here": ["needs PyTorch: pip"]},
    ]
    (tmp_path / "found.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["--html", str(tmp_path / "index.html"), "--findings", str(tmp_path / "found.jsonl")]) == 0
    page = (tmp_path / "index.html").read_text()
    assert "The recomputed verdict differs: false." in page
    assert "Not checked here: needs PyTorch: pip" in page


def test_a_formula_is_of_a_claim_and_no_ratio_is_one():
    """A ratio of a quantity to itself is 1, whatever it is meant to say."""
    assert set(latex()) <= {claim.id for claim in CLAIMS}
    for name, text in latex().items():
        assert not re.search(r"\\frac\{(.*?)\}\{\1\}", text), name


@pytest.mark.parametrize(
    ("name", "hypothesis"),
    [
        ("clone-forward", "b_c"),
        ("clone-backward", "output"),
        ("clone-trajectory", "mask"),
        ("tension-freezing", "monotone"),
    ],
)
def test_a_formula_of_a_corrected_claim_has_the_hypothesis_that_was_missing(name, hypothesis):
    assert hypothesis in latex()[name]


def test_what_coq_proves_is_on_the_card():
    page = whole_page([claim for claim in CLAIMS if claim.id == "gap"], {}, ROOT)
    assert "forall a : nat -&gt; R, standardised a -&gt;" in page
    assert "rho ^ 2 - kernel a rho ^ 2 &gt;= decorr a * rho ^ 2 * (1 - rho ^ 2)" in page
    assert "gap_bound<br>axioms: reals" in page
    assert "quartic_gap<br>axioms: none" in page
