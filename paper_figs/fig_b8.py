"""Figure B.8: the scale of the noise, MLP."""

from pathlib import Path

from paper_figs.cloning_noise import draw_scales


def draw(stem: Path) -> str:
    return draw_scales(stem, "mlp")
