"""The list of statements without a claim: whole entries, none twice, and only registered claims beside them."""

import tomllib
from pathlib import Path

from lop_theory.report.ledger import load
from lop_theory.verify.unclaimed import unclaimed_statements

ROOT = Path(__file__).parents[2]
STATEMENTS = tomllib.loads((ROOT / "lop_theory" / "verify" / "unclaimed.toml").read_text())["statement"]


def test_every_entry_says_where_what_why_and_what_it_takes():
    for entry in STATEMENTS:
        assert set(entry) == {"place", "statement", "why", "takes", "near"}
        assert all(entry[key].strip().endswith((".", ")")) for key in ("statement", "why", "takes")), entry["place"]
    assert len({e["statement"] for e in STATEMENTS}) == len(STATEMENTS) >= 30


def test_the_claims_beside_them_are_registered():
    known = {claim.id for claim in load(ROOT / "claims.toml")}
    assert {name for entry in STATEMENTS for name in entry["near"]} <= known


def test_verify_prints_each_of_them():
    lines = unclaimed_statements().splitlines()
    assert lines[0] == f"{len(STATEMENTS)} statements of the paper have no claim yet:"
    assert len(lines) == len(STATEMENTS) + 1
