"""``python -m empirical cloning``: the cloning experiment, from options to a table of results."""

import sys
from collections.abc import Iterable

import numpy as np

from empirical.cloning.options import CLONING, name
from empirical.cloning.records import grouped, over_layers, side_by_side
from empirical.runs.command import read
from empirical.runs.report import checks_shown, run_experiment
from empirical.runs.store import Record

FIGURES = ("2.1", "B.7", "B.8", "B.9", "B.10", "B.11", "B.12", "B.13", "B.14")


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(CLONING, arguments, "python -m empirical cloning")
    from empirical.cloning.simulation import EXPERIMENT
    from empirical.streams.tasks import require_sources

    if not options.execution.cluster:
        require_sources(run.data for run in options.runs())
    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=FIGURES)


def print_table(records: Iterable[Record]) -> None:
    """A row for each setting at the end, mean and standard deviation over seeds; checks of the theory over the run."""
    from rich.console import Console
    from rich.table import Table

    headings = ("setting", "seeds", "1 − R²", "distance", "loss: base", "clone", "control", "rank: base", "clone",
                "control", "theory")  # fmt: skip
    table = Table(*headings, title="at the end, mean ± std over seeds (distance: from RE∩CE, over the weights' norm)")
    for key, group in grouped(records).items():
        defect, distance = (_small(values) for values in side_by_side(group, "defect", "distance")[1:])
        roles = ("base", "clone", "control")
        losses = [_number(side_by_side(group, f"{role}_train_loss")[1]) for role in roles]
        ranks = [_number(over_layers(group, f"{role}_rank"), 1) for role in roles]
        table.add_row(name(key), str(len(group.seeds)), defect, distance, *losses, *ranks, checks_shown(group))
    Console(width=None if sys.stdout.isatty() else 170).print(table)


def _number(values: np.ndarray, digits: int = 3) -> str:
    last = values[:, -1]
    return f"{last.mean():.{digits}f} ± {last.std():.{digits}f}" if np.isfinite(last).all() else "–"


def _small(values: np.ndarray) -> str:
    """Exact zeros are said to be zero: for clones they mean equality bit by bit."""
    last = values[:, -1]
    return f"{last.mean():.1e} ± {last.std():.0e}" if last.any() else "0"
