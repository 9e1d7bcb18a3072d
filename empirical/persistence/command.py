"""``python -m empirical persistence``: the persistence experiment, from options to a table of results."""

import sys
from collections.abc import Iterable

from empirical.persistence.claims import largest
from empirical.persistence.options import PERSISTENCE
from empirical.persistence.records import bounds, distances, drift, exceeded, grouped
from empirical.runs.command import read
from empirical.runs.report import run_experiment
from empirical.runs.store import Record

FIGURES = ("persistence",)


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(PERSISTENCE, arguments, "python -m empirical persistence")
    from empirical.persistence.simulation import EXPERIMENT

    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=FIGURES)


def print_table(records: Iterable[Record]) -> None:
    """A row a setting: distances over the weights' norm, at first and at the end, geometric means over seeds."""
    from rich.console import Console
    from rich.table import Table

    headings = (
        "arm",
        "arithmetic",
        "seeds",
        "at first",
        "at the end",
        "rounding Σε",
        "bound at the end",
        "above the bound",
    )
    table = Table(*headings, title="distance from the clone manifold / ‖weights‖, largest over seeds")
    for key, group in grouped(records).items():
        found, limit = distances(group), bounds(group)
        cells = [largest(found[:, 0]), largest(found[:, -1]), largest(drift(group)[:, -1]), largest(limit[:, -1])]
        table.add_row(*key, str(len(group.seeds)), *cells, f"{int(exceeded(group).any(1).sum())}/{len(found)} runs")
    Console(width=None if sys.stdout.isatty() else 150).print(table)
