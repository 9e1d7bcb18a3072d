"""The real data on this machine: imported once from the originals, kept decoded, opened memory-mapped.

A data set is a folder of the cache with four arrays, each checked by its digest when opened, and a manifest. The folder
appears whole, by one rename, after everything in it has been checked.
"""

import json
import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from empirical.data import cache
from empirical.data.catalogue import DataSet, data_set
from empirical.data.formats import Split
from empirical.data.resize import resized
from lop_theory.errors import InvalidInput

PARTS = ("train", "test")
MANIFEST = "manifest.json"


class Opened(NamedTuple):
    """Training and held-out split, at the side asked for."""

    train: Split
    test: Split


def home(name: str) -> Path:
    """The folder of a data set."""
    return cache.folder() / "data" / name


def add(name: str, path: Path, data: DataSet | None = None) -> Path:
    """Import a data set from its originals, over an older import. Returns its folder. Raises ``InvalidInput``."""
    data = data or data_set(name)
    if not path.exists():
        raise InvalidInput("path", str(path), "does not exist")
    splits = data.read(data, path)
    for part, split, count in zip(PARTS, splits, data.counts, strict=True):
        _check_split(f"{name} {part}", split, count, data)
    return _keep(name, splits, data)


def _check_split(what: str, split: Split, count: int, data: DataSet) -> None:
    if split.images.shape != (count, *data.image):
        raise InvalidInput("images", what, f"must be {(count, *data.image)}, are {split.images.shape}")
    if set(np.unique(split.labels)) != set(range(data.classes)):
        raise InvalidInput("labels", what, f"must show every class from 0 to {data.classes - 1}")


def _keep(name: str, splits: tuple[Split, Split], data: DataSet) -> Path:
    target = home(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{name}-"))
    try:
        for part, split in zip(PARTS, splits, strict=True):
            cache.save(draft / f"{part}_images.npy", split.images)
            cache.save(draft / f"{part}_labels.npy", split.labels)
        manifest = {
            "title": data.title,
            "imported": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": {file: payload.sha256 for file, payload in data.payloads.items()},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def present(name: str) -> bool:
    """Whether a data set has been imported (its digests are checked when it is opened)."""
    return (home(name) / MANIFEST).is_file()


def require(name: str) -> None:
    """Raises ``InvalidInput`` if the data set is not on this machine."""
    if not present(name):
        raise InvalidInput("source", name, "is not on this machine", remedy(name))


def opened(name: str, side: int) -> Opened:
    """The data set with images of ``side``×``side``: kept at that size after the first time, made by exact area means
    (``streams.resize``). Raises ``InvalidInput`` if it is not here or damaged."""
    return Opened(*(_opened_part(name, part, side) for part in PARTS))


def _opened_part(name: str, part: str, side: int) -> Split:
    labels = _required(name, f"{part}_labels.npy")
    sized = home(name) / f"{part}_images-{side}.npy"
    if (images := cache.load(sized)) is None:
        original = _required(name, f"{part}_images.npy")
        if original.shape[-2:] == (side, side):
            return Split(original, labels)
        images = resized(original, side)
        with suppress(OSError):
            cache.save(sized, images)
    return Split(images, labels)


def _required(name: str, file: str) -> np.ndarray:
    array = cache.load(home(name) / file)
    if array is None:
        require(name)
        raise InvalidInput("source", name, f"is damaged in the cache ({file})", remedy(name))
    return array


def remedy(name: str) -> str:
    """How to get a data set."""
    return f"run: python -m empirical data fetch {name}, or: python -m empirical data import {name} PATH"
