"""A claim that rests on records: its statistics as a sentence, and the conditions under which its verdict follows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from lop_theory.verify.finding import NO_EVIDENCE

Condition = Callable[[Any], bool | None]


class Measured(NamedTuple):
    """``sentence(cells)`` is what the ledger must state, word for word; ``held(cells)`` whether the statement that
    holds is borne out by every seed (``None``: these records cannot tell); ``refuted(cells)``, for a corrected claim,
    whether the paper's is not. ``preset``: whose records are read, if not those that the experiment's claims are about.
    ``lacks(cells)`` says why these records cannot tell, whatever they show (:mod:`empirical.runs.control`), or nothing.
    """

    sentence: Callable[[Any], str]
    held: Condition
    refuted: Condition | None = None
    preset: str | None = None
    lacks: Callable[[Any], str | None] = lambda _: None

    def said(self, cells: Any) -> str:
        """The sentence, and, where the records cannot tell, why."""
        lacking = self.lacks(cells)
        return f"{self.sentence(cells)} Cannot tell: {lacking}." if lacking else self.sentence(cells)


def findings(name: str, claim: Measured, cells: Any, stated: str) -> Iterator[Mapping[str, Any]]:
    """The evidence of the records, one mapping a finding, as ``lop_theory verify`` reads it."""
    sentence, about = claim.said(cells), "paper" if claim.refuted is None else "corrected"
    if not _states(stated, sentence):
        yield nothing(name, f"the ledger does not say what the records say: {sentence}")
        return
    if claim.lacks(cells):
        yield finding(name, "paper", None, sentence)
        return
    yield finding(name, about, claim.held(cells), sentence)
    if claim.refuted is not None:
        yield finding(
            name, "paper", False if claim.refuted(cells) else None, "the paper's statement, by the same records"
        )


def _states(text: str, sentence: str) -> bool:
    """Whether the sentence stands in the text as one of its own, not as part of another ("It is false that …")."""
    if not sentence or sentence not in text:
        return False
    before = text.partition(sentence)[0]
    return before.rstrip()[-1:] in ("", ".", ":", ")")


def nothing(name: str, reason: str) -> Mapping[str, Any]:
    """Records from which nothing follows, as a row: whatever the ledger says of the claim, it differs."""
    return {**finding(name, "paper", None, reason), "evidence": NO_EVIDENCE}


def finding(name: str, about: str, holds: bool | None, detail: str) -> Mapping[str, Any]:
    """One piece of measured evidence as a row."""
    held = None if holds is None else bool(holds)
    return {"claim": name, "about": about, "holds": held, "evidence": "measured", "detail": detail}
