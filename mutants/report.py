"""The report of a run: killed, survived, equivalent by package, and the survivors by name."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mutants.operators import Mutant

GOAL = 0.9
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


class Verdict(NamedTuple):
    """``outcome`` is killed, killed (hung), survived, equivalent or unreached (no test runs the line)."""

    mutant: Mutant
    outcome: str
    reason: str = ""

    @property
    def alive(self) -> bool:
        return self.outcome in ("survived", "unreached")


def known_equivalents() -> dict[tuple[str, str, str, str], str]:
    """Mutants that no test can kill, each with the reason, by file, function and change."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {(e["file"], e["where"], e["before"], e["after"]): e["reason"] for e in entries}


def lines(package: str, verdicts: Sequence[Verdict], population: int) -> list[str]:
    equivalent = sum(v.outcome == "equivalent" for v in verdicts)
    alive = [v for v in verdicts if v.alive]
    judged = len(verdicts) - equivalent
    share = 1 - len(alive) / judged if judged else 1.0
    mark = "" if share >= GOAL else f"  below {GOAL:.0%}"
    head = (
        f"{package}: {judged - len(alive)} of {judged} killed ({share:.0%}), {len(alive)} survived, "
        f"{equivalent} equivalent; {len(verdicts)} sampled of {population}{mark}"
    )
    return [head, *(f"  {told(v)}" for v in verdicts if v.alive or v.outcome == "equivalent")]


def told(verdict: Verdict) -> str:
    m = verdict.mutant
    why = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.outcome}: {m.file}:{m.line} {m.where}: {m.before}  ->  {m.after}{why}"


def share_killed(verdicts: Sequence[Verdict]) -> float:
    judged = [v for v in verdicts if v.outcome != "equivalent"]
    return 1 - sum(v.alive for v in judged) / len(judged) if judged else 1.0
