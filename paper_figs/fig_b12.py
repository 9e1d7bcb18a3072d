"""Figure B.12: clones under SGD with dropout."""

from pathlib import Path

from empirical.cloning_records import cells
from paper_figs.cloning_panels import MODELS, PRESET, SHADES, SHOWN, Line, draw_grid, one, provenance


def draw(stem: Path) -> str:
    found = cells(PRESET)
    rates = sorted({key.dropout for key in found})
    columns = [
        (
            title,
            [
                Line(one(found, model, "dropout" if p else "sgd", p), f"{p:g}", colour)
                for p, colour in zip(rates, SHADES, strict=False)
            ],
        )
        for model, title in MODELS.items()
    ]
    draw_grid(stem, columns, "dropout")
    return (
        "Cloning and dropout: clones draw masks of their own. Measured without dropout. "
        f"{SHOWN}{provenance(found, list(MODELS))}"
    )
