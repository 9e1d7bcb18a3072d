"""Which engine is the fastest for a model on a device: a short measurement, made once for models of one kind."""

import time
from collections.abc import Callable, Hashable

import torch

from empirical.runs.execution import Engine
from empirical.training.engines import Choice

WARM_UP, SECONDS, MOST = 2, 0.3, 20
"""Steps before the clock starts; the time that is measured then, and the steps at most."""
MADE: dict[Hashable, Choice] = {}
"""The trials of this process."""


def fastest(kind: Hashable, steppers: dict[Engine, Callable[[], Callable[[], object]]]) -> Choice:
    """The engine whose step takes the least time; ``steppers`` make the step of each engine, which ends when the
    device has done it. Too little memory excludes an engine, not the others."""
    if kind not in MADE:
        times: dict[str, float] = {}
        for name, make in steppers.items():
            try:
                times[name] = 1e3 * seconds(make())
            except torch.cuda.OutOfMemoryError:
                times[name] = float("inf")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if min(times.values()) == float("inf"):
            raise torch.cuda.OutOfMemoryError("no engine has the memory that it needs")
        known = {name: value for name, value in times.items() if value < float("inf")}
        MADE[kind] = Choice(min(steppers, key=lambda name: times[name]), "fastest in a trial", known)
    return MADE[kind]


def seconds(step: Callable[[], object]) -> float:
    """The mean time of a step."""
    for _ in range(WARM_UP):
        step()
    begun, count = time.perf_counter(), 0
    while count < 1 or (count < MOST and time.perf_counter() - begun < SECONDS):
        step()
        count += 1
    return (time.perf_counter() - begun) / count
