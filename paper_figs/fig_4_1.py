"""Figure 4.1: effective rank with and without normalisation, for every architecture."""

from pathlib import Path

from empirical.continual.records import cells, over_layers
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import MODELS, arms, band, legend, models, provenance
from paper_figs.style import panels, save


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    figure, axes = panels(1, len(models(found)), size=(2.8, 2.4))
    for ax, model in zip(axes[0], models(found), strict=True):
        for group, *look in arms(found, model):
            band(ax, over_layers(group, "relative_rank"), *look)
        ax.set(title=MODELS[model], xlabel="task")
        ax.set_ylim(bottom=0)
    axes[0][0].set_ylabel("effective rank / units")
    legend(figure, axes[0][0], len(models(found)))
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Effective rank of the hidden layers over their number of units (mean over layers, at the end of each task on "
        "its held-out probe) without normalisation (red), with BatchNorm (blue), with LayerNorm (green), without "
        "either but with continual backprop (purple) or ReDo (olive), and for a network made anew for every task, "
        f"without normalisation (gray, dashed). {data}"
    )
