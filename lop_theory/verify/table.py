"""Outcomes as a table a person reads, or as JSON."""

from collections.abc import Sequence
from typing import Any

from lop_theory.report.ledger import PAPER, Claim
from lop_theory.verify.finding import Finding
from lop_theory.verify.outcome import Outcome

_WORDS = {"holds": "holds", "corrected": "holds corrected", "false": "false", "undecided": "cannot tell"}
_HEADER = "claim", "paper", "verdict", "recomputed", "by", "s"


def word(claim: Claim) -> str:
    """The registered verdict; one that rests on measurements alone says so."""
    measured = "measured: " if set(claim.evidence) == {"measured"} else ""
    return measured + _WORDS.get(claim.verdict, claim.verdict)


def place(claim: Claim) -> str:
    """The paper's number; for a claim of a later paper its source."""
    return claim.paper if claim.source == PAPER else claim.source.partition(" (")[0]


def row(found: Outcome) -> tuple[str, ...]:
    recomputed = {"agrees": "agrees", "differs": f"DIFFERS: {found.verdict}", "not checked here": "-"}[found.state]
    return (
        found.claim.id,
        place(found.claim),
        word(found.claim),
        recomputed,
        ", ".join(found.evidence) or "not checked here",
        f"{found.seconds:.1f}",
    )


def as_table(outcomes: Sequence[Outcome]) -> str:
    rows = [_HEADER, *map(row, outcomes)]
    widths = [max(len(cells[k]) for cells in rows) for k in range(len(_HEADER))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    return "\n".join(lines)


def difference(found: Outcome) -> str:
    """The registered and the recomputed verdict as a diff, with the findings that decided it."""
    decisive = [f for f in found.findings if f.holds is not True] or list(found.findings)
    lines = [f"- {found.claim.id}: {found.claim.verdict}", f"+ {found.claim.id}: {found.verdict}"]
    return "\n".join([*lines, *(f"    {_sentence(f)}" for f in decisive)])


def _sentence(found: Finding) -> str:
    outcome = {True: "held", False: "failed", None: "undecided"}[found.holds]
    return f"{'the paper' if found.about == 'paper' else 'the correction'} {outcome} ({found.evidence}): {found.detail}"


def details(found: Outcome) -> str:
    return "\n".join([found.claim.id, *(f"    {_sentence(f)}" for f in found.findings), *_unchecked(found)])


def _unchecked(found: Outcome) -> list[str]:
    kinds = [f"    registered, not recomputed here: {', '.join(found.not_recomputed)}"] if found.not_recomputed else []
    return [*kinds, *(f"    not checked here: {reason}" for reason in found.unchecked)]


def not_recomputed(outcomes: Sequence[Outcome]) -> str:
    """The registered kinds of evidence that checks which all ran did not give, of every claim in one line."""
    ran = [o for o in outcomes if o.not_recomputed and not o.unchecked]
    kinds = "; ".join(f"{o.claim.id}: {', '.join(o.not_recomputed)}" for o in ran)
    return f"registered, not recomputed here (see their tests): {kinds}" if kinds else ""


def summary(outcomes: Sequence[Outcome], total: int) -> str:
    """The denominator: how many of all claims were recomputed, how many by proof, and how many agree."""
    checked = [o for o in outcomes if o.findings]
    proved = sum("proved" in o.evidence for o in checked)
    agree = sum(o.state == "agrees" for o in checked)
    counts = (
        f"{len(checked)} of {total} claims recomputed here, {proved} of them by proof; {agree} agree with the ledger"
    )
    return f"Numbers are those of {PAPER}. {counts}"


def as_json(found: Outcome) -> dict[str, Any]:
    return {
        "claim": found.claim.id,
        "paper": found.claim.paper,
        "source": found.claim.source,
        "registered": found.claim.verdict,
        "recomputed": found.verdict,
        "state": found.state,
        "findings": [f._asdict() for f in found.findings],
        "not_checked_here": list(found.unchecked),
        "not_recomputed": list(found.not_recomputed),
        "seconds": round(found.seconds, 3),
    }
