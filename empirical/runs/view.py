"""The live view: a bar for everything and one for each job under way."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from empirical.runs.run import Job

MOST_BARS = 16
"""Jobs shown by themselves: what fits on a screen."""


class View:
    """Steps done of every job; a context manager."""

    def __init__(self, jobs: list[Job], console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._jobs = jobs
        self._bars: dict[int, TaskID] = {}
        self._steps = dict.fromkeys(range(len(jobs)), 0)
        runs = sum(len(job.configs) for job in jobs)
        names = " and ".join(dict.fromkeys(job.experiment.name for job in jobs)) or "nothing"
        self._all = self._progress.add_task(f"{names}, {runs} runs", total=sum(job.length for job in jobs))

    def __enter__(self) -> "View":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def report(self, number: int, steps: int) -> None:
        """Job ``number`` has done so many steps."""
        self._progress.advance(self._all, steps - self._steps[number])
        self._steps[number] = steps
        if number not in self._bars and steps < self._jobs[number].length and len(self._bars) < MOST_BARS:
            job = self._jobs[number]
            more = f" and {len(job.configs) - 1} seeds more" if len(job.configs) > 1 else ""
            self._bars[number] = self._progress.add_task(
                f"  {job.experiment.label(job.configs[0])}{more}", total=job.length
            )
        if number in self._bars:
            self._progress.update(self._bars[number], completed=steps)

    def ended(self, number: int) -> None:
        """The job needs no bar any more."""
        if number in self._bars:
            self._progress.remove_task(self._bars.pop(number))

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._progress.console.print(line, highlight=False, markup=False)
