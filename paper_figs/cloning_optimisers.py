"""Figures B.13 and B.14: clones under SGD and Adam; what "the same step size" does; what rounding does."""

from pathlib import Path
from typing import Any

from empirical.cloning.records import cells, side_by_side
from empirical.runs.saved import Chosen, Group
from paper_figs.cloning_panels import (
    MODELS,
    Line,
    draw_defect,
    draw_roles,
    label_rows,
    one,
    provenance,
    rank,
    same_scale,
    train_loss,
)
from paper_figs.style import panels, save

ARMS = (("SGD", "sgd"), ("SGD, matched step sizes", "matched"), ("Adam", "adam"))


def draw_optimisers(stem: Path, model: str, chosen: Chosen) -> str:
    """Columns: SGD, SGD with matched step sizes, Adam, and where it was run, clones that are not copies."""
    found = cells(*chosen)
    columns = [(title, one(found, model, arm)) for title, arm in ARMS]
    uneven = [g for key, g in found.items() if key.model == model and key.arm == "redistributed"]
    columns += [("SGD, clones not copies", group) for group in uneven]
    figure, axes = panels(3, len(columns), size=(2.7, 2.1))
    for column, (title, group) in zip(axes.T, columns, strict=True):
        if group in uneven:
            wide = Line(one(found, model, "redistributed64"), "float64", "tab:green")
            draw_defect(column[0], [Line(group, "float32", "tab:red"), wide], "distance")
            column[0].legend(fontsize=7, frameon=False)
        else:
            draw_defect(column[0], [Line(group, "outputs, clone − base", "tab:purple")], "function_gap")
            _name_defect(column[0], group)
        draw_roles(column[1], group, train_loss)
        draw_roles(column[2], group, rank)
        column[0].set_title(title)
        column[0].set_xlim(column[1].get_xlim())
        column[1].set_ylim(bottom=0)
        column[2].set_ylim(bottom=0)
    for row in axes:
        same_scale(row)
    label_rows(axes, ("relative difference", "training loss", "effective rank"))
    figure.legend(*axes[2][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    data = provenance(figure, found, [model], chosen)
    save(figure, stem)
    last = (
        " In the last column clones are not copies: random weights inside RE∩CE were added; shown is the distance of "
        "the weights from RE∩CE over their norm, in float32 and float64 (losses and ranks: float32)."
        if uneven
        else ""
    )
    return (
        f"{MODELS[model]} and its clone under SGD and Adam. Top: largest difference of the outputs of clone and base, "
        "over the largest output (1 − R² of cloning stands in the panel). With one step size for both the clone is "
        "another network than its base soon after; with the matched step sizes (SGD) it is the same until "
        "rounding, which the training itself amplifies, has parted them."
        f"{last} Middle: training loss of base, clone and a freshly initialised network of the clone's width. Bottom: "
        "effective rank, mean over hidden layers. Mean and standard deviation over seeds. "
        f"{data}"
    )


def _name_defect(ax: Any, group: Group) -> None:
    defect = side_by_side(group, "defect")[1]
    text = f"1 − R² ≤ {defect.max():.0e}" if defect.any() else "1 − R² = 0 exactly"
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", fontsize=7)
