"""Figure B.3: dead or saturated units, duplicate units and accuracy at the end, by normalisation."""

from pathlib import Path
from typing import Any

import numpy as np

from empirical.continual.records import FIRST_STEP, accuracy, cells, over_layers
from empirical.runs.saved import COMMITTED, Chosen
from empirical.runs.statistics import last
from paper_figs.continual_panels import MODELS, arms, models, provenance
from paper_figs.style import panels, save

SHARE = 0.125
"""The last tasks that count: 5 of 40."""
BARS = (
    ("dead units", lambda group: over_layers(group, "dead")),
    ("saturated units\n(after a task's first step)", lambda group: over_layers(group, "saturated", FIRST_STEP)),
    ("duplicate units", lambda group: over_layers(group, "duplicate_as_paper")),
    ("training accuracy", accuracy),
)


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure, axes = panels(1, len(BARS), size=(2.9, 2.5))
    for place, model in enumerate(models(found)):
        lines = arms(found, model)
        for k, (group, label, colour, _) in enumerate(lines):
            for ax, (_, values) in zip(axes[0], BARS, strict=True):
                x = place + (k - (len(lines) - 1) / 2) * 0.14
                _bar(ax, x, last(values(group), SHARE), label if not place else None, colour)
    for ax, (label, _) in zip(axes[0], BARS, strict=True):
        ax.set(title=label, ylim=(0, 1.03), xticks=range(len(models(found))))
        ax.set_xticklabels([MODELS[m] for m in models(found)], fontsize=7.5)
        ax.grid(visible=False, axis="x")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Shares of dead, saturated and duplicate units (means over hidden layers, on the task's held-out probe; "
        "saturated: by the gradient of each sample's own loss) and training accuracy over the last eighth of the "
        "tasks, by normalisation, with continual backprop (purple) or ReDo (olive), and for a network made anew for "
        f"every task, without normalisation (gray). {data}"
    )


def _bar(ax: Any, x: float, values: np.ndarray, label: str | None, colour: str) -> None:
    ax.bar(x, values.mean(), 0.12, yerr=values.std(), color=colour, label=label, error_kw={"linewidth": 0.8})
