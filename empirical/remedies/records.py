"""Saved records of the comparison: which strength tuning chose, and what the chosen one did on fresh seeds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from empirical.remedies.options import CONTROLS, REMEDIES, REMEDIES_PRESETS, Name, Remedies, RemedyRun
from empirical.runs import saved
from empirical.runs.control import Control
from empirical.runs.saved import FOLDER, Group
from empirical.runs.store import Record
from lop_theory.errors import InvalidInput

LATE = 5
"""Tasks at the end of a run that are compared."""


class Cell(NamedTuple):
    """A remedy at the strength that was chosen, on the seeds that count."""

    strength: float
    group: Group


def chosen(options: Remedies, remedy: Name, tuned: Iterable[Record]) -> float:
    """The strength with the largest training accuracy, averaged over all tasks and tuning seeds, of those whose runs
    all came to their end. Raises ``InvalidInput`` if there is none."""
    tried = REMEDIES[remedy].tried
    if len(tried) == 1:
        return tried[0]
    found: dict[float, list[float]] = {strength: [] for strength in tried}
    for record in tuned:
        if record.config["remedy"] == remedy and record.manifest["status"] == "finished":
            found[record.config["strength"]].append(float(record.columns("accuracy")[0].mean()))
    whole = {s: np.mean(values) for s, values in found.items() if len(values) == len(set(options.tuning))}
    if not whole:
        raise InvalidInput("results", remedy, "has no strength whose tuning runs all ended", "run the command again")
    return max(whole, key=lambda s: whole[s])


def cells(preset: str = "laptop", root: Path = FOLDER) -> dict[Name, Cell]:
    """Every remedy of a preset that has been tuned and run whole. Raises ``InvalidInput`` naming the command that makes
    what is missing if a control is."""
    options, found = REMEDIES_PRESETS[preset], {}
    for name in options.remedies:
        tuning = options.tuned(name)
        if len(saved.complete("remedies", tuning, _of_all, root)) < len(tuning) and name not in CONTROLS:
            continue
        tuned = [record for group in _groups(tuning, preset, root) for record in group.records] if tuning else []
        strength = chosen(options, name, tuned)
        final = options.final(name, strength)
        if saved.complete("remedies", final, _of_all, root) or name in CONTROLS:
            (found[name],) = (Cell(strength, group) for group in _groups(final, preset, root))
    return found


def _of_all(_: RemedyRun) -> None:
    """The key of runs that count together."""


def _groups(runs: list[RemedyRun], preset: str, root: Path) -> list[Group]:
    return [*saved.groups("remedies", preset, runs, lambda run: run.strength, root).values()]


def accuracy(group: Group) -> np.ndarray:
    """Seeds × tasks: training accuracy, averaged over a task; how fast it is learnt."""
    return group.stacked("accuracy")[0]


def late(group: Group) -> np.ndarray:
    """Per seed, the accuracy of the last tasks."""
    return accuracy(group)[:, -LATE:].mean(1)


def control(found: Mapping[Name, Cell]) -> Control:
    """What fresh networks have learnt at the ends of their tasks."""
    return Control(found["fresh"].group.stacked("at_end")[0])


def early(group: Group) -> np.ndarray:
    """Per seed, the accuracy of the first tasks."""
    return accuracy(group)[:, :LATE].mean(1)


def share(found: Mapping[Name, Cell], name: Name) -> np.ndarray:
    """Per seed, (remedy − plain)/(fresh − plain) of the last tasks' accuracy: 0 is no better than plain training, 1 as
    fast as a fresh network. Raises ``InvalidInput`` where plain training has lost nothing."""
    own, plain, fresh = (late(found[each].group) for each in (name, "plain", "fresh"))
    if (fresh <= plain).any():
        raise InvalidInput("results", "remedies", "plain training loses nothing in some seed", "take a harder stream")
    return (own - plain) / (fresh - plain)


def cost(found: Mapping[Name, Cell], name: Name) -> float:
    """CPU time of a training step over that of plain training, medians over tasks and seeds."""
    own, plain = (float(np.median(found[each].group.stacked("cpu_milliseconds")[0])) for each in (name, "plain"))
    return own / plain
