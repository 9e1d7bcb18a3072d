"""The empirical claims about continual classification: their statistics from saved records, as numbers and as
sentences.

A change is a mean over the last ``SPAN`` tasks less that over the first, within a seed; a net change is less the
change of the control (a fresh network every task), which sees the same tasks. Both are given as mean ± standard
deviation over seeds, with the number of seeds in which they are positive. Rank correlations (Spearman's) are over tasks
within a seed, averaged over seeds. claims.toml holds the sentences; a test computes them anew.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from empirical.continual.records import (
    Setting,
    accuracy,
    control,
    data_name,
    lacks,
    layers,
    loss,
    over_layers,
)
from empirical.runs.control import LEARNT, SPAN, early, late, span
from empirical.runs.saved import Group
from empirical.training.options import MODELS, precision_shown

Cells = Mapping[Setting, Group]
HALF = 0.5
LEAST_LOSS = 0.01
"""What accuracy must lose in every seed to be called lost."""
QUANTITIES: dict[str, Callable[[Group], np.ndarray]] = {
    "accuracy": accuracy,
    "loss": loss,
    "dead": lambda group: over_layers(group, "dead"),
    "dead in the last layer": lambda group: layers(group, "dead")[:, :, -1],
    "duplicate": lambda group: over_layers(group, "duplicate_as_paper"),
    "saturated": lambda group: over_layers(group, "saturated"),
    "dead or duplicate": lambda group: over_layers(group, "dead_or_duplicate"),
    "rank/units": lambda group: over_layers(group, "relative_rank"),
    "stable rank": lambda group: over_layers(group, "stable_rank"),
}
"""Quantity → seeds × tasks, at the end of every task; shares and ranks are means over the hidden layers but where the
last one is named."""
SYMPTOMS = ("dead", "dead in the last layer", "duplicate", "saturated", "rank/units", "stable rank")
CORRELATED = ("dead in the last layer", "dead or duplicate", "rank/units")


class Effect(NamedTuple):
    """A difference over seeds: mean, standard deviation, seeds in which it is positive, in which negative, seeds."""

    mean: float
    std: float
    up: int
    down: int
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.std:.3f} ({self.up}/{self.seeds} up)"

    @property
    def sign(self) -> int:
        """+1 or −1 if all seeds agree, else 0."""
        return 1 if self.up == self.seeds else -1 if self.down == self.seeds else 0


def effect(values: np.ndarray) -> Effect:
    """The effect of one difference a seed."""
    return Effect(
        float(values.mean()), float(values.std()), int((values > 0).sum()), int((values < 0).sum()), len(values)
    )


def change(cells: Cells, setting: Setting, quantity: str) -> Effect:
    """Late less early."""
    values = QUANTITIES[quantity](cells[setting])
    return effect(late(values) - early(values))


def net_change(cells: Cells, setting: Setting, quantity: str) -> Effect:
    """The change less that of the control without normalisation."""
    values, control = (QUANTITIES[quantity](cells[s]) for s in (setting, Setting(setting.model, arm="fresh")))
    return effect(late(values) - early(values) - late(control) + early(control))


def since_best(cells: Cells, setting: Setting, quantity: str) -> Effect:
    """Late, less over as many tasks on end that a seed learnt best. Of accuracy it is never above 0, by choice of those
    tasks: compare it with what other networks lose."""
    return effect(_since(QUANTITIES[quantity](cells[setting]), _best(cells, setting)))


def net_since_best(cells: Cells, setting: Setting, quantity: str) -> Effect:
    """The same less the change of the control without normalisation between the same tasks."""
    best, control = _best(cells, setting), cells[Setting(setting.model, arm="fresh")]
    values = QUANTITIES[quantity]
    return effect(_since(values(cells[setting]), best) - _since(values(control), best))


def _best(cells: Cells, setting: Setting) -> np.ndarray:
    """Per seed, the first of the tasks on end that it learnt best."""
    values = accuracy(cells[setting])
    return np.lib.stride_tricks.sliding_window_view(values, span(values), axis=1).mean(2).argmax(1)


def _since(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Per seed, late less from the first on."""
    size = span(values)
    return late(values) - np.array([row[k : k + size].mean() for row, k in zip(values, first, strict=True)])


def difference(cells: Cells, setting: Setting, other: Setting, quantity: str) -> Effect:
    """Late, one setting less another."""
    return effect(late(QUANTITIES[quantity](cells[setting])) - late(QUANTITIES[quantity](cells[other])))


def correlation(cells: Cells, setting: Setting, one: str, other: str) -> float:
    """Spearman's over tasks, mean over seeds; 0 where a quantity does not vary."""
    from scipy.stats import rankdata

    pairs = zip(QUANTITIES[one](cells[setting]), QUANTITIES[other](cells[setting]), strict=True)
    found = []
    for a, b in pairs:
        varies = np.ptp(a) > 0 and np.ptp(b) > 0
        found.append(np.corrcoef(rankdata(a), rankdata(b))[0, 1] if varies else 0.0)
    return float(np.mean(found))


def collapse(cells: Cells, setting: Setting) -> np.ndarray:
    """Per seed, the first task (from 1 on) that is learnt to less than :data:`HALF`; one more than all if there is
    none."""
    below = accuracy(cells[setting]) < HALF
    return np.where(below.any(1), below.argmax(1), below.shape[1]) + 1


def loses_plasticity(cells: Cells, model: str) -> bool:
    """Whether, without normalisation, the loss of every seed grows by more than the control's."""
    return net_change(cells, Setting(model), "loss").sign == 1


def loses_part(cells: Cells, model: str) -> bool:
    """Whether, without normalisation, every seed ends below what it learnt at its best tasks, by :data:`LEAST_LOSS` at
    least, by more than the control does between the same tasks, and by more than the control does from its own best
    ones on: the best of tasks that differ by chance alone lie above the last ones, too."""
    plain, control = Setting(model), Setting(model, arm="fresh")
    mine, theirs = (_lost(cells, setting) for setting in (plain, control))
    more = net_since_best(cells, plain, "accuracy").sign == -1
    return more and bool((mine >= LEAST_LOSS).all() and (mine > theirs).all())


def _lost(cells: Cells, setting: Setting) -> np.ndarray:
    """Per seed, the accuracy of its own best tasks less that of the last."""
    return -_since(accuracy(cells[setting]), _best(cells, setting))


def models(cells: Cells) -> list[str]:
    """The models that have been run without normalisation, and their control, in the paper's order."""
    return [model for model in MODELS if {Setting(model), Setting(model, arm="fresh")} <= cells.keys()]


def tellable(cells: Cells) -> list[str]:
    """Those of :func:`models` whose control learns."""
    return [model for model in models(cells) if lacks(cells, model) is None]


def symptoms(cells: Cells) -> str:
    """Without normalisation: net changes of accuracy, loss and symptoms, how they go together, the symptoms late
    against those of a fresh network, and what has changed since the tasks that were learnt best."""
    return _measured(
        "no normalisation, last tasks less first, less the same of a fresh network every task",
        [f"{MODELS[model]}: {_symptoms(cells, model)}" for model in models(cells)],
        cells,
    )


def _symptoms(cells: Cells, model: str) -> str:
    if lacking := lacks(cells, model):
        return f"cannot tell: {lacking}"
    setting, fresh = Setting(model), Setting(model, arm="fresh")
    nets = [f"{q} {net_change(cells, setting, q)}" for q in ("accuracy", "loss", *SYMPTOMS)]
    rho = [f"{q} {correlation(cells, setting, 'accuracy', q):+.2f}" for q in CORRELATED]
    levels = [f"{q} {difference(cells, setting, fresh, q)}" for q in SYMPTOMS]
    falls = [f"{q} {since_best(cells, setting, q)}" for q in ("accuracy", *SYMPTOMS)]
    return (
        f"{', '.join(nets)}; correlation of accuracy with {', '.join(rho)}; late, against the fresh network: "
        f"{', '.join(levels)}; since the best tasks: {', '.join(falls)}"
    )


def normalisation(cells: Cells) -> str:
    """Normalised networks: their own change, and against the un-normalised one late."""
    parts = [
        f"{MODELS[model]} {_normalised(cells, Setting(model, norm), shown)}"
        for model in tellable(cells)
        for norm, shown in (("batch", "BatchNorm"), ("layer", "LayerNorm"))
        if Setting(model, norm) in cells
    ]
    return _measured("last tasks less first, and normalised less un-normalised over the last tasks", parts, cells)


def _normalised(cells: Cells, setting: Setting, shown: str) -> str:
    against = [
        f"{name} {difference(cells, setting, Setting(setting.model), name)}"
        for name in ("accuracy", "dead", "duplicate", "rank/units")
    ]
    return (
        f"{shown}: accuracy {change(cells, setting, 'accuracy')} over the run; against none, late: {', '.join(against)}"
    )


def continual_backprop(cells: Cells) -> str:
    """Arms that replace units against plain training and against a fresh network every task, late."""
    parts = [
        f"{MODELS[model]} {shown}: {_repaired(cells, model, arm)}"
        for model in tellable(cells)
        for arm, shown in (("cbp", "continual backprop"), ("redo", "ReDo"))
        if Setting(model, arm=arm) in cells
    ]
    return _measured(
        "over the last tasks, less plain training, and less a fresh network every task; over the run: last tasks less "
        "first, less the same of a fresh network every task", parts, cells,
    )  # fmt: skip


def _repaired(cells: Cells, model: str, arm: str) -> str:
    setting, plain, fresh = Setting(model, arm=arm), Setting(model), Setting(model, arm="fresh")
    names = ("accuracy", "loss", "dead", "duplicate", "rank/units")
    against = [f"{name} {difference(cells, setting, plain, name)}" for name in names]
    behind = [f"{name} {difference(cells, setting, fresh, name)}" for name in ("accuracy", "loss", "dead")]
    late_accuracy = late(accuracy(cells[setting]))
    first = [_listed(collapse(cells, one)) for one in (setting, plain)]
    return (
        f"accuracy late {late_accuracy.mean():.3f} ± {late_accuracy.std():.3f} (seeds "
        f"{', '.join(f'{value:.2f}' for value in late_accuracy)}); less plain: {', '.join(against)}; less fresh: "
        f"{', '.join(behind)}; loss over the run {net_change(cells, setting, 'loss')}; first task with accuracy below "
        f"{HALF} (one more than all: none): {first[0]}, plain {first[1]}"
    )


class Fall(NamedTuple):
    """Per seed: the task at whose end the last hidden layer's effective rank is largest, the first task learnt to less
    than :data:`HALF` (one more than all: none), and the rank at the end of the last task before all are learnt to less
    than ``LEARNT``, over that of a fresh network (mean over its tasks)."""

    largest: np.ndarray
    collapse: np.ndarray
    rank: np.ndarray

    @property
    def lead(self) -> np.ndarray:
        """Tasks from the largest rank to the collapse."""
        return self.collapse - self.largest


def fall(cells: Cells, model: str) -> Fall:
    """How rank and accuracy fall, without normalisation."""
    setting, fresh = Setting(model), Setting(model, arm="fresh")
    rank, usual = (layers(cells[s], "effective_rank")[:, :, -1] for s in (setting, fresh))
    learnt = accuracy(cells[setting]) >= LEARNT
    last = learnt.shape[1] - 1 - learnt[:, ::-1].argmax(1)
    at_last = np.take_along_axis(rank, last[:, None], 1)[:, 0]
    return Fall(rank.argmax(1) + 1, collapse(cells, setting), at_last / usual.mean(1))


def compression(cells: Cells) -> str:
    """When the last hidden layer's rank begins to fall, when accuracy has fallen, and how low the rank is by then."""
    parts = []
    for model in tellable(cells):
        if not loses_plasticity(cells, model):
            continue
        found = fall(cells, model)
        usual = layers(cells[Setting(model, arm="fresh")], "effective_rank")[:, :, -1]
        parts.append(
            f"{MODELS[model]}: rank largest after task {_listed(found.largest)}, accuracy below {HALF} (one more than "
            f"all: never) from task {_listed(found.collapse)}, {found.lead.mean():.1f} ± {found.lead.std():.1f} tasks "
            f"later; at the last task learnt to {LEARNT:g} or more the rank is {found.rank.mean():.1f} ± "
            f"{found.rank.std():.1f} times that of a fresh network (which is {usual.mean():.1f}, with "
            f"{cells[Setting(model)].config['classes_per_task']} classes), smallest seed {found.rank.min():.1f}"
        )
    return _measured("effective rank of the last hidden layer at the end of a task, no normalisation", parts, cells)


def _listed(values: np.ndarray) -> str:
    return ", ".join(map(str, values))


def _measured(what: str, parts: list[str], cells: Cells) -> str:
    seeds = next(iter(cells.values())).seeds
    few = any(cells[Setting(model)].config["tasks"] < 2 * SPAN for model in models(cells))
    return (
        f"Measured on {'; '.join(_stream(cells, model) for model in models(cells))} (preset laptop, seeds "
        f"{min(seeds)}-{max(seeds)}, first and last {SPAN} tasks"
        f"{', of fewer than twice as many half' if few else ''}, mean ± standard deviation over seeds, seeds above 0; "
        f"Spearman over tasks), {what}: {'; '.join(parts)}."
    )


def _stream(cells: Cells, model: str) -> str:
    config = cells[Setting(model)].config
    return (
        f"{MODELS[model]}, {data_name(config)}, {config['tasks']} tasks of {config['steps']} steps"
        f"{precision_shown(config)}, fresh control {control(cells, model)}"
    )
