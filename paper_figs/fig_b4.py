"""Figure B.4: duplicate against dead units, coloured by accuracy, over time."""

from pathlib import Path

from empirical.continual.records import Setting, accuracy, cells, over_layers
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.continual_panels import MODELS, NORMALISATIONS, models, provenance
from paper_figs.style import panels, save

MARKERS = {"none": "o", "batch": "s", "layer": "^"}


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    names = models(found)
    figure, axes = panels(1, len(names), size=(2.9, 2.6))
    points = None
    for ax, model in zip(axes[0], names, strict=True):
        for norm, marker in MARKERS.items():
            if (group := found.get(Setting(model, norm))) is None:
                continue
            x, y, colour = (v.mean(0) for v in (over_layers(group, "dead"), over_layers(group, "duplicate_as_paper"),
                                                accuracy(group)))  # fmt: skip
            size = [8 + 40 * k / len(x) for k in range(len(x))]
            points = ax.scatter(x, y, c=colour, s=size, marker=marker, cmap="viridis", vmin=0.2, vmax=1,
                                edgecolors="0.3", linewidths=0.3, label=NORMALISATIONS[norm][0])  # fmt: skip
        ax.set(title=MODELS[model], xlabel="dead units")
    axes[0][0].set_ylabel("duplicate units")
    axes[0][0].legend(fontsize=6.5, frameon=False)
    figure.colorbar(points, ax=axes[0][-1], label="training accuracy")
    data = provenance(figure, found, chosen)
    save(figure, stem)
    return (
        "Share of duplicate against share of dead units (means over hidden layers and seeds, on the task's held-out "
        "probe), a marker at the end of each task, larger as time goes on, coloured by training accuracy: without "
        f"normalisation (circles), BatchNorm (squares), LayerNorm (triangles). {data}"
    )
