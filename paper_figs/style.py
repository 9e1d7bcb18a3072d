"""Shared look of the figures, and deterministic saving."""

from pathlib import Path
from textwrap import wrap
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


CHARACTERS_AN_INCH = 20
LINE_INCHES = 0.12
"""Of the small print above the panels, which stay as high as they were."""


def panels(rows: int, columns: int, *, size: tuple[float, float] = (3.1, 2.5)) -> tuple[Figure, Any]:
    """A figure with rows × columns axes (always a 2-D array of axes); ``size`` is inches per panel."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def headline(figure: Figure, *lines: str) -> str:
    """Data, size, and whether the control learned, above the panels in small print; the lines as one text, for the
    caption."""
    columns = int(CHARACTERS_AN_INCH * figure.get_figwidth())
    wrapped = [part for line in lines for part in wrap(line, columns)]
    figure.set_figheight(figure.get_figheight() + LINE_INCHES * len(wrapped))
    figure.suptitle("\n".join(wrapped), fontsize=6.5, color="0.35")
    return " ".join(lines)


def save(figure: Figure, stem: Path) -> None:
    """Write stem.png and stem.pdf without dates, so that the same data give the same bytes; laid out once for both."""
    figure.savefig(f"{stem}.png", dpi=170, metadata={"Software": None})
    figure.set_layout_engine(None)
    figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
