"""Figure B.14: ViT and its clone under SGD and Adam."""

from pathlib import Path

from paper_figs.cloning_optimisers import draw_optimisers


def draw(stem: Path) -> str:
    return draw_optimisers(stem, "vit")
