"""Where records go: lines of JSON, Parquet, a live table, TensorBoard, Weights & Biases, MLflow. None can stop a run.

Trackers are extras (``pip install 'lop-theory[trackers]'``), Parquet and the table are in ``lop-theory[watch]``; each
is imported when its sink is made. A sink that fails is named once on standard error and left out from there on.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lop_theory.cli import writable, write_whole
from lop_theory.watch.record import Record


class Sink(Protocol):
    """Takes records."""

    def log(self, found: Record) -> None: ...
    def close(self) -> None: ...


class Guarded:
    """A sink whose errors are said once and then end it."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.broken = sink, False

    @staticmethod
    def of(sink: "Sink | str | Path") -> "Guarded":
        """A path becomes lines of JSON, one that ends with ``.parquet`` a Parquet file. Raises ``InvalidInput``."""
        if isinstance(sink, str | Path):
            return Guarded(Parquet(sink) if str(sink).endswith(".parquet") else JSONLines(sink))
        return Guarded(sink)

    def log(self, found: Record) -> None:
        self._do("log", found)

    def close(self) -> None:
        self._do("close")

    def _do(self, name: str, *arguments: Any) -> None:
        if self.broken:
            return
        try:
            getattr(self.sink, name)(*arguments)
        except Exception as error:
            self.broken = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"watch: {type(self.sink).__name__} is left out from here on ({reason})", file=sys.stderr)


class Listener:
    """A function that is called with every record."""

    def __init__(self, listener: Callable[[Record], None]) -> None:
        self._listener = listener

    def log(self, found: Record) -> None:
        self._listener(found)

    def close(self) -> None:
        """A function has nothing to close."""


class JSONLines:
    """One record a line (:meth:`~lop_theory.watch.record.Record.as_json`). What the file holds of this step and later
    ones, from a run that was interrupted, is dropped. Raises ``InvalidInput``."""

    def __init__(self, path: str | Path) -> None:
        self.path = writable("path", str(path))
        self._begun = False

    def log(self, found: Record) -> None:
        if not self._begun:
            kept = [line for line in lines_of(self.path) if line["step"] < found.step]
            write_whole(self.path, "".join(f"{json.dumps(line)}\n" for line in kept).encode())
            self._begun = True
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found.as_json()) + "\n")

    def close(self) -> None:
        """Every line was closed when it was written."""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The file's records; a last line that was cut off is no record."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class Parquet:
    """Columns ``step``, ``name`` (``layer/number`` or ``number``) and ``value``, in one file that is replaced whole.
    Earlier steps in it stay. Raises ``InvalidInput``."""

    def __init__(self, path: str | Path) -> None:
        import pyarrow  # noqa: F401  # pyright: ignore[reportUnusedImport]

        self.path = writable("path", str(path))
        self._rows: list[dict[str, Any]] | None = None

    def log(self, found: Record) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if self._rows is None:
            old = parquet.read_table(self.path).to_pylist() if self.path.is_file() else []
            self._rows = [row for row in old if row["step"] < found.step]
        self._rows += [{"step": found.step, "name": name, "value": value} for name, value in found.numbers().items()]
        schema = pa.schema([("step", pa.int64()), ("name", pa.string()), ("value", pa.float64())])
        buffer = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(self._rows, schema=schema), buffer)
        write_whole(self.path, buffer.getvalue().to_pybytes())

    def close(self) -> None:
        """The file is whole after every record."""


class TensorBoard:
    """Scalars in event files of a folder; what it holds of later steps is purged."""

    def __init__(self, folder: str | Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make: Any = SummaryWriter
        self._folder, self._writer = str(folder), None

    def log(self, found: Record) -> None:
        if self._writer is None:
            self._writer = self._make(self._folder, purge_step=found.step)
        for name, value in found.numbers().items():
            self._writer.add_scalar(name, value, found.step)
        if found.alarms:
            self._writer.add_text("alarms", "  \n".join(map(str, found.alarms)), found.step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WandB:
    """The numbers under ``plasticity/`` in a run of Weights & Biases: the given one, or the one that is active. They
    have a step of their own (``plasticity/step``), so that the run's own logging is not disturbed."""

    def __init__(self, run: Any = None) -> None:
        self._run = run if run is not None else _active_run()
        self._run.define_metric("plasticity/step")
        self._run.define_metric("plasticity/*", step_metric="plasticity/step")

    def log(self, found: Record) -> None:
        numbers = {f"plasticity/{name}": value for name, value in found.numbers().items()}
        self._run.log({**numbers, "plasticity/step": found.step})

    def close(self) -> None:
        """The run is the user's to finish."""


def _active_run() -> Any:
    wandb: Any = import_module("wandb")
    return wandb.run or wandb.init()


class MLflow:
    """Metrics of an MLflow run: that of ``run_id``, or the active one. ``log_metrics`` is ``mlflow.log_metrics``."""

    def __init__(self, run_id: str | None = None, log_metrics: Callable[..., Any] | None = None) -> None:
        self._id, self._log = run_id, log_metrics if log_metrics is not None else _mlflow_metrics()

    def log(self, found: Record) -> None:
        numbers = {_allowed(name): value for name, value in found.numbers().items()}
        self._log(numbers, step=found.step, run_id=self._id)

    def close(self) -> None:
        """The run is the user's to end."""


def _mlflow_metrics() -> Callable[..., Any]:
    return import_module("mlflow").log_metrics


def _allowed(name: str) -> str:
    """MLflow's names have letters, digits, ``_-./ :`` only."""
    return "".join(c if c.isalnum() or c in "_-./ :" else "_" for c in name)
