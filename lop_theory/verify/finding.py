"""What one recomputation found out, and the verdict that the findings of a claim add up to.

A checker is a function ``(examples: int) -> Iterable[Finding]`` named in the ledger (``checks`` of a claim). It
recomputes; it never reads a verdict. What cannot run here raises ``NotHere`` and is never a pass.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, get_args

from lop_theory.report.ledger import EVIDENCE

Statement = Literal["paper", "corrected"]
NO_EVIDENCE = "no evidence"
"""What a check that breaks, or says nothing, gives: its claim differs, even if the ledger holds it undecided."""


class Finding(NamedTuple):
    """One piece of evidence, recomputed: whether the paper's (or the corrected) statement held in it.

    ``holds`` is ``None`` if it is undecided; ``evidence`` is one of the ledger's kinds; ``detail`` says what was
    computed, with its numbers, in one line.
    """

    about: Statement
    holds: bool | None
    evidence: str
    detail: str


class NotHere(Exception):  # noqa: N818 - not an error: the check needs what is not installed
    """The check cannot run on this machine; ``remedy`` says how it could."""

    def __init__(self, lacks: str, remedy: str) -> None:
        self.lacks, self.remedy = lacks, remedy
        super().__init__(f"{lacks}: {remedy}")


def no_evidence(detail: str) -> Finding:
    """The finding of a check from which nothing follows."""
    return Finding("paper", None, NO_EVIDENCE, detail)


def require_finding(found: Finding) -> Finding:
    """The finding, with Python's own truth value where a comparison gave NumPy's or PyTorch's.

    Raises ``ValueError`` for what would otherwise count as a pass: a statement of another name, a value that is
    neither true nor false nor ``None`` (``"False"`` and NaN are truthy), evidence of no known kind.
    """
    if found.about not in get_args(Statement):
        raise ValueError(f"a finding about {found.about!r}, which is none of {get_args(Statement)}")
    if found.holds is not None and found.holds not in (True, False):
        raise ValueError(f"a finding that holds {found.holds!r}, which is no truth value")
    if found.evidence not in (*EVIDENCE, NO_EVIDENCE):
        raise ValueError(f"a finding by {found.evidence!r}, which is none of {EVIDENCE}")
    return found._replace(holds=None if found.holds is None else bool(found.holds))


Checker = Callable[[int], Iterable[Finding]]


def recomputed_verdict(findings: Iterable[Finding]) -> str | None:
    """``holds``, ``corrected``, ``false`` or ``undecided``; ``None`` without a finding.

    A claim is *corrected* if the paper's statement was refuted and the corrected one held, *false* if it was refuted
    and nothing else is claimed, *holds* if everything held. An undecided or refuted correction is never a pass.
    """
    found = list(findings)
    if not found:
        return None
    if any(f.holds is None for f in found):
        return "undecided"
    paper, corrected = ({f.holds for f in found if f.about == about} for about in ("paper", "corrected"))
    if False in paper:
        return "false" if not corrected else "corrected" if corrected == {True} else "undecided"
    return "false" if False in corrected else "holds"


def refutes(shown: bool, evidence: str, detail: str) -> Finding:
    """Evidence against the paper's statement; a counterexample that does not show it decides nothing."""
    return Finding("paper", False if shown else None, evidence, detail)


def decided(true: bool, false: bool) -> bool | None:
    """A three-valued comparison of balls: certainly true, certainly false, or undecided."""
    return True if true else False if false else None


def agreed(outcomes: Iterable[bool | None]) -> bool | None:
    """All true, one false, or undecided."""
    found = set(outcomes)
    return False if False in found else True if found == {True} else None
