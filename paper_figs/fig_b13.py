"""Figure B.13: MLP and its clone under SGD and Adam."""

from pathlib import Path

from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_optimisers import draw_optimisers


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    return draw_optimisers(stem, "mlp", chosen)
