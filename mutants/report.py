"""The report of a run: killed, survived, equivalent by package, and the survivors by name."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mutants.operators import Mutant

GOAL = 0.9
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


class Verdict(NamedTuple):
    """``outcome``: killed, killed (hung), survived, equivalent, unreached (no test runs it), not judged (no time).
    ``left_out`` are tests that could not judge it, for they fail without it."""

    mutant: Mutant
    outcome: str
    reason: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        return self.outcome in ("survived", "unreached")


def known_equivalents() -> dict[tuple[str, str, str, str], str]:
    """Mutants that no test should kill, each with the reason, by file, function and change."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {(e["file"], e["where"], *change): e["reason"] for e in entries for change in e["changes"]}


def lines(package: str, verdicts: Sequence[Verdict], population: int) -> list[str]:
    equivalent, left = (sum(v.outcome == name for v in verdicts) for name in ("equivalent", "not judged"))
    alive = [v for v in verdicts if v.alive]
    judged, share = len(verdicts) - equivalent - left, share_killed(verdicts)
    mark = "" if share >= GOAL else f"  below {GOAL:.0%}"
    hung = sum(v.outcome == "killed (hung)" for v in verdicts)
    mark = f"; {hung} of the killed ran out of time{mark}" if hung else mark
    mark = f"; {left} not judged for want of time{mark}" if left else mark
    head = (
        f"{package}: {judged - len(alive)} of {judged} killed ({share:.0%}), {len(alive)} survived, "
        f"{equivalent} equivalent; {len(verdicts)} sampled of {population}{mark}"
    )
    unsound = sorted({test for v in verdicts for test in v.left_out})
    shown = [v for v in verdicts if v.outcome not in ("killed", "not judged")]
    return [head, *(f"  {told(v)}" for v in shown), *(f"  left out, fails without a mutant: {t}" for t in unsound)]


def told(verdict: Verdict) -> str:
    m = verdict.mutant
    why = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.outcome}: {m.file}:{m.line} {m.where}: {m.before}  ->  {m.after}{why}"


def share_killed(verdicts: Sequence[Verdict]) -> float:
    """Of those that were judged and can be killed; 0 if there is none, for nothing was shown."""
    judged = [v for v in verdicts if v.outcome not in ("equivalent", "not judged")]
    return 1 - sum(v.alive for v in judged) / len(judged) if judged else 0.0
