"""The paper's grid of runs: which they are, what is done of them, what the rest will take.

The cost of a run that has not been measured is max(operations / SUSTAINED, steps · STEP_SECONDS) of a GPU.

Reading order: grid (the runs, as data) → experiments (who carries them out) → status (what is done) → estimate (what
the rest will take) → plan (nodes, bytes, the longest chain) → order (what comes first) → command (``python -m
empirical sweep``).
"""

from typing import TYPE_CHECKING

from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.sweep.estimate import Cost, core_hours, gpu_hours
    from empirical.sweep.experiments import experiment_named
    from empirical.sweep.grid import Part, paper_grid
    from empirical.sweep.status import State, counts, states

__all__ = ["Cost", "Part", "State", "core_hours", "counts", "experiment_named", "gpu_hours", "paper_grid", "states"]

_HOMES = {
    **dict.fromkeys(("Cost", "core_hours", "gpu_hours"), "estimate"),
    "experiment_named": "experiments",
    **dict.fromkeys(("Part", "paper_grid"), "grid"),
    **dict.fromkeys(("State", "counts", "states"), "status"),
}
__getattr__ = lazily(__name__, _HOMES)
