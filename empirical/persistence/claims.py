"""The claims about persistence: their statistics from saved records, as sentences. claims.toml holds the sentences; a
test computes them anew.
"""

from typing import get_args

import numpy as np

from empirical.persistence.options import Arithmetic, Setting
from empirical.persistence.records import Cells, bounds, distances, drift, exceeded, steps
from empirical.runs.saved import Group

RADIUS = 1e-3
"""A distance that counts as having left."""
CONTROLLED: tuple[Arithmetic, ...] = ("float64", "float32")


def persists(cells: Cells) -> str:
    """Copies, clones beside the manifold, and the control against the bound along the run."""
    copies = "; ".join(f"{a} {largest(distances(cells[Setting('copies', a)]))}" for a in get_args(Arithmetic))
    beside = "; ".join(f"{a} {_left(cells[Setting('beside', a)])}" for a in get_args(Arithmetic))
    control = ", ".join(f"{a} {_broken(cells[Setting('noise', a)])}" for a in CONTROLLED)
    held = [group for key, group in cells.items() if key.arm in ("redistributed", "beside")]
    over, runs = (sum(values) for values in zip(*[_counts(group) for group in held], strict=True))
    return _measured(
        cells,
        f"copies, largest distance at any time: {copies}; redistributed or beside the manifold: above the bound in "
        f"{over} of {runs} runs; beside it from {_start(cells):.0e}, seeds that came to {RADIUS:g}, the step of the "
        f"first against the least that the bound allows: {beside}; the control, copies under gradient noise: above the "
        f"bound in {control} runs",
    )


def rounding(cells: Cells) -> str:
    """What rounding does to clones that are no copies: drift, or more."""
    parts = []
    for arithmetic in get_args(Arithmetic):
        group = cells[Setting("redistributed", arithmetic)]
        found, summed = distances(group), drift(group)[:, -1]
        text = f"{arithmetic} {found[:, 0].max():.1e} to {found[:, -1].max():.1e}"
        if summed.any():
            ratio = amplified(group)
            text += f", rounding {summed.max():.1e}, amplified {ratio.min():.2g} to {ratio.max():.2g} times"
        parts.append(text)
    return _measured(
        cells,
        "clones that are no copies, distance at first to at the end (largest over seeds), rounding summed up over the "
        f"run (what drift alone can reach), and the end over that (over seeds): {'; '.join(parts)}",
    )


def amplified(group: Group) -> np.ndarray:
    """Per seed the distance at the end over the start's and rounding's sum: above 1 it has been amplified."""
    found = distances(group)
    return found[:, -1] / (found[:, 0] + drift(group)[:, -1])


def escapes(group: Group, radius: float = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Per seed, steps until the distance is at the radius: measured, and by the bound (``inf``: not in this run)."""
    return _first(distances(group), steps(group), radius), _first(bounds(group), steps(group), radius)


def _first(values: np.ndarray, at: np.ndarray, radius: float) -> np.ndarray:
    reached = values >= radius
    return np.where(reached.any(1), at[reached.argmax(1)], np.inf)


def _left(group: Group) -> str:
    measured, least = escapes(group)
    there = np.isfinite(measured)
    if not there.any():
        return f"0/{len(measured)}"
    first = int(measured.argmin())
    return f"{int(there.sum())}/{len(measured)}, {measured[first]:.0f} against {least[first]:.0f}"


def _counts(group: Group) -> tuple[int, int]:
    over = exceeded(group).any(1)
    return int(over.sum()), len(over)


def _broken(group: Group) -> str:
    return "{}/{}".format(*_counts(group))


def _start(cells: Cells) -> float:
    return float(cells[Setting("beside", "float64")].config["start"])


def largest(values: np.ndarray) -> str:
    """The largest value, as a reader wants it: exactly zero is 0."""
    return f"{values.max():.1e}" if values.any() else "0"


def _measured(cells: Cells, what: str) -> str:
    group = next(iter(cells.values()))
    config = group.config
    return (
        f"Measured on permuted glyphs (MLP of {config['width']} units a layer, {config['factor']} clones of each, "
        f"{config['tasks']} tasks of {config['classes_per_task']} classes, {config['steps']} steps of full-batch "
        f"gradient descent each, seeds {min(group.seeds)}-{max(group.seeds)}; distances over the norm of the weights), "
        f"{what}."
    )
