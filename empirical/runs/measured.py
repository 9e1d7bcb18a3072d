"""A claim that rests on records: its statistics as a sentence, and the conditions under which its verdict follows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Condition = Callable[[Any], bool | None]


class Measured(NamedTuple):
    """``sentence(cells)`` is what the ledger must state, word for word; ``held(cells)`` whether the statement that
    holds is borne out by every seed (``None``: these records cannot tell); ``refuted(cells)``, for a corrected claim,
    whether the paper's is not. ``preset``: whose records are read, if not those that the experiment's claims are about.
    """

    sentence: Callable[[Any], str]
    held: Condition
    refuted: Condition | None = None
    preset: str | None = None


def findings(name: str, claim: Measured, cells: Any, stated: str) -> Iterator[Mapping[str, Any]]:
    """The evidence of the records, one mapping a finding, as ``lop_theory verify`` reads it."""
    sentence, about = claim.sentence(cells), "paper" if claim.refuted is None else "corrected"
    same = sentence in stated
    text = sentence if same else f"the ledger does not say what the records say: {sentence}"
    yield finding(name, about, claim.held(cells) if same else None, text)
    if claim.refuted is not None:
        yield finding(
            name, "paper", False if claim.refuted(cells) else None, "the paper's statement, by the same records"
        )


def finding(name: str, about: str, holds: bool | None, detail: str) -> Mapping[str, Any]:
    """One piece of measured evidence as a row."""
    held = None if holds is None else bool(holds)
    return {"claim": name, "about": about, "holds": held, "evidence": "measured", "detail": detail}
