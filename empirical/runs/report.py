"""What every experiment's command does with its runs: carry them out, show a table, name what is missing and where
the results are, and say so in the exit code."""

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from empirical.runs.command import writable_folder
from empirical.runs.execution import Execution, available_device
from empirical.runs.run import STOPPED, Experiment, Job, Outcome
from empirical.runs.saved import NETWORK, Group
from empirical.runs.store import Record
from empirical.runs.trackers import observers
from lop_theory.cli import NOT_CERTIFIED, OK
from lop_theory.errors import InvalidInput

INTERRUPTED = 130
UNFINISHED = 75
"""The time of ``--stop-after`` is spent: the same command goes on (sysexits' EX_TEMPFAIL)."""


def run_experiment(
    experiment: Experiment,
    configs: Sequence[Any],
    execution: Execution,
    *,
    show: Callable[[list[Record]], None],
    figures: Sequence[str] = (),
) -> int:
    """Carry out the runs and report. ``show`` prints the experiment's own table of the finished records; ``figures``
    are those drawn from this experiment.

    Returns 0, or 1 if a run failed or came to no end, 75 if the time was spent before, 130 on Ctrl-C.
    Raises ``InvalidInput``.
    """
    root = writable_folder("out", execution.out).resolve()
    jobs = list(jobs_of(experiment, configs, execution, root))
    try:
        outcomes = carry_out_all(jobs, execution)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoints", file=sys.stderr)
        return INTERRUPTED
    require_progress(outcomes, execution)
    show([o.record for o in outcomes if o.record is not None and o.record.manifest["status"] == "finished"])
    return tell(experiment, outcomes, Path(execution.out), figures)


def jobs_of(experiment: Experiment, configs: Sequence[Any], execution: Execution, root: Path) -> Iterator[Job]:
    """Groups of runs that train side by side, in the order of the runs."""
    device = execution.device if execution.cluster else available_device(execution.device)
    there = experiment.on(execution)
    watching = tuple(observers(execution.tensorboard, execution.wandb, root))
    until = deadline(execution)
    for group in grouped(experiment, configs, execution):
        yield Job(there, group, root, device, watching, until, execution.deterministic)


def grouped(experiment: Experiment, configs: Iterable[Any], execution: Execution) -> Iterator[tuple[Any, ...]]:
    """The runs of every job."""
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for config in dict.fromkeys(configs):
        groups[experiment.group(config)].append(config)
    for group in groups.values():
        size = execution.group_size(len(group))
        for first in range(0, len(group), size):
            yield tuple(group[first : first + size])


def deadline(execution: Execution) -> float:
    """When the time of ``--stop-after`` is spent, if it begins now."""
    return time.time() + execution.stop_after if execution.stop_after else math.inf


def carry_out_all(jobs: list[Job], execution: Execution) -> list[Outcome]:
    """Every run, here or on a cluster, with a live view on stderr."""
    from rich.console import Console

    from empirical.runs.view import View

    with View(jobs, Console(file=sys.stderr)) as view:
        if execution.cluster:
            from empirical.runs.cluster import carry_out_there

            found = carry_out_there(jobs, execution, view)
        else:
            from empirical.runs.local import carry_out_here

            found = carry_out_here(jobs, execution.workers, execution.retries, view)
    return [outcome for outcomes in found for outcome in outcomes]


def require_progress(outcomes: Sequence[Outcome], execution: Execution) -> None:
    """Raise ``InvalidInput`` if the time was over before any run had done a window: once more would be in vain."""
    stopped = [outcome for outcome in outcomes if outcome.problem == STOPPED]
    ended = any(outcome.record is not None and not outcome.skipped for outcome in outcomes)
    if stopped and not ended and not any(outcome.advanced for outcome in stopped):
        raise InvalidInput(
            "stop_after", execution.stop_after, "is too short for one window of any run: nothing went on",
            "give more seconds (of a sweep: --budget)",
        )  # fmt: skip


def tell(experiment: Experiment, outcomes: Sequence[Outcome], out: Path, figures: Sequence[str] = ()) -> int:
    """Counts, paths, and a line for every run without a result; those that the time was too short for are counted."""
    skipped = sum(o.skipped for o in outcomes)
    ended = sum(o.record is not None for o in outcomes) - skipped
    print(f"{ended} runs done, {skipped} already finished")
    for line in (*engines_shown(outcomes), *unnamed_shown(outcomes)):
        print(line)
    print(f"results: {out / experiment.name}/ID/record.parquet and manifest.json")
    if figures:
        print(f"figures of the saved results: python -m paper_figs {' '.join(figures)}")
    problems = [(o.config, problem) for o in outcomes if (problem := _problem(o))]
    stopped = sum(problem == STOPPED for _, problem in problems)
    for config, problem in problems:
        if problem != STOPPED:
            print(f"{experiment.label(config)}: {problem}", file=sys.stderr)
    if stopped:
        print(f"{stopped} runs {STOPPED}; the same command goes on from their checkpoints", file=sys.stderr)
    return NOT_CERTIFIED if len(problems) > stopped else UNFINISHED if stopped else OK


def engines_shown(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line for each engine that runs of this command had, and why, but for the CPU's own."""
    found = Counter(
        (engine["name"], engine["because"])
        for outcome in outcomes
        if not outcome.skipped and outcome.record is not None and (engine := outcome.record.manifest.get("engine"))
    )
    for (name, because), runs in found.items():
        if "on a CPU" not in because:
            yield f"engine {name} for {runs} runs ({because})"


def unnamed_shown(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line if runs went on from checkpoints that do not say whose they are."""
    runs = sum(o.record is not None and not o.skipped and "unnamed_until" in o.record.manifest for o in outcomes)
    if runs:
        yield (
            f"{runs} runs went on from checkpoints of an earlier version, which do not say whose they are: nothing "
            "shows that their folders were not moved (unnamed_until in the manifest)"
        )


def _problem(outcome: Outcome) -> str | None:
    """Why the run has no result, if it has none."""
    record = outcome.record
    if record is not None and record.manifest["status"] == "failed":
        return f"failed: {record.manifest['cause']} ({record.folder})"
    return outcome.problem


def checks_shown(group: Group) -> str:
    """How often the theory's predictions held in the runs of a group, as a table shows it."""
    counts = [np.nansum(c) for c in group.stacked("theory_pass", "theory_fail", "theory_out", layer=NETWORK)]
    return "{:.0f} pass, {:.0f} fail, {:.0f} out".format(*counts) if sum(counts) else "–"
