"""Figure B.8: the scale of the noise, MLP."""

from pathlib import Path

from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_noise import draw_scales


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    return draw_scales(stem, "mlp", chosen)
