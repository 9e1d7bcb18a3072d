"""What a long command is doing, said on a terminal once it takes more than a second."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Timer

PATIENCE = 1.0  # seconds

Say = Callable[[str], None]


def silent(step: str) -> None:
    """Say nothing."""
    del step


@contextmanager
def spoken() -> Generator[Say]:
    """A function to name each step: steps after ``PATIENCE`` are printed to stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    began, current = time.monotonic(), ["reading"]

    def tell() -> None:
        print(f"{time.monotonic() - began:6.1f} s  {current[0]} ...", file=sys.stderr, flush=True)

    def say(step: str) -> None:
        current[0] = step
        if time.monotonic() - began > PATIENCE:
            tell()

    timer = Timer(PATIENCE, tell)
    timer.daemon = True
    timer.start()
    try:
        yield say
    finally:
        timer.cancel()
