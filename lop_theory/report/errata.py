"""Errata of the paper: what it says, why it fails, the smallest counterexample as code, and what holds instead."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lop_theory.report.ledger import Claim


class Erratum(NamedTuple):
    """Why the claim fails as written, and a program whose assertions show it."""

    id: str
    why: str
    code: str


def counterexamples() -> list[Erratum]:
    """The errata that ship with the package, in the ledger's order."""
    path = Path(__file__).with_name("errata.toml")
    return [Erratum(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["erratum"]]


def wrong(claims: Iterable[Claim]) -> list[Claim]:
    """The claims that do not hold as the paper states them."""
    return [claim for claim in claims if claim.verdict in ("corrected", "false")]


def markdown(claims: Iterable[Claim]) -> str:
    """``errata.md``: one section a claim that does not hold as written."""
    known = {erratum.id: erratum for erratum in counterexamples()}
    parts = [
        "# Errata",
        "",
        "What the paper (or a later one) says and does not hold as written. The code of each entry is run by a test.",
        "",
    ]
    for claim in wrong(claims):
        parts += [f"## {claim.id}: {claim.paper}", "", f"*{claim.source}.* {claim.statement}", ""]
        parts += _counterexample(known.get(claim.id))
        if claim.corrected:
            parts += [f"**Holds instead** ({', '.join(claim.evidence)}): {claim.corrected}", ""]
        if claim.proofs:
            parts += ["Proof: " + ", ".join(f"`proofs/{link}`" for link in claim.proofs), ""]
    return "\n".join(parts)


def _counterexample(erratum: Erratum | None) -> list[str]:
    if erratum is None:
        return ["**Why it fails:** by measurement; the numbers stand in the corrected statement.", ""]
    return [f"**Why it fails:** {erratum.why}", "", "```python", erratum.code.strip(), "```", ""]
