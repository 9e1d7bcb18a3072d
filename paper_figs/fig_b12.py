"""Figure B.12: clones under SGD with dropout."""

from pathlib import Path

from empirical.cloning.records import cells
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_panels import MODELS, SHADES, SHOWN, Line, draw_grid, one


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    shades = dict(zip(sorted({key.dropout for key in found}), SHADES, strict=False))
    columns = [
        (
            title,
            [
                Line(one(found, model, "dropout" if p else "sgd", p), f"dropout {p:g}", colour)
                for p, colour in shades.items()
                if any((key.model, key.dropout) == (model, p) for key in found)
            ],
        )
        for model, title in MODELS.items()
    ]
    data = draw_grid(stem, columns, found, chosen, list(MODELS))
    return f"Cloning and dropout: clones draw masks of their own. Measured without dropout. {SHOWN}{data}"
