"""The monitor inside Lightning's trainer."""

from importlib import import_module
from typing import Any

from lop_theory.watch.monitor import Monitor


class LightningHooks:
    """What Lightning's trainer calls; :func:`lightning_watch` makes a callback of it. ``monitor`` is there once
    training has begun."""

    def __init__(self, submodule: str, report: str | None, options: dict[str, Any]) -> None:
        self.submodule, self.report, self.options = submodule, report, options
        self.monitor: Monitor | None = None
        self._saved: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.monitor = Monitor(pl_module.get_submodule(self.submodule), **self.options)
        if self._saved:
            self.monitor.load_state_dict(self._saved)
        self.monitor.tell(lambda found: _log(trainer.loggers, found.numbers(), found.step))
        self.monitor.__enter__()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self.monitor is not None:
            self.monitor.close()
            if self.report is not None and trainer.is_global_zero:
                self.monitor.try_report(self.report)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict


def lightning_watch(*, submodule: str = "", report: str | None = None, **options: Any) -> Any:
    """A callback: ``Trainer(callbacks=[lightning_watch(example_input=x, every=500)])``. ``options`` are those of
    :class:`~lop_theory.watch.monitor.Monitor`, which is the callback's ``monitor`` once training has begun.

    ``submodule`` names the part of the module to watch (default: all of it). Without ``example_input`` the inputs of
    the training pass at a logged step are used, if that part is called in it. Numbers also go to the trainer's loggers,
    under ``plasticity/``; the history is in the trainer's checkpoints. ``report``: a path for the page, written when
    training ends.
    """
    base = import_module("lightning.pytorch").Callback
    return type("LightningWatch", (LightningHooks, base), {})(submodule, report, options)


def _log(loggers: list[Any], numbers: dict[str, float], step: int) -> None:
    for logger in loggers:
        logger.log_metrics({f"plasticity/{name}": value for name, value in numbers.items()}, step)
