"""Saved records of continual classification, one group of seeds per setting: what figures, tables and claims read."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.continual.options import CONTINUAL, ContinualRun
from empirical.runs import saved
from empirical.runs.control import Control, cannot_tell
from empirical.runs.saved import FOLDER, NETWORK, Chosen, Group

INITIALISATION, FIRST_STEP, TRAINING, END = range(4)
"""Moments of rows: before training; after the first step of a task (the output layer was zero before it); during a
task; at its end."""


class Setting(NamedTuple):
    """What distinguishes groups of runs of one preset."""

    model: str
    normalisation: str = "none"
    arm: str = "continual"
    affine: bool = True
    dropout: float = 0.0
    step_size: float = 0.0
    """0 is the model's own."""


def setting(config: Mapping[str, Any], own: float = 1e-3) -> Setting:
    """The setting of a run's configuration, as its manifest has it; ``own`` is the model's own step size."""
    model, optimiser = config["model"], config["optimiser"]
    arm = "fresh" if config["fresh"] else "continual" if optimiser["repair"] == "none" else optimiser["repair"]
    step_size = optimiser["step_size"] if optimiser["step_size"] != own else 0.0
    return Setting(model["name"], model["normalisation"], arm, model["affine"], model["dropout"], step_size)


def name(setting: Setting) -> str:
    """The setting in a few words."""
    parts = [setting.model]
    parts += [f"{setting.normalisation} norm" if setting.normalisation != "none" else "no norm"]
    parts += ["not affine"] if not setting.affine else []
    parts += [f"dropout {setting.dropout:g}"] if setting.dropout else []
    parts += [f"step size {setting.step_size:g}"] if setting.step_size else []
    parts += [setting.arm] if setting.arm != "continual" else []
    return ", ".join(parts)


def label(run: ContinualRun) -> str:
    """The run on the screen."""
    return f"{name(setting(asdict(run)))}, seed {run.seed}"


def cells(
    preset: str = "laptop", root: Path = FOLDER, precision: str = "fp32", source: str | None = None
) -> dict[Setting, Group]:
    """Every setting of a preset that has been run whole, all seeds. Raises ``InvalidInput`` naming the command that
    makes what is missing if there is none."""
    chosen = Chosen(preset, root, precision, source)
    options = chosen.options(CONTINUAL)

    def key(run: ContinualRun) -> Setting:
        return setting(asdict(run), options.size(run.model.name).step_size)

    runs = saved.complete("continual", options.runs(), key, root)
    return saved.groups("continual", chosen.shown, runs or options.runs(), key, root)


def missing(found: Mapping[Setting, Group], preset: str) -> list[Setting]:
    """The settings of a preset that :func:`cells` did not find."""
    options = CONTINUAL[preset]
    settings = (setting(asdict(run), options.size(run.model.name).step_size) for run in options.runs())
    return [one for one in dict.fromkeys(settings) if one not in found]


def accuracy(group: Group, name: str = "train_accuracy") -> np.ndarray:
    """Seeds × tasks: a column of the whole network at the end of every task."""
    return group.stacked(name, moment=END, layer=NETWORK)[0]


def loss(group: Group) -> np.ndarray:
    """Seeds × tasks: the training loss, averaged over the task."""
    values, moment = group.stacked("loss", "moment", layer=NETWORK)
    windows = values[:, (moment[0] == TRAINING) | (moment[0] == END)]
    return windows.reshape(len(values), group.config["tasks"], -1).mean(2)


def control(found: Mapping[Setting, Group], model: str) -> Control | None:
    """What a fresh network every task, without normalisation, learns, if it was run."""
    fresh = found.get(Setting(model, arm="fresh"))
    return None if fresh is None else Control(accuracy(fresh))


def lacks(found: Mapping[Setting, Group], model: str) -> str | None:
    """Why the records of a model cannot tell whether it loses plasticity, or ``None`` if they can."""
    fresh = control(found, model)
    return "its control, a fresh network every task, was not run" if fresh is None else cannot_tell(fresh)


def layers(group: Group, name: str, moment: int = END) -> np.ndarray:
    """Seeds × tasks × layers: a metric of every hidden layer (at initialisation there is one "task")."""
    values, layer = group.stacked(name, "layer", moment=moment)
    hidden = layer[0] >= 0
    return values[:, hidden].reshape(len(values), -1, int(layer.max()) + 1)


def over_layers(group: Group, name: str, moment: int = END) -> np.ndarray:
    """Seeds × tasks: a metric's mean over the hidden layers. ``name`` may be ``dead_or_duplicate`` (dead units are no
    duplicates, so the shares add) or ``relative_rank`` (effective rank over units)."""
    match name:
        case "dead_or_duplicate":
            found = layers(group, "dead", moment) + layers(group, "duplicate_as_paper", moment)
        case "relative_rank":
            found = layers(group, "effective_rank", moment) / layers(group, "units", moment)
        case _:
            found = layers(group, name, moment)
    return found.mean(2)


def data_name(config: dict[str, Any]) -> str:
    """What the images are, as captions say it."""
    data = config["data"]
    noise = f" with pixel noise {data['noise']:g}" if data["noise"] else ""
    return f"{'permuted ' if data['permuted'] else ''}{data['source']}{noise}"
