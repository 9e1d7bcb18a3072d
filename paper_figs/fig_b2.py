"""Figure B.2: bit-flipping, loss, rank, duplicate and dead units against the width, SGD and continual backprop."""

from pathlib import Path
from typing import Any

import numpy as np

from empirical.bitflip.records import cells
from empirical.runs.statistics import last
from paper_figs.fig_b1 import COLOURS, LABELS, provenance
from paper_figs.style import panels, save

METRICS = (
    (
        "effective rank",
        (("stream_effective_rank", "after ReLU", "-"), ("stream_effective_rank_before", "before", "--")),
    ),
    (
        "share of duplicate units",
        (("stream_duplicate", "after ReLU", "-"), ("stream_duplicate_before", "before", "--")),
    ),
    ("share of dead units", (("stream_dead", "whole stream", "-"), ("task_dead", "present task", "--"))),
)


def draw(stem: Path) -> str:
    found = cells()
    widths = sorted({width for width, _ in found})
    figure, axes = panels(1, 4, size=(2.9, 2.7))
    for method in ("sgd", "cbp"):
        row = [found[width, method] for width in widths]
        errors = [last(cell.bins()[1]) for cell in row]
        _line(axes[0][0], widths, errors, (method, LABELS[method], "-"))
        for ax, (_, lines) in zip(axes[0][1:], METRICS, strict=True):
            for name, label, style in lines:
                values = [last(cell.metric(name)[1]) for cell in row]
                _line(ax, widths, values, (method, f"{LABELS[method]}, {label}", style))
    for ax, label in zip(axes[0], ("mean squared error", *(name for name, _ in METRICS)), strict=True):
        ax.set(xscale="log", xlabel="width", ylabel=label, xticks=widths, xticklabels=[str(w) for w in widths])
        ax.minorticks_off()
        ax.legend(fontsize=6.5, frameon=False, handlelength=3.2)
    axes[0][0].set_ylim(bottom=0)
    data = provenance(figure, found)
    save(figure, stem)
    return (
        "Online error, effective rank, share of duplicate units and share of dead units over the last tenth of the "
        "stream against the width, SGD (red) and CBP (green): mean and standard deviation over seeds. "
        "Solid: after ReLU, on a fixed batch of the whole stream. "
        "Dashed: before ReLU (rank, duplicates), or on the present task alone (dead). "
        f"{data}"
    )


def _line(ax: Any, widths: list[int], values: list[np.ndarray], look: tuple[str, str, str]) -> None:
    method, label, style = look
    mean, std = np.array([v.mean() for v in values]), np.array([v.std() for v in values])
    ax.errorbar(
        widths, mean, std, color=COLOURS[method], linestyle=style, label=label, marker="o", markersize=3, capsize=2
    )
