"""Saved cloning records, one group of seeds per setting: what figures, tables and claims read."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from empirical.cloning.options import CLONING, Setting, setting
from empirical.runs import saved
from empirical.runs.control import Control, too_few
from empirical.runs.saved import FOLDER, NETWORK, Chosen, Group
from empirical.runs.store import Record

Cells = dict[Setting, Group]


def cells(preset: str = "laptop", root: Path = FOLDER, precision: str = "fp32", source: str | None = None) -> Cells:
    """Every setting of a preset, of every model the seeds that have been run whole. Raises ``InvalidInput`` naming the
    command that makes what is missing if a model has none."""
    wanted = Chosen(preset, root, precision, source)
    runs = wanted.options(CLONING).runs()
    whole = saved.complete("cloning", runs, lambda run: (run.model.name, run.seed), root)
    lacking = {run.model.name for run in runs} - {run.model.name for run in whole}
    chosen = whole + [run for run in runs if run.model.name in lacking]
    return saved.groups("cloning", wanted.shown, chosen, lambda run: setting(asdict(run)), root)


def shared(found: Cells) -> Cells:
    """All settings, of the first seeds that all have."""
    count = min(len(group.seeds) for group in found.values())
    return {key: Group(group.seeds[:count], group.records[:count]) for key, group in found.items()}


def telling(found: Cells) -> Cells:
    """Those with seeds enough."""
    return {key: group for key, group in found.items() if too_few(len(group.seeds)) is None}


def grouped(records: Iterable[Record]) -> Cells:
    """Settings of any finished records, in their order."""
    found: dict[Setting, list[Record]] = {}
    for record in records:
        found.setdefault(setting(record.config), []).append(record)
    return {key: saved.group_of(own) for key, own in found.items()}


def side_by_side(group: Group, *names: str) -> tuple[np.ndarray, ...]:
    """Steps since the cloning, and per name seeds × measurements of the whole network, the moment of cloning first."""
    step, *values = group.stacked("step", *names, layer=NETWORK)
    after = step[0] - group.config["pretrain"]
    return after[after >= 0], *(v[:, after >= 0] for v in values)


def control(found: Mapping[Setting, Group], model: str) -> Control:
    """What the fresh network of the clone's width has learnt at the end, beside the clone under SGD."""
    return Control(side_by_side(found[Setting(model, "sgd")], "control_train_accuracy")[1][:, -1:])  # type: ignore[arg-type]


def over_layers(group: Group, column: str) -> np.ndarray:
    """Seeds × measurements from the cloning on: a column's mean over the hidden layers."""
    step, layer, values = group.stacked("step", "layer", column)
    hidden = (layer[0] >= 0) & (step[0] >= group.config["pretrain"])
    return values[:, hidden].reshape(len(values), -1, int(layer.max()) + 1).mean(2)


def layers(group: Group, column: str) -> np.ndarray:
    """Seeds × hidden layers: a column at the end."""
    step, layer, values = group.stacked("step", "layer", column)
    return values[:, (layer[0] >= 0) & (step[0] == step.max())]


def data_name(config: Mapping[str, Any]) -> str:
    """What the images are, as captions say it."""
    return f"{'permuted ' if config['data']['permuted'] else ''}{config['data']['source']}"
