"""The pinned statements of the proofs, as they stand in ``proofs/Statements.v``, and what they assume."""

import re
from pathlib import Path

_STATEMENT = re.compile(
    r"^Definition\s+([\w']+) : Prop :=\s*(.*?)\.\s*$(?=\s*(?:^\(\*|^Definition|^End|\Z|^$))", re.M | re.S
)


def pinned_statements(proofs: Path) -> dict[str, str]:
    """Theorem → its statement in Coq; empty where the proofs are not at hand."""
    source = proofs / "Statements.v"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    return {name: " ".join(body.split()) for name, body in _STATEMENT.findall(text)}


_ROW = re.compile(r"`[\w.]+:([\w']+)`\]\([^)]*\) \[⊢\]\([^)]*\) \(([^)]*)\)")


def axioms(proofs: Path) -> dict[str, str]:
    """Theorem → "none" or "reals", from the table that the audit has written into ``proofs/README.md``."""
    table = proofs / "README.md"
    return dict(_ROW.findall(table.read_text(encoding="utf-8"))) if table.is_file() else {}
