"""``python -m lop_theory COMMAND``: the commands, and what each is for."""

import sys
from importlib import import_module

from lop_theory.cli import OK, run
from lop_theory.errors import InvalidInput

COMMANDS = {
    "verify": "recompute every claim of the ledger and compare the verdicts",
    "gap": "certify the quartic gap bound: lambda, kappa, Hermite coefficients with error bounds",
    "tension": "decorrelation strength against frozen probability, with a verdict per claim",
    "graph": "cloned and frozen manifolds of a network given as a graph",
    "modules": "clones, dead and saturated units of a PyTorch checkpoint",
    "stability": "the ways out of a model's clone manifold: spectrum, escape, predicted and measured steps",
    "report": "the claims ledger as a table",
}


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return OK
    if given[0] not in COMMANDS:
        raise InvalidInput("command", given[0], "is unknown", f"one of: {', '.join(COMMANDS)}")
    return import_module(f"lop_theory.{given[0]}.__main__").main(given[1:])


def usage() -> str:
    lines = [f"  {name:<9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: python -m lop_theory COMMAND [OPTIONS]   (COMMAND --help lists the options)", "", *lines])


def console() -> None:
    """The console script ``lop``."""
    run(main)


def gap() -> None:
    """The console script ``lop-gap``."""
    run(lambda: main(["gap", *sys.argv[1:]]))


def verify() -> None:
    """The console script ``lop-verify``."""
    run(lambda: main(["verify", *sys.argv[1:]]))


if __name__ == "__main__":
    run(main)
