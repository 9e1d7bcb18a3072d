"""What glyphs and scenes ask of a network, and of a processor to draw: a fresh network's accuracy after equal steps on
one task of five classes (chance .20), training pictures and held-out ones, over five seeds; seconds of drawing a task.

    python -m benchmarks sources
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from empirical.continual.options import CONTINUAL, ContinualRun
from empirical.continual.records import END
from empirical.continual.simulation import Simulation
from empirical.runs.saved import NETWORK
from empirical.streams.tasks import PAINTED, open_source, task
from empirical.training.options import DataOptions, ModelName

MODELS: tuple[ModelName, ...] = ("mlp", "cnn")
SIDES = (16, 32)
SEEDS = (40, 41, 42, 43, 44)
STEPS, PER_CLASS, ROUNDS = 250, 200, 4
MEASURED = ("train_accuracy", "probe_accuracy")


def runs(source: str, model: ModelName, side: int, *, permuted: bool) -> list[ContinualRun]:
    """One task of a fresh network, a run a seed; model and optimiser are the laptop preset's."""
    return replace(
        CONTINUAL["laptop"], seeds=SEEDS, models=(model,), normalisations=("none",), arms=("continual",), source=source,
        permuted=permuted, side=side, tasks=1, steps=STEPS, per_class=PER_CLASS, probe_per_class=PER_CLASS, noise=0.0,
    ).runs()  # fmt: skip


def learnt(run: ContinualRun) -> Iterator[float]:
    """The accuracies of :data:`MEASURED` at the end."""
    simulation = Simulation([run])
    rows = []
    while simulation.step < run.length:
        rows += simulation.advance()[0].rows
    (end,) = (row for row in rows if row["moment"] == END and row["layer"] == NETWORK)
    return (float(end[name]) for name in MEASURED)


def drawing(source: str, side: int) -> float:
    """Processor seconds of a task of 5 × 500 + 5 × 100 pictures, the least of some rounds."""
    options = DataOptions(source, side, permuted=False)
    opened, found = open_source(options), []
    for index in range(1 + ROUNDS):
        begun = time.process_time()
        task(opened, options, 1, index, 5)
        found.append(time.process_time() - begun)
    return min(found[1:])


def main() -> None:
    for side in (16, 32, 64):
        glyphs, scenes = (drawing(source, side) for source in PAINTED)
        print(f"a task at {side}×{side}: glyphs {glyphs:.3f} s, scenes {scenes:.3f} s ({scenes / glyphs:.2f} ×)")
    for side, permuted, model, source in product(SIDES, (False, True), MODELS, PAINTED):
        values = np.array([[*learnt(run)] for run in runs(source, model, side, permuted=permuted)])
        shown = ", ".join(
            f"{name} {mean:.3f} ± {deviation:.3f}"
            for name, mean, deviation in zip(("training", "held out"), values.mean(0), values.std(0), strict=True)
        )
        print(f"{model} {side}×{side} {'permuted ' if permuted else ''}{source}, {STEPS} steps: {shown}", flush=True)
