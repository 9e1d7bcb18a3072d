"""The report of a run: killed, survived, equivalent by package, and the survivors by name."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mutants.operators import Key, Mutant, mutants_of

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


class Equivalent(NamedTuple):
    """A mutant that no test should kill, and why; ``line`` is a part of its line, without which a number may come to
    stand for another one of the same function."""

    key: Key
    line: str
    reason: str


def known_equivalents() -> dict[Key, str]:
    """Mutants that no test should kill, each with the reason."""
    return {entry.key: entry.reason for entry in _listed(EQUIVALENT)}


def _listed(file: Path) -> Iterator[Equivalent]:
    for entry in tomllib.loads(file.read_text()).get("equivalent", []):
        for before, after, *line in entry["changes"]:
            yield Equivalent((entry["file"], entry["where"], before, after), " ".join(line), entry["reason"])


def misplaced(root: Path, file: Path = EQUIVALENT) -> list[str]:
    """What is listed as equivalent and is no mutant (any more), stands in another line, or is listed twice."""
    listed = list(_listed(file))
    found, times = _lines_of_mutants(root, {entry.key[0] for entry in listed}), Counter(entry.key for entry in listed)
    said = [(entry.key, _wrong(entry, found.get(entry.key), times[entry.key])) for entry in listed]
    return [f"{file.name}: {key[0]} {key[1]}: {key[2]}  ->  {key[3]} {wrong}" for key, wrong in said if wrong]


def _wrong(entry: Equivalent, line: str | None, times: int) -> str:
    if line is None:
        return "is no mutant of the code as it is: judge it anew, or take it out"
    if times > 1:
        return "is listed twice"
    if not entry.line and ("  # " in entry.key[3] or len(entry.key[2].split()) == 1):
        return f"may come to stand elsewhere: say a part of its line, {line}"
    return "" if entry.line in line else f"is in another line: {line}"


def _lines_of_mutants(root: Path, names: set[str]) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for file in (root / name for name in names if (root / name).is_file()):
        text = file.read_text().splitlines()
        found |= {m.key: text[m.line - 1].strip() for m in mutants_of(file, root)}
    return found


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
