"""``python -m empirical claims [ID …]``: each measured claim's statistics and verdict, recomputed from the records.

One JSON object a line, as ``python -m lop_theory verify`` reads it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from empirical.runs.measured import Measured, findings, nothing
from empirical.runs.saved import FOLDER
from empirical.runs.store import records, require_intact
from lop_theory.cli import OK, Parser
from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import load
from lop_theory.report.place import LEDGER, root

EXPERIMENTS = {
    "bitflip": "cells",
    "continual": "cells",
    "cloning": "cells",
    "escape": "cell",
    "persistence": "cells",
    "remedies": "cells",
}
"""Experiment → the function of its ``records`` that reads what its claims are about."""

_UNUSABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, OSError)
"""What records of another form raise; a missing package is none of them."""


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m empirical claims", description="Recompute the measured claims from saved records.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="these claims only (default: all)")
    parser.add_argument(
        "--records", default=str(FOLDER), metavar="DIR", help="the records (default: the committed ones)"
    )
    options = parser.parse_args(arguments)
    chosen = options.ids
    stated = {claim.id: f"{claim.statement} {claim.corrected}" for claim in load(root() / LEDGER)}
    known = {name: _verdicts(experiment) for experiment in EXPERIMENTS for name in _verdicts(experiment)}
    for name in chosen:
        if name not in known:
            raise InvalidInput("ids", name, "is no measured claim", f"one of: {' '.join(known)}")
    for experiment in EXPERIMENTS:
        names = [name for name in _verdicts(experiment) if not chosen or name in chosen]
        for row in _rows(experiment, names, stated, Path(options.records)):
            print(json.dumps(row))
    return OK


def _verdicts(experiment: str) -> Mapping[str, Measured]:
    return import_module(f"empirical.{experiment}.verdicts").VERDICTS


def _rows(experiment: str, names: list[str], stated: Mapping[str, str], folder: Path) -> Iterator[Mapping[str, Any]]:
    """Records that are missing, damaged or of another form are no evidence, with the reason, for their own claims."""
    if not names:
        return
    read = getattr(import_module(f"empirical.{experiment}.records"), EXPERIMENTS[experiment])
    by_preset: dict[str | None, list[str]] = defaultdict(list)
    for name in names:
        by_preset[_verdicts(experiment)[name].preset].append(name)
    for preset, own in by_preset.items():
        try:
            require_intact(records(folder / experiment))
            cells = read(root=folder) if preset is None else read(preset, root=folder)
        except _UNUSABLE as error:
            yield from (nothing(name, _said(error)) for name in own)
            continue
        for name in own:
            yield from _of_claim(name, _verdicts(experiment)[name], cells, stated.get(name, ""))


def _of_claim(name: str, claim: Measured, cells: Any, stated: str) -> list[Mapping[str, Any]]:
    try:
        return list(findings(name, claim, cells, stated))
    except _UNUSABLE as error:
        return [nothing(name, _said(error))]


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidInput) else f"{type(error).__name__}: {error}"
