"""Figure 3.2: effective rank beside the symptoms of loss of plasticity, without normalisation."""

from pathlib import Path
from typing import Any

from empirical.continual.records import Setting, cells, over_layers
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import MODELS, band, models, provenance
from paper_figs.style import panels, save

SYMPTOMS = (
    ("dead", "dead", "tab:red"),
    ("duplicate_as_paper", "duplicate", "tab:purple"),
    ("saturated", "saturated", "tab:orange"),
    ("dormant", "dormant", "tab:brown"),
)
RANKS = (
    ("effective_rank", "effective rank", "tab:blue"),
    ("stable_rank", "stable rank", "tab:cyan"),
    ("participation_ratio", "participation ratio", "tab:green"),
)
TICKS = (1, 2, 5, 10, 20, 50, 100)


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure, axes = panels(2, len(models(found)), size=(2.8, 2.2))
    for column, model in enumerate(models(found)):
        _lines(axes[:, column], found[Setting(model)], "-")
        if (control := found.get(Setting(model, arm="fresh"))) is not None:
            _lines(axes[:, column], control, ":")
        axes[0][column].set(title=MODELS[model], yscale="log", ylim=(0.9, 140), yticks=TICKS, yticklabels=TICKS)
        axes[0][column].minorticks_off()
        axes[1][column].set(xlabel="task", ylim=(-0.03, 1.03))
    axes[0][0].set_ylabel("rank of the representation")
    axes[1][0].set_ylabel("share of units")
    for ax, lines in zip(axes[:, 0], (RANKS, SYMPTOMS), strict=True):
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles[: len(lines)], labels[: len(lines)], fontsize=6.5, frameon=False, ncols=2)
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Ranks of the representation (top) and shares of dead, duplicate, saturated and dormant units (bottom), means "
        "over hidden layers at the end of each task on its held-out probe, without normalisation. Solid: training goes "
        "on from task to task; dotted: a network made anew for every task. Saturated: the gradient of a sample's own "
        f"loss is below 1e-4 of the unit's mean activation on over 99 % of samples. {data}"
    )


def _lines(axes: Any, group: Any, style: str) -> None:
    for ax, lines in zip(axes, (RANKS, SYMPTOMS), strict=True):
        for name, label, colour in lines:
            band(ax, over_layers(group, name), label, colour, style)
