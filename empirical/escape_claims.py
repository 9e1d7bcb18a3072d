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
    branches,
    early,
    of_network,
    over_layers,
    recovered,
)
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


def perturbed(group: Group) -> list[str]:
    """The branches that are no controls."""
    return [name for name in branches(group) if name not in CONTROLS]


def gain(group: Group, branch: str, over: str = "none") -> Difference:
    """Training accuracy, mean over stage 2, of one branch over that of another."""
    return difference(area(group, branch).mean(1), area(group, over).mean(1))


def lost(group: Group) -> str:
    """Stage 1: last tasks against first ones; stage 2: unperturbed against fresh networks."""
    first, last = (area(group, None)[:, part].mean(1) for part in (slice(None, SPAN), slice(-SPAN, None)))
    units = [
        f"{label} {over_layers(group, None, name)[:, :SPAN].mean():.2f} to "
        f"{over_layers(group, None, name)[:, -SPAN:].mean():.2f}"
        for label, name in (("dead", "dead"), ("duplicate", "duplicate_as_paper"), ("effective rank", "effective_rank"))
    ]
    slow = difference(early(group, "none").mean(1), early(group, "fresh").mean(1))
    return _measured(
        group,
        f"stage 1, last {SPAN} tasks against first {SPAN}: accuracy {first.mean():.3f} to {last.mean():.3f}, "
        f"{difference(last, first)}, {', '.join(units)}; on the tasks of stage 2, unperturbed against fresh networks: "
        f"{gain(group, 'none', 'fresh')}, over the first fifth of a task {slow}",
    )


def recovery(group: Group) -> str:
    """Per branch: accuracy over unperturbed, and the recovered share over stage 2 and on its last task."""
    parts = []
    for name in perturbed(group):
        share = recovered(group, name)
        late = recovered(group, name, lambda group, branch: area(group, branch)[:, -1:])
        parts.append(
            f"{NAMES[name]}: accuracy {gain(group, name)}, share {share.mean():.2f} ± {share.std():.2f}, "
            f"on the last task {late.mean():.2f} ± {late.std():.2f}"
        )
    return _measured(
        group, f"training accuracy over that of the unperturbed branch, recovered share: {'; '.join(parts)}"
    )


def units(group: Group) -> str:
    """Per branch: shares of the units lost in stage 1 that are back on the last task; certified units."""
    parts = []
    for name in ("none", *perturbed(group)):
        dead, duplicate = (over_layers(group, name, f"{what}_back")[:, -1] for what in ("dead", "duplicate"))
        parts.append(
            f"{NAMES[name]}: dead {dead.mean():.2f} ± {dead.std():.2f}, "
            f"duplicate {duplicate.mean():.2f} ± {duplicate.std():.2f}"
        )
    certified = max(float(over_layers(group, name, "certified").max()) for name in ("none", *perturbed(group)))
    return _measured(
        group,
        f"share of the units lost by the end of stage 1 that are back on the last task: {'; '.join(parts)}; largest "
        f"share of units certified frozen for ever in any branch: {certified:.3f}",
    )


def curvatures(group: Group) -> str:
    """Curvature normal to the manifold of the near-clones at the end of stage 1 and of the branches."""
    places = [None, *branches(group)]
    found = {p: [of_network(group, p, f"{side}_curvature")[:, -1] for side in ("lowest", "highest")] for p in places}
    saddles = [of_network(group, p, "saddle")[:, -1] for p in places]
    known = np.concatenate([s[np.isfinite(s)] for s in saddles])
    clones = of_network(group, None, "clones")[:, -1]
    low, high = found[None]
    return _measured(
        group,
        f"end of stage 1: {clones.mean():.0f} units in near-clone blocks, curvatures {np.nanmean(low):.3g} to "
        f"{np.nanmean(high):.3g}; both signs in {int(known.sum())} of {len(known)} networks at the ends of stages",
    )


def _measured(group: Group, what: str) -> str:
    config = group.config
    return (
        f"Measured on {data_name(config)} ({config['model']['name']} without normalisation, Adam, {config['before']} "
        f"tasks, then {config['after']} in every branch, seeds {min(group.seeds)}-{max(group.seeds)}; differences of "
        f"training accuracy averaged over tasks, Cohen's d, seeds above 0), {what}."
    )
