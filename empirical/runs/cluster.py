"""A Ray cluster that the user names: Ray gives jobs to its machines and takes up again what dies there.

The machines share the folder of the records, so a job that is taken up elsewhere goes on from its checkpoints, and a
sweep can move between a cluster and local workers at any time. This is the only file that imports Ray.
"""

import time
import traceback
from collections.abc import Callable
from typing import Any

from empirical.runs.execution import Execution, available_device
from empirical.runs.local import lost, one_line
from empirical.runs.run import Job, Outcome, carry_out
from empirical.runs.view import View
from lop_theory.errors import InvalidInput

EVERY_SECONDS = 0.5
"""How often the view is brought up to date, and a worker says how far it is."""


class Steps:
    """An actor that knows how far every job is."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}

    def put(self, number: int, steps: int) -> None:
        self._steps[number] = steps

    def take(self) -> dict[int, int]:
        return self._steps


def carry_out_there(jobs: list[Job], execution: Execution, view: View) -> list[list[Outcome]]:
    """Every job, on the cluster. Raises ``InvalidInput`` if Ray or the cluster is not there."""
    ray = _ray()
    try:
        ray.init(address=execution.cluster, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InvalidInput(
            "cluster", execution.cluster, f"cannot be reached ({one_line(error)})", "start one: ray start --head"
        ) from None
    try:
        steps = ray.remote(Steps).options(num_cpus=0, max_restarts=-1).remote()
        task = ray.remote(_task).options(
            num_cpus=1,
            num_gpus=execution.gpus_per_run if execution.on_gpu else 0,
            max_retries=execution.retries,
            retry_exceptions=True,
        )
        handles = {task.remote(job, execution.device, number, steps): number for number, job in enumerate(jobs)}
        return _collect(ray, jobs, handles, steps, view)
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InvalidInput("cluster", "", "needs Ray", "install it: pip install 'lop-theory[cluster]'") from None
    return ray


def _task(job: Job, device: str, number: int, steps: Any) -> list[Outcome] | tuple[str, str, str, str]:
    """What a worker of the cluster does: as a local one, but it finds its own device."""
    import torch

    torch.set_num_threads(1)
    said = 0.0

    def report(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > EVERY_SECONDS:
            said = time.monotonic()
            steps.put.remote(number, done)

    try:
        return carry_out(job._replace(device=available_device(device)), report)
    except InvalidInput as error:  # no retry would help
        return error.parameter, str(error.value), error.requirement, error.remedy


def _collect(ray: Any, jobs: list[Job], handles: dict[Any, int], steps: Any, view: View) -> list[list[Outcome]]:
    outcomes: dict[int, list[Outcome]] = {}
    waiting = list(handles)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=EVERY_SECONDS)
        _show(ray, steps, view, outcomes)
        for handle in ready:
            number = handles[handle]
            outcomes[number] = _outcome(ray, jobs[number], handle, view.say)
            view.report(number, jobs[number].length)
            view.ended(number)
    return [outcomes[number] for number in range(len(jobs))]


def _show(ray: Any, steps: Any, view: View, ended: dict[int, list[Outcome]]) -> None:
    """Bring the view up to date, if the actor's machine is there."""
    try:
        known = ray.get(steps.take.remote(), timeout=EVERY_SECONDS)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        return
    for number, done in known.items():
        if number not in ended:
            view.report(number, done)


def _outcome(ray: Any, job: Job, handle: Any, say: Callable[[str], None]) -> list[Outcome]:
    """What the job brought, or why it came to no end although it was taken up again."""
    try:
        found = ray.get(handle)
    except ray.exceptions.RayTaskError as error:
        say(traceback.format_exc())
        return lost(job, one_line(error.cause))
    except ray.exceptions.RayError as error:
        return lost(job, f"its worker died ({type(error).__name__})")
    if isinstance(found, tuple):
        raise InvalidInput(*found)
    return found
