"""Figure B.7: clones of an MLP, a CNN, a ResNet-18 and a ViT under SGD, Adam, Noisy SGD and dropout."""

from pathlib import Path

from empirical.cloning.records import cells
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_panels import MODELS, SHOWN, Line, draw_grid, noises, one

SIGMA, DECAY, DROPOUT = 0.05, 1.0, 0.1


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    columns = [
        (
            title,
            [
                Line(one(found, model, "sgd"), "SGD", "tab:blue"),
                Line(one(found, model, "adam"), "Adam", "tab:green"),
                Line(noises(found, model)[SIGMA, DECAY], f"Noisy SGD, σ₀ = {SIGMA:g}, λ = {DECAY:g}", "tab:red"),
                Line(one(found, model, "dropout", DROPOUT), f"SGD, dropout {DROPOUT:g}", "tab:purple"),
            ],
        )
        for model, title in MODELS.items()
    ]
    data = draw_grid(stem, columns, found, chosen, list(MODELS))
    return f"Cloning in four architectures. {SHOWN}{data}"
