"""Figure B.10: the scale of the noise, ViT."""

from pathlib import Path

from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_noise import draw_scales


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    return draw_scales(stem, "vit", chosen)
