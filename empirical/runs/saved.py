"""Saved records of an experiment's preset, by configuration, seeds stacked: what figures and claims read."""

from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from empirical.runs.store import Record, id_of, records, require_intact
from lop_theory.errors import InvalidInput

Key = TypeVar("Key", bound=Hashable)
Options = TypeVar("Options")
_EMPIRICAL = Path(__file__).parents[1]
_CHECKOUT, _SHIPPED = _EMPIRICAL.parent / "results", _EMPIRICAL / "_shipped" / "results"
FOLDER = _SHIPPED if _SHIPPED.is_dir() else _CHECKOUT
"""The committed records: the checkout's, or the copy that an installed package carries."""


class Chosen(NamedTuple):
    """Whose records are read: those of a preset, under a folder, of runs in a precision, and of pictures other than the
    preset's if named. ``cells(*chosen)`` of an experiment's records reads them."""

    preset: str = "laptop"
    root: Path = FOLDER
    precision: str = "fp32"
    source: str | None = None

    @property
    def shown(self) -> str:
        """As the command line has it, after ``--preset``."""
        precision = f" --precision {self.precision}" if self.precision != "fp32" else ""
        return f"{self.preset}{precision}{f' --source {self.source}' if self.source else ''}"

    def options(self, presets: Mapping[str, Options]) -> Options:
        """The preset's options, so changed. Nothing is carried out: TF32 records are read without a GPU. Raises
        ``InvalidInput`` for an unknown preset."""
        if self.preset not in presets:
            raise InvalidInput("preset", self.preset, "is unknown", f"one of: {', '.join(presets)}")
        own: Any = presets[self.preset]
        there = replace(own.execution, device="cuda" if self.precision == "tf32" else own.execution.device)
        return replace(own, precision=self.precision, source=self.source or own.source, execution=there)


CHOOSING = ("continual", "cloning", "escape")
"""The experiments whose records can be so chosen; the others have one precision, or compare several."""
COMMITTED = Chosen()
"""What is committed: fp32."""
NETWORK = -1
"""The layer of rows about the whole network."""


class Group(NamedTuple):
    """Runs that differ in the seed only, in the order of ``seeds``."""

    seeds: tuple[int, ...]
    records: tuple[Record, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that they share (with the first seed)."""
        return self.records[0].config

    def stacked(self, *names: str, **where: float) -> tuple[np.ndarray, ...]:
        """Per column seeds × rows, of the rows in which the columns of ``where`` have the given values.

        Raises ``InvalidInput`` if the records have different numbers of such rows.
        """
        found = [_rows(record, names, where) for record in self.records]
        lengths = {rows.shape[1] for rows in found}
        if len(lengths) > 1:
            folders = ", ".join(record.folder.name for record in self.records)
            raise InvalidInput("results", folders, f"have different numbers of rows {sorted(lengths)}", "run them anew")
        return tuple(np.stack(column) for column in zip(*found, strict=True))


def _rows(record: Record, names: tuple[str, ...], where: dict[str, float]) -> np.ndarray:
    """Names × rows."""
    values = np.array(record.columns(*names, *where))
    chosen = np.all(values[len(names) :] == np.array([*where.values()])[:, None], axis=0)
    return values[: len(names), chosen]


def groups(
    experiment: str, preset: str, runs: Iterable[Any], key: Callable[[Any], Key], root: Path = FOLDER
) -> dict[Key, Group]:
    """The finished records of ``runs`` (what the preset's options give), grouped by ``key(run)``, in the order of the
    runs.

    Raises ``InvalidInput`` naming the command that makes what is missing, or the record that is damaged or another's:
    no figure is drawn from what no claim is.
    """
    wanted = {id_of(run): run for run in runs}
    kept = _kept(experiment, wanted, root)
    missing = [name for name in wanted if name not in kept]
    failed = [name for name, record in kept.items() if record.manifest["status"] != "finished"]
    if missing or failed:
        also = f" ({len(failed)} failed: {kept[failed[0]].manifest['cause']})" if failed else ""
        raise InvalidInput(
            "results",
            str(root / experiment),
            f"lacks {len(missing) + len(failed)} of the {len(wanted)} runs of the preset {preset}{also}",
            f"run: python -m empirical {experiment} --preset {preset} --out {root}",
        )
    require_intact(kept.values())
    found: dict[Key, list[Record]] = defaultdict(list)
    for name, run in wanted.items():
        found[key(run)].append(kept[name])
    return {k: group_of(own) for k, own in found.items()}


def _kept(experiment: str, wanted: Container[str], root: Path) -> dict[str, Record]:
    return {r.manifest["id"]: r for r in records(root / experiment, wanted) if r.manifest["id"] in wanted}


def complete(experiment: str, runs: Iterable[Any], key: Callable[[Any], Hashable], root: Path = FOLDER) -> list[Any]:
    """Those of ``runs`` all of whose group (runs of equal ``key``) have finished records."""
    every = list(runs)
    kept = _kept(experiment, {id_of(run) for run in every}, root)
    done = {name for name, record in kept.items() if record.manifest["status"] == "finished"}
    lacking = {key(run) for run in every if id_of(run) not in done}
    return [run for run in every if key(run) not in lacking]


def group_of(found: Iterable[Record]) -> Group:
    """Records of one configuration, in the order of their seeds."""
    ordered = sorted(found, key=lambda record: record.manifest["seed"])
    return Group(tuple(record.manifest["seed"] for record in ordered), tuple(ordered))
