"""Saved records of the escape experiment: speeds of learning by branch, and what they say of lost plasticity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.continual.records import END, TRAINING
from empirical.escape.options import ESCAPE, STAGE_1, Branch, Stage, Start, half_lost
from empirical.runs import saved
from empirical.runs.control import Control
from empirical.runs.run import alike
from empirical.runs.saved import FOLDER, NETWORK, Chosen, Group

EARLY = 0.2
"""The share of a task whose accuracy is the speed at its beginning."""
NAMES = {
    "none": "unperturbed",
    "fresh": "fresh network",
    "noise": "gradient noise",
    "dropout": "dropout",
    "cbp": "continual backprop",
    "redo": "ReDo",
    "shrink_perturb": "shrink and perturb",
    "escape": "escape direction",
}
"""Branches in words."""
Measure = Callable[[Group, Stage], np.ndarray]


def cell(preset: str = "laptop", root: Path = FOLDER, precision: str = "fp32", source: str | None = None) -> Group:
    """The runs of a preset. Raises ``InvalidInput`` naming the command that makes what is missing."""
    chosen = Chosen(preset, root, precision, source)
    (found,) = saved.groups("escape", chosen.shown, chosen.options(ESCAPE).runs(), alike, root).values()
    return found


def identity(config: dict[str, Any]) -> str:
    """What runs of one configuration share: all but the seed."""
    from empirical.runs.store import canonical

    return canonical({**config, "seed": 0})


def starts(group: Group) -> list[Start]:
    """Where stage 2 began, in order."""
    return list(group.config["starts"])


def branches(group: Group) -> list[Branch]:
    """The branches that were run, in order."""
    return list(group.config["branches"])


def stage(group: Group, start: Start, branch: Branch) -> Stage:
    """A branch from a start; fresh networks, which do not depend on it, come from the first one."""
    return Stage(starts(group)[0] if branch == "fresh" else start, branch)


def curves(group: Group, at: Stage, name: str = "train_accuracy") -> np.ndarray:
    """Seeds × tasks × points: a column of the whole network during the tasks of a stage."""
    values, moment = group.stacked(name, "moment", **at.numbers, layer=NETWORK)
    points = values[:, (moment[0] == TRAINING) | (moment[0] == END)]
    return points.reshape(len(values), -1, group.config["steps"] // group.config["window"])


def area(group: Group, at: Stage) -> np.ndarray:
    """Seeds × tasks: mean training accuracy over a task, the area under its curve."""
    return curves(group, at).mean(2)


def early(group: Group, at: Stage) -> np.ndarray:
    """Seeds × tasks: mean training accuracy over the first fifth of a task."""
    found = curves(group, at)
    return found[:, :, : max(1, round(EARLY * found.shape[2]))].mean(2)


def final(group: Group, at: Stage) -> np.ndarray:
    """Seeds × tasks: training accuracy at the end of a task."""
    return curves(group, at)[:, :, -1]


def control(group: Group) -> Control:
    """What the fresh networks of stage 2 have learnt at the ends of their tasks."""
    return Control(final(group, stage(group, starts(group)[0], "fresh")))


def recovered(group: Group, at: Stage, measure: Measure = area) -> np.ndarray:
    """Per seed, (branch − none)/(fresh − none), each averaged over the tasks of stage 2: 0 is no better than
    unperturbed, 1 a fresh network. NaN for a seed whose fresh networks are not faster: nothing had been lost."""
    assert at.start is not None
    stages = (at, stage(group, at.start, "none"), stage(group, at.start, "fresh"))
    own, none, fresh = (measure(group, each).mean(1) for each in stages)
    lost = fresh - none
    return np.where(lost > 0, (own - none) / np.where(lost > 0, lost, 1.0), np.nan)


def last_task(group: Group, at: Stage) -> np.ndarray:
    """Seeds × 1: mean training accuracy over the last task."""
    return area(group, at)[:, -1:]


def began(group: Group, start: Start) -> np.ndarray:
    """Per seed, how many tasks of stage 1 the start had seen."""
    if start == "end":
        return np.full(len(group.seeds), group.config["before"])
    means = area(group, STAGE_1)
    chance = 1 / group.config["classes_per_task"]
    fallen = [[half_lost(own[: k + 1], chance) for k in range(len(own))] for own in means.tolist()]
    return np.array([own.index(True) + 1 if True in own else len(own) for own in fallen])


def over_layers(group: Group, at: Stage, name: str) -> np.ndarray:
    """Seeds × tasks: a layer's metric at the end of every task, mean over the hidden layers that have it."""
    values, layer = group.stacked(name, "layer", **at.numbers, moment=END)
    hidden = layer[0] >= 0
    tasks = values[:, hidden].reshape(len(values), -1, int(layer.max()) + 1)
    known = np.isfinite(tasks)
    return np.where(known, tasks, 0.0).sum(2) / np.where(known.any(2), known.sum(2), np.nan)


def of_network(group: Group, at: Stage, name: str) -> np.ndarray:
    """Seeds × tasks: a column of the whole network at the end of every task."""
    return group.stacked(name, **at.numbers, layer=NETWORK, moment=END)[0]


class Silent(NamedTuple):
    """Seeds × tasks × layers: units that were zero on all training images half-way through a task, those of them that
    were not at its end, and all units."""

    silent: np.ndarray
    revived: np.ndarray
    units: np.ndarray

    def counts(self, where: np.ndarray | slice = slice(None)) -> tuple[int, int]:
        """(silent, revived) in the layers chosen by a mask or index."""
        return int(self.silent[where].sum()), int(self.revived[where].sum())

    @property
    def whole_layers(self) -> np.ndarray:
        """Mask of layers without a unit that was not silent. They get no gradient, nor does anything before them."""
        return self.silent == self.units


def silent_units(group: Group, at: Stage) -> Silent:
    """The silent units of a stage."""
    *columns, layer = group.stacked("silent", "revived", "units", "layer", **at.numbers, moment=END)
    hidden = layer[0] >= 0
    return Silent(*(c[:, hidden].reshape(len(c), -1, int(layer.max()) + 1) for c in columns))
