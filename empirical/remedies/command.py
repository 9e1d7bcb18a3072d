"""``python -m empirical remedies``: tune every remedy, run the best settings on fresh seeds, show a table."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from empirical.remedies.options import CONTROLS, REMEDIES, REMEDIES_PRESETS, Name, Remedies, RemedyRun
from empirical.remedies.records import Cell, accuracy, chosen, cost, late, share
from empirical.runs.command import read, writable_folder
from empirical.runs.report import INTERRUPTED, carry_out_all, deadline, jobs_of, require_progress, tell
from empirical.runs.run import STOPPED, Outcome
from empirical.runs.saved import group_of

FIGURES = ("remedies",)


def main(arguments: list[str]) -> int:
    """Run what the options name; 1 if a run failed or is held by another process, 75 if the time was spent before, 130
    on Ctrl-C, else 0. Nothing is chosen from a tuning that the time was too short for."""
    options = read(REMEDIES_PRESETS, arguments, "python -m empirical remedies")
    from empirical.remedies.simulation import EXPERIMENT

    out, until = Path(options.execution.out), deadline(options.execution)
    try:
        tuned = _carried_out([run for name in options.remedies for run in options.tuned(name)], options, until)
        if any(outcome.problem == STOPPED for outcome in tuned):
            require_progress(tuned, options.execution)
            return tell(EXPERIMENT, tuned, out)
        strengths = {name: chosen(options, name, [o.record for o in tuned if o.record]) for name in options.remedies}
        final = _carried_out([run for name, s in strengths.items() for run in options.final(name, s)], options, until)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoints", file=sys.stderr)
        return INTERRUPTED
    require_progress([*tuned, *final], options.execution)
    print_table(_cells(final, strengths))
    return tell(EXPERIMENT, [*tuned, *final], out, FIGURES)


def _carried_out(runs: list[RemedyRun], options: Remedies, until: float) -> list[Outcome]:
    from empirical.remedies.simulation import EXPERIMENT

    root = writable_folder("out", options.execution.out).resolve()
    jobs = [job._replace(until=until) for job in jobs_of(EXPERIMENT, runs, options.execution, root)]
    return carry_out_all(jobs, options.execution) if jobs else []


def _cells(outcomes: list[Outcome], strengths: Mapping[Name, float]) -> dict[Name, Cell]:
    """The remedies all of whose runs have ended."""
    found = {}
    for name, strength in strengths.items():
        own = [o.record for o in outcomes if o.config.remedy == name]
        if all(record is not None and record.manifest["status"] == "finished" for record in own):
            found[name] = Cell(strength, group_of([record for record in own if record is not None]))
    return found


def print_table(found: Mapping[Name, Cell]) -> None:
    """A row a remedy, mean and standard deviation over seeds."""
    from rich.console import Console
    from rich.table import Table

    compared = set(CONTROLS) <= found.keys() and bool((late(found["fresh"].group) > late(found["plain"].group)).all())
    table = Table("remedy", "strength", "all tasks", "last tasks", "share of fresh", "cost", "unclones", "unfreezes")
    for name, (strength, group) in found.items():
        remedy = REMEDIES[name]
        table.add_row(
            remedy.words,
            f"{remedy.strength} {strength:g}" if len(remedy.tried) > 1 else "–",
            _spread(accuracy(group).mean(1)),
            _spread(late(group)),
            _spread(share(found, name)) if compared else "–",
            f"× {cost(found, name):.2f}" if "plain" in found else "–",
            *("yes" if can else "no" for can in (remedy.unclones, remedy.unfreezes)),
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" if len(values) > 1 else f"{values.mean():.2f}"
