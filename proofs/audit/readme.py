"""proofs/README.md, written from the ledger and the audit."""

from pathlib import Path

from audit import coq, ledger, sources

HEAD = """# The proofs

This file is written by `make readme` in `proofs/` from `claims.toml` and the audit; `make proofs` fails where they
differ.

`make proofs` (in the project's root) compiles every file, audits it and re-checks the compiled files with `coqchk`
(`-norec`: our own modules are re-checked, the libraries are taken as installed). It needs Debian's
`{packages}`
and says so if they are missing.

**Read `Statements.v`**: it states every theorem below in full, as a `Prop`. `Checked.v` proves each by `exact`. The
audit asks Coq whether every linked theorem proves its statement, and on which axioms; and it compares the hash of each
claim's printed statements, and of every definition that they use, with the one pinned in `claims.toml`. Trusted are
Coq, its libraries, the audit, and your reading.

"(none)" means no axiom at all, "(reals)" at most the axioms of Coq's classical reals and of mathcomp's instance:
{axioms}.

What of the paper is not proved is in [NOTES.md](NOTES.md), item by item. `make proofs-numbers` builds and audits
[numbers/](numbers/README.md) in the same way.

| Paper | Claim | Theorem (axioms) | What is proved |
|---|---|---|---|
"""


NUMBERS = """# Numbers proved by Coq

This file is written by `make numbers-readme` in `proofs/` from `claims.toml` and the audit. `make proofs-numbers` (in
the project's root) compiles and audits these files; besides the packages of the other proofs it needs Debian's
`libcoq-interval`. The axioms are those of Coq's reals, and its primitive integers and floating-point numbers, with
which CoqInterval computes. `Formula.v` serves the files that `python -m lop_theory.gap --coq` writes for other
activations.

| Paper | Claim | Theorem | What is proved |
|---|---|---|---|
"""


def render(claims: list[ledger.Claim], free: set[str], folder: Path, packages: list[str]) -> str:
    """The whole file; `free` are the links without any axiom."""
    if sources.prefix(folder):
        return NUMBERS + "\n".join(_row(claim, free, folder) for claim in claims if claim.proofs) + "\n"
    head = HEAD.format(packages=" ".join(packages), axioms=", ".join(f"`{name}`" for name in sorted(coq.ALLOWED)))
    rows = [_row(claim, free, folder) for claim in claims if claim.proofs]
    return head + "\n".join(rows) + "\n"


def _row(claim: ledger.Claim, free: set[str], folder: Path) -> str:
    theorems = "<br>".join(_theorem(link, free, folder) for link in claim.proofs)
    up = "../../" if sources.prefix(folder) else "../"
    return f"| {claim.paper} | [{claim.id}]({up}claims.toml) | {theorems} | {claim.proved.replace('|', '∣')} |"


def _theorem(link: str, free: set[str], folder: Path) -> str:
    file, _, name = link.partition(":")
    place = f"{file}#L{sources.line_of(folder, file, name)}"
    statement = f"Statements.v#L{sources.line_of(folder, 'Statements.v', name)}"
    return f"[`{link}`]({place}) [⊢]({statement}) ({'none' if link in free else 'reals'})"
