"""What a sweep asks for before it begins: node-hours, bytes, and the longest chain, which no number of nodes shortens.

Jobs do not wait for one another; the runs of a job (seeds that train side by side) share a device until all have ended.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from empirical.runs.execution import Execution
from empirical.runs.report import grouped
from empirical.runs.saved import FOLDER
from empirical.runs.store import Record, records
from empirical.sweep.estimate import HOUR, parameters
from empirical.sweep.experiments import experiment_named

MANIFEST_BYTES = 1_100
"""Of a record, beside its Parquet file."""
CHECKPOINT_BYTES = 2 * 3 * 4
"""A parameter takes that many: two checkpoints of weights and Adam's two moments in float32."""


class Chain(NamedTuple):
    """The job that takes longest, in hours, and the first of its runs."""

    hours: float
    runs: int
    first: Any


class Plan(NamedTuple):
    """``node_hours`` on nodes of some devices; ``record_bytes`` of all records and for how many runs they rest on
    measured ones of the same class; ``checkpoint_bytes`` of the largest job while it is under way."""

    jobs: int
    node_hours: float
    record_bytes: float
    measured: int
    checkpoint_bytes: float
    longest: Chain | None

    @property
    def useful_nodes(self) -> int:
        """More nodes do not end sooner."""
        return 0 if self.longest is None else max(1, round(self.node_hours / self.longest.hours))


def planned(
    left: Iterable[Any], seconds: Callable[[Any], float], sizes: dict[Any, float], execution: Execution, devices: int
) -> Plan:
    """The plan of the runs that are left; ``seconds`` of a device for a run, ``devices`` of a node, ``sizes`` as of
    :func:`record_sizes`."""
    by_experiment: dict[str, list[Any]] = defaultdict(list)
    for config in left:
        by_experiment[config.experiment].append(config)
    jobs = [job for name, own in by_experiment.items() for job in grouped(experiment_named(name), own, execution)]
    lengths = [sum(map(seconds, job)) / HOUR for job in jobs]
    at = max(range(len(jobs)), key=lengths.__getitem__, default=None)
    runs = [config for job in jobs for config in job]
    return Plan(
        len(jobs),
        sum(lengths) / devices,
        sum(sizes.get(size_class(c), sizes.get(c.experiment, 0.0)) for c in runs),
        sum(size_class(c) in sizes for c in runs),
        max((CHECKPOINT_BYTES * sum(map(parameters, job)) for job in jobs), default=0.0),
        None if at is None else Chain(lengths[at], len(jobs[at]), jobs[at][0]),
    )


def size_class(config: Any) -> tuple[str, str, int]:
    """Runs of a class have records of about one size."""
    return config.experiment, config.model.name, config.length


def record_sizes(ended: Iterable[tuple[Any, Record]]) -> dict[Any, float]:
    """Bytes of a record by its class, from runs that have ended here, and by experiment, from the committed ones."""
    found: dict[Any, list[int]] = defaultdict(list)
    for config, record in ended:
        found[size_class(config)].append(_size(record))
    for name in ("continual", "cloning"):
        found[name] = [_size(record) for record in records(FOLDER / name)]
    return {key: sum(sizes) / len(sizes) for key, sizes in found.items() if sizes}


def _size(record: Record) -> int:
    return len(record.data() or b"") + MANIFEST_BYTES


def lines(plan: Plan, devices: int, unit: str) -> list[str]:
    """The plan in words."""
    found = [
        f"plan: {plan.jobs:,} jobs, {plan.node_hours:,.1f} node-hours on nodes of {devices} {unit}",
        f"bytes written: {plan.record_bytes / 1e6:,.1f} MB of records ({plan.measured:,} runs by records of their "
        f"class here, the others by the mean of the committed ones), and at most "
        f"{plan.checkpoint_bytes / 1e6:,.1f} MB of checkpoints for a job under way",
    ]
    if plan.longest is None:
        return found
    label = experiment_named(plan.longest.first.experiment).label(plan.longest.first)
    more = f" and {plan.longest.runs - 1} seeds more" if plan.longest.runs > 1 else ""
    return [
        *found,
        f"longest chain: {plan.longest.hours:,.2f} h, {label}{more}; jobs do not wait for one another, so that up to "
        f"{plan.useful_nodes:,} nodes end sooner" + (" (fewer seeds a job: --together)" if more else ""),
    ]
