"""What the tests of an experiment's claims share: its sentences in claims.toml, and its committed records."""

import hashlib
from pathlib import Path

from empirical.runs.store import DATA, Record, records, run_id
from lop_theory.report.ledger import load

ROOT = Path(__file__).parents[2]


def stated(name: str) -> str:
    """What the ledger says of a claim."""
    claim = next(c for c in load(ROOT / "claims.toml") if c.id == name)
    return f"{claim.statement} {claim.corrected}"


def whole_records(experiment: str) -> list[Record]:
    """The committed records of an experiment, each with its own id and checksum."""
    found = records(ROOT / "results" / experiment)
    for record in found:
        assert record.folder.name == record.manifest["id"] == run_id(record.config)
        assert hashlib.sha256((record.folder / DATA).read_bytes()).hexdigest() == record.manifest["sha256"]
    return found
