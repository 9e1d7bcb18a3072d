"""A time budget that holds inside C calls too: the work runs in a child process, and the parent waits for it.

A Python signal handler runs only between bytecodes, so it cannot interrupt a long C call; killing a process can. The
child announces its budget and, as it gets on, what is to be said if the time runs out.
"""

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

DEFAULT_SECONDS = 30.0
_GRACE = 0.2
_channel: list[int] = []
"""The writing end of the pipe to the parent, in a supervised child."""


def announce(seconds: float) -> None:
    """From now on the work has ``seconds`` left. A timer ends it soon after even if the parent is gone."""
    if _channel:
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)
    _send(f"s{seconds!r}")


def note(text: str) -> None:
    """What to print if the time runs out before the next note."""
    _send(f"n{text}")


def _send(message: str) -> None:
    if _channel:
        os.write(_channel[0], message.encode() + b"\0")


def supervised(work: Callable[[], int]) -> int:
    """The exit code of ``work``, run in a child; 1 after its last note is printed if its budget is spent.

    Where processes cannot fork the work runs here, without a budget.
    """
    if not hasattr(os, "fork"):
        return work()
    reading, writing = os.pipe()
    gc.freeze()  # so that a collection in the child copies no page of the parent
    child = os.fork()
    if child == 0:
        os.close(reading)
        _channel.append(writing)
        announce(DEFAULT_SECONDS)
        leave(work())
    os.close(writing)
    signal.signal(signal.SIGTERM, lambda *_: (os.kill(child, signal.SIGKILL), sys.exit(128 + signal.SIGTERM)))
    return _wait(child, reading)


def leave(code: int) -> NoReturn:
    """End this process at once: all is written, and taking the interpreter down costs as much as a small analysis."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _wait(child: int, reading: int) -> int:
    """Follow the child until it ends or its time is spent."""
    deadline, last, buffer = time.monotonic() + DEFAULT_SECONDS, "", b""
    while True:
        try:
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:  # the child is interrupted too: it has its say
            deadline = time.monotonic() + _GRACE
            continue
        if not ready:
            return _stop(child, last)
        received = os.read(reading, 65536)
        if not received:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256
        *messages, buffer = (buffer + received).split(b"\0")
        for message in messages:
            kind, text = message[:1], message[1:].decode()
            if kind == b"s":
                deadline = time.monotonic() + float(text)
            else:
                last = text


def _stop(child: int, last: str) -> int:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(last or "undecided     the time is spent (--seconds)")
    sys.stdout.flush()
    return 1
