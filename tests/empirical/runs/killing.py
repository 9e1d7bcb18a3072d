"""Kill -9 of a process in the middle of a job."""

import multiprocessing
import signal
import time
from collections.abc import Callable

from empirical.runs.live import LIVE
from empirical.runs.run import Job, carry_out


def tell(step: int) -> None:
    """A report that any process can be given: ``print`` itself may be another by the time it is pickled."""
    print(step)


def killed_after(job: Job, seconds: float, report: Callable[[int], None] = tell) -> bool:
    """Carry the job out in a process of its own and kill it so long after its databases are there; whether that was
    before its end."""
    nursery = multiprocessing.get_context("forkserver")  # its processes need not import PyTorch anew
    nursery.set_forkserver_preload(["torch", "tests.empirical.runs.tiny", "empirical.bitflip.simulation"])
    child = nursery.Process(target=carry_out, args=(job, report))
    child.start()
    while child.is_alive() and len(list(job.root.glob(f"{job.experiment.name}/*/{LIVE}"))) < len(job.configs):
        time.sleep(0.001)
    time.sleep(seconds)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL
