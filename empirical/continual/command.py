"""``python -m empirical continual``: continual classification, from options to a table of results."""

import sys
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from empirical.continual.options import CONTINUAL
from empirical.continual.records import Setting, accuracy, loss, name, over_layers, setting
from empirical.runs.command import read
from empirical.runs.report import checks_shown, run_experiment
from empirical.runs.saved import group_of
from empirical.runs.store import Record

FIGURES = ("3.1", "3.2", "4.1", "B.3", "B.4", "B.5", "B.6")
SPAN = 5
"""Tasks at the beginning and at the end of a run that the table compares; half of them if there are fewer than twice
as many."""
SHOWN = {
    "train acc.": accuracy,
    "loss": loss,
    "dead": lambda group: over_layers(group, "dead"),
    "duplicate": lambda group: over_layers(group, "duplicate_as_paper"),
    "rank/units": lambda group: over_layers(group, "relative_rank"),
}
"""Heading → seeds × tasks."""


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(CONTINUAL, arguments, "python -m empirical continual")
    from empirical.continual.simulation import EXPERIMENT
    from empirical.streams.tasks import require_sources

    if not options.execution.cluster:
        require_sources(run.data for run in options.runs())
    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=FIGURES)


def print_table(records: Iterable[Record]) -> None:
    """A row for each setting: the first tasks → the last, mean and standard deviation over seeds; checks of the
    theory."""
    from rich.console import Console
    from rich.table import Table

    found: dict[Setting, list[Record]] = defaultdict(list)
    for record in records:
        found[setting(record.config)].append(record)
    table = Table(
        "setting", "seeds", *SHOWN, "theory", title="first tasks → last tasks, mean ± standard deviation over seeds"
    )
    for key, own in found.items():
        group = group_of(own)
        table.add_row(
            name(key), str(len(group.seeds)), *(_change(f(group)) for f in SHOWN.values()), checks_shown(group)
        )
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def _change(values: np.ndarray) -> str:
    span = min(SPAN, max(1, values.shape[1] // 2))
    spans = (values[:, :span].mean(1), values[:, -span:].mean(1))
    return " → ".join(f"{v.mean():.2f}±{v.std():.2f}" for v in spans)
