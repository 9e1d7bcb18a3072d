"""The monitor in a loop of accelerate."""

from typing import Any

from lop_theory.watch.monitor import Monitor


def watch_accelerated(accelerator: Any, model: Any, example_input: Any = None, **options: Any) -> Monitor:
    """A monitor for a model that ``accelerator.prepare`` returned: it watches the model inside, its history is saved
    and loaded with ``accelerator.save_state`` and ``load_state``, its numbers go to the accelerator's trackers under
    ``plasticity/``. ``options`` are those of :class:`~lop_theory.watch.monitor.Monitor`.
    """
    monitor = Monitor(accelerator.unwrap_model(model), example_input, **options)
    accelerator.register_for_checkpointing(monitor)
    monitor.tell(
        lambda found: accelerator.log({f"plasticity/{n}": v for n, v in found.numbers().items()}, step=found.step)
    )
    return monitor
