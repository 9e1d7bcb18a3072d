"""Figure 2.1: an MLP and its clone, side by side, under SGD, Adam, Noisy SGD and dropout."""

from pathlib import Path

from empirical.cloning.records import cells
from empirical.runs.saved import COMMITTED, Chosen
from paper_figs.cloning_panels import (
    Line,
    draw_defect,
    draw_roles,
    label_rows,
    noises,
    one,
    provenance,
    rank,
    same_scale,
    train_loss,
)
from paper_figs.style import panels, save

SIGMA, DECAY, DROPOUT = 0.05, 1.0, 0.1


def draw(stem: Path, chosen: Chosen = COMMITTED) -> str:
    found = cells(*chosen)
    sgd = one(found, "mlp", "sgd")
    columns = (
        ("SGD", sgd),
        ("Adam", one(found, "mlp", "adam")),
        (f"Noisy SGD, σ₀ = {SIGMA:g}", noises(found, "mlp")[SIGMA, DECAY]),
        (f"dropout {DROPOUT:g}", one(found, "mlp", "dropout", DROPOUT)),
    )
    figure, axes = panels(3, len(columns), size=(2.6, 2.1))
    for column, (title, group) in zip(axes.T, columns, strict=True):
        draw_defect(column[0], [Line(group, "clone", "tab:red")])
        control = group if group.config["control"] else sgd
        draw_roles(column[1], group, train_loss, control)
        draw_roles(column[2], group, rank, control)
        column[0].set_title(title)
        column[0].set_xlim(column[1].get_xlim())
        column[1].set_ylim(bottom=0)
        column[2].set_ylim(bottom=0)
    for row in axes:
        same_scale(row)
    label_rows(axes, ("1 − R² (cloning)", "training loss", "effective rank"))
    figure.legend(*axes[2][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    data = provenance(figure, found, ["mlp"], chosen)
    save(figure, stem)
    return (
        "An MLP, widened into a clone of itself, and its base train side by side on the same batches with the same "
        "step size. Top: 1 − R² of cloning, mean over hidden layers and both directions, on a log axis; under SGD and "
        "Adam it is 0 to the last bit. Middle: training loss of base, clone and a freshly initialised network of the "
        "clone's width (under Noisy SGD the one trained by SGD). Bottom: effective rank, mean over hidden layers. Mean "
        f"and standard deviation over seeds. Noisy SGD with λ = {DECAY:g}. {data}"
    )
