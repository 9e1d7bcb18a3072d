"""Tasks drawn before they are asked for, by threads: the compiled drawing holds no lock, so they work side by side with
each other and with the training."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

DEPTH = 2
"""Tasks of every seed that are drawn ahead at most: that is how much memory they may take."""
Drawn = TypeVar("Drawn")


class Ahead(Generic[Drawn]):
    """``draw(seed, index)`` for the seeds of a group and task after task, ``count`` of them; without threads each is
    drawn when it is asked for."""

    def __init__(self, draw: Callable[[int, int], Drawn], seeds: list[int], count: int, threads: int) -> None:
        self._draw, self._seeds, self._count = draw, seeds, count
        self._pool = ThreadPoolExecutor(threads, "drawing") if threads else None
        self._waiting: dict[int, list[Future[Drawn]]] = {}

    def tasks(self, index: int) -> list[Drawn]:
        """Task number ``index`` of every seed; the drawing of the next ones begins. Raises what drawing raises."""
        if self._pool is None:
            return [self._draw(seed, index) for seed in self._seeds]
        self._waiting = {number: futures for number, futures in self._waiting.items() if number >= index}
        for number in range(index, max(index + 1, min(index + 1 + DEPTH, self._count))):
            if number not in self._waiting:
                self._waiting[number] = [self._pool.submit(self._draw, seed, number) for seed in self._seeds]
        return [future.result() for future in self._waiting.pop(index)]

    def close(self) -> None:
        """Draw no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
