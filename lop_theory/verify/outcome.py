"""One claim, recomputed: its findings, what could not be checked here, and whether the ledger agrees."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import import_module
from typing import Literal, NamedTuple

from lop_theory.report.ledger import Claim
from lop_theory.verify.finding import NO_EVIDENCE, Finding, NotHere, no_evidence, recomputed_verdict, require_finding
from lop_theory.verify.proved import theorems

State = Literal["agrees", "differs", "not checked here"]
_COMMAND = "python -m "
_LACKS = "error: this command needs "  # what every command says without an extra
_RUNNING: dict[str, subprocess.Popen[str]] = {}


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
        """A check without evidence differs from every verdict, from "undecided" too."""
        if any(f.evidence == NO_EVIDENCE for f in self.findings):
            return "differs"
        if self.verdict is None:
            return "not checked here"
        return "agrees" if self.verdict == self.claim.verdict else "differs"

    @property
    def evidence(self) -> tuple[str, ...]:
        """The kinds of evidence that were recomputed, in the order in which they came."""
        return tuple(dict.fromkeys(f.evidence for f in self.findings))

    @property
    def not_recomputed(self) -> tuple[str, ...]:
        """The kinds of evidence that the ledger registers and nothing here gave, but what its tests say."""
        return tuple(kind for kind in self.claim.evidence if kind not in (*self.evidence, "tested"))


def recompute(claim: Claim, examples: int, *, compile: bool = False) -> Outcome:
    """Run every check of the claim, and ask for its proofs; with ``compile`` these are compiled if need be.

    One that breaks, exits or says nothing is no evidence; it is never skipped in silence.
    """
    start, findings, unchecked = time.perf_counter(), list[Finding](), list[str]()
    for name, check in _checks(claim, examples, compile):
        try:
            findings += check()
        except NotHere as lacking:
            unchecked.append(str(lacking))
        except (Exception, SystemExit) as error:
            findings.append(no_evidence(f"{name} broke: {type(error).__name__}: {error}"))
    if not claim.checks and "proved" not in claim.evidence:
        unchecked.append("the ledger names no check for it: see its tests and proofs")
    return Outcome(claim, tuple(findings), tuple(unchecked), time.perf_counter() - start)


def _checks(claim: Claim, examples: int, compile: bool) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    """Name → what computes its findings."""
    for check in claim.checks:
        yield check, partial(_run, check, claim.id, examples)
    if "proved" in claim.evidence:
        yield "its proofs", lambda: list(theorems(claim, compile=compile))


def _run(check: str, claim: str, examples: int) -> list[Finding]:
    if check.startswith(_COMMAND):
        found: Iterable[Finding] = (f for name, f in _answers(check.removeprefix(_COMMAND)) if name == claim)
    else:
        module, _, function = check.partition(":")
        found = getattr(import_module(module), function)(examples)
    return [require_finding(f) for f in found] or [no_evidence(f"{check} says nothing about {claim}")]


@cache
def _answers(command: str) -> tuple[tuple[str, Finding], ...]:
    """What the command prints: one JSON object a line, {claim, about, holds, evidence, detail}. It runs once."""
    process = _started(command)
    out, errors = process.communicate()
    if process.returncode == 2 and errors.startswith(_LACKS):
        raise NotHere(errors.strip().removeprefix("error: "), f"python -m {command}")
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {(errors.strip().splitlines() or ['no message'])[-1]}")
    rows = [json.loads(line) for line in out.splitlines()]
    return tuple((row.pop("claim"), Finding(**row)) for row in rows)


def _started(command: str) -> subprocess.Popen[str]:
    if command not in _RUNNING:
        arguments = [sys.executable, "-m", *command.split()]
        _RUNNING[command] = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return _RUNNING[command]


def start_commands(claims: Iterable[Claim]) -> None:
    """Start every checker command that the claims name, beside the checks of this process."""
    for check in {check for claim in claims for check in claim.checks if check.startswith(_COMMAND)}:
        _started(check.removeprefix(_COMMAND))


def stop_commands() -> None:
    """End the checker commands that still run: nothing outlives an interrupted verification."""
    for process in _RUNNING.values():
        if process.poll() is None:
            process.kill()
            process.communicate()
