"""The plasticity of your own run, as it happens, with a verdict: what is lost, whether it comes back, what helps.

    from lop_theory import watch
    with watch(model, example_input=x, loss=loss, every=500) as monitor:
        ...                                  # your loop; or monitor.step() after every optimiser step
    monitor.report("plasticity.html")

At a logged step the model runs on a probe, undisturbed; between them it has no hook. Every number is named by its
formula (:class:`~lop_theory.watch.record.LayerNumbers`, :class:`~lop_theory.watch.record.WholeNumbers`, the metric
dictionary), and an alarm says whether the loss is permanent (certified), reversible, useful or undecided.

Reading order: record (what is measured) → probe (on which data, without a trace) → pairs (the nearest clone manifold),
tangents (the tangent kernel), gain (one step's gain, curvature) → optimiser_facts, remedies → alarms → measurement (all
of it) → control (a fresh network) → steps (counting) → sinks, live_table → monitor → glossary, plots, page (report) →
lightning_callback, trainer_callback, accelerated (other people's loops).
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from lop_theory.watch.accelerated import watch_accelerated
    from lop_theory.watch.control import Control
    from lop_theory.watch.lightning_callback import lightning_watch
    from lop_theory.watch.live_table import LiveTable
    from lop_theory.watch.monitor import Monitor
    from lop_theory.watch.record import Alarm, LayerNumbers, Record, WholeNumbers
    from lop_theory.watch.sinks import JSONLines, MLflow, Parquet, Sink, TensorBoard, WandB
    from lop_theory.watch.trainer_callback import trainer_watch

__all__ = [
    "Alarm",
    "Control",
    "JSONLines",
    "LayerNumbers",
    "LiveTable",
    "MLflow",
    "Monitor",
    "Parquet",
    "Record",
    "Sink",
    "TensorBoard",
    "WandB",
    "WholeNumbers",
    "lightning_watch",
    "trainer_watch",
    "watch_accelerated",
]

_HOMES = {
    "accelerated": "watch_accelerated",
    "control": "Control",
    "lightning_callback": "lightning_watch",
    "live_table": "LiveTable",
    "monitor": "Monitor",
    "record": "Alarm LayerNumbers Record WholeNumbers",
    "sinks": "JSONLines MLflow Parquet Sink TensorBoard WandB",
    "trainer_callback": "trainer_watch",
}
__getattr__ = lazily(__name__, {name: home for home, names in _HOMES.items() for name in names.split()})


class _Callable(ModuleType):
    """``watch(model, …)`` is ``watch.Monitor(model, …)``."""

    def __call__(self, *args: Any, **options: Any) -> "Monitor":
        from lop_theory.watch.monitor import Monitor

        return Monitor(*args, **options)


sys.modules[__name__].__class__ = _Callable
