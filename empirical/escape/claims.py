"""The empirical claims about escape: their statistics from saved records, as numbers and as sentences.

Differences are between training accuracies averaged over tasks (the area under the curve), within a seed; Cohen's d is
their mean over their standard deviation over seeds (n − 1). claims.toml holds the sentences; a test computes them anew.
"""

from typing import NamedTuple

import numpy as np

from empirical.continual.records import data_name
from empirical.escape.options import CONTROLS, STAGE_1, Branch, Stage, Start
from empirical.escape.records import (
    NAMES,
    area,
    began,
    branches,
    last_task,
    of_network,
    over_layers,
    recovered,
    silent_units,
    stage,
    starts,
)
from empirical.runs.control import LEARNT
from empirical.runs.saved import Group
from empirical.training.options import precision_shown

SPAN = 5
_SCORES = ("train", "probe")


class Difference(NamedTuple):
    """A difference over seeds: mean, standard deviation (n − 1), seeds in which it is positive, seeds."""

    mean: float
    std: float
    above: int
    seeds: int

    @property
    def d(self) -> float:
        """Cohen's d of paired values; 0 of no difference at all."""
        return self.mean / self.std if self.mean else 0.0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} (d {self.d:.1f}, {self.above}/{self.seeds} up)"


class Held(NamedTuple):
    """Accuracies a seed: on training images, on held-out ones, and of a fresh network on the same held-out ones."""

    train: np.ndarray
    probe: np.ndarray
    fresh: np.ndarray

    @property
    def behind(self) -> Difference:
        """Held out, less fresh."""
        return difference(self.probe, self.fresh)


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
        f"from the network after task {', '.join(f'{task:.0f}' for task in dict.fromkeys(began(group, start)))}: "
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
    tasks = ", ".join(f"{task:.0f}" for task in dict.fromkeys(began(group, start)))
    return _measured(
        group,
        f"from the network after task {tasks}, over the unperturbed branch, and recovered share: {'; '.join(parts)}",
    )


def held_out(group: Group, at: Stage) -> Held:
    """What a branch has learnt on its last task, against fresh networks on the same task, in the seeds in which it
    regained its training accuracy."""
    assert at.start is not None
    train, probe = (of_network(group, at, name)[:, -1] for name in ("train_accuracy", "probe_accuracy"))
    fresh = of_network(group, stage(group, at.start, "fresh"), "probe_accuracy")[:, -1]
    regained = train >= LEARNT
    return Held(train[regained], probe[regained], fresh[regained])


def generalisation(group: Group) -> str:
    """Held-out accuracy of what was regained, by start and branch; a branch that regained nothing says nothing."""
    parts = []
    for start in starts(group):
        for name in perturbed(group):
            held = held_out(group, Stage(start, name))
            if len(held.probe) > 1:
                parts.append(
                    f"{NAMES[name]} after {'half' if start == 'half' else 'all'} was lost: training "
                    f"{held.train.mean():.2f}, held out {held.probe.mean():.2f}, less fresh {held.behind}"
                )
    fresh = [of_network(group, stage(group, starts(group)[0], "fresh"), f"{n}_accuracy")[:, -1] for n in _SCORES]
    return _measured(
        group,
        f"the last task of stage 2, seeds with training accuracy of at least {LEARNT:g} there, at least two: "
        f"{'; '.join(parts)}; the fresh networks themselves: training {fresh[0].mean():.2f}, held out "
        f"{fresh[1].mean():.2f}",
    )


def silence(group: Group) -> str:
    """Units that were zero on all images half-way through a task and not at its end: in layers that theory says cannot
    revive, and elsewhere."""
    parts = []
    for name, stages in stages_by_branch(group).items():
        bound, free = ruled(group, stages)
        parts.append(f"{name} {bound[1]} of {bound[0]} and {free[1]} of {free[0]}")
    return _measured(
        group,
        "units silent half-way through a task that were not at its end, in the first layer and in layers silent as a "
        f"whole, and in the others: {', '.join(parts)}",
    )


def stages_by_branch(group: Group) -> dict[str, list[Stage]]:
    """Stage 1, and every branch from all starts."""
    found = {"stage 1": [STAGE_1]}
    for branch in branches(group):
        found[NAMES[branch]] = list(dict.fromkeys(stage(group, start, branch) for start in starts(group)))
    return found


def ruled(group: Group, stages: list[Stage]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(silent, revived) where theory lets none revive, that is in the first layer and in wholly silent ones; and
    elsewhere."""
    bound, free = np.zeros(2, int), np.zeros(2, int)
    for at in stages:
        found = silent_units(group, at)
        where = found.whole_layers.copy()
        where[:, :, 0] = True
        bound += found.counts(where)
        free += found.counts(~where)
    return (int(bound[0]), int(bound[1])), (int(free[0]), int(free[1]))


class Landscape(NamedTuple):
    """Networks at the ends of stages by whether a layer is wholly silent: saddles, and all; and largest |curvature|."""

    saddles: int
    networks: int
    largest: float


def landscapes(group: Group) -> tuple[Landscape, Landscape]:
    """Curvature normal to the near-clones of networks with a wholly silent layer, and of the others."""
    stages = dict.fromkeys(at for each in stages_by_branch(group).values() for at in each)
    values, dead = [], []
    for at in stages:
        names = ("saddle", "lowest_curvature", "highest_curvature")
        values.append(np.stack([of_network(group, at, name)[:, -1] for name in names]))
        found = silent_units(group, at)
        dead.append((found.whole_layers & (found.revived == 0))[:, -1].any(1))
    table, collapsed = np.concatenate(values, axis=1), np.concatenate(dead)
    known = np.isfinite(table[0])
    return _landscape(table[:, known & collapsed]), _landscape(table[:, known & ~collapsed])


def _landscape(table: np.ndarray) -> Landscape:
    return Landscape(int(table[0].sum()), table.shape[1], float(np.abs(table[1:]).max(initial=0.0)))


def curvatures(group: Group) -> str:
    """Curvature normal to the manifold of the near-clones, at the ends of stage 1 and of the branches."""
    collapsed, others = landscapes(group)
    clones = of_network(group, STAGE_1, "clones")[:, -1]
    return _measured(
        group,
        f"curvature normal to the manifold of near-clones (at the end of stage 1 {clones.mean():.0f} units) at the "
        f"ends of stages: with a wholly silent layer {collapsed.saddles} saddles in {collapsed.networks} networks, "
        f"largest |curvature| {collapsed.largest:.2g}; else {others.saddles} saddles in {others.networks}, largest "
        f"|curvature| {others.largest:.2g}",
    )


def _measured(group: Group, what: str) -> str:
    config = group.config
    return (
        f"Measured on {data_name(config)} ({config['model']['name']} without normalisation, Adam"
        f"{precision_shown(config)}, {config['before']} tasks, then {config['after']} in every branch, seeds "
        f"{min(group.seeds)}-{max(group.seeds)}; differences of training accuracy averaged over tasks, Cohen's d, "
        f"seeds above 0), {what}."
    )
