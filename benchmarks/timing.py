"""Timers shared by the benchmarks."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable


def best_seconds(action: Callable[[], object], *, repeats: int = 7, inner: int = 1) -> float:
    """The least CPU time of one call over ``repeats`` rounds of ``inner`` calls; the first call warms up."""
    action()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(inner):
            action()
        best = min(best, (time.process_time() - start) / inner)
    return best


def process_cpu_seconds(arguments: list[str], *, repeats: int = 9) -> float:
    """The least user + system time of a fresh ``python`` process."""
    best = float("inf")
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best
