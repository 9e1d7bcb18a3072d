"""The comparison of remedies: accuracy over tasks, share of a fresh network's speed, cost of a step."""

from pathlib import Path
from typing import Any

import numpy as np

from empirical.remedies.claims import Cells, compared
from empirical.remedies.options import REMEDIES, Name
from empirical.remedies.records import LATE, accuracy, cells, control, cost, share
from paper_figs.style import headline, panels, save

SHOWN = 5
"""Remedies whose accuracy over tasks is drawn: those that bring most."""
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")


def draw(stem: Path) -> str:
    found = cells()
    names = compared(found)
    figure, axes = panels(1, 3, size=(4.2, 0.24 * len(names) + 1.3))
    _draw_tasks(axes[0][0], found, names[:SHOWN])
    _draw_shares(axes[0][1], found, names)
    _draw_costs(axes[0][2], found, names)
    config, fresh = found["plain"].group.config, control(found)
    data = headline(
        figure,
        f"MLP {config['network']['depth']} × {config['network']['width']}: permuted glyphs with pixel noise "
        f"{config['data']['noise']:g}, {config['tasks']} tasks of {config['steps']} steps, seeds "
        f"{', '.join(map(str, found['plain'].group.seeds))}. Control (a fresh network every task), training accuracy "
        f"at the end of a task {fresh}: {'learned' if fresh.learnt else 'did NOT learn'}.",
    )
    save(figure, stem)
    return (
        f"Remedies against loss of plasticity (strengths were chosen on other seeds). {data} From "
        "the left: training accuracy averaged over a task, mean over seeds, of plain training, a fresh network every "
        f"task and the {SHOWN} remedies that bring most; (remedy − plain)/(fresh − plain) of the last {LATE} tasks, "
        "mean and seeds (c: can take clones apart, d: moves a dead layer, both by prediction); CPU time of a training "
        "step over that of plain training, medians."
    )


def _draw_tasks(axes: Any, found: Cells, names: list[Name]) -> None:
    for name, colour in (("plain", "black"), ("fresh", "gray"), *zip(names, COLOURS, strict=False)):
        values = accuracy(found[name].group)
        axes.plot(np.arange(1, values.shape[1] + 1), values.mean(0), color=colour, lw=1.3, label=REMEDIES[name].words)
    axes.set_xlabel("task")
    axes.set_ylabel("training accuracy, mean over a task")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=6.5, frameon=False, loc="lower left")


def _draw_shares(axes: Any, found: Cells, names: list[Name]) -> None:
    for row, name in enumerate(reversed(names)):
        values = share(found, name)
        axes.barh(row, values.mean(), color="tab:blue", alpha=0.35)
        axes.plot(values, np.full(len(values), row), ".", color="tab:blue", ms=4)
    axes.set_yticks(range(len(names)), [_name(name) for name in reversed(names)], fontsize=7)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(1, color="gray", lw=0.8, ls=":")
    axes.set_xlabel("0: plain training, 1: fresh network")


def _draw_costs(axes: Any, found: Cells, names: list[Name]) -> None:
    axes.barh(range(len(names)), [cost(found, name) for name in reversed(names)], color="tab:gray")
    axes.set_yticks(range(len(names)), [])
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xlabel("cost of a step")


def _name(name: Name) -> str:
    remedy = REMEDIES[name]
    marks = ("c" if remedy.unclones else "") + ("d" if remedy.unfreezes else "")
    return f"{remedy.words} [{marks}]" if marks else remedy.words
