"""One claim, recomputed: its findings, what could not be checked here, and whether the ledger agrees."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Literal, NamedTuple

from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import Claim
from lop_theory.verify.finding import Finding, NotHere, recomputed_verdict

State = Literal["agrees", "differs", "not checked here"]
_COMMAND = "python -m "


class Outcome(NamedTuple):
    """``unchecked`` names, with its remedy, each registered check that could not run here."""

    claim: Claim
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]
    seconds: float

    @property
    def verdict(self) -> str | None:
        return recomputed_verdict(self.findings)

    @property
    def state(self) -> State:
        if self.verdict is None:
            return "not checked here"
        return "agrees" if self.verdict == self.claim.verdict else "differs"

    @property
    def evidence(self) -> tuple[str, ...]:
        """The kinds of evidence that were recomputed, in the order in which they came."""
        return tuple(dict.fromkeys(f.evidence for f in self.findings))


def outcome(claim: Claim, examples: int) -> Outcome:
    """Run every check of the claim. A check that breaks leaves the claim undecided; it is never skipped in silence."""
    start, findings, unchecked = time.perf_counter(), list[Finding](), list[str]()
    for check in claim.checks:
        try:
            findings += _run(check, claim.id, examples)
        except NotHere as lacking:
            unchecked.append(str(lacking))
        except Exception as error:
            findings.append(Finding("paper", None, "tested", f"{check} broke: {type(error).__name__}: {error}"))
    if not claim.checks:
        unchecked.append("the ledger names no check for it: see its tests and proofs")
    return Outcome(claim, tuple(findings), tuple(unchecked), time.perf_counter() - start)


def _run(check: str, claim: str, examples: int) -> Iterable[Finding]:
    if check.startswith(_COMMAND):
        return _from_command(check.removeprefix(_COMMAND), claim)
    module, _, function = check.partition(":")
    return list(getattr(import_module(module), function)(examples))


def _from_command(command: str, claim: str) -> Iterator[Finding]:
    found = [finding for name, finding in _answers(command) if name == claim]
    if not found:
        raise InvalidInput("check", f"python -m {command}", f"says nothing about {claim}", "name it there")
    yield from found


@cache
def _answers(command: str) -> tuple[tuple[str, Finding], ...]:
    """What the command prints: one JSON object a line, {claim, about, holds, evidence, detail}. It runs once."""
    arguments = [sys.executable, "-m", *command.split()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise NotHere(done.stderr.strip().removeprefix("error: ") or "the command refuses", f"python -m {command}")
    if done.returncode != 0:
        raise NotHere(f"python -m {command} failed", done.stderr.strip().splitlines()[-1] if done.stderr else "run it")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return tuple((row.pop("claim"), Finding(**row)) for row in rows)
