"""Outcome of a check: ``Holds``, ``Fails`` with a witness, or ``Undecided`` with a reason.

Only ``Holds`` is truthy; an undecided comparison is never read as its own negation.
"""

from typing import Any, NamedTuple


class Holds(NamedTuple):
    """The statement holds; ``evidence`` names its level (proved, certified by balls, exact, tested)."""

    evidence: str

    def __bool__(self) -> bool:
        return True


class Fails(NamedTuple):
    """The statement fails; ``witness`` is the smallest object found that shows it."""

    witness: Any

    def __bool__(self) -> bool:
        return False


class Undecided(NamedTuple):
    """The precision or the hypotheses at hand do not settle the statement."""

    reason: str

    def __bool__(self) -> bool:
        return False


Verdict = Holds | Fails | Undecided
