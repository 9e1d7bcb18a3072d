"""The escape figure: how much of a fresh network's speed comes back, and which units do."""

from pathlib import Path
from typing import Any

import numpy as np

from empirical.continual_records import data_name
from empirical.escape_records import NAMES, area, branches, cell, curves, over_layers, recovered
from empirical.saved import Group
from paper_figs.style import panels, save

PRESET = "laptop"
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


def draw(stem: Path) -> str:
    group = cell(PRESET)
    perturbed = [name for name in branches(group) if name not in CONTROLS]
    figure, axes = panels(2, 2, size=(4.4, 3.0))
    _draw_tasks(axes[0][0], group)
    _draw_curves(axes[0][1], group)
    _draw_recovered(axes[1][0], group, perturbed)
    _draw_units(axes[1][1], group, ["none", *perturbed])
    handles, labels = axes[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7.5, frameon=False)
    save(figure, stem)
    config = group.config
    return (
        f"Escape from lost plasticity ({config['model']['name'].upper()} without normalisation, Adam). Top left: mean "
        f"training accuracy over a task, in stage 1 and (from the dotted line) in every branch of stage 2. Top right: "
        f"training accuracy within a task, mean over the {config['after']} tasks of stage 2. Bottom left: recovered "
        "share of a fresh network's speed, (branch − unperturbed)/(fresh − unperturbed) of the mean training accuracy; "
        "dots are seeds, triangles the last task alone. Bottom right: of the units that were dead or duplicates at the "
        "end of stage 1, the share that are neither on the last task. Mean and standard deviation over seeds. "
        f"{provenance(group)}"
    )


def provenance(group: Group) -> str:
    """Data, preset and seeds, for the caption."""
    config = group.config
    return (
        f"Data: {data_name(config)}, preset {PRESET} ({config['before']} tasks, then {config['after']} in every "
        f"branch, of {config['steps']} steps), seeds {', '.join(map(str, group.seeds))}."
    )


def _band(ax: Any, x: np.ndarray, values: np.ndarray, name: str) -> None:
    mean, std = values.mean(0), values.std(0)
    ax.plot(x, mean, color=COLOURS[name], linewidth=1.2, label=NAMES[name])
    ax.fill_between(x, mean - std, mean + std, color=COLOURS[name], alpha=0.15, linewidth=0)


def _draw_tasks(ax: Any, group: Group) -> None:
    first = area(group, None)
    before = first.shape[1]
    _band(ax, np.arange(before), first, "none")
    for name in branches(group):
        values = area(group, name)
        _band(ax, before + np.arange(values.shape[1]), values, name)
    ax.axvline(before - 0.5, color="gray", linewidth=0.8, linestyle=":")
    ax.set(xlabel="task", ylabel="training accuracy, task mean", ylim=(0, 1))


def _draw_curves(ax: Any, group: Group) -> None:
    steps = np.arange(1, curves(group, "none").shape[2] + 1) * group.config["window"]
    for name in branches(group):
        _band(ax, steps, curves(group, name).mean(1), name)
    ax.set(xlabel="step of a task", ylabel="training accuracy", ylim=(0, 1))


def _draw_recovered(ax: Any, group: Group, names: list[str]) -> None:
    for place, name in enumerate(names):
        values = recovered(group, name)
        ax.bar(place, values.mean(), yerr=values.std(), color=COLOURS[name], alpha=0.5, capsize=3)
        ax.plot(np.full(len(values), place), values, "o", color=COLOURS[name], markersize=3)
        last = recovered(group, name, lambda group, branch: area(group, branch)[:, -1:])
        ax.plot(
            place, last.mean(), "^", color=COLOURS[name], markersize=5, markeredgecolor="black", markeredgewidth=0.5
        )
    ax.axhline(0, color=COLOURS["none"], linewidth=0.8)
    ax.axhline(1, color=COLOURS["fresh"], linewidth=0.8, linestyle="--")
    ax.set(ylabel="recovered share")
    _name_places(ax, names)


def _draw_units(ax: Any, group: Group, names: list[str]) -> None:
    for shift, (column, label, hatch) in enumerate(
        (("dead_back", "dead", ""), ("duplicate_back", "duplicates", "///"))
    ):
        for place, name in enumerate(names):
            values = over_layers(group, name, column)[:, -1]
            ax.bar(
                place + 0.4 * shift - 0.2, values.mean(), 0.38, yerr=values.std(), capsize=2, hatch=hatch, alpha=0.5,
                color=COLOURS[name], edgecolor="white", label=label if not place else None,
            )  # fmt: skip
    ax.set(ylabel="share of lost units back", ylim=(0, 1))
    ax.legend(fontsize=7, frameon=False)
    _name_places(ax, names)


def _name_places(ax: Any, names: list[str]) -> None:
    ax.set_xticks(range(len(names)), [NAMES[name].replace(" ", "\n", 1) for name in names], fontsize=6.5)
