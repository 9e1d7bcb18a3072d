"""Originals from the network, into a temporary folder, checked and imported, and not kept."""

import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from empirical.data import cache, library
from empirical.data.catalogue import DataSet, data_set
from lop_theory.errors import InvalidInput

TIMEOUT = 30
Report = Callable[[str], None]


def fetch(name: str, place: str | None = None, report: Report = print, data: DataSet | None = None) -> Path:
    """Download a data set from its authors' host or a mirror, or from ``place`` (the address of a folder with the same
    files), and import it. Returns its folder. Raises ``InvalidInput``."""
    data = data or data_set(name)
    cache.folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.folder(), prefix=".fetch-") as folder:
        for file in data.files:
            _download(name, file, (place,) if place else data.places, Path(folder) / file, report)
        return library.add(name, Path(folder), data)


def _download(name: str, file: str, places: tuple[str, ...], target: Path, report: Report) -> None:
    """From the first place that has it."""
    problem = ""
    for place in places:
        address = place.rstrip("/") + "/" + file
        try:
            report(f"{address} …")
            with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, target.open("wb") as kept:
                shutil.copyfileobj(answer, kept, 1 << 20)
        except (OSError, ValueError, HTTPException) as error:
            problem = str(getattr(error, "reason", error))
        else:
            return
    raise InvalidInput(
        "place", places[-1], f"does not give {file} ({problem})", f"get it elsewhere, then: {import_line(name)}"
    )


def import_line(name: str) -> str:
    """The command that imports what the user has."""
    return f"python -m empirical data import {name} PATH"
