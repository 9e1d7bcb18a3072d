"""In which order runs are carried out: a comparison is complete before the next begins, the cheapest first."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from empirical.training.options import OptimiserOptions


def by_comparison(runs: Iterable[Any], seconds: Callable[[Any], float]) -> list[Any]:
    """The same runs; those that are compared with one another stand together."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for run in runs:
        found[comparison(run)].append(run)
    return [run for group in sorted(found.values(), key=lambda group: sum(map(seconds, group))) for run in group]


def comparison(run: Any) -> Any:
    """What is equal in runs that are compared: all but the seed and the arm (the control's among them)."""
    own = run.optimiser
    bare = replace(run, seed=0, optimiser=OptimiserOptions(step_size=own.step_size, precision=own.precision))
    if run.experiment == "cloning":
        return replace(bare, matched=False, redistributed=False, precision="float32", control=False)
    return replace(bare, fresh=False)
