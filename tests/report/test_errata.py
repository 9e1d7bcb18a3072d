"""Every erratum's code runs, and would notice if the paper were right."""

import ast
from pathlib import Path

import pytest

from lop_theory.report.errata import counterexamples, markdown, wrong
from lop_theory.report.ledger import load

CLAIMS = load(Path(__file__).parents[2] / "claims.toml")


class Denied(ast.NodeTransformer):
    """Every assertion says the opposite."""

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        return ast.Assert(ast.UnaryOp(ast.Not(), node.test), node.msg)


@pytest.mark.parametrize("erratum", counterexamples(), ids=lambda e: e.id)
def test_the_code_of_an_erratum_runs_and_asserts_what_it_shows(erratum):
    exec(compile(erratum.code, erratum.id, "exec"), {})
    denied = ast.fix_missing_locations(Denied().visit(ast.parse(erratum.code)))
    with pytest.raises(AssertionError):
        exec(compile(denied, erratum.id, "exec"), {})


def test_every_wrong_claim_with_mathematics_has_an_erratum():
    with_code = {erratum.id for erratum in counterexamples()}
    needed = {c.id for c in wrong(CLAIMS) if "measured" not in c.evidence or c.id == "optimiser-closure"}
    assert needed - with_code == set()
    assert with_code <= {c.id for c in wrong(CLAIMS)}


def test_the_page_has_a_section_for_each():
    page = markdown(CLAIMS)
    assert page.count("\n## ") == len(wrong(CLAIMS))
    assert page.count("```python") == len(counterexamples())
