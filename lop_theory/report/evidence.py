"""What ``python -m lop_theory verify --json`` found, in sentences; it runs as a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lop_theory.errors import InvalidInput

_FINDING = ("about", "holds", "evidence", "detail")
_OUTCOME = {True: "held", False: "failed", None: "is undecided"}


def recomputed() -> list[str]:
    """The verifier's lines, of a small profile. Its exit code 1 (a verdict differs) is a finding, not an error."""
    command = [sys.executable, "-m", "lop_theory", "verify", "--fast", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise InvalidInput("verify", done.stderr.strip()[-200:], "did not run", "try: python -m lop_theory verify")
    return done.stdout.splitlines()


def saved(path: str) -> list[str]:
    """The lines of an earlier ``verify --json``. Raises ``InvalidInput``."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InvalidInput("findings", path, f"cannot be read ({reason})", "make it with verify --json") from None


def sentences(lines: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Claim → its findings, and what could not be checked, in words. Raises ``InvalidInput`` for any other line."""
    found = {row["claim"]: _of_claim(row) for row in map(_row, lines)}
    if not found:
        raise InvalidInput("findings", "", "are empty", "make the file anew with verify --json")
    return found


def _row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        whole = {"claim", "findings", "not_checked_here", "state"} <= row.keys()
        if whole and all(set(finding) == set(_FINDING) for finding in row["findings"]):
            return row
    except (ValueError, AttributeError, TypeError):
        pass
    raise InvalidInput("findings", line, "is no line of verify --json", "make the file anew")


def _of_claim(row: Mapping[str, Any]) -> list[str]:
    found = [_sentence(**finding) for finding in row["findings"]]
    differs = [f"The recomputed verdict differs: {row['recomputed']}."] if row["state"] == "differs" else []
    return [*differs, *found, *(f"Not checked here: {reason}" for reason in row["not_checked_here"])]


def _sentence(about: str, holds: bool | None, evidence: str, detail: str) -> str:
    subject = "The paper's statement" if about == "paper" else "The corrected statement"
    return f"{subject} {_OUTCOME[holds]} ({evidence}): {detail}"
