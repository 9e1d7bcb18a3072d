"""What every command line of the project shares: one-line errors with exit code 2, faults of ours with 70, and files
that are written whole or not at all.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lop_theory.errors import InvalidInput
from lop_theory.extras import remedy

OK, NOT_CERTIFIED, BAD_INPUT, INTERNAL, INTERRUPTED = 0, 1, 2, 70, 130
T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are one line, and whose options take the next word as their value even if it
    begins with a minus (``--scale -1e-3``, ``--formula -x``).
    """

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        words = sys.argv[1:] if args is None else args
        return super().parse_args(self._joined(list(words)), namespace)

    def _joined(self, words: list[str]) -> list[str]:
        """The words with ``--option -value`` written as ``--option=-value``."""
        options = self._option_string_actions
        joined: list[str] = []
        for word in words:
            last = options.get(joined[-1]) if joined else None
            if last is not None and last.nargs is None and word.startswith("-") and word not in options:
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def run(main: Callable[[], int], *, budget: bool = False) -> NoReturn:
    """Exit with what ``main`` returns; ``InvalidInput`` is printed as one line and exits with 2. With ``budget`` the
    work has a limit of time (``budget.supervised``).

    A terminal that cannot show a character gets its escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if budget:
        from lop_theory.budget import leave, supervised

        leave(supervised(lambda: _guarded(main)))
    sys.exit(_guarded(main))


def _guarded(main: Callable[[], int]) -> int:
    """The exit code of ``main``, whatever it raises that a user can cause."""
    try:
        code = main()
        sys.stdout.flush()
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        code = BAD_INPUT
    except ModuleNotFoundError as error:
        install = remedy(error.name or "")
        if install is None:
            raise
        print(f"error: this command needs {error.name}; {install}", file=sys.stderr)
        code = BAD_INPUT
    except BrokenPipeError:
        _drop_output()
        code = OK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except OSError as error:
        print(f"error: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        code = BAD_INPUT
    return code


def answered(work: Callable[[], T], show: Callable[[T], int], *, verbose: bool) -> int:
    """The exit code of ``show(work())``; what ``work`` raises is one line, and a traceback if ``verbose``. A missing
    extra is raised on, for ``run`` to name."""
    with _quiet(wanted=not verbose):
        try:
            found = work()
        except Exception as error:
            if verbose:
                import traceback

                traceback.print_exc()
            if isinstance(error, ModuleNotFoundError) and remedy(error.name or "") is not None:
                raise
            return _told(error)
        return show(found)


def _told(error: Exception) -> int:
    """Bad input or a fault of ours, in one line."""
    if isinstance(error, InvalidInput):
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    text = " ".join(str(error).split())[:200]
    print(f"internal error: {type(error).__name__}: {text} (--verbose shows where)", file=sys.stderr)
    return INTERNAL


@contextmanager
def _quiet(*, wanted: bool) -> Generator[None]:
    """What frameworks say while they work is for --verbose."""
    if not wanted:
        yield
        return
    import logging
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def read_seconds(seconds: float) -> float:
    """A time budget in seconds. Raises ``InvalidInput`` unless it is positive and finite."""
    if not 0 < seconds < float("inf"):
        raise InvalidInput("seconds", seconds, "must be positive and finite", "30 is the default")
    return seconds


def _drop_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def writable(parameter: str, path: str) -> Path:
    """``path`` if a file can be written there, before any work is done. Raises ``InvalidInput``."""
    target = Path(path)
    try:
        problem = _unwritable(target)
    except OSError as error:
        problem = f"cannot be used ({error.strerror})", "choose another path"
    if problem is not None:
        raise InvalidInput(parameter, path, *problem)
    return target


def _unwritable(target: Path) -> tuple[str, str] | None:
    """What forbids writing the file, and the remedy."""
    if target.is_dir():
        return "is a directory", "give a file name"
    if target.exists() and not target.is_file():
        return "is not a regular file", "choose another path"
    if not target.parent.is_dir():
        return "is in a folder that does not exist", f"make {target.parent} first"
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        return "cannot be written", "choose another path"
    return None


def write_whole(target: Path, content: bytes) -> None:
    """Write the file by atomic replace. Raises ``InvalidInput`` if the disk refuses."""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInput(
            "file", str(target), f"cannot be written ({error.strerror})", "choose another path"
        ) from None
