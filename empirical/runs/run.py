"""Carry out runs: resume, train, measure, commit, finish. Runs that differ only in the seed may train side by side."""

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from empirical.runs.execution import Execution, same_bits
from empirical.runs.live import START, Busy, LiveRecord, remove_live
from empirical.runs.store import Record, Row, finished, id_of, in_its_place
from lop_theory.errors import InvalidInput

Arrays = dict[str, np.ndarray]
HELD = "held by another process"
STOPPED = "stopped: the time is spent"
CHECKPOINT_SHARE = 0.05
"""Of a run's time that checkpoints take at most; what was trained since the last one is trained anew after a death."""


class Advance(NamedTuple):
    """What a run of a group brought since the last time: rows in order, and why it cannot go on, if so."""

    rows: list[Row]
    cause: str | None = None


class Simulation(Protocol):
    """A group of runs in memory, side by side. Every list has an entry for each run, in their order; what a run that
    cannot go on would bring afterwards is not looked at. A simulation may have ``facts``, for the manifest."""

    step: int

    def first_rows(self) -> list[list[Row]]: ...
    def advance(self) -> list[Advance]: ...
    def states(self) -> list[Arrays]: ...


class Config(Protocol):
    """What determines a run's result: a frozen dataclass, its hash the run's id."""

    @property
    def seed(self) -> int: ...
    @property
    def length(self) -> int: ...


def label_of(config: Config) -> str:
    """How a run is named when its experiment has nothing better."""
    return f"{id_of(config)} seed {config.seed}"


def alone(config: Hashable) -> Hashable:
    """The group key of runs that do not train side by side."""
    return config


def alike(config: Any) -> Any:
    """The group key of runs that may train together: all but the seed."""
    return replace(config, seed=0)


class Experiment(NamedTuple):
    """``begin(configs, arrays, step)`` makes a simulation of a group, fresh (``None``, 0) or from checkpoints; it is
    called with ``device=…`` too if the device is not the CPU. An experiment with ``engines`` also takes ``engine=…``,
    if one was asked for, and ``drawers=…``, the threads that draw ahead. ``columns`` are those of the records; runs of
    equal ``group`` key may train side by side; ``label`` names a run on the screen."""

    name: str
    columns: Mapping[str, str]
    begin: Callable[..., Simulation]
    group: Callable[[Any], Hashable] = alone
    label: Callable[[Any], str] = label_of
    engines: bool = False

    def on(self, execution: Execution) -> "Experiment":
        """The same experiment where and how it is to be carried out. Raises ``InvalidInput`` for an engine that it does
        not have."""
        engine = execution.engine
        if engine != "auto" and not self.engines:
            raise InvalidInput("engine", engine, f"is not for {self.name}, whose runs train alone", "leave it out")
        given: dict[str, Any] = {"device": execution.device} if execution.on_gpu else {}
        given |= {"engine": engine} if engine != "auto" else {}
        given |= {"drawers": execution.drawing} if self.engines and execution.drawing else {}
        return self._replace(begin=partial(self.begin, **given)) if given else self


class Outcome(NamedTuple):
    """What became of a run: its record, or the problem that left it without one. ``skipped``: it had ended before;
    ``advanced``: it has no record, but is further than it was."""

    config: Any
    record: Record | None
    skipped: bool = False
    problem: str | None = None
    advanced: bool = False


class Job(NamedTuple):
    """A group of runs to carry out; goes to workers as it is. ``device`` is what the manifest calls it;
    every observer is called with (config, rows) when rows have been committed, and with (config, None) at the end.
    At ``until`` (seconds of ``time.time()``) the runs leave with a checkpoint, and none begins any more;
    ``deterministic`` is about GPUs."""

    experiment: Experiment
    configs: tuple[Any, ...]
    root: Path
    device: str
    observers: tuple[Callable[[Any, list[Row] | None], None], ...] = ()
    until: float = math.inf
    deterministic: bool = False

    @property
    def length(self) -> int:
        """Steps of all runs."""
        return sum(config.length for config in self.configs)


def carry_out(job: Job, report: Callable[[int], None] = lambda _: None) -> list[Outcome]:
    """Bring the runs of a group to their ends; ``report(steps)`` is called as they go on, with the steps done by all
    of them. A run that cannot go on is recorded as failed; one that another process holds is left to it.

    Results do not depend on where a run was interrupted: the group goes on at a step of which all runs have the
    checkpoint, or, if they were not interrupted together, in parts.
    """
    if job.deterministic:
        same_bits()
    outcomes: dict[Any, Outcome] = {}
    with ExitStack() as stack:
        live: list[LiveRecord] = []
        for config in job.configs:
            found = _take(job, config)
            if isinstance(found, Outcome):
                outcomes[config] = found
            else:
                live.append(found)
                stack.callback(found.close)
        begun = [max(record.steps()) for record in live]
        done = sum(o.config.length for o in outcomes.values())
        for step, part in _by_step(live):
            for record in _train(job, part, step, lambda steps, before=done: report(before + steps)):
                outcomes[record.config] = Outcome(record.config, record.finish(**_facts(job, part), **record.facts))
                _show(job, record.config, None)
            done += sum(record.config.length for record in part)
        for record, step in zip(live, begun, strict=True):
            if record.config not in outcomes:
                further = max(record.steps()) > step
                outcomes[record.config] = Outcome(record.config, None, problem=STOPPED, advanced=further)
    found = [outcomes[config] for config in job.configs]
    if all(outcome.problem != STOPPED for outcome in found):
        report(job.length)
    return found


def _take(job: Job, config: Any) -> Outcome | LiveRecord:
    """The run's record if it has ended, else its database. Raises ``InvalidInput`` if the folder has another run's."""
    folder = job.root / job.experiment.name
    place = folder / id_of(config)
    live = None
    if finished(place) is None:
        if time.time() >= job.until:
            return Outcome(config, None, problem=STOPPED)
        try:
            live = LiveRecord(folder, config, job.experiment.columns)
        except Busy:
            return Outcome(config, None, problem=HELD)
    if (record := finished(place)) is None:  # asked again: it may have ended just before it was ours
        assert live is not None
        return live
    if live is not None:
        live.close()
    if not in_its_place(record):
        raise InvalidInput(
            "out", str(place), f"holds the record of another run ({record.manifest.get('id')})",
            "move it back to where it was, or delete the folder",
        )  # fmt: skip
    remove_live(place)
    return Outcome(config, record, skipped=True)


def _by_step(live: list[LiveRecord]) -> list[tuple[int, list[LiveRecord]]]:
    """All runs at the last step that they share, or else parts of equal last step. Failed runs are apart."""
    failed = [record for record in live if record.cause]
    going = [record for record in live if not record.cause]
    parts: dict[int, list[LiveRecord]] = {}
    shared = set[int].intersection(*(record.steps() for record in going)) if going else set()
    for record in going:
        parts.setdefault(max(shared or record.steps()), []).append(record)
    return [*((max(record.steps()), [record]) for record in failed), *sorted(parts.items())]


def _train(job: Job, part: list[LiveRecord], step: int, report: Callable[[int], None]) -> list[LiveRecord]:
    """Train to the end, or until the time is spent; those of the runs that are ready to be finished."""
    if part[0].cause:
        return part
    if time.time() >= job.until:
        return []
    arrays = [record.resume(step) for record in part]
    configs = [record.config for record in part]
    length = configs[0].length
    assert all(config.length == length for config in configs), "runs of a group have one length"
    simulation = job.experiment.begin(configs, None if step == START else arrays, max(step, 0))
    pace = Pace()
    if step == START:
        pace.commit(job, part, simulation, [Advance(rows) for rows in simulation.first_rows()])
    waiting = [Advance([])] * len(part)
    lease = Lease(job.until)
    while simulation.step < length and not all(record.cause for record in part):
        report(simulation.step * len(part))
        waiting = [
            Advance([*old.rows, *new.rows], new.cause) for old, new in zip(waiting, simulation.advance(), strict=True)
        ]
        failed = any(new.cause and not record.cause for new, record in zip(waiting, part, strict=True))
        over = lease.over
        for record in part:
            record.facts = getattr(simulation, "facts", {})
        if failed or over or pace.due or simulation.step >= length:
            pace.commit(job, part, simulation, waiting)
            waiting = [Advance([])] * len(part)
        if over:
            break
        lease.next()
    return [record for record in part if record.cause or simulation.step >= length]


class Lease:
    """Time that is lent: it is over when another advance, and a commit, would not end before it does."""

    def __init__(self, until: float) -> None:
        self._until, self._begun = until, time.time()

    @property
    def over(self) -> bool:
        now = time.time()
        return now + (now - self._begun) >= self._until

    def next(self) -> None:
        self._begun = time.time()


class Pace:
    """When rows and checkpoints are committed: as often as takes no more than a small share of the time."""

    def __init__(self) -> None:
        self._cost, self._last = 0.0, time.perf_counter()

    @property
    def due(self) -> bool:
        return self._cost <= CHECKPOINT_SHARE * (time.perf_counter() - self._last)

    def commit(self, job: Job, part: list[LiveRecord], simulation: Simulation, brought: list[Advance]) -> None:
        """Commit what every run brought, but for those that had failed before."""
        begun = time.perf_counter()
        for record, (rows, cause), arrays in zip(part, brought, simulation.states(), strict=True):
            if record.cause:
                continue
            record.commit(simulation.step, rows, arrays, cause=cause)
            _show(job, record.config, rows)
        self._last = time.perf_counter()
        self._cost = self._last - begun


def _show(job: Job, config: Any, rows: list[Row] | None) -> None:
    for observer in job.observers:
        observer(config, rows)


def _facts(job: Job, part: Sequence[LiveRecord]) -> dict[str, Any]:
    return {"device": job.device, "together": len(part)}
