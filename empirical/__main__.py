"""``python -m empirical COMMAND``: the paper's experiments, their data, and sweeps of many runs."""

import importlib
import sys

from lop_theory.cli import OK, run
from lop_theory.errors import InvalidInput

COMMANDS = {
    "bitflip": "slowly changing regression: loss of plasticity under SGD, recovery under continual backprop",
    "cloning": "a network and its clone, side by side: whether training leaves the manifold of cloned units",
    "continual": "classification task after task: networks lose plasticity, or keep it",
    "persistence": "networks of clones under changing data: whether they stay clones, in three arithmetics",
    "escape": "perturbations of a network that has lost plasticity: how much of a fresh network's speed comes back",
    "remedies": "interventions against loss of plasticity, tuned alike: which one helps, and what it costs",
    "sweep": "the paper's grid of about 2,000 runs, here or on a cluster; `sweep status` shows what is done",
    "pack": "one archive of a folder of runs, with checkpoints, no larger than a limit",
    "unpack": "merge such an archive into a folder of runs",
    "compact": "finished runs of a folder into few files, in place: for tens of thousands of them",
    "data": "fetch, import or list the real data sets",
    "claims": "recompute the measured claims from the saved records",
}
"""Command → what it does; the package of that name has ``command.main(arguments)``, but for these."""
ELSEWHERE = {"unpack": ("pack", "unpack"), "compact": ("pack", "compact")}


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["-h"], ["--help"]):
        print("usage: python -m empirical COMMAND [OPTIONS]   (COMMAND --help lists the options)\n")
        print("\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))
        return OK
    if not given or given[0] not in COMMANDS:
        raise InvalidInput("command", given[0] if given else "", "is unknown", f"one of: {', '.join(COMMANDS)}")
    package, function = ELSEWHERE.get(given[0], (given[0], "main"))
    return getattr(importlib.import_module(f"empirical.{package}.command"), function)(given[1:])


if __name__ == "__main__":
    run(main)
