"""The empirical claims about cloning: their statistics from saved records, as numbers and as sentences.

Effect sizes are those of bit-flipping: geometric means over seeds of a ratio within a seed, with Cohen's d of its
logarithm and the number of seeds above 1. claims.toml holds the sentences; a test computes them anew.
"""

from collections.abc import Callable, Iterator

import numpy as np

from empirical.cloning.options import Setting
from empirical.cloning.records import Cells, control, data_name, over_layers, side_by_side
from empirical.runs.saved import Group
from empirical.runs.statistics import effect
from empirical.training.options import MODELS, precision_shown

DETERMINISTIC = ("sgd", "matched", "adam")


def models(cells: Cells) -> list[str]:
    """The models, in the order of the runs."""
    return list(dict.fromkeys(key.model for key in cells))


def curve(group: Group, column: str) -> np.ndarray:
    """Seeds × measurements from the cloning on."""
    return side_by_side(group, column)[1]


def at_the_end(group: Group, column: str) -> np.ndarray:
    """A number a seed."""
    return curve(group, column)[:, -1]


def rank(group: Group, role: str) -> np.ndarray:
    """A number a seed: effective rank at the end, mean over hidden layers."""
    return over_layers(group, f"{role}_rank")[:, -1]


def strongest(cells: Cells, model: str) -> Group:
    """The model's runs under Noisy SGD with the largest σ₀ and λ."""
    noisy = [key for key in cells if (key.model, key.arm) == (model, "noisy_sgd")]
    return cells[max(noisy, key=lambda key: (key.sigma, key.decay))]


def dropped(cells: Cells, model: str) -> Group:
    """The model's runs with the smallest dropout."""
    return cells[min((k for k in cells if (k.model, k.arm) == (model, "dropout")), key=lambda key: key.dropout)]


def stays(cells: Cells) -> str:
    """SGD and Adam: the largest 1 − R² of any layer mean, run and time; the authors' number there."""
    kept = {key: group for key, group in cells.items() if key.arm in DETERMINISTIC}
    defect = max(float(curve(group, "defect").max()) for group in kept.values())
    spread = max(float(curve(group, "spread").max()) for group in kept.values())
    coded = {float(v) for group in kept.values() for v in curve(group, "r2_as_coded").ravel()}
    parts = [
        f"largest 1 - R^2 over {_runs([*kept.values()])} runs (SGD, SGD with matched step sizes, Adam; "
        f"{_named(cells)}; float32) and all their measurements: {_size(defect)}; largest distance of the weights from "
        f"block-constant ones: "
        f"{_size(spread)}; the authors' R^2 there: {min(coded):.2f} to {max(coded):.2f}"
    ]
    return _measured("clones that are copies", parts, cells)


def normalised(cells: Cells) -> str:
    """By normalisation: 1 − R² under SGD and Adam, and of the same networks under gradient noise."""
    parts = []
    for norm, shown in (("batch", "BatchNorm"), ("layer", "LayerNorm")):
        own = {key: group for key, group in cells.items() if group.config["model"]["normalisation"] == norm}
        if not own:
            continue
        kept = [group for key, group in own.items() if key.arm in DETERMINISTIC]
        named = list(dict.fromkeys(key.model for key in own))
        noisy = min(float(at_the_end(strongest(own, model), "defect").min()) for model in named)
        worst = max(float(curve(group, "defect").max()) for group in kept)
        parts.append(
            f"{shown} ({', '.join(MODELS[model] for model in named)}): largest 1 - R^2 of {_runs(kept)} runs under SGD "
            f"and Adam {_size(worst)}; the same networks under Noisy SGD (the control) at least {noisy:.1e}"
        )
    return _measured("clones of trained bases, normalised in every hidden layer", parts, cells)


def _runs(groups: list[Group]) -> int:
    return sum(len(group.seeds) for group in groups)


def leaves(cells: Cells) -> str:
    """Noisy SGD and dropout: 1 − R² and distance from RE∩CE at the end."""

    def left(model: str) -> Iterator[str]:
        for name, group in (("Noisy SGD", strongest(cells, model)), ("dropout", dropped(cells, model))):
            defect, distance = at_the_end(group, "defect"), at_the_end(group, "distance")
            yield (
                f" {name} {_strength(group)}: {_spread(defect)}, smallest seed {defect.min():.1e}, "
                f"distance from RE∩CE {_spread(distance)}"
            )

    return _by_model("1 - R^2 at the end", left, cells)


def one_step(cells: Cells) -> str:
    """A single noisy step (λ = 0): 1 − R² at the first measurement and at the end, and against noise without decay."""

    def grown(model: str) -> Iterator[str]:
        for group in (g for key, g in cells.items() if (key.model, key.arm, key.decay) == (model, "noisy_sgd", 0.0)):
            defect = curve(group, "defect")
            yield (
                f" {_strength(group)}: {_spread(defect[:, 1])} at the first measurement, {_spread(defect[:, -1])} at "
                f"the end, growth {effect(defect[:, -1], defect[:, 1])}; with lambda = 1 "
                f"{_spread(at_the_end(strongest(cells, model), 'defect'))} at the end"
            )

    return _by_model("one noisy step, 1 - R^2", grown, cells)


def capacity(cells: Cells) -> str:
    """Rank and loss of clones against bases and fresh networks of the clones' width."""

    def gained(model: str) -> Iterator[str]:
        sgd = cells[Setting(model, "sgd")]  # type: ignore[arg-type]
        arms = (
            ("SGD", sgd),
            ("Noisy SGD", strongest(cells, model)),
            ("dropout", dropped(cells, model)),
        )
        ranks = ", ".join(f"{name} {effect(rank(g, 'clone'), rank(g, 'base'))}" for name, g in arms)
        losses = ", ".join(f"{name} {effect(*_losses(g, 'clone', 'base'))}" for name, g in arms)
        against = effect(at_the_end(strongest(cells, model), "clone_train_loss"), at_the_end(sgd, "clone_train_loss"))
        yield (
            f": rank, clone / base: {ranks}; training loss, clone / base: {losses}, clone under Noisy SGD / clone "
            f"under SGD {against}; {_fresh(cells, model)}"
        )

    return _by_model("at the end", gained, cells)


def _fresh(cells: Cells, model: str) -> str:
    """Fresh wide network against base, where it learns in these steps."""
    sgd, fresh = cells[Setting(model, "sgd")], control(cells, model)  # type: ignore[arg-type]
    if not fresh.learnt:
        return f"the fresh wide network does not learn in these steps (accuracy {fresh}): cannot tell"
    return (
        f"fresh wide network (accuracy {fresh}) / base: rank {effect(rank(sgd, 'control'), rank(sgd, 'base'))}, "
        f"training loss {effect(*_losses(sgd, 'control', 'base'))}"
    )


def transformer(cells: Cells) -> str:
    """1 − R² at the end under Noisy SGD, ViT against MLP."""
    vit, mlp = (strongest(cells, model) for model in ("vit", "mlp"))
    ratio = effect(at_the_end(vit, "defect"), at_the_end(mlp, "defect"))
    steps = [(g.config["steps"], g.config["optimiser"]["step_size"]) for g in (vit, mlp)]
    parts = [
        f"1 - R^2 of the ViT ({steps[0][0]} steps of size {steps[0][1]:g}) / that of the MLP ({steps[1][0]} steps "
        f"of size {steps[1][1]:g}): {ratio}"
    ]
    return _measured(f"Noisy SGD, {_strength(vit)}, at the end", parts, cells)


def rates(cells: Cells) -> str:
    """Outputs of clone against base, with the same and with matched step sizes."""

    def followed(model: str) -> Iterator[str]:
        gaps = {arm: at_the_end(cells[Setting(model, arm)], "function_gap") for arm in DETERMINISTIC}  # type: ignore[arg-type]
        worst = curve(cells[Setting(model, "matched")], "function_gap").max()  # type: ignore[arg-type]
        yield (
            f": SGD {_spread(gaps['sgd'])}, Adam {_spread(gaps['adam'])}, SGD with matched step sizes "
            f"{_spread(gaps['matched'])} (at most {worst:.1e} at any time)"
        )

    return _by_model(
        "largest difference of outputs, clone - base, over the largest output, at the end", followed, cells
    )


def rounding(cells: Cells) -> str:
    """Clones that are not copies (random weights inside RE∩CE added): 1 − R² and distance in float32 and float64."""

    def rounded(model: str) -> Iterator[str]:
        for precision, arm in (("float32", "redistributed"), ("float64", "redistributed64")):
            group = cells.get(Setting(model, arm))  # type: ignore[arg-type]
            if group is None:
                continue
            defect, distance = curve(group, "defect"), curve(group, "distance")
            grown = effect(rank(group, "clone"), rank(group, "base"))
            yield (
                f" {precision}: rank, clone / base {grown}, "
                f"1 - R^2 from {_spread(defect[:, 0])} to {_spread(defect[:, -1])}, "
                f"distance from RE∩CE over the norm from {_spread(distance[:, 0])} to {_spread(distance[:, -1])}"
            )

    return _by_model("SGD from clones that are not copies", rounded, cells)


def _losses(group: Group, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    return at_the_end(group, f"{one}_train_loss"), at_the_end(group, f"{other}_train_loss")


def _strength(group: Group) -> str:
    optimiser, dropout = group.config["optimiser"], group.config["model"]["dropout"]
    if dropout:
        return f"{dropout:g}"
    return f"sigma {optimiser['sigma']:g}, lambda {optimiser['noise_decay']:g}"


def _size(value: float) -> str:
    return "exactly 0" if value == 0 else f"{value:.1e}"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.1e} ± {values.std():.0e}" if values.any() else "0"


def _named(cells: Cells) -> str:
    return ", ".join(MODELS[model] for model in models(cells))


def _by_model(what: str, said: Callable[[str], Iterator[str]], cells: Cells) -> str:
    """The measurement with what is ``said(model)``, each after the model's name."""
    return _measured(what, [f"{MODELS[model]}{text}" for model in models(cells) for text in said(model)], cells)


def _measured(what: str, parts: list[str], cells: Cells) -> str:
    group = next(iter(cells.values()))
    config = group.config
    return (
        f"Measured on {data_name(config)}, preset laptop ({config['classes']} classes{precision_shown(config)}, seeds "
        f"{min(group.seeds)}-{max(group.seeds)}; ratios: geometric mean, Cohen's d of the logarithm, seeds above 1), "
        f"{what}: {'; '.join(parts)}."
    )


SENTENCES = {
    "cloning-stays": stays,
    "cloning-normalisation": normalised,
    "cloning-leaves": leaves,
    "cloning-one-step": one_step,
    "cloning-capacity": capacity,
    "cloning-vit": transformer,
    "cloning-rates": rates,
    "cloning-rounding": rounding,
}
"""Claim → its measurement as a sentence."""
