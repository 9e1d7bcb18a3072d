"""The escape figure: how much of a fresh network's speed comes back, and which units do."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from empirical.continual.records import data_name
from empirical.escape.options import STAGE_1, Stage, Start
from empirical.escape.records import (
    NAMES,
    area,
    began,
    branches,
    cell,
    control,
    curves,
    last_task,
    over_layers,
    recovered,
    stage,
    starts,
)
from empirical.runs.saved import COMMITTED, Chosen, Group
from empirical.training.options import precision_shown
from paper_figs.style import headline, panels, save

COLOURS = {
    "none": "black",
    "fresh": "gray",
    "noise": "tab:orange",
    "dropout": "tab:purple",
    "cbp": "tab:green",
    "redo": "tab:olive",
    "shrink_perturb": "tab:blue",
    "escape": "tab:red",
}
CONTROLS = ("none", "fresh")
UNITS = (("dead_back", "dead", ""), ("duplicate_back", "duplicates", "///"))
"""Column, label and hatching of its bars."""


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    group = cell(*chosen)
    figure, axes = panels(len(starts(group)), 4, size=(3.1, 2.7))
    for row, start in zip(axes, starts(group), strict=True):
        _draw_tasks(row[0], group, start)
        _draw_curves(row[1], group, start)
        _draw_recovered(row[2], group, start)
        _draw_units(row[3], group, start)
    handles, labels = axes[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    data = provenance(figure, group, chosen)
    save(figure, stem)
    config = group.config
    return (
        f"Escape from lost plasticity ({config['model']['name'].upper()} without normalisation, Adam). Stage 2 begins "
        f"where half of the first tasks' accuracy above chance was lost (top) and at the end of stage 1 (bottom). From "
        "the left: mean training accuracy over a task, in stage 1 and, from the dotted line, in every branch of stage "
        f"2, which all train on the same tasks; training accuracy within a task, mean over the {config['after']} tasks "
        "of stage 2; recovered share of a fresh network's speed, (branch − unperturbed)/(fresh − unperturbed) of the "
        "mean training accuracy (dots: seeds, triangles: the last task alone); of the units that were dead "
        "(duplicates) at the start of stage 2, the share that is alive (and no duplicate) on its last task. Mean and "
        "standard deviation "
        f"over seeds. {data}"
    )


def provenance(figure: Figure, group: Group, chosen: Chosen) -> str:
    """Data, sizes, seeds and whether the fresh networks learned, above the panels and for the caption."""
    config, fresh = group.config, control(group)
    half = ", ".join(f"{task:.0f}" for task in began(group, "half"))
    return headline(
        figure,
        f"{config['model']['name'].upper()}: {data_name(config)}, preset {chosen.shown} ({config['before']} tasks in "
        f"stage 1, {config['after']} in every branch, of {config['steps']} steps{precision_shown(config)}; half was "
        f"lost after task {half}), seeds {', '.join(map(str, group.seeds))}. Control (fresh networks in stage 2), "
        f"training accuracy {fresh}: {'learned' if fresh.learnt else 'did NOT learn'}.",
    )


def _band(ax: Any, x: np.ndarray, values: np.ndarray, name: str) -> None:
    mean, std = values.mean(0), values.std(0)
    ax.plot(x, mean, color=COLOURS[name], linewidth=1.2, label=NAMES[name])
    ax.fill_between(x, mean - std, mean + std, color=COLOURS[name], alpha=0.15, linewidth=0)


def _draw_tasks(ax: Any, group: Group, start: Start) -> None:
    first = area(group, STAGE_1)
    before = first.shape[1]
    _band(ax, 1 + np.arange(before), first, "none")
    for name in branches(group):
        values = area(group, stage(group, start, name))
        _band(ax, 1 + before + np.arange(values.shape[1]), values, name)
    ax.axvline(before + 0.5, color="gray", linewidth=0.8, linestyle=":")
    where = "where half was lost" if start == "half" else "at the end of stage 1"
    ax.set(xlabel="task", ylabel="training accuracy, task mean", ylim=(0, 1), title=f"stage 2 begins {where}")


def _draw_curves(ax: Any, group: Group, start: Start) -> None:
    for name in branches(group):
        values = curves(group, stage(group, start, name)).mean(1)
        _band(ax, np.arange(1, values.shape[1] + 1) * group.config["window"], values, name)
    ax.set(xlabel="step of a task", ylabel="training accuracy", ylim=(0, 1))


def _draw_recovered(ax: Any, group: Group, start: Start) -> None:
    names = [name for name in branches(group) if name not in CONTROLS]
    for place, name in enumerate(names):
        at = Stage(start, name)
        values = recovered(group, at)
        ax.bar(place, values.mean(), yerr=values.std(), color=COLOURS[name], alpha=0.5, capsize=3)
        ax.plot(np.full(len(values), place), values, "o", color=COLOURS[name], markersize=3)
        late = recovered(group, at, last_task).mean()
        ax.plot(place, late, "^", color=COLOURS[name], markersize=5, markeredgecolor="black")
    ax.axhline(0, color=COLOURS["none"], linewidth=0.8)
    ax.axhline(1, color=COLOURS["fresh"], linewidth=0.8, linestyle="--")
    ax.set(ylabel="recovered share")
    _name_places(ax, names)


def _draw_units(ax: Any, group: Group, start: Start) -> None:
    names = [name for name in branches(group) if name != "fresh"]
    for shift, (column, label, hatch) in enumerate(UNITS):
        for place, name in enumerate(names):
            values = over_layers(group, Stage(start, name), column)[:, -1]
            ax.bar(
                place + 0.4 * shift - 0.2, values.mean(), 0.38, yerr=values.std(), capsize=2, hatch=hatch, alpha=0.5,
                color=COLOURS[name], edgecolor="white", label=label if not place else None,
            )  # fmt: skip
    ax.set(ylabel="share of lost units back", ylim=(0, 1))
    ax.legend(fontsize=7, frameon=False)
    _name_places(ax, names)


def _name_places(ax: Any, names: list[str]) -> None:
    ax.set_xticks(range(len(names)), [NAMES[name] for name in names], fontsize=7, rotation=35, ha="right")
