"""Saved records of the escape experiment: speeds of learning by branch, and what they say of lost plasticity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from empirical import saved
from empirical.continual_records import END, NETWORK, TRAINING
from empirical.options.escape import BRANCHES, ESCAPE, STAGE_1, alike
from empirical.saved import FOLDER, Group

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
Measure = Callable[[Group, str | None], np.ndarray]


def cell(preset: str = "laptop", root: Path = FOLDER) -> Group:
    """The runs of a preset. Raises ``InvalidInput`` naming the command that makes what is missing."""
    (found,) = saved.groups("escape", preset, ESCAPE[preset].runs(), alike, root).values()
    return found


def identity(config: dict[str, Any]) -> str:
    """What runs of one configuration share: all but the seed."""
    from empirical.store import canonical

    return canonical({**config, "seed": 0})


def branches(group: Group) -> list[str]:
    """The branches that were run, in order."""
    return list(group.config["branches"])


def curves(group: Group, branch: str | None, name: str = "train_accuracy") -> np.ndarray:
    """Seeds × tasks × points: a column of the whole network during the tasks of a branch (``None``: stage 1)."""
    values, moment = group.stacked(name, "moment", branch=number(branch), layer=NETWORK)
    points = values[:, (moment[0] == TRAINING) | (moment[0] == END)]
    return points.reshape(len(values), -1, group.config["steps"] // group.config["window"])


def number(branch: str | None) -> int:
    """The branch in the column of a record."""
    return STAGE_1 if branch is None else BRANCHES.index(branch)


def area(group: Group, branch: str | None) -> np.ndarray:
    """Seeds × tasks: mean training accuracy over a task, the area under its curve."""
    return curves(group, branch).mean(2)


def early(group: Group, branch: str | None) -> np.ndarray:
    """Seeds × tasks: mean training accuracy over the first fifth of a task."""
    found = curves(group, branch)
    return found[:, :, : max(1, round(EARLY * found.shape[2]))].mean(2)


def final(group: Group, branch: str | None) -> np.ndarray:
    """Seeds × tasks: training accuracy at the end of a task."""
    return curves(group, branch)[:, :, -1]


def recovered(group: Group, branch: str, measure: Measure = area) -> np.ndarray:
    """Per seed, (branch − none)/(fresh − none), each averaged over the tasks of stage 2: 0 is no better than
    unperturbed, 1 a fresh network. NaN for a seed whose fresh networks are not faster: nothing had been lost."""
    own, none, fresh = (measure(group, name).mean(1) for name in (branch, "none", "fresh"))
    lost = fresh - none
    return np.where(lost > 0, (own - none) / np.where(lost > 0, lost, 1.0), np.nan)


def over_layers(group: Group, branch: str | None, name: str) -> np.ndarray:
    """Seeds × tasks: a layer's metric at the end of every task, mean over the hidden layers that have it."""
    values, layer = group.stacked(name, "layer", branch=number(branch), moment=END)
    hidden = layer[0] >= 0
    tasks = values[:, hidden].reshape(len(values), -1, int(layer.max()) + 1)
    known = np.isfinite(tasks)
    return np.where(known, tasks, 0.0).sum(2) / np.where(known.any(2), known.sum(2), np.nan)


def of_network(group: Group, branch: str | None, name: str) -> np.ndarray:
    """Seeds × tasks: a column of the whole network at the end of every task."""
    return group.stacked(name, branch=number(branch), layer=NETWORK, moment=END)[0]
