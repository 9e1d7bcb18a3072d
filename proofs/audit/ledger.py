"""What the ledger says about the proofs: claims.toml beside the proofs' folder."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from audit import sources


class Claim(NamedTuple):
    """A claim as far as it concerns the proofs."""

    id: str
    paper: str
    says: str  # the corrected statement where there is one, else the statement
    evidence: tuple[str, ...]
    proofs: tuple[str, ...]  # File.v:theorem of this project
    linked: bool  # whether it links any theorem, of this project or another
    proved: str  # what Coq proves of it, exactly
    pinned: str  # the hash of its statements and of the definitions that they use


def load(folder: Path) -> list[Claim]:
    """Every claim of the ledger, in its order."""
    text = (sources.base(folder).parent / "claims.toml").read_text(encoding="utf-8")
    return [
        Claim(
            entry["id"],
            entry["paper"],
            entry.get("corrected", entry["statement"]),
            tuple(entry["evidence"]),
            tuple(_own(entry.get("proofs", []), sources.prefix(folder))),
            bool(entry.get("proofs")),
            entry.get("proved", ""),
            entry.get("pinned", ""),
        )
        for entry in tomllib.loads(text)["claim"]
    ]


def _own(proofs: list[str], prefix: str) -> Iterator[str]:
    for link in proofs:
        if link.rpartition("/")[0] == prefix.removesuffix("/"):
            yield link.removeprefix(prefix)


def links(claims: list[Claim]) -> list[str]:
    """Every ``File.v:theorem`` that some claim links, once."""
    return list(dict.fromkeys(link for claim in claims for link in claim.proofs))


def faults(claims: list[Claim], folder: Path) -> list[str]:
    """Where claims, headline comments, theorems and Statements.v do not name one another."""
    linked, stated, tags = links(claims), sources.theorems(folder), sources.headlines(folder)
    pinned = {name for kind, name in sources.stated(folder).get("Statements", []) if kind == "Definition"}
    names = [link.partition(":")[2] for link in linked]
    found = [f"{link}: linked, but no such Theorem in the sources" for link in linked if link not in stated]
    found += [f"Statements.v: {name} is pinned, but no claim links it" for name in sorted(pinned - set(names))]
    found += [
        f"{link}: linked, but not stated in Statements.v" for link in linked if link.partition(":")[2] not in pinned
    ]
    found += [f"{name}: two linked theorems of this name" for name in sorted({n for n in names if names.count(n) > 1})]
    for claim in claims:
        found += [f"{claim.id}: {fault}" for fault in _of_claim(claim, tags)]
    by_link = {link: {claim.id for claim in claims if link in claim.proofs} for link in tags}
    found += [
        f"{link}: its comment names [{name}], which does not link it"
        for link, ids in tags.items()
        for name in ids
        if name not in by_link[link]
    ]
    return found


def _of_claim(claim: Claim, tags: dict[str, tuple[str, ...]]) -> Iterator[str]:
    if "proved" in claim.evidence and not claim.linked:
        yield "evidence 'proved', but no theorem is linked"
    if claim.proofs and not claim.proved:
        yield "links theorems, but does not say in 'proved' what they prove"
    yield from (
        f"links {link}, whose comment does not name [{claim.id}]"
        for link in claim.proofs
        if claim.id not in tags.get(link, ())
    )
