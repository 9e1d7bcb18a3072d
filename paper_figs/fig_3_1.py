"""Figure 3.1: dead or duplicate units and accuracy, task after task, for every architecture."""

from pathlib import Path

from empirical.continual.records import accuracy, cells, loss, over_layers
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import MODELS, arms, band, legend, models, provenance
from paper_figs.style import panels, save

ROWS = (
    ("training accuracy", accuracy),
    ("training loss over the task", loss),
    ("dead or duplicate units", lambda group: over_layers(group, "dead_or_duplicate")),
)


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure, axes = panels(len(ROWS), len(models(found)), size=(2.8, 2.1))
    for column, model in enumerate(models(found)):
        axes[0][column].set_title(MODELS[model])
        for group, *look in arms(found, model):
            for ax, (_, values) in zip(axes[:, column], ROWS, strict=True):
                band(ax, values(group), *look)
        axes[0][column].set_ylim(-0.03, 1.03)
        axes[-1][column].set(xlabel="task", ylim=(-0.03, 1.03))
    for ax, (label, _) in zip(axes[:, 0], ROWS, strict=True):
        ax.set_ylabel(label)
    legend(figure, axes[0][0], len(models(found)))
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Training accuracy at the end of each task (over the task's classes, all its training images), training loss "
        "averaged over the task, and the share of dead or duplicate units (mean over hidden layers, on the task's "
        "held-out probe), for each architecture without normalisation (red), with BatchNorm (blue) or LayerNorm "
        "(green), without it but with continual backprop (purple) or ReDo (olive), and for a network made anew for "
        f"every task, without normalisation (gray, dashed). {data}"
    )
