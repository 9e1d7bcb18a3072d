"""Processes of this machine. One that dies, whatever kills it, is noticed and replaced, and its job goes on from the
checkpoints.

Each process has a pipe of its own: a queue that several share would stay locked if its holder were killed.
"""

import multiprocessing
import os
import signal
import traceback
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from empirical.runs.run import Job, Outcome, carry_out
from empirical.runs.view import View
from lop_theory.errors import InvalidInput


class Worker(NamedTuple):
    """A process, our end of its pipe, and the number of its job."""

    process: BaseProcess
    pipe: Connection
    number: int


def carry_out_here(jobs: list[Job], workers: int, retries: int, view: View) -> list[list[Outcome]]:
    """Every job, in this process if there is one worker, else ``workers`` at a time in processes of their own.

    One thread a process: results must not depend on how many there are, and runs are what is parallel.
    """
    if min(workers, len(jobs)) > 1:
        return _Pool(jobs, retries, view).run(workers)
    import torch

    torch.set_num_threads(1)
    return [_in_this_process(job, number, retries, view) for number, job in enumerate(jobs)]


def lost(job: Job, problem: str) -> list[Outcome]:
    """The outcomes of a job that came to no end."""
    return [Outcome(config, None, problem=problem) for config in job.configs]


def one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _in_this_process(job: Job, number: int, retries: int, view: View) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for _ in range(retries + 1):
        try:
            outcomes = carry_out(job, lambda steps: view.report(number, steps))
            break
        except InvalidInput:
            raise
        except Exception as error:
            view.say(traceback.format_exc())
            outcomes = lost(job, one_line(error))
    view.ended(number)
    return outcomes


class _Pool:
    """Jobs, and the workers that have them. A job fails if its worker dies or says that it raised an error; it is
    taken up again ``retries`` times."""

    def __init__(self, jobs: list[Job], retries: int, view: View) -> None:
        self.jobs, self.retries, self.view = jobs, retries, view
        self.waiting = deque(range(len(jobs)))
        self.failures = [0] * len(jobs)
        self.outcomes: dict[int, list[Outcome]] = {}
        self.workers: dict[Connection, Worker] = {}

    def run(self, workers: int) -> list[list[Outcome]]:
        try:
            for _ in range(min(workers, len(self.jobs))):
                self._start()
            while self.workers:
                for pipe in wait(list(self.workers)):
                    self._hear(self.workers[pipe])  # type: ignore[index]
        finally:
            for worker in self.workers.values():
                worker.process.terminate()
            for worker in self.workers.values():
                worker.process.join()
        return [self.outcomes[number] for number in range(len(self.jobs))]

    def _start(self) -> None:
        """A new process, for the next job."""
        if not self.waiting:
            return
        context = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads and CUDA's state
        pipe, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._give(process, pipe)

    def _give(self, process: BaseProcess, pipe: Connection) -> None:
        """The next job to a worker without one; if there is none it is sent home."""
        number = self.waiting.popleft() if self.waiting else None
        with suppress(OSError):  # it died meanwhile: if it has a job, this is heard of at once
            pipe.send(None if number is None else self.jobs[number])
        if number is None:
            process.join()
        else:
            self.workers[pipe] = Worker(process, pipe, number)

    def _hear(self, worker: Worker) -> None:
        """What the worker says: how far it is, what went wrong, how its job ended, or nothing any more."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            kind, value = "died", None
        if kind == "steps":
            self.view.report(worker.number, value)
            return
        if kind == "said":
            self.view.say(value)
            return
        if kind == "invalid":
            raise InvalidInput(*value)
        del self.workers[worker.pipe]
        if kind == "died":
            worker.process.join()
            self._failed(worker.number, f"its worker died ({_how(worker.process.exitcode or 0)})")
            self._start()
            return
        if kind == "done":
            self.outcomes[worker.number] = value
            self.view.ended(worker.number)
        else:
            self._failed(worker.number, value)
        self._give(worker.process, worker.pipe)

    def _failed(self, number: int, problem: str) -> None:
        self.failures[number] += 1
        job = self.jobs[number]
        if self.failures[number] <= self.retries:
            self.view.say(f"taken up again: {job.experiment.label(job.configs[0])}: {problem}")
            self.waiting.appendleft(number)
        else:
            self.outcomes[number] = lost(job, problem)
            self.view.ended(number)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def work(pipe: Connection) -> None:
    """A worker's life: jobs from the pipe until ``None``, or until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # for PyTorch, which comes with the first job
    try:
        while (job := pipe.recv()) is not None:
            pipe.send(_outcome(job, pipe))
    except (EOFError, BrokenPipeError):
        return


def _outcome(job: Job, pipe: Connection) -> tuple[str, object]:
    try:
        return "done", carry_out(job, lambda steps: pipe.send(("steps", steps)))
    except InvalidInput as error:
        return "invalid", (error.parameter, str(error.value), error.requirement, error.remedy)
    except BrokenPipeError:
        raise
    except Exception as error:
        pipe.send(("said", traceback.format_exc()))
        return "error", one_line(error)
