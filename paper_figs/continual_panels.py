"""What the figures of continual classification share: looks, lines over tasks, captions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from empirical.continual.records import Setting, control, data_name, lacks, layers, missing, name
from empirical.runs.saved import COMMITTED, Chosen, Group
from empirical.training.options import MODELS, precision_shown
from paper_figs.style import headline, panels

NORMALISATIONS = {"none": ("no normalisation", "tab:red"), "batch": ("BatchNorm", "tab:blue"),
                  "layer": ("LayerNorm", "tab:green")}  # fmt: skip
REPAIRED = {"cbp": ("continual backprop", "tab:purple"), "redo": ("ReDo", "tab:olive")}
FRESH = ("fresh network every task", "0.45")
LAYERS = LinearSegmentedColormap.from_list("layers", colormaps["viridis"](np.linspace(0, 0.9, 64)))
Cells = Mapping[Setting, Group]


def models(found: Cells) -> list[str]:
    """The models that have been run without normalisation, in the order of the paper."""
    return [model for model in MODELS if Setting(model) in found]


def arms(found: Cells, model: str) -> list[tuple[Group, str, str, str]]:
    """Every normalisation, companion and the control, without dropout: (group, label, colour, line style)."""
    lines = [
        (Setting(model, norm), label, colour, "-") for norm, (label, colour) in NORMALISATIONS.items()
    ]  # fmt: skip
    lines += [(Setting(model, arm=arm), label, colour, "-") for arm, (label, colour) in REPAIRED.items()]
    lines.append((Setting(model, arm="fresh"), *FRESH, "--"))
    return [(found[setting], *look) for setting, *look in lines if setting in found]


def band(ax: Any, values: np.ndarray, label: str, colour: Any, style: str = "-") -> None:
    """Mean and standard deviation over seeds (seeds × tasks) at the end of every task."""
    tasks = np.arange(1, values.shape[1] + 1)
    mean, std = values.mean(0), values.std(0)
    ax.plot(tasks, mean, color=colour, linestyle=style, linewidth=1.2, label=label)
    ax.fill_between(tasks, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def legend(figure: Figure, ax: Any, columns: int) -> None:
    """One legend below all panels, as wide as they allow."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=min(3, columns), frameon=False)


def provenance(figure: Figure, found: Cells, chosen: Chosen = COMMITTED) -> str:
    """Data, sizes, seeds and what the control learned, a line for each model above the panels, and for the caption."""
    lines = [_line(found, model) for model in models(found)]
    shown = headline(figure, *lines)
    return f"{shown} From preset {chosen.shown}; mean and standard deviation over seeds.{_not_run(found, chosen)}"


def _line(found: Cells, model: str) -> str:
    group, fresh = found[Setting(model)], control(found, model)
    learnt = f"{fresh}: {'learned' if fresh.learnt else 'did NOT learn'}" if fresh is not None else "not run"
    lacking = lacks(found, model)
    verdict = f" Cannot tell: {lacking}." if lacking else ""
    return (
        f"{_size(group.config)}, seeds {', '.join(map(str, group.seeds))}. Control (a fresh network every task), "
        f"training accuracy {learnt}.{verdict}"
    )


def _not_run(found: Cells, chosen: Chosen) -> str:
    lacking = missing(found, chosen.preset)
    if not lacking:
        return ""
    models = " ".join(dict.fromkeys(setting.model for setting in lacking))
    return (
        f" Not run: {'; '.join(name(setting) for setting in lacking)} "
        f"(python -m empirical continual --preset {chosen.shown} --models {models} --out results)."
    )


def _size(config: dict[str, Any]) -> str:
    model, side = config["model"], config["data"]["side"]
    narrowed = f", widths / {model['scale']}" if model["scale"] > 1 else ""
    return (
        f"{MODELS[model['name']]}{narrowed}: {side}×{side} {data_name(config)}, {config['tasks']} tasks of "
        f"{config['classes_per_task']} classes, {config['steps']} steps of batch {config['batch']} each"
        f"{precision_shown(config)}"
    )


def layer_panels(found: Cells, metrics: tuple[tuple[str, str], ...]) -> Figure:
    """A row for each metric (column, label), a column for each model: a line for each hidden layer over tasks."""
    chosen = models(found)
    figure, axes = panels(len(metrics), len(chosen), size=(2.8, 2.1))
    for column, model in enumerate(chosen):
        group = found[Setting(model)]
        for ax, (metric, _) in zip(axes[:, column], metrics, strict=True):
            _layer_lines(ax, layers(group, metric))
        axes[0][column].set_title(MODELS[model])
        axes[-1][column].set_xlabel("task")
    for ax, (_, label) in zip(axes[:, 0], metrics, strict=True):
        ax.set_ylabel(label)
    bar = figure.colorbar(ScalarMappable(cmap=LAYERS), ax=axes, ticks=(0, 1), aspect=40, pad=0.01)
    bar.ax.set_yticklabels(["first layer", "last"], fontsize=7)
    return figure


def _layer_lines(ax: Any, values: np.ndarray) -> None:
    """Seeds × tasks × layers."""
    count = values.shape[2]
    for layer in range(count):
        band(ax, values[:, :, layer], f"layer {layer + 1}", LAYERS(layer / max(count - 1, 1)))
    ax.set_ylim(-0.03, 1.03)
