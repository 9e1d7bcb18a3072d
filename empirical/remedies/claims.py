"""The empirical claim about remedies: its statistics from saved records, as numbers and as a sentence.

Cohen's d is the mean over seeds of (remedy − plain) in the last tasks' accuracy over its standard deviation (n − 1).
"""

from collections.abc import Mapping

import numpy as np

from empirical.remedies.options import CONTROLS, REMEDIES, REMEDIES_PRESETS, Name
from empirical.remedies.records import LATE, Cell, cost, early, late, share

Cells = Mapping[Name, Cell]


def compared(cells: Cells) -> list[Name]:
    """The remedies that were run whole, those that bring most first."""
    return sorted((name for name in cells if name not in CONTROLS), key=lambda name: -share(cells, name).mean())


def effect(cells: Cells, name: Name) -> float:
    """Cohen's d of the last tasks' accuracy against plain training."""
    gain = late(cells[name].group) - late(cells["plain"].group)
    return float(gain.mean() / gain.std(ddof=1))


def comparison(cells: Cells) -> str:
    """Every remedy: strength, accuracy of the last tasks, share of what a fresh network is ahead, effect, cost."""
    config, options = cells["plain"].group.config, REMEDIES_PRESETS["laptop"]
    parts = "; ".join(_part(cells, name) for name in compared(cells))
    plain, fresh = (_spread(late(cells[name].group)) for name in CONTROLS)
    return (
        f"Measured on permuted glyphs with pixel noise {config['data']['noise']:g} (MLP {config['network']['depth']} × "
        f"{config['network']['width']}, Adam with step size {config['step_size']:g}, {config['tasks']} tasks of "
        f"{config['steps']} steps, strengths chosen on seeds {_range(options.tuning)}, measured on seeds "
        f"{_range(cells['plain'].group.seeds)}, the last {LATE} tasks, mean ± standard deviation over seeds), training "
        f"accuracy averaged over a task: plain {plain}, fresh network every task {fresh}; share of that difference, "
        f"Cohen's d against plain, CPU time of a step over plain: {parts}."
    )


def _part(cells: Cells, name: Name) -> str:
    remedy, strength = REMEDIES[name], cells[name].strength
    how = f" ({remedy.strength} {strength:g})" if len(remedy.tried) > 1 else ""
    gain = share(cells, name)
    up = int((gain > 0).sum())
    return (
        f"{remedy.words}{how}: accuracy {_spread(late(cells[name].group))}, share {_spread(gain)} ({up}/{len(gain)} "
        f"up), d {effect(cells, name):.1f}, cost × {cost(cells, name):.1f}"
    )


def laziness(cells: Cells) -> str:
    """Lazy against plain training: the first tasks, the last ones, and the change between within a seed."""
    changed = {name: change(cells, name) for name in ("plain", "lazy", "fresh")}
    ahead = late(cells["lazy"].group) - late(cells["plain"].group)
    return (
        f"Measured on the stream of the remedies (seeds {_range(cells['plain'].group.seeds)}), training accuracy "
        f"averaged over a task: first {LATE} tasks plain {_spread(early(cells['plain'].group))}, lazy (α "
        f"{cells['lazy'].strength:g}) {_spread(early(cells['lazy'].group))}; last {LATE} less first: plain "
        f"{_spread(changed['plain'])}, lazy {_spread(changed['lazy'])} ({int((changed['lazy'] < 0).sum())}/"
        f"{len(ahead)} down), fresh network every task {_spread(changed['fresh'])}; last {LATE}, lazy less plain "
        f"{_spread(ahead)} (d {effect(cells, 'lazy'):.1f}, {int((ahead > 0).sum())}/{len(ahead)} up)."
    )


def change(cells: Cells, name: Name) -> np.ndarray:
    """Per seed, the last tasks less the first."""
    return late(cells[name].group) - early(cells[name].group)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def _range(seeds: tuple[int, ...]) -> str:
    return f"{min(seeds)}-{max(seeds)}"
