"""The empirical claims about escape: their statistics from saved records, as numbers and as sentences.

Differences are between training accuracies averaged over tasks (the area under the curve), within a seed; Cohen's d is
their mean over their standard deviation over seeds (n − 1). claims.toml holds the sentences; a test computes them anew.
"""

from typing import NamedTuple

import numpy as np

from empirical.continual_records import data_name
from empirical.escape_records import (
    NAMES,
    area,
    began,
    branches,
    first_layer,
    last_task,
    of_network,
    over_layers,
    recovered,
    stage,
    starts,
)
from empirical.options.escape import STAGE_1, Branch, Stage, Start
from empirical.saved import Group

SPAN = 5
CONTROLS = ("none", "fresh")


class Difference(NamedTuple):
    """A difference over seeds: mean, standard deviation (n − 1), seeds in which it is positive, seeds."""

    mean: float
    std: float
    above: int
    seeds: int

    @property
    def d(self) -> float:
        """Cohen's d of paired values."""
        return self.mean / self.std if self.std else float("inf") * np.sign(self.mean)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} (d {self.d:.1f}, {self.above}/{self.seeds} up)"


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """a − b, one pair a seed."""
    values = a - b
    return Difference(float(values.mean()), float(values.std(ddof=1)), int((values > 0).sum()), len(values))


def perturbed(group: Group) -> list[Branch]:
    """The branches that are no controls."""
    return [name for name in branches(group) if name not in CONTROLS]


def gain(group: Group, at: Stage, over: Branch = "none") -> Difference:
    """Training accuracy, mean over stage 2, of one branch over that of another from the same start."""
    assert at.start is not None
    return difference(area(group, at).mean(1), area(group, stage(group, at.start, over)).mean(1))


def loss_of_plasticity(group: Group) -> str:
    """Stage 1: last tasks against first ones; stage 2: unperturbed against fresh networks on the same tasks."""
    first, last = (area(group, STAGE_1)[:, part].mean(1) for part in (slice(None, SPAN), slice(-SPAN, None)))
    units = [
        f"{label} {over_layers(group, STAGE_1, name)[:, :SPAN].mean():.2f} to "
        f"{over_layers(group, STAGE_1, name)[:, -SPAN:].mean():.2f}"
        for label, name in (("dead", "dead"), ("duplicate", "duplicate_as_paper"), ("effective rank", "effective_rank"))
    ]
    against = [
        f"from task {', '.join(f'{task:.0f}' for task in began(group, start))}: "
        f"{gain(group, Stage(start, 'none'), 'fresh')}"
        for start in starts(group)
    ]
    return _measured(
        group,
        f"stage 1, last {SPAN} tasks against first {SPAN}: accuracy {first.mean():.3f} to {last.mean():.3f}, "
        f"{difference(last, first)}, {', '.join(units)}; unperturbed against fresh networks on the tasks of stage 2, "
        f"{'; '.join(against)}",
    )


def recovery(group: Group, start: Start) -> str:
    """Per branch: accuracy over unperturbed, and the recovered share over stage 2 and on its last task."""
    parts = []
    for name in perturbed(group):
        at = Stage(start, name)
        share, late = recovered(group, at), recovered(group, at, last_task)
        parts.append(
            f"{NAMES[name]}: accuracy {gain(group, at)}, share {share.mean():.2f} ± {share.std():.2f}, "
            f"on the last task {late.mean():.2f} ± {late.std():.2f}"
        )
    place = f"from task {', '.join(f'{task:.0f}' for task in began(group, start))}"
    return _measured(group, f"{place}, over the unperturbed branch, and recovered share: {'; '.join(parts)}")


def silent_units(group: Group) -> str:
    """First layer: units that were zero on all images half-way through a task and not at its end."""
    counts = {
        name: np.sum([np.array(first_layer(group, at)).sum((1, 2)) for at in stages], axis=0)
        for name, stages in {
            "stage 1": [STAGE_1],
            **{NAMES[b]: [Stage(s, b) for s in starts(group)] for b in branches(group) if b != "fresh"},
        }.items()
    }
    parts = [f"{name} {revived:.0f} of {silent:.0f}" for name, (silent, revived) in counts.items()]
    return _measured(group, f"units of the first layer revived in the second half of a task: {', '.join(parts)}")


def lost_units(group: Group, start: Start) -> str:
    """Per branch: shares of the units lost by the start that are back on the last task; certified units."""
    parts = []
    for name in ("none", *perturbed(group)):
        backs = [over_layers(group, Stage(start, name), f"{what}_back")[:, -1] for what in ("dead", "duplicate")]
        dead, duplicate = (f"{back.mean():.2f} ± {back.std():.2f}" for back in backs)
        parts.append(f"{NAMES[name]}: dead {dead}, duplicate {duplicate}")
    return _measured(group, f"{start}, share of lost units that are back on the last task: {'; '.join(parts)}")


def curvatures(group: Group) -> str:
    """Curvature normal to the manifold of the near-clones, at the ends of stage 1 and of the branches."""
    stages = [STAGE_1, *(stage(group, s, b) for s in starts(group) for b in branches(group))]
    parts = []
    for at in dict.fromkeys(stages):
        columns = ("clones", "lowest_curvature", "highest_curvature", "saddle")
        clones, low, high, saddle = (of_network(group, at, name)[:, -1] for name in columns)
        known = np.isfinite(saddle)
        if known.any():
            where = "stage 1" if at.branch is None else f"{NAMES[at.branch]} ({at.start})"
            parts.append(
                f"{where}: {clones.mean():.0f} units in near-clone blocks, {low[known].mean():.2g} to "
                f"{high[known].mean():.2g}, saddles {int(saddle[known].sum())}/{int(known.sum())}"
            )
    return _measured(
        group, f"mean extreme curvatures normal to the near-clones at the ends of stages: {'; '.join(parts)}"
    )


def _measured(group: Group, what: str) -> str:
    config = group.config
    return (
        f"Measured on {data_name(config)} ({config['model']['name']} without normalisation, Adam, {config['before']} "
        f"tasks, then {config['after']} in every branch, seeds {min(group.seeds)}-{max(group.seeds)}; differences of "
        f"training accuracy averaged over tasks, Cohen's d, seeds above 0), {what}."
    )
