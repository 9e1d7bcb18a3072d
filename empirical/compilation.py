"""``@compiled``: Numba's ``njit`` with a cache that no edit can make stale.

Numba's own cache looks only at the file that defines a function, so a change in a function it calls would go unseen.
This one lives in a folder named by the digest of all sources of streams/ and bitflip/, where all compiled
code is.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import config, njit

HERE = Path(__file__).parent
PACKAGES = ("streams", "bitflip")
"""Where compiled functions are, and all that they use."""


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Where compiled code is kept. If it cannot be written, Numba falls back on a folder of the user's."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in HERE.glob(f"{package}/*.py")):
        digest.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return HERE / "__pycache__" / f"numba-{digest.hexdigest()[:16]}"


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: compile without the Python interpreter, cached; ``options`` are those of ``numba.njit``."""

    def decorate(function: Callable[..., Any]) -> Any:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(cache_folder())
        try:
            return njit(cache=True, **options)(function)
        finally:
            config.CACHE_DIR = before

    return decorate
