"""TensorBoard and Weights & Biases, on request: they see what is committed, and can never stop a run.

Both are an optional extra (``pip install 'lop-theory[trackers]'``); a run's record is complete without them.
"""

import importlib.util
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from empirical.runs.store import Row, identity, run_id
from lop_theory.errors import InvalidInput


class Tracker(Protocol):
    """Takes the numbers of one run."""

    def log(self, step: int, numbers: dict[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files of one run. What an interrupted run wrote after its last checkpoint is purged when it goes on."""

    def __init__(self, folder: str, config: Any, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        own = identity(config)
        self._writer = SummaryWriter(str(Path(folder) / own["experiment"] / run_id(own)), purge_step=step)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of a Weights & Biases project. Its id there is ours, so that it goes on after an interruption."""

    def __init__(self, project: str, folder: str, config: Any, _step: int) -> None:
        import wandb

        own = identity(config)
        quiet = wandb.Settings(silent=True, console="off")
        self._run = wandb.init(
            project=project, id=run_id(own), group=own["experiment"], config=own, dir=folder,
            resume="allow", reinit="create_new", settings=quiet,
        )  # fmt: skip

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self._run.log(numbers, step=step)

    def close(self) -> None:
        self._run.finish()


class Observer:
    """Opens a tracker for each run and shows it the run's rows. At its first error it is named and left out."""

    def __init__(self, begin: "partial[Tracker]") -> None:
        self._begin = begin
        self._runs: dict[Any, Tracker] = {}
        self._broken = False

    def __call__(self, config: Any, rows: list[Row] | None) -> None:
        """Rows that were committed; ``None`` at the end of the run."""
        if self._broken:
            return
        try:
            self._see(config, rows)
        except Exception as error:
            self._broken = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"{self._begin.func.__name__} is left out from here on ({reason})", file=sys.stderr)

    def _see(self, config: Any, rows: list[Row] | None) -> None:
        if rows is None:
            if config in self._runs:
                self._runs.pop(config).close()
            return
        for row in rows:
            if config not in self._runs:
                self._runs[config] = self._begin(config, row["step"])
            self._runs[config].log(row["step"], numbers(row))


def numbers(row: Row) -> dict[str, float]:
    """The row's numbers by name; those of a layer say which."""
    layer = row.get("layer", -1)
    prefix = f"layer {layer}/" if layer >= 0 else ""
    return {f"{prefix}{name}": value for name, value in row.items() if name not in ("step", "layer")}


def observers(tensorboard: str, wandb: str, root: Path) -> Iterator[Observer]:
    """Those that were asked for. Raises ``InvalidInput`` if a package is missing."""
    for name, value in (("tensorboard", tensorboard), ("wandb", wandb)):
        if value and importlib.util.find_spec(name) is None:
            raise InvalidInput(name, value, f"needs the package {name}", "pip install 'lop-theory[trackers]'")
    if tensorboard:
        yield Observer(partial(TensorBoard, tensorboard))
    if wandb:
        yield Observer(partial(WandB, wandb, str(root)))
