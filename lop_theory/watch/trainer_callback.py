"""The monitor inside the Trainer of Hugging Face."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from lop_theory.watch.monitor import Monitor

FILE = "plasticity.json"


class TrainerHooks:
    """What the Trainer calls; :func:`trainer_watch` makes a callback of it. ``monitor`` is there once training has
    begun."""

    def __init__(self, report: str | None, options: dict[str, Any]) -> None:
        self.report, self.options = report, options
        self.monitor: Monitor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        self.monitor = Monitor(model, **self.options)
        saved = _folder(args, state) / FILE
        if state.global_step and saved.is_file():
            self.monitor.load_state_dict(json.loads(saved.read_text(encoding="utf-8")))
        self.monitor.tell(lambda found: _log(state, found.numbers(), found.step))
        self.monitor.__enter__()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        folder = _folder(args, state)
        if self.monitor is not None and state.is_world_process_zero and folder.is_dir():
            self.monitor.try_write(folder / FILE, json.dumps(self.monitor.state_dict()))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if self.monitor is not None:
            self.monitor.close()
            if self.report is not None and state.is_world_process_zero:
                self.monitor.try_report(self.report)


def trainer_watch(*, report: str | None = None, **options: Any) -> Any:
    """A callback: ``Trainer(..., callbacks=[trainer_watch(every=500)])``. ``options`` are those of
    :class:`~lop_theory.watch.monitor.Monitor`, which is the callback's ``monitor`` once training has begun.

    Without ``example_input`` the inputs of the training pass at a logged step are used (with their labels, so that the
    loss is the model's own). Numbers go into the trainer's log history under ``plasticity/``; every checkpoint has
    ``plasticity.json``, from which a resumed run goes on. ``report``: a path for the page, written when training ends.
    """
    base = import_module("transformers").TrainerCallback
    return type("TrainerWatch", (TrainerHooks, base), {})(report, options)


def _folder(args: Any, state: Any) -> Path:
    """Of the checkpoint at the present step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _log(state: Any, numbers: dict[str, float], step: int) -> None:
    state.log_history.append({**{f"plasticity/{name}": value for name, value in numbers.items()}, "step": step})
