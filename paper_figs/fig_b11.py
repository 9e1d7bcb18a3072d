"""Figure B.11: the decay of the noise, ViT."""

from pathlib import Path

from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_noise import draw_decays


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    return draw_decays(stem, "vit", chosen)
