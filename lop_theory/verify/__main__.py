"""``python -m lop_theory verify``: every claim of the ledger recomputed, with its verdict and on what evidence."""

import json
import sys
from collections.abc import Iterator, Sequence

from lop_theory.cli import NOT_CERTIFIED, OK, Parser, run
from lop_theory.errors import InvalidInput
from lop_theory.report.ledger import Claim, load
from lop_theory.report.place import LEDGER, root
from lop_theory.verify.outcome import Outcome, recompute, start_commands, stop_commands
from lop_theory.verify.table import as_json, as_table, details, difference, not_recomputed, summary
from lop_theory.verify.unclaimed import unclaimed_statements

FAST, FULL = 5, 60


def parser() -> Parser:
    found = Parser(
        prog="python -m lop_theory verify",
        description="Recompute every claim of the ledger: ball certificates, exact counterexamples, property checks, "
        "recorded experiments, proofs.",
        epilog="exit code: 0 every recomputed verdict is the registered one, 1 one differs, 2 bad input",
    )
    found.add_argument("--only", nargs="+", default=[], metavar="ID", help="these claims only, with every finding")
    found.add_argument(
        "--fast", action="store_true", help=f"{FAST} random cases a check instead of {FULL}, and no proof is compiled"
    )
    found.add_argument("--json", action="store_true", help="one JSON object a claim, one a line")
    found.add_argument("--strict", action="store_true", help="a claim that cannot be checked here counts as different")
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    claims = load(root() / LEDGER)
    chosen = _chosen(claims, options.only)
    outcomes = list(_progress(chosen, fast=options.fast))
    if options.json:
        print("\n".join(json.dumps(as_json(found)) for found in outcomes))
    else:
        print(_report(outcomes, len(claims), whole=not options.only))
    return _code(outcomes, strict=options.strict)


def _chosen(claims: list[Claim], names: Sequence[str]) -> list[Claim]:
    known = {claim.id for claim in claims}
    for name in names:
        if name not in known:
            raise InvalidInput("only", name, "is no claim of the ledger", "python -m lop_theory.report lists them")
    return [claim for claim in claims if not names or claim.id in names]


def _progress(claims: list[Claim], *, fast: bool) -> Iterator[Outcome]:
    """Outcomes, with a live line on a terminal."""
    live = sys.stderr.isatty()
    try:
        start_commands(claims)
        for number, claim in enumerate(claims, 1):
            if live:
                print(f"\r[{number}/{len(claims)}] {claim.id:<40}", end="", file=sys.stderr, flush=True)
            yield recompute(claim, FAST if fast else FULL, compile=not fast)
    finally:
        stop_commands()
    if live:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)


def _report(outcomes: list[Outcome], total: int, *, whole: bool) -> str:
    parts = [as_table(outcomes) if whole else "\n".join(details(found) for found in outcomes)]
    parts += [difference(found) for found in outcomes if found.state == "differs"]
    if whole:
        parts += [_reasons(outcomes), not_recomputed(outcomes), summary(outcomes, total), unclaimed_statements()]
    return "\n".join(part for part in parts if part)


def _reasons(outcomes: list[Outcome]) -> str:
    """What could not be checked here, and how it could, each reason once."""
    reasons: dict[str, list[str]] = {}
    for found in outcomes:
        for reason in found.unchecked:
            reasons.setdefault(reason, []).append(found.claim.id)
    return "\n".join(f"not checked here: {' '.join(ids)}: {reason}" for reason, ids in reasons.items())


def _code(outcomes: list[Outcome], *, strict: bool) -> int:
    wrong = any(o.state == "differs" for o in outcomes)
    missing = strict and any(o.unchecked or not o.findings for o in outcomes)
    return NOT_CERTIFIED if wrong or missing else OK


if __name__ == "__main__":
    run(main)
