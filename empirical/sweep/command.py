"""``python -m empirical sweep paper-grid`` carries out the paper's grid; ``sweep status`` says what is done of it."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from empirical.runs.command import read, writable_folder
from empirical.runs.execution import Execution, available_device
from empirical.sweep.grid import SEEDS, Part, paper_grid
from empirical.training.options import PassPrecision, SourceName
from lop_theory.cli import NOT_CERTIFIED, OK
from lop_theory.errors import InvalidInput

if TYPE_CHECKING:
    from empirical.sweep.status import State

ACTIONS = ("paper-grid", "status")
USAGE = "usage: python -m empirical sweep paper-grid|status [OPTIONS]   (paper-grid --help lists the options)"


@dataclass(frozen=True)
class Sweep:
    """The paper's grid of about 2,000 continual and cloning runs, here or on a Ray cluster; `status` counts what is
    done, failed, running, left and estimates the GPU-hours.

    Finished runs are skipped, interrupted ones go on; local workers and a cluster can take turns on one folder.
    """

    preset: Literal["paper", "laptop", "smoke"] = "paper"
    """Sizes and data of the runs: the paper's, or those of the experiments' other presets."""
    seeds: tuple[int, ...] = SEEDS
    """Seeds; the paper's are 40 to 44."""
    parts: tuple[str, ...] = ()
    """Only parts of the grid whose name contains one of these, such as cloning or noise."""
    dry_run: bool = False
    """Show the parts, their runs, the estimated GPU-hours and the plan (node-hours, bytes, the longest chain), and
    carry out nothing."""
    node_devices: int = 8
    """GPUs of a node (cores, with --device cpu), for the node-hours of the plan."""
    budget: float = 0.0
    """Seconds, as --stop-after: then every run leaves with a checkpoint. Complete comparisons come first."""
    source: SourceName | None = None
    """Other pictures than the paper's in every run: glyphs needs no data on this machine."""
    precision: PassPrecision = None
    execution: Execution = Execution(gpus_per_run=0.25)

    def __post_init__(self) -> None:
        if not self.seeds or min(self.seeds) < 0:
            raise InvalidInput("seeds", self.seeds, "must be numbers from 0 on", "give at least one")
        if self.node_devices < 1:
            raise InvalidInput("node_devices", self.node_devices, "must be at least 1", "how many devices has a node?")
        if not 0 <= self.budget < float("inf"):
            raise InvalidInput("budget", self.budget, "must be seconds, finite", "0 is no limit")
        if self.budget and self.execution.stop_after:
            raise InvalidInput("budget", self.budget, "is --stop-after under another name", "give one of them")

    @property
    def carried_out(self) -> Execution:
        """Where and how, with the budget."""
        return replace(self.execution, stop_after=self.budget or self.execution.stop_after)

    def _given(self) -> dict[str, Any]:
        """What the runs are told, besides their part."""
        other = {} if self.source is None else {"source": self.source}
        return {"precision": self.precision, "execution": self.execution, **other}

    def chosen(self) -> list[Part]:
        """Parts of the grid. Raises ``InvalidInput`` if a name fits none."""
        parts = paper_grid(self.preset, self.seeds, self._given())
        for name in self.parts:
            if not any(name in part.label for part in parts):
                raise InvalidInput("parts", name, "is unknown", f"one of: {', '.join(p.label for p in parts)}")
        return [part for part in parts if not self.parts or any(name in part.label for name in self.parts)]


SWEEP = {name: Sweep(preset=name) for name in ("paper", "laptop", "smoke")}


def main(arguments: list[str]) -> int:
    """Exit code 0, 1 if a run failed or came to no end, 75 if the time was spent before, 130 on Ctrl-C."""
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return OK
    if not arguments or arguments[0] not in ACTIONS:
        raise InvalidInput("action", arguments[0] if arguments else "", "is unknown", f"one of: {', '.join(ACTIONS)}")
    action, given = arguments[0], arguments[1:]
    options = read(SWEEP, given, f"python -m empirical sweep {action}", flags=True)
    parts = options.chosen()
    if action == "paper-grid" and not options.dry_run:
        return _carry_out(parts, options.carried_out)
    found = print_status(parts, options.execution)
    if options.dry_run:
        _print_plan(found, options)
    return OK


def _print_plan(found: list["State"], options: Sweep) -> None:
    from empirical.sweep.estimate import class_of, rates, seconds_of
    from empirical.sweep.plan import lines, planned, record_sizes
    from empirical.sweep.status import ENDED

    ended = [(run.config, run.record) for run in found if run.record is not None]
    left = [run.config for run in found if run.state not in ENDED]
    on_gpu = options.execution.on_gpu
    measured = rates(ended, _gpu(options.execution) if on_gpu else "cpu")
    seconds = seconds_of(measured, options.execution.gpus_per_run if on_gpu else 1.0)
    plan = planned(left, seconds, record_sizes(ended), options.execution, options.node_devices)
    if not on_gpu:
        known = sum(class_of(config) in measured.step for config in left)
        print(
            f"{known:,} of {len(left):,} runs by times measured here; the others as if a core were a GPU: too few hours"
        )
    for line in lines(plan, options.node_devices, "GPUs" if on_gpu else "cores"):
        print(line)


def _carry_out(parts: list[Part], execution: Execution) -> int:
    from empirical.runs.report import INTERRUPTED, UNFINISHED, carry_out_all, jobs_of, require_progress, tell
    from empirical.streams.tasks import require_sources
    from empirical.sweep.estimate import assumed_seconds
    from empirical.sweep.experiments import experiment_named
    from empirical.sweep.order import by_comparison

    if not execution.cluster:
        require_sources(run.data for part in parts for run in part.runs if hasattr(run, "data"))
    root = writable_folder("out", execution.out).resolve()
    jobs = [
        job
        for part in parts
        for job in jobs_of(
            experiment_named(part.experiment), by_comparison(part.runs, assumed_seconds), execution, root
        )
    ]
    try:
        outcomes = carry_out_all(jobs, execution)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoints", file=sys.stderr)
        return INTERRUPTED
    require_progress(outcomes, execution)
    print_status(parts, execution)
    names = dict.fromkeys(part.experiment for part in parts)
    codes = [
        tell(experiment_named(name), [o for o in outcomes if o.config.experiment == name], Path(execution.out))
        for name in names
    ]
    return NOT_CERTIFIED if NOT_CERTIFIED in codes else UNFINISHED if UNFINISHED in codes else OK


def print_status(parts: list[Part], execution: Execution) -> list["State"]:
    """A row for each part, and what the rest will take; the state of every run."""
    from rich.console import Console
    from rich.table import Table

    from empirical.sweep.status import STATES, counts, states

    if Path(execution.out).exists() and not Path(execution.out).is_dir():
        raise InvalidInput("out", execution.out, "is no folder", "give the folder of the runs")
    total_runs = sum(len(part.runs) for part in parts)
    print(
        f"looking for {total_runs:,} runs in {execution.out}/ and counting what is left …", file=sys.stderr, flush=True
    )
    found = states(parts, Path(execution.out))
    table = Table("part", "runs", *STATES, "what of the paper", title=f"the paper's grid in {execution.out}/")
    for part in parts:
        count = counts(found[part.label])
        table.add_row(part.label, str(len(part.runs)), *(str(count[state]) for state in STATES), part.source)
    total = counts([run for runs in found.values() for run in runs])
    table.add_section()
    table.add_row("all", str(total.total()), *(str(total[state]) for state in STATES), "")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    every = [run for runs in found.values() for run in runs]
    for line in _costs(every, execution):
        print(line)
    return every


def _costs(found: list["State"], execution: Execution) -> list[str]:
    from empirical.sweep import estimate
    from empirical.sweep.status import ENDED

    ended = [(run.config, run.record) for run in found if run.record is not None]
    left = [run.config for run in found if run.state not in ENDED]
    gpu = estimate.gpu_hours(left, estimate.rates(ended, _gpu(execution)), execution.gpus_per_run)
    lines = [
        f"GPU-hours left, estimated: {gpu.hours:,.1f} for {len(left):,} runs ({gpu.measured:,} from measured times of "
        f"their class on {_gpu(execution)}, {gpu.scaled:,} from their operations at the rate measured of their model; "
        f"the others from their operations at {estimate.SUSTAINED / 1e12:g} TFLOP/s and at least "
        f"{estimate.STEP_SECONDS * 1e3:g} ms a step)"
    ]
    core = estimate.core_hours(left, estimate.rates(ended, "cpu").step)
    if core.measured:
        lines.append(f"core-hours left on this CPU, measured: {core.hours:,.1f} for {core.measured:,} of these runs")
    spent = sum(record.manifest["wall_seconds"] / record.manifest.get("together", 1) for _, record in ended)
    lines.append(f"hours spent on the {len(ended):,} runs that have ended: {spent / estimate.HOUR:,.2f}")
    return lines


def _gpu(execution: Execution) -> str:
    """This machine's GPU as manifests name it, or any if the runs are elsewhere."""
    if not execution.on_gpu or execution.cluster:
        return "cuda"
    try:
        return available_device(execution.device)
    except InvalidInput:
        return "cuda"
