"""Carry out runs: resume, train, measure, commit, finish; several in threads, with a live view and a table at the
end."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from empirical.store import Busy, Diverged, LiveRecord, Record, Row, finished, remove_live, run_id


class Simulation(Protocol):
    """A run in memory, as every experiment offers it."""

    step: int

    def first_rows(self) -> list[Row]: ...
    def advance(self) -> list[Row]: ...
    def state(self) -> dict[str, np.ndarray]: ...


class Experiment(NamedTuple):
    """``begin(config, arrays, step)`` makes a simulation, fresh or from a checkpoint; ``columns`` are those of its
    record."""

    name: str
    columns: Mapping[str, str]
    begin: Callable[[Any, dict[str, np.ndarray] | None, int], Simulation]


class Outcome(NamedTuple):
    """What became of a run: its record (``None`` if another process holds it), and whether it had been finished
    before."""

    config: Any
    record: Record | None
    skipped: bool


def carry_out(experiment: Experiment, config: Any, root: Path, report: Callable[[int], None]) -> Outcome:
    """Bring one run to its end; ``report(step)`` is called as it goes on. A run that cannot go on is recorded as
    failed."""
    from dataclasses import asdict

    folder = root / experiment.name / run_id(asdict(config))
    if (record := finished(folder)) is not None:
        remove_live(folder)
        report(config.samples)
        return Outcome(config, record, True)
    try:
        live = LiveRecord(root / experiment.name, config, experiment.columns)
    except Busy:
        return Outcome(config, None, True)
    try:
        return Outcome(config, _train(experiment, config, live, report), False)
    finally:
        live.close()


def _train(experiment: Experiment, config: Any, live: LiveRecord, report: Callable[[int], None]) -> Record:
    saved = live.checkpoint()
    simulation = experiment.begin(config, saved[1] if saved else None, saved[0] if saved else 0)
    if saved is None:
        live.commit(0, simulation.first_rows(), simulation.state())
    while simulation.step < config.samples:
        report(simulation.step)
        try:
            rows = simulation.advance()
        except Diverged as failure:
            live.commit(simulation.step, failure.rows, simulation.state())
            return live.finish(cause=f"{failure} (step size {config.learner.step_size})")
        live.commit(simulation.step, rows, simulation.state())
    report(config.samples)
    return live.finish()


def carry_out_all(
    experiment: Experiment, configs: Sequence[Any], root: Path, *, workers: int, console: Console
) -> list[Outcome]:
    """Every run, ``workers`` at a time, with a progress view on ``console``."""
    stop = Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        total = progress.add_task(f"{experiment.name}, {len(configs)} runs", total=sum(c.samples for c in configs))

        def one(config: Any) -> Outcome:
            before = 0

            def report(step: int) -> None:
                nonlocal before
                if stop.is_set():
                    raise KeyboardInterrupt
                progress.advance(total, step - before)
                before = step

            return carry_out(experiment, config, root, report)

        futures = [pool.submit(one, config) for config in configs]
        try:
            return [future.result() for future in futures]
        except BaseException:  # the others end at their next checkpoint
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
