"""``python -m empirical escape``: the escape experiment, from options to a table of results."""

import sys
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from empirical.escape.options import CONTROLS, ESCAPE, STAGE_1, Stage
from empirical.escape.records import (
    NAMES,
    area,
    began,
    branches,
    early,
    final,
    identity,
    of_network,
    over_layers,
    recovered,
    silent_units,
    stage,
    starts,
)
from empirical.runs.command import read
from empirical.runs.report import run_experiment
from empirical.runs.saved import Group, group_of
from empirical.runs.store import Record

FIGURES = ("escape",)
UNITS = ("dead", "duplicate_as_paper", "effective_rank")
BACK = ("dead_back", "duplicate_back")


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 130 on Ctrl-C, else 0."""
    options = read(ESCAPE, arguments, "python -m empirical escape")
    from empirical.escape.simulation import EXPERIMENT
    from empirical.streams.tasks import require_sources

    if not options.execution.cluster:
        require_sources(run.data for run in options.runs())
    return run_experiment(EXPERIMENT, options.runs(), options.execution, show=print_table, figures=FIGURES)


def print_table(records: Iterable[Record]) -> None:
    """A row for stage 1 and for every branch, mean and standard deviation over seeds; a table a configuration.

    ``revived``: of the units that were zero on all images half-way through a task, those that were not at its end.
    """
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[identity(record.config)].append(record)
    for own in found.values():
        _print_group(group_of(own))


def _print_group(group: Group) -> None:
    from rich.console import Console
    from rich.table import Table

    config = group.config
    title = (
        f"{config['model']['name']}, {config['before']} tasks, then {config['after']} in every branch; "
        f"seeds {', '.join(map(str, group.seeds))}; training accuracy, mean ± std over seeds"
    )
    headings = "whole task|first fifth|at the end|recovered|dead|dup.|rank|dead back|dup. back|revived".split("|")
    table = Table("branch", *headings, title=title)
    table.add_row("stage 1, first 5 tasks", *_row(group, STAGE_1, slice(None, 5)))
    table.add_row("stage 1, last 5 tasks", *_row(group, STAGE_1, slice(-5, None)))
    for start in starts(group):
        table.add_section()
        tasks = began(group, start)
        table.add_row(f"[bold]from task {', '.join(f'{task:.0f}' for task in tasks)}[/bold]")
        for branch in branches(group):
            table.add_row(NAMES[branch], *_row(group, stage(group, start, branch), slice(None)))
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    console.print(_checks(group), highlight=False)


def _row(group: Group, at: Stage, tasks: slice) -> list[str]:
    cells = [_spread(measure(group, at)[:, tasks].mean(1)) for measure in (area, early, final)]
    compared = at != STAGE_1 and at.branch not in CONTROLS and set(CONTROLS) <= set(branches(group))
    cells.append(_spread(recovered(group, at)) if compared else "–")
    cells += [f"{over_layers(group, at, name)[:, tasks].mean():.2f}" for name in UNITS]
    back = [over_layers(group, at, name)[:, -1] for name in BACK]
    silent, revived = silent_units(group, at).counts()
    cells += [_spread(values) if at != STAGE_1 else "–" for values in back]
    return [*cells, f"{revived} of {silent}"]


def _spread(values: np.ndarray) -> str:
    if not np.isfinite(values).all():
        return "–"
    return f"{values.mean():.3f} ± {values.std():.3f}"


def _checks(group: Group) -> str:
    """Curvature beside the clones, and the checks of the theory."""
    lines = []
    for at in (STAGE_1, *(stage(group, start, branch) for start in starts(group) for branch in branches(group))):
        lowest, highest, clones = (
            of_network(group, at, f)[:, -1] for f in ("lowest_curvature", "highest_curvature", "clones")
        )
        if np.isfinite(lowest).any():
            place = "stage 1" if at.branch is None else f"{NAMES[at.branch]} ({at.start})"
            lines.append(
                f"{place}: {clones.mean():.0f} clones, curvature {np.nanmean(lowest):.3g} to {np.nanmean(highest):.3g}"
            )
    totals = [np.nansum(group.stacked(f"theory_{name}")[0]) for name in ("pass", "fail", "out")]
    checked = "theory: {:.0f} pass, {:.0f} fail, {:.0f} out of hypothesis".format(*totals)
    return "\n".join([*lines, *([checked] if sum(totals) else [])])
