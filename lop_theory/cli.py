"""What every command line of the project shares: one-line errors with exit code 2, and files that are written whole
or not at all.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lop_theory.errors import InvalidInput
from lop_theory.extras import remedy

OK, NOT_CERTIFIED, BAD_INPUT = 0, 1, 2


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with what ``main`` returns; ``InvalidInput`` is printed as one line and exits with 2.

    A terminal that cannot show a character gets its escape.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
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
    except OSError as error:
        print(f"error: {error.strerror or error}", file=sys.stderr)
        _drop_output()
        code = BAD_INPUT
    sys.exit(code)


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
