"""``python -m empirical bitflip --preset smoke|laptop|paper``: the paper's experiments."""

import importlib
import sys

from lop_theory.cli import OK, run
from lop_theory.errors import InvalidInput

COMMANDS = {"bitflip": "slowly changing regression: loss of plasticity under SGD, recovery under continual backprop"}
"""Command → what it does; its module of this package has ``main(arguments)``."""


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["-h"], ["--help"]):
        print("usage: python -m empirical COMMAND [OPTIONS]   (COMMAND --help lists the options)\n")
        print("\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))
        return OK
    if not given or given[0] not in COMMANDS:
        raise InvalidInput("command", given[0] if given else "", "is unknown", f"one of: {', '.join(COMMANDS)}")
    return importlib.import_module(f"empirical.{given[0]}").main(given[1:])


if __name__ == "__main__":
    run(main)
