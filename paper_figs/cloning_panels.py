"""What the cloning figures share: lines with bands over seeds, panels of 1 − R², losses and ranks, captions."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from empirical.cloning.options import Setting
from empirical.cloning.records import Cells, control, data_name, over_layers, side_by_side
from empirical.runs.control import too_few
from empirical.runs.saved import Chosen, Group
from empirical.training.options import MODELS, precision_shown
from paper_figs.style import headline, panels, save

ROLES = {"base": "tab:blue", "clone": "tab:red", "control": "tab:gray"}
ROLE_LABELS = {"base": "base", "clone": "clone", "control": "fresh, of the clone's width"}
SMALLEST = 1e-17
"""Lower end of axes of 1 − R²."""
SHADES = ("tab:blue", "tab:green", "tab:orange", "tab:red", "tab:purple")


class Line(NamedTuple):
    """A group of runs and how it is drawn."""

    group: Group
    label: str
    colour: str


def fill(ax: Any, x: np.ndarray, values: np.ndarray, *, log: bool = False, **look: Any) -> None:
    """Mean and standard deviation over seeds; on a log axis of the logarithm, so that the band stays positive."""
    shown = np.log10(np.maximum(values, SMALLEST)) if log else values
    mean, std = shown.mean(0), shown.std(0)
    low, middle, high = (10.0**v if log else v for v in (mean - std, mean, mean + std))
    ax.plot(x, middle, linewidth=look.pop("linewidth", 1.1), **look)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)


def draw_defect(ax: Any, lines: Sequence[Line], column: str = "defect") -> None:
    """1 − R² (or another distance) on a log axis; lines that are exactly 0 throughout are named in the panel."""
    zero = []
    for line in lines:
        steps, values = side_by_side(line.group, column)
        if values.any():
            positive = steps > 0  # at the cloning itself there is nothing to see: 0
            fill(ax, steps[positive], values[:, positive], log=True, color=line.colour, label=line.label)
        else:
            zero.append(line.label)
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(LogLocator(subs=(3,)))
    if zero:
        ax.text(0.5, 0.04, f"{', '.join(zero)}: 0 exactly", transform=ax.transAxes, ha="center", fontsize=7)


def draw_roles(ax: Any, group: Group, read: Callable[[Group, str], np.ndarray], control: Group | None = None) -> None:
    """A curve for base, clone and control; the control may come from another group."""
    steps = side_by_side(group)[0]
    for role, colour in ROLES.items():
        values = read(control if role == "control" and control is not None else group, role)
        if np.isfinite(values).all():
            fill(ax, steps, values, color=colour, label=ROLE_LABELS[role])


def draw_pairs(ax: Any, lines: Sequence[Line], read: Callable[[Group, str], np.ndarray]) -> None:
    """The clone of every line, and its base dashed."""
    for line in lines:
        steps = side_by_side(line.group)[0]
        fill(ax, steps, read(line.group, "clone"), color=line.colour, label=line.label)
        ax.plot(steps, read(line.group, "base").mean(0), color=line.colour, linestyle="--", linewidth=0.8)


def train_loss(group: Group, role: str) -> np.ndarray:
    """Seeds × measurements."""
    return side_by_side(group, f"{role}_train_loss")[1]


def rank(group: Group, role: str) -> np.ndarray:
    """Seeds × measurements: effective rank, mean over hidden layers."""
    return over_layers(group, f"{role}_rank")


def label_rows(axes: Any, names: Iterable[str]) -> None:
    """Names of the rows at the left, "steps since cloning" below."""
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name)
    for ax in axes[-1]:
        ax.set_xlabel("steps since cloning")


def same_scale(axes: Iterable[Any]) -> None:
    """One vertical range for panels that are to be compared, from those that have lines."""
    row = [ax for ax in axes if ax.lines]
    low, high = (f(ax.get_ylim()[k] for ax in row) for k, f in ((0, min), (1, max)))
    for ax in axes:
        ax.set_ylim(low, high)


ROWS = ("1 − R² (cloning)", "training loss", "effective rank")
LOOKS: dict[str, Any] = {"clone": "-", "its base": "--"}


def draw_grid(
    stem: Path,
    columns: Sequence[tuple[str, Sequence[Line]]],
    found: Cells,
    chosen: Chosen,
    models: Sequence[str],
    *,
    alike: bool = False,
) -> str:
    """1 − R², losses and ranks of clones (bases dashed) below one another, a column for each (title, lines); or side by
    side if there is one column. ``alike``: the columns are one model, to be compared in all rows. Returns the
    provenance of the models' records."""
    one_row = len(columns) == 1
    figure, axes = panels(1 if one_row else 3, 3 if one_row else len(columns), size=(2.7, 2.2))
    grid = axes.T if one_row else axes
    for column, (heading, lines) in zip(grid.T, columns, strict=True):
        draw_column(column, lines)
        column[1 if one_row else 0].set_title(heading)
    for row in grid if alike else grid[:1]:
        same_scale(row)
    if one_row:
        for ax, name in zip(axes[0], ROWS, strict=True):
            ax.set(ylabel=name, xlabel="steps since cloning")
    else:
        label_rows(axes, ROWS)
    _legend(figure, grid[2][0])
    data = provenance(figure, found, models, chosen)
    save(figure, stem)
    return data


def draw_column(axes: Sequence[Any], lines: Sequence[Line]) -> None:
    """1 − R², losses and ranks of clones and bases."""
    draw_defect(axes[0], lines)
    draw_pairs(axes[1], lines, train_loss)
    draw_pairs(axes[2], lines, rank)
    axes[0].set_xlim(axes[1].get_xlim())
    for ax in axes[1:]:
        ax.set_ylim(bottom=0)


def _legend(figure: Any, ax: Any) -> None:
    handles, names = ax.get_legend_handles_labels()
    handles += [Line2D([], [], color="black", linestyle=style, linewidth=1) for style in LOOKS.values()]
    names += list(LOOKS)
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)


SHOWN = (
    "First: 1 − R² of cloning, mean over hidden layers and both directions (0 is an exact clone; lines "
    "that are 0 to the last bit are named). Second: training loss of clone (solid) and base (dashed). Third: "
    "effective rank, mean over hidden layers, likewise. Mean and standard deviation over seeds. "
)


def provenance(figure: Figure, found: Cells, models: Sequence[str], chosen: Chosen) -> str:
    """Data, sizes, seeds and whether the fresh network learned, a line for each model above the panels, and for the
    caption."""
    return f"{headline(figure, *(_line(found, model) for model in models))} From preset {chosen.shown}."


def _line(found: Cells, model: str) -> str:
    group, fresh = next(g for key, g in found.items() if key.model == model), control(found, model)
    config, scale, few = group.config, group.config["model"]["scale"], too_few(len(group.seeds))
    widths = f", widths / {scale}" if scale > 1 else ""
    side, images = config["data"]["side"], config["data"]["per_class"]
    return (
        f"{MODELS[model]}{widths}: {side}×{side} {data_name(config)}, {config['classes']} classes of {images} images, "
        f"base alone for {config['pretrain']} steps, then {config['steps']} side by side{precision_shown(config)}, "
        f"seeds {', '.join(map(str, group.seeds))}. Control (a fresh network of the clone's width, SGD), training "
        f"accuracy {fresh}: {'learned' if fresh.learnt else 'did NOT learn'}.{f' Cannot tell: {few}.' if few else ''}"
    )


def noises(found: Cells, model: str) -> dict[tuple[float, float], Group]:
    """(σ₀, λ) → runs of Noisy SGD."""
    return {(key.sigma, key.decay): g for key, g in found.items() if (key.model, key.arm) == (model, "noisy_sgd")}


def one(found: Cells, model: str, arm: str, dropout: float = 0.0) -> Group:
    """The runs of an arm without noise."""
    return found[Setting(model, arm, dropout=dropout)]  # type: ignore[arg-type]
