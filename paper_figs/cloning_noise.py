"""Figures B.8–B.11: clones under Noisy SGD, by scale and by decay of the noise."""

from pathlib import Path

from empirical.cloning.records import cells
from empirical.runs.saved import Chosen, Group
from paper_figs.cloning_panels import MODELS, SHADES, SHOWN, Line, draw_grid, noises

MEANING = (
    "The noise of every element has deviation σ₀ λᵗ times the norm of its tensor's gradient; λ = 0 is one noisy step. "
)


def draw_scales(stem: Path, model: str, chosen: Chosen) -> str:
    """A column for each decay λ that was run with every scale σ₀; a line for each scale."""
    found = cells(*chosen)
    grid = noises(found, model)
    scales, decays = _values(grid)
    columns = [
        (f"λ = {d:g}", [Line(grid[s, d], f"σ₀ = {s:g}", colour) for s, colour in zip(scales, SHADES, strict=False)])
        for d in decays
        if all((s, d) in grid for s in scales)
    ]
    data = draw_grid(stem, columns, found, chosen, [model], alike=True)
    return f"{MODELS[model]} under Noisy SGD: scale of the noise. {MEANING}{SHOWN}{data}"


def draw_decays(stem: Path, model: str, chosen: Chosen) -> str:
    """A column for each scale σ₀ that was run with every decay λ; a line for each decay."""
    found = cells(*chosen)
    grid = noises(found, model)
    scales, decays = _values(grid)
    columns = [
        (f"σ₀ = {s:g}", [Line(grid[s, d], f"λ = {d:g}", colour) for d, colour in zip(decays, SHADES, strict=False)])
        for s in scales
        if all((s, d) in grid for d in decays)
    ]
    data = draw_grid(stem, columns, found, chosen, [model], alike=True)
    return f"{MODELS[model]} under Noisy SGD: decay of the noise. {MEANING}{SHOWN}{data}"


def _values(grid: dict[tuple[float, float], Group]) -> tuple[list[float], list[float]]:
    """Scales, ascending, and decays, descending."""
    return sorted({s for s, _ in grid}), sorted({d for _, d in grid}, reverse=True)
