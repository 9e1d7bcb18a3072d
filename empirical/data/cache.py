"""Arrays in the user's cache folder: written atomically, checked by SHA-256 when opened, memory-mapped.

The folder is ``$XDG_CACHE_HOME/lop-theory`` (``~/.cache/lop-theory``). An array is a ``.npy`` file with its digest
beside it; one that does not match its digest counts as absent, so it is made again and never used.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

import numpy as np


def folder() -> Path:
    """Where arrays are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "lop-theory"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """A file to write that takes the place of ``path`` when the block ends, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        draft = Path(file.name)
        try:
            yield file
            file.flush()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def save(path: Path, array: np.ndarray) -> None:
    """Keep an array. Its digest is written last: until then the array counts as absent."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        found = digest(Path(file.name))
    with replacing(_digest_path(path)) as file:
        file.write(found.encode())


def load(path: Path) -> np.ndarray | None:
    """The array, read-only and memory-mapped; None if it is absent or not what was saved."""
    try:
        if digest(path) != _digest_path(path).read_text(encoding="utf-8"):
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def made_once(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array at ``path``, made and kept if it is not there; a folder that cannot be written costs time only."""
    found = load(path)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):
            save(path, found)
    return found


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
