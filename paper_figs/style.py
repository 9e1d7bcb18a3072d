"""Shared look of the figures, and deterministic saving."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "lop_theory",
    }
)


def panels(rows: int, columns: int, *, size: tuple[float, float] = (3.1, 2.5)) -> tuple[Figure, Any]:
    """A figure with rows × columns axes (always a 2-D array of axes); ``size`` is inches per panel."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, stem: Path) -> None:
    """Write stem.png and stem.pdf without dates, so that the same data give the same bytes."""
    figure.savefig(f"{stem}.png", dpi=170, metadata={"Software": None})
    figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
