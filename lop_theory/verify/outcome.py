"""One claim, recomputed: its findings, what could not be checked here, and whether the ledger agrees."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import import_module
from typing import Literal, NamedTuple

from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import Claim
from lop_theory.verify.finding import Finding, NotHere, recomputed_verdict
from lop_theory.verify.proved import theorems

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


def recompute(claim: Claim, examples: int, *, compile: bool = False) -> Outcome:
    """Run every check of the claim, and ask for its proofs; with ``compile`` these are compiled if need be.

    A check that breaks leaves the claim undecided; it is never skipped in silence.
    """
    start, findings, unchecked = time.perf_counter(), list[Finding](), list[str]()
    for name, check in _checks(claim, examples, compile):
        try:
            findings += check()
        except NotHere as lacking:
            unchecked.append(str(lacking))
        except Exception as error:
            findings.append(Finding("paper", None, "tested", f"{name} broke: {type(error).__name__}: {error}"))
    if not claim.checks:
        unchecked.append("the ledger names no check for it: see its tests and proofs")
    return Outcome(claim, tuple(findings), tuple(unchecked), time.perf_counter() - start)


def _checks(claim: Claim, examples: int, compile: bool) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    """Name → what computes its findings."""
    for check in claim.checks:
        yield check, partial(_run, check, claim.id, examples)
    if "proved" in claim.evidence:
        yield "its proofs", lambda: list(theorems(claim, compile=compile))


def _run(check: str, claim: str, examples: int) -> Iterable[Finding]:
    if check.startswith(_COMMAND):
        return _from_command(check.removeprefix(_COMMAND), claim)
    module, _, function = check.partition(":")
    return [_plain(found) for found in getattr(import_module(module), function)(examples)]


def _plain(found: Finding) -> Finding:
    """With Python's own truth values, where a comparison gave NumPy's or PyTorch's."""
    return found._replace(holds=None if found.holds is None else bool(found.holds))


def _from_command(command: str, claim: str) -> Iterator[Finding]:
    found = [finding for name, finding in _answers(command) if name == claim]
    if not found:
        raise InvalidInput("check", f"python -m {command}", f"says nothing about {claim}", "name it there")
    yield from found


@cache
def _answers(command: str) -> tuple[tuple[str, Finding], ...]:
    """What the command prints: one JSON object a line, {claim, about, holds, evidence, detail}. It runs once."""
    process = _started(command)
    out, errors = process.communicate()
    if process.returncode == 2:
        raise NotHere(errors.strip().removeprefix("error: ") or "the command refuses", f"python -m {command}")
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {(errors.strip().splitlines() or ['no message'])[-1]}")
    rows = [json.loads(line) for line in out.splitlines()]
    return tuple((row.pop("claim"), Finding(**row)) for row in rows)


@cache
def _started(command: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", *command.split()]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_commands(claims: Iterable[Claim]) -> None:
    """Start every checker command that the claims name, beside the checks of this process."""
    for check in {check for claim in claims for check in claim.checks if check.startswith(_COMMAND)}:
        _started(check.removeprefix(_COMMAND))
