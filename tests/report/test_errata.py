"""Every erratum's code runs, and would notice if the paper were right."""

import ast
from pathlib import Path

import pytest

from lop_theory.report.errata import counterexamples, markdown, wrong
from lop_theory.report.ledger import load

CLAIMS = load(Path(__file__).parents[2] / "claims.toml")


@pytest.mark.parametrize("erratum", counterexamples(), ids=lambda e: e.id)
def test_the_code_of_an_erratum_runs(erratum):
    exec(compile(erratum.code, erratum.id, "exec"), {})


@pytest.mark.parametrize("erratum", counterexamples(), ids=lambda e: e.id)
def test_the_code_asserts_what_it_shows(erratum):
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(erratum.code)))


def test_every_wrong_claim_with_mathematics_has_an_erratum():
    with_code = {erratum.id for erratum in counterexamples()}
    needed = {c.id for c in wrong(CLAIMS) if "measured" not in c.evidence or c.id == "optimiser-closure"}
    assert needed - with_code == set()
    assert with_code <= {c.id for c in wrong(CLAIMS)}


def test_the_page_has_a_section_for_each():
    page = markdown(CLAIMS)
    assert page.count("\n## ") == len(wrong(CLAIMS))
    assert page.count("```python") == len(counterexamples())
