"""Five seeds together against five runs one after the other on a GPU, at the paper's sizes; the share of the device's
peak; and what the paper's grid would take at these rates.

Without a CUDA device it says so and ends with exit code 2.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from empirical.sweep.estimate import HOUR, operations
from empirical.sweep.grid import SEEDS, paper_grid
from empirical.training.models import build
from empirical.training.options import ModelName, ModelOptions, OptimiserOptions
from empirical.training.trainer import Trainer
from lop_theory.errors import InvalidInput

CLASSES, PAPER_HOURS = 200, 10_000
Dtype = Literal["fp32", "tf32", "bf16"]


class Variant(NamedTuple):
    """How the passes are computed."""

    dtype: Dtype = "fp32"
    compile: bool = False

    def __str__(self) -> str:
        return self.dtype + " compiled" * self.compile


class Setup(NamedTuple):
    """What is measured, where."""

    device: str = "cuda"
    scale: int = 1
    side: int = 64
    batch: int = 128
    warm_up: int = 5
    steps: int = 30
    peak_size: int = 8192
    variants: tuple[Variant, ...] = tuple(Variant(d, c) for c in (False, True) for d in get_args(Dtype))
    models: tuple[ModelName, ...] = get_args(ModelName)


class Measured(NamedTuple):
    """Seconds of a step of all seeds: one after the other, and together by either strategy; ``flop`` of that step."""

    model: ModelName
    variant: Variant
    flop: float
    alone: float
    each: float
    vmap: float

    @property
    def rate(self) -> float:
        """Operations a second, together."""
        return self.flop / min(self.each, self.vmap)


def main() -> None:
    if not torch.cuda.is_available():
        raise InvalidInput("device", "cuda", "is not there", "run `python -m benchmarks gpu` on a machine with a GPU")
    print(torch.cuda.get_device_name())
    report(Setup())


def report(setup: Setup) -> list[Measured]:
    """Print the tables."""
    peaks = {variant.dtype: peak(setup, variant) for variant in setup.variants}
    print("; ".join(f"{dtype} matrix product {rate / 1e12:.4g} TFLOP/s" for dtype, rate in peaks.items()))
    print(f"{len(SEEDS)} seeds, batch {setup.batch}, {setup.side}x{setup.side}x3, milliseconds a step of all of them")
    head = ("one by one", "each", "vmap", "ratio", "TFLOP/s", "of peak")
    print(f"{'model':<10} {'passes':<14}" + "".join(f"{name:>11}" for name in head))
    found = []
    for name in setup.models:
        for variant in setup.variants:
            row = measure(setup, name, variant)
            found.append(row)
            times = "".join(f"{seconds * 1e3:>11.2f}" for seconds in (row.alone, row.each, row.vmap))
            ratio = row.alone / min(row.each, row.vmap)
            print(
                f"{name:<10} {variant!s:<14}{times}{ratio:>11.2f}{row.rate / 1e12:>11.3g}"
                f"{row.rate / peaks[variant.dtype]:>11.1%}",
                flush=True,
            )
    print("ratio: one by one / the faster of each and vmap (target >= 3 for MLP and CNN)")
    for variant in setup.variants:
        rates = {row.model: row.rate for row in found if row.variant == variant}
        hours, runs = projected(rates)
        print(
            f"the paper's grid, {runs:,} runs, training in {variant}: {hours:,.0f} GPU-hours"
            f" (the paper: {PAPER_HOURS:,}; {PAPER_HOURS / hours:,.0f} x)"
        )
    return found


def measure(setup: Setup, name: ModelName, variant: Variant) -> Measured:
    """One row: the same batches in all three ways."""
    options = ModelOptions(name, "layer" if name == "vit" else "batch", scale=setup.scale)
    shape = (len(SEEDS), setup.batch, 3, setup.side, setup.side)
    inputs = torch.randn(shape, device=setup.device)
    labels = torch.randint(0, 5, shape[:2], device=setup.device)
    masks = (torch.arange(CLASSES, device=setup.device) < 5).expand(len(SEEDS), -1)

    def trainer(seeds: Sequence[int], strategy: Literal["vmap", "each"]) -> Trainer:
        models = [build(options, (3, setup.side, setup.side), CLASSES, seed) for seed in seeds]
        passes = {"compile": variant.compile, "bf16": variant.dtype == "bf16"}
        return Trainer(models, OptimiserOptions(), seeds, device=setup.device, strategy=strategy, **passes)

    def seconds(trainers: list[Trainer], batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
        pairs = list(zip(trainers, batches, strict=True))
        return step_seconds(setup, lambda: [one.step(*batch) for one, batch in pairs])

    whole = (inputs, labels, masks)
    split = [(inputs[k : k + 1], labels[k : k + 1], masks[k : k + 1]) for k in range(len(SEEDS))]
    with tensor_cores(variant.dtype == "tf32"):
        alone = seconds([trainer([seed], "each") for seed in SEEDS], split)
        each = seconds([trainer(SEEDS, "each")], [whole])
        vmapped = seconds([trainer(SEEDS, "vmap")], [whole])
    flop = len(SEEDS) * setup.batch * image_flop(options, setup.side)
    return Measured(name, variant, flop, alone, each, vmapped)


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
def tensor_cores(allowed: bool) -> Iterator[None]:
    """Whether float32 products and convolutions may use TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def peak(setup: Setup, variant: Variant) -> float:
    """Operations a second of a large matrix product in this precision."""
    dtype = torch.bfloat16 if variant.dtype == "bf16" else torch.float32
    a, b = (torch.randn(setup.peak_size, setup.peak_size, device=setup.device, dtype=dtype) for _ in range(2))
    with tensor_cores(variant.dtype == "tf32"):
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


if __name__ == "__main__":
    main()
