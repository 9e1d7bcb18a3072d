"""``python -m empirical bitflip``: the bit-flipping experiment, from options to a table of results."""

import sys
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from empirical.bitflip.options import BITFLIP
from empirical.runs.command import read
from empirical.runs.report import run_experiment
from empirical.runs.store import Record


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(BITFLIP, arguments, "python -m empirical bitflip")
    from empirical.bitflip.simulation import EXPERIMENT

    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=("B.1", "B.2"))


class _Summary(list[float]):
    """Values over seeds, shown as mean ± standard deviation."""

    def __str__(self) -> str:
        values = np.array(self)
        return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if np.isfinite(values).all() else "–"


SHOWN = ("early", "before half", "end", "dead", "dup. before", "dup. after", "rank")


def summary(record: Record) -> tuple[float, ...]:
    """Mean squared error early (2nd–5th per cent), before half-way and at the end (5 % each), and the last metrics."""
    names = ("stream_dead", "stream_duplicate_before", "stream_duplicate", "stream_effective_rank")
    step, error, *metrics = record.columns("step", "error", *names)
    n = record.config["samples"]
    spans = ((0.01, 0.05), (0.45, 0.5), (0.95, 1.0))
    means = [float(error[(step > a * n) & (step <= b * n)].mean()) if b * n >= step[1] else np.nan for a, b in spans]
    return (*means, *(float(m[np.isfinite(m)][-1]) for m in metrics))


def print_table(records: Iterable[Record]) -> None:
    """A row for each width and method."""
    from rich.console import Console
    from rich.table import Table

    groups: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.config["width"], record.config["method"]].append(record)
    table = Table(
        "width", "method", "seeds", *SHOWN, title="mean squared error and last metrics, mean ± std over seeds"
    )
    for (width, method), group in groups.items():
        columns = zip(*(summary(r) for r in group), strict=True)
        table.add_row(str(width), method, str(len(group)), *(str(_Summary(c)) for c in columns))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
