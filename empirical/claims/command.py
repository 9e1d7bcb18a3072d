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
from empirical.runs.saved import CHOOSING, FOLDER
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
    parser.add_argument(
        "--precision", default="fp32", choices=("fp32", "tf32", "bf16"),
        help="of the runs that are read, of continual, cloning and escape only (default fp32; on a GPU bf16 is usual)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if not Path(options.records).is_dir():
        raise InvalidInput("records", options.records, "is no folder", "give the --out of the runs")
    chosen = options.ids
    stated = {claim.id: f"{claim.statement} {claim.corrected}" for claim in load(root() / LEDGER)}
    experiments = list(EXPERIMENTS) if options.precision == "fp32" else list(CHOOSING)
    known = [name for experiment in experiments for name in _verdicts(experiment)]
    for name in chosen:
        if name not in known:
            about = "" if options.precision == "fp32" else f" about records in {options.precision}"
            raise InvalidInput("ids", name, f"is no measured claim{about}", f"one of: {' '.join(known)}")
    for experiment in experiments:
        names = [name for name in _verdicts(experiment) if not chosen or name in chosen]
        for row in _rows(experiment, names, stated, _reading(options)):
            print(json.dumps(row))
    return OK


def _reading(options: Any) -> dict[str, Any]:
    """What an experiment's reader is called with, besides the preset."""
    precision = {} if options.precision == "fp32" else {"precision": options.precision}
    return {"root": Path(options.records), **precision}


def _verdicts(experiment: str) -> Mapping[str, Measured]:
    return import_module(f"empirical.{experiment}.verdicts").VERDICTS


def _rows(
    experiment: str, names: list[str], stated: Mapping[str, str], reading: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Records that are missing, damaged or of another form are no evidence, with the reason, for their own claims."""
    if not names:
        return
    read = getattr(import_module(f"empirical.{experiment}.records"), EXPERIMENTS[experiment])
    by_preset: dict[str | None, list[str]] = defaultdict(list)
    for name in names:
        by_preset[_verdicts(experiment)[name].preset].append(name)
    for preset, own in by_preset.items():
        try:
            require_intact(records(reading["root"] / experiment))
            cells = read(**reading) if preset is None else read(preset, **reading)
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
