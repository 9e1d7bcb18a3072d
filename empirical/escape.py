"""``python -m empirical escape``: the escape experiment, from options to a table of results."""

from collections.abc import Iterable

from empirical.command import read
from empirical.options.escape import ESCAPE
from empirical.report import run_experiment
from empirical.store import Record

FIGURES = ("escape",)


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(ESCAPE, arguments, "python -m empirical escape")
    from empirical.experiments.escape import EXPERIMENT

    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=FIGURES)


def print_table(records: Iterable[Record]) -> None:
    pass
