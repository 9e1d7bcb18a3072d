"""Figure B.1: bit-flipping under SGD, under continual backprop, and switching from one to the other half-way."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from empirical.bitflip.records import Cell, cells
from empirical.runs.statistics import last, windowed
from paper_figs.style import headline, panels, save

WINDOW = 40_000
COLOURS = {"sgd": "tab:red", "cbp": "tab:green", "switch": "tab:blue"}
LABELS = {"sgd": "SGD", "cbp": "CBP", "switch": "SGD, then CBP"}
PRESET = "paper"


def draw(stem: Path) -> str:
    found = cells(PRESET)
    widths = sorted({width for width, _ in found})
    figure, axes = panels(3, len(widths), size=(2.9, 2.2))
    for column, width in enumerate(widths):
        for method in ("sgd", "cbp", "switch"):
            _draw_cell(axes[:, column], found[width, method], method)
        axes[0][column].set(title=f"width {width}")
        axes[2][column].set(ylim=(-0.03, 1.03), xlabel="samples (millions)")
        for ax in axes[:, column]:
            ax.axvline(samples(found) / 2e6, color="gray", linewidth=0.8, linestyle=":")
        for ax in axes[:2, column]:
            ax.set_ylim(bottom=0)
    for ax, label in zip(axes[:, 0], ("mean squared error", "effective rank", "share of dead units"), strict=True):
        ax.set_ylabel(label)
    axes[2][0].legend(fontsize=7, frameon=False, loc="center right")
    data = provenance(figure, found)
    save(figure, stem)
    return (
        f"Online error (windows of {WINDOW:,} samples), effective rank and share of dead units after ReLU (fixed batch "
        "of the whole stream) under SGD (red), continual backprop (CBP, green), and SGD that switches to CBP half-way "
        "(blue; the same as red up to the dotted line). Mean and standard deviation over seeds. "
        f"{data}"
    )


def _draw_cell(axes: Any, cell: Cell, method: str) -> None:
    steps, errors = cell.bins()
    size = WINDOW // int(steps[0])
    curves = [
        (windowed(steps, size), windowed(errors, size)),
        cell.metric("stream_effective_rank"),
        cell.metric("stream_dead"),
    ]
    for ax, (x, values) in zip(axes, curves, strict=True):
        mean, std = values.mean(0), values.std(0)
        ax.plot(x / 1e6, mean, color=COLOURS[method], linewidth=1, label=LABELS[method])
        ax.fill_between(x / 1e6, mean - std, mean + std, color=COLOURS[method], alpha=0.2, linewidth=0)


def samples(found: dict[tuple[int, str], Cell]) -> int:
    """Samples of a run."""
    return next(iter(found.values())).records[0].config["samples"]


def provenance(figure: Figure, found: dict[tuple[int, str], Cell]) -> str:
    """Data, sizes, seeds and what learns to the end, above the panels and for the caption."""
    cell = next(iter(found.values()))
    errors = {width: last(found[width, "cbp"].bins()[1]).mean() for width in sorted({width for width, _ in found})}
    shown = ", ".join(f"{error:.3f} at width {width}" for width, error in errors.items())
    return headline(
        figure,
        f"Data: the synthetic bit-flipping stream, preset {PRESET} ({samples(found):,} samples, one bit flipped every "
        f"{cell.records[0].config['stream']['flip_every']:,}), seeds {', '.join(map(str, cell.seeds))}. Control (CBP "
        f"from the start): error at the end {shown}.",
    )
