"""Tiny ImageNet's archive: folders of JPEG files, decoded by Pillow, grey images made RGB.

Classes are numbered by the alphabet of their WordNet ids. The test images have no labels: the validation images are
held out instead.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from empirical.data.archives import check_zip, readable
from empirical.data.formats import Split
from lop_theory.errors import InvalidInput

TOP, IMAGE = "tiny-imagenet-200/", (3, 64, 64)
Labelled = Sequence[tuple[str, str]]
"""(file, WordNet id) of images."""


def tiny_imagenet_splits(path: Path, classes: int) -> tuple[Split, Split]:
    """Training and validation images and labels. Raises ``InvalidInput`` with the name of what is wrong."""
    with readable(path), zipfile.ZipFile(path) as archive:
        check_zip(path, archive)
        ids = sorted(set(_read(archive, "wnids.txt").decode().split()))
        if len(ids) != classes:
            raise InvalidInput("file", "wnids.txt", f"must list {classes} classes, has {len(ids)}")
        numbers = {wordnet_id: k for k, wordnet_id in enumerate(ids)}
        return _decoded(archive, _training(archive), numbers), _decoded(archive, _validation(archive), numbers)


def _training(archive: zipfile.ZipFile) -> Labelled:
    inside = (name.removeprefix(TOP) for name in sorted(archive.namelist()))
    return [(name, name.split("/")[1]) for name in inside if name.startswith("train/") and name.endswith(".JPEG")]


def _validation(archive: zipfile.ZipFile) -> Labelled:
    """From lines ``FILE ID x y w h``."""
    fields = (line.split() for line in _read(archive, "val/val_annotations.txt").decode().splitlines())
    return [(f"val/images/{file}", wordnet_id) for file, wordnet_id, *_ in (f for f in fields if len(f) > 1)]


def _decoded(archive: zipfile.ZipFile, labelled: Labelled, numbers: dict[str, int]) -> Split:
    images = np.empty((len(labelled), *IMAGE), np.uint8)
    labels = np.empty(len(labelled), np.int64)
    for k, (name, wordnet_id) in enumerate(labelled):
        if wordnet_id not in numbers:
            raise InvalidInput("file", name, f"is of class {wordnet_id}, which wnids.txt does not list")
        images[k], labels[k] = _picture(name, _read(archive, name)), numbers[wordnet_id]
    return Split(images, labels)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(TOP + name)
    except KeyError:
        raise InvalidInput("path", str(archive.filename), f"has no {TOP}{name}", "give the original archive") from None


def _picture(name: str, content: bytes) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
            pixels = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError) as error:
        raise InvalidInput("file", name, f"is not a whole JPEG image ({error})") from None
    if pixels.shape != IMAGE:
        raise InvalidInput("file", name, f"must be an image of {IMAGE[1]}×{IMAGE[2]}, is {pixels.shape[1:]}")
    return pixels
