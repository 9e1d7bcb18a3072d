"""The paper's models on a GPU: milliseconds a step of five seeds by every engine, share of the device's peak, memory;
whole runs, and where their time goes; and what the paper's grid would take at these rates.

Without a CUDA device it says so and ends with exit code 2.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from empirical.continual.options import CONTINUAL, ContinualRun
from empirical.continual.simulation import Simulation
from empirical.runs.execution import Engine, Execution
from empirical.sweep.estimate import HOUR, operations
from empirical.sweep.grid import SEEDS, paper_grid
from empirical.training.engines import ENGINES
from empirical.training.feed import Feed
from empirical.training.memory import GB, need
from empirical.training.models import build
from empirical.training.options import ModelName, ModelOptions, OptimiserOptions, Precision
from empirical.training.passes import tensor_cores
from empirical.training.trainer import Trainer
from lop_theory.errors import InvalidInput

CLASSES, PAPER_HOURS = 200, 10_000
LENGTHS: dict[ModelName, tuple[int, int]] = {"mlp": (2, 500), "cnn": (1, 500), "vit": (1, 300), "resnet18": (1, 200)}
"""Tasks and steps a task of the whole runs."""


class Setup(NamedTuple):
    """What is measured, where; every run has a divisor of its widths and of its lengths for tests."""

    device: str = "cuda"
    scale: int = 1
    side: int = 64
    batch: int = 128
    warm_up: int = 5
    steps: int = 30
    peak_size: int = 8192
    shorter: int = 1
    per_class: int = 500
    precisions: tuple[Precision, ...] = ("bf16",)
    models: tuple[ModelName, ...] = get_args(ModelName)
    engines: tuple[Engine, ...] = ENGINES

    def image(self) -> tuple[int, int, int]:
        return 3, self.side, self.side


class Measured(NamedTuple):
    """Seconds of a step of all seeds: one after the other in float32, and by each engine; ``flop`` of that step; bytes
    that five seeds need, counted, and that the fastest engine took at most."""

    model: ModelName
    precision: Precision
    flop: float
    alone: float
    together: dict[Engine, float]
    counted: float
    taken: float

    @property
    def fastest(self) -> float:
        return min(self.together.values())

    @property
    def rate(self) -> float:
        """Operations a second, by the fastest engine."""
        return self.flop / self.fastest


class Whole(NamedTuple):
    """Seconds of a run of all seeds, and of its parts: steps, pictures that were waited for, measurements."""

    all: float
    training: float
    pictures: float
    metrics: float


def main() -> None:
    if not torch.cuda.is_available():
        raise InvalidInput("device", "cuda", "is not there", "run `python -m benchmarks gpu` on a machine with a GPU")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    report(Setup())


def report(setup: Setup) -> list[Measured]:
    """Print the tables."""
    peaks = {precision: peak(setup, precision) for precision in dict.fromkeys(("fp32", *setup.precisions))}
    print("; ".join(f"{name} matrix product {rate / 1e12:.4g} TFLOP/s" for name, rate in peaks.items()))
    print(f"{len(SEEDS)} seeds, batch {setup.batch}, {setup.side}x{setup.side}x3, milliseconds a step of all of them")
    head = ("alone fp32", *setup.engines, "ratio", "TFLOP/s", "of peak", "GB needed", "GB taken")
    print(f"{'model':<10}{'passes':<7}" + "".join(f"{name:>11}" for name in head))
    found = []
    for name in setup.models:
        alone = alone_seconds(setup, name)
        for precision in setup.precisions:
            row = measure(setup, name, precision, alone)
            found.append(row)
            print(line(row, peaks[precision]), flush=True)
    print("alone: one run after the other, eager; ratio: alone / the fastest engine")
    for precision in setup.precisions:
        rates = {row.model: row.rate for row in found if row.precision == precision}
        hours, runs = projected(rates)
        print(
            f"the paper's grid, {runs:,} runs, training in {precision}: {hours:,.0f} GPU-hours"
            f" (the paper: {PAPER_HOURS:,}; {PAPER_HOURS / hours:,.0f} x; the trial's extrapolation: 340)"
        )
    whole_runs(setup)
    return found


def line(row: Measured, best: float) -> str:
    """A row of the table."""
    times = "".join(f"{seconds * 1e3:>11.2f}" for seconds in (row.alone, *row.together.values()))
    return (
        f"{row.model:<10}{row.precision:<7}{times}{row.alone / row.fastest:>11.1f}{row.rate / 1e12:>11.3g}"
        f"{row.rate / best:>11.1%}{row.counted / GB:>11.2f}{row.taken / GB:>11.2f}"
    )


def alone_seconds(setup: Setup, name: ModelName) -> float:
    """Of a step of every seed in a trainer of its own, eager, in float32."""
    trainers = [trainer(setup, name, "fp32", (seed,), "eager") for seed in SEEDS]
    feed, numbers, mask = batches(setup, 1)
    return step_seconds(setup, lambda: [one.steps(feed, numbers, mask) for one in trainers])


def measure(setup: Setup, name: ModelName, precision: Precision, alone: float) -> Measured:
    """One row: the same batches by every engine."""
    feed, numbers, mask = batches(setup, len(SEEDS))
    together: dict[Engine, float] = {}
    taken = 0.0
    for engine in setup.engines:
        own = trainer(setup, name, precision, SEEDS, engine)
        with peak_bytes(setup.device) as most:
            together[engine] = step_seconds(setup, lambda own=own: own.steps(feed, numbers, mask))
        taken = most[0] if together[engine] == min(together.values()) else taken
        del own
    options, model = ModelOptions(name, own_norm(name), scale=setup.scale), built(setup, name, 0)
    counted = need(model, OptimiserOptions(precision=precision), torch.zeros(1, *setup.image()), setup.batch)
    flop = len(SEEDS) * setup.batch * image_flop(options, setup.side)
    return Measured(name, precision, flop, alone, together, counted.together(len(SEEDS)), taken)


def own_norm(name: ModelName) -> Any:
    return "layer" if name == "vit" else "batch"


def built(setup: Setup, name: ModelName, seed: int) -> nn.Module:
    return build(ModelOptions(name, own_norm(name), scale=setup.scale), setup.image(), CLASSES, seed)


def trainer(setup: Setup, name: ModelName, precision: Precision, seeds: tuple[int, ...], engine: Engine) -> Trainer:
    models = [built(setup, name, seed) for seed in seeds]
    return Trainer(models, OptimiserOptions(precision=precision), seeds, device=setup.device, engine=engine)


def batches(setup: Setup, count: int) -> tuple[Feed, np.ndarray, torch.Tensor]:
    """Bytes for so many models, the numbers of one step, and the classes that are allowed."""
    images = torch.randint(0, 256, (setup.batch, *setup.image()), dtype=torch.uint8, device=setup.device)
    labels = torch.randint(0, 5, (setup.batch,), device=setup.device)
    numbers = np.broadcast_to(np.arange(setup.batch), (1, count, setup.batch))
    mask = (torch.arange(CLASSES, device=setup.device) < 5).expand(count, -1)
    return Feed([(images, labels)] * count), numbers, mask


def step_seconds(setup: Setup, step: Callable[[], object]) -> float:
    """Mean seconds of a step after warming up; the device is waited for at the two ends only."""
    for _ in range(setup.warm_up):
        step()
    wait(setup.device)
    start = time.perf_counter()
    for _ in range(setup.steps):
        step()
    wait(setup.device)
    return (time.perf_counter() - start) / setup.steps


def wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak_bytes(device: str) -> Iterator[list[float]]:
    """The most that PyTorch's allocator held on the device, in the list's only place at the end; 0 on the CPU."""
    most, there = [0.0], torch.device(device).type == "cuda"
    if there:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield most
    if there:
        most[0] = float(torch.cuda.max_memory_reserved(device))


def peak(setup: Setup, precision: Precision) -> float:
    """Operations a second of a large matrix product in this precision."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(setup.peak_size, setup.peak_size, device=setup.device, dtype=dtype) for _ in range(2))
    with tensor_cores(precision == "tf32"):
        return 2 * setup.peak_size**3 / step_seconds(setup, lambda: a @ b)


def image_flop(options: ModelOptions, side: int) -> float:
    """Operations of one image's forward and backward pass in training, counted by PyTorch."""
    count = 2
    model = build(options, (3, side, side), CLASSES, 0)
    images, labels = torch.zeros(count, 3, side, side), torch.zeros(count, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(images), labels).backward()
    return counter.get_total_flops() / count


def projected(rates: dict[str, float]) -> tuple[float, int]:
    """GPU-hours of training and runs of the paper's grid, at each model's rate of operations (of its models only)."""
    runs: Iterable[Any] = [run for part in paper_grid("paper", SEEDS) for run in part.runs if run.model.name in rates]
    hours = [operations(run) / rates[run.model.name] / HOUR for run in runs]
    return sum(hours), len(hours)


def whole_runs(setup: Setup) -> None:
    """Print a table of whole runs, as the command line carries them out."""
    print("whole runs of five seeds from pictures to rows, seconds; metrics' share (target <= 15 %, MLP: < 5 s)")
    head = ("tasks", "steps", "all", "training", "pictures", "metrics", "share", "engine")
    print(f"{'model':<10}" + "".join(f"{name:>10}" for name in head))
    for name in setup.models:
        runs = whole_run(setup, name)
        spent, engine = carried_out(runs, setup.device)
        seconds = "".join(f"{value:>10.2f}" for value in spent)
        share = f"{spent.metrics / spent.all:>10.1%}"
        print(f"{name:<10}{runs[0].tasks:>10}{runs[0].steps:>10}{seconds}{share}{engine:>10}", flush=True)


def whole_run(setup: Setup, name: ModelName) -> list[ContinualRun]:
    """Runs of a model, one a seed, on glyphs."""
    tasks, steps = LENGTHS[name]
    there = Execution(device=setup.device)
    options = replace(
        CONTINUAL["paper"], models=(name,), normalisations=(own_norm(name),), arms=("continual",), dropout=(0.0,),
        source="glyphs", tasks=tasks, steps=max(1, steps // setup.shorter), side=setup.side, batch=setup.batch,
        scale=setup.scale, per_class=setup.per_class, probe_per_class=max(1, setup.per_class // 5), execution=there,
    )  # fmt: skip
    return options.runs()


def carried_out(runs: list[ContinualRun], device: str) -> tuple[Whole, str]:
    """Where the time of a group goes, and its engine; the parts wait for the device, so together they are a little
    slower than the run is."""
    start = time.perf_counter()
    drawing = Execution(device=device).drawing
    simulation = Simulation(runs, device=device, drawers=drawing)
    parts, under = {"training": 0.0, "pictures": 0.0, "metrics": 0.0}, list[str]()

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def within(*given: Any) -> Any:
            begun = time.perf_counter()
            under.append(name)
            found = call(*given)
            wait(device)
            under.pop()
            parts[name] += (spent := time.perf_counter() - begun)
            if under:
                parts[under[-1]] -= spent
            return found

        return within

    simulation.trainer.steps = timed("training", simulation.trainer.steps)  # type: ignore[method-assign]
    simulation._ahead.tasks = timed("pictures", simulation._ahead.tasks)  # type: ignore[method-assign]
    simulation._all_measured = timed("metrics", simulation._all_measured)  # type: ignore[method-assign]
    simulation.first_rows()
    while simulation.step < runs[0].length:
        simulation.advance()
    engine = simulation.facts["engine"]["name"]
    return Whole(time.perf_counter() - start, **parts), engine


if __name__ == "__main__":
    main()
