"""The persistence figure: distance from the clone manifold while the data change, and the bound along the run."""

from pathlib import Path
from typing import Any, get_args

import numpy as np

from empirical.persistence.claims import CONTROLLED
from empirical.persistence.options import Arithmetic, Setting
from empirical.persistence.records import Cells, bounds, cells, distances, drift, exceeded, steps
from empirical.runs.saved import Group
from paper_figs.style import headline, panels, save

PRESET = "laptop"
COLOURS = {"copies": "black", "redistributed": "tab:blue", "beside": "tab:green", "noise": "tab:red"}
LOWEST = 1e-17
"""Where an exact 0 is drawn."""


def draw(stem: Path) -> str:
    found = cells(PRESET)
    figure, axes = panels(1, 3, size=(3.4, 3.2))
    for ax, arithmetic in zip(axes[0], get_args(Arithmetic), strict=True):
        _draw_arithmetic(ax, found, arithmetic)
    axes[0][0].set_ylabel("distance / ‖weights‖")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    group = next(iter(found.values()))
    config = group.config
    leaves = all(exceeded(found[Setting("noise", a)]).any(1).all() for a in CONTROLLED)
    broken = "above the bound, as it must be" if leaves else "NOT above the bound"
    data = headline(
        figure,
        f"MLP of {config['width']} units a layer, 2 clones of each: permuted glyphs, {config['tasks']} tasks of "
        f"{config['classes_per_task']} classes, {config['steps']} steps each, seeds "
        f"{', '.join(map(str, group.seeds))}. Control (copies under gradient noise): {broken}.",
    )
    save(figure, stem)
    return (
        f"Distance from the clone manifold over training on changing data (permuted glyphs, {config['tasks']} tasks of "
        f"{config['classes_per_task']} classes, {config['steps']} steps of full-batch gradient descent each, step size "
        f"{config['step_size']:g}; dotted verticals: the data change), in three arithmetics; every seed "
        f"({', '.join(map(str, group.seeds))}). Solid: measured, exact zeros at the lower edge. Dashed: the Grönwall "
        "bound computed along the run from the curvatures normal to the manifold and each step's rounding, drawn to 1 "
        "(it is of first order: distances beyond 0.01 are not judged by it). Dotted: rounding summed up, the most that "
        "drift without amplification can be. Copies begin on the manifold, equal bit by bit; redistributed clones on "
        "it but for rounding; beside: at 1e-4; noise, the control: copies whose gradients get noise, which breaks the "
        f"bound (not run in bfloat16). {data}"
    )


def _draw_arithmetic(ax: Any, found: Cells, arithmetic: Arithmetic) -> None:
    for arm, colour in COLOURS.items():
        group = found.get(Setting(arm, arithmetic))
        if group is not None:
            _draw_group(ax, group, arm, colour)
    config = next(iter(found.values())).config
    for task in range(1, config["tasks"]):
        ax.axvline(task * config["steps"], color="gray", linewidth=0.6, linestyle=":")
    ax.set(xlabel="step", title=arithmetic, yscale="log", ylim=(LOWEST / 10, 3))


def _draw_group(ax: Any, group: Group, arm: str, colour: str) -> None:
    x = steps(group)
    for k, (own, limit, rounding) in enumerate(zip(distances(group), bounds(group), drift(group), strict=True)):
        ax.plot(x, np.maximum(own, LOWEST), color=colour, linewidth=1.2, label=arm if not k else None)
        if arm != "copies":
            shown = np.where(limit <= 1, limit, np.nan)
            ax.plot(x, shown, "--", color=colour, linewidth=0.7, alpha=0.6, label=f"{arm}: bound" if not k else None)
        if arm == "redistributed" and rounding.any():
            ax.plot(x[1:], rounding[1:], ":", color=colour, linewidth=0.9, label="rounding Σε" if not k else None)
