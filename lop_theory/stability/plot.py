"""Spectrum on the normal space and departures, as one picture."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lop_theory.stability.analysis import Analysis


def draw_spectrum(ax: Any, values: Tensor, *, label: str, marker: str = ".") -> None:
    """Eigenvalues by their rank from the lowest (0) to the highest (1)."""
    heights = np.sort(values.cpu().numpy())
    ax.plot(np.linspace(0, 1, len(heights)), heights, marker, markersize=3, label=label)
    largest = float(np.abs(heights).max()) or 1.0
    ax.set_yscale("symlog", linthresh=10.0 ** math.ceil(math.log10(1e-3 * largest)))  # a decade: no tick beside 0
    ax.axhline(0, color="gray", linewidth=0.6)


def draw_departures(ax: Any, found: Analysis) -> None:
    """Distance over steps: measured (lines), predicted along the manifold (dots), at least (dashed)."""
    for seed, one in zip(found.seeds, found.departures, strict=True):
        colour = f"C{seed % 10}"
        ax.semilogy(one.distances, color=colour, linewidth=1.2, label=f"seed {seed}")
        every = max(1, len(one.linear) // 25)
        ax.semilogy(range(0, len(one.linear), every), one.linear[::every], ".", color=colour, markersize=3)
    last = found.departures[0].at_least
    if math.isfinite(last):
        ax.semilogy([0, last], [found.settings.start, found.settings.radius], "k--", linewidth=0.8, label="at least")
    ax.axhline(found.settings.radius, color="gray", linewidth=0.6)


def write_plot(found: Analysis, target: Path) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    spectrum = found.spectrum
    draw_spectrum(left, spectrum.values, label="eigenvalues" if spectrum.complete else "Ritz values")
    left.set(xlabel="rank, lowest to highest", ylabel="curvature", title=f"normal space: {found.kind or 'undecided'}")
    if found.departures:
        draw_departures(right, found)
        right.legend(fontsize=7, frameon=False)
    right.set(xlabel="step", ylabel="distance / ‖weights‖", title="leaving the manifold")
    figure.savefig(target, dpi=150)
