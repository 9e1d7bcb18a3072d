"""Evidence "proved": what `make proofs` has accepted for the sources as they stand, or compiles and audits now."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from shutil import which

from lop_theory.report.ledger import Claim
from lop_theory.report.place import in_checkout, root
from lop_theory.verify.finding import Finding, NotHere, no_evidence, refutes


def theorems(claim: Claim, *, compile: bool) -> Iterator[Finding]:
    """One finding for the theorems that refute the paper's statement (``refuted`` of the claim), one for those that
    prove what holds. With ``compile`` they are compiled and audited if need be.

    Raises ``NotHere`` where the proofs or Coq are missing, or were not audited since they changed.
    """
    if not claim.proofs:
        yield no_evidence("the ledger names no theorem for it")
        return
    accepted, detail = _audited(root(), compile)
    proving = [link for link in claim.proofs if link not in claim.refuted]
    if claim.refuted:
        yield refutes(accepted, "proved", f"{_names(claim.refuted)}: {detail}")
    if proving:
        about = "corrected" if claim.corrected else "paper"
        yield Finding(about, True if accepted else None, "proved", f"{_names(proving)}: {detail}")


def _names(links: Iterable[str]) -> str:
    return ", ".join(link.partition(":")[2] for link in links)


@cache
def _audited(place: Path, compile: bool) -> tuple[bool, str]:
    """Whether the audit accepts the proofs, and what it says."""
    folder = place / "proofs"
    if not in_checkout(place):
        raise NotHere("the proofs are not part of an installed package", "run it in a checkout")
    fresh = subprocess.run([sys.executable, "-m", "audit", "fresh"], cwd=folder, capture_output=True, check=False)
    if fresh.returncode == 0:
        return True, "pinned statements, audited by make proofs"
    if which("coqc") is None:
        raise NotHere("needs Coq", "make proofs names the packages")
    if not compile:
        raise NotHere("the proofs were not audited since they changed", "make proofs, or verify without --fast")
    done = subprocess.run(
        ["make", "-C", str(folder), f"PYTHON={sys.executable}"], capture_output=True, text=True, check=False
    )
    last = (done.stderr or done.stdout).strip().splitlines()
    return (
        done.returncode == 0,
        "compiled and audited now" if done.returncode == 0 else f"make proofs fails: {last[-1]}",
    )
