"""The formats of the original files: IDX (MNIST) and CIFAR's binary records.

Each reader gives uint8 images (N, C, H, W) and int64 labels, and refuses files that are not of its format by name.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lop_theory.errors import InvalidInput

IDX_BYTES = b"\x00\x00\x08"
CIFAR_IMAGE = (3, 32, 32)


class Split(NamedTuple):
    """Images (N, C, H, W) uint8 and labels (N,) int64."""

    images: np.ndarray
    labels: np.ndarray


def idx(name: str, content: bytes) -> np.ndarray:
    """The array of an IDX file of bytes: 0, 0, 8, number of dimensions, sizes (big-endian), bytes."""
    dimensions = content[3] if len(content) > 3 else 0
    head = 4 + 4 * dimensions
    if content[:3] != IDX_BYTES or len(content) < head:
        raise InvalidInput("file", name, "is not an IDX file of bytes: wrong magic number")
    shape = tuple(int(size) for size in np.frombuffer(content[4:head], ">u4"))
    if int(np.prod(shape, dtype=object)) != len(content) - head:
        raise InvalidInput("file", name, f"must have {shape} bytes after its header, has {len(content) - head}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def idx_split(images: tuple[str, bytes], labels: tuple[str, bytes], classes: int) -> Split:
    """A split from (name, content) of its images' and its labels' file."""
    pictures, numbers = idx(*images), idx(*labels)
    if pictures.ndim != 3:
        raise InvalidInput("file", images[0], f"must hold images, has {pictures.ndim} dimensions")
    if numbers.shape != pictures.shape[:1]:
        raise InvalidInput("file", labels[0], f"must have {len(pictures)} labels, has shape {numbers.shape}")
    return Split(pictures[:, None], _labels(labels[0], numbers, classes))


def cifar_split(files: Sequence[tuple[str, bytes]], label_bytes: int, classes: int) -> Split:
    """A split from (name, content) of files of records: ``label_bytes`` labels, of which the last is used, and the
    3072 bytes of a 3×32×32 image."""
    record = label_bytes + 3072
    parts = []
    for name, content in files:
        if len(content) % record or not content:
            raise InvalidInput("file", name, f"must have a multiple of {record} bytes, has {len(content)}")
        rows = np.frombuffer(content, np.uint8).reshape(-1, record)
        parts.append(Split(rows[:, label_bytes:], _labels(name, rows[:, label_bytes - 1], classes)))
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Split(images.reshape(-1, *CIFAR_IMAGE), labels)


def _labels(name: str, numbers: np.ndarray, classes: int) -> np.ndarray:
    if numbers.size and int(numbers.max()) >= classes:
        raise InvalidInput("file", name, f"must have labels under {classes}, has {int(numbers.max())}")
    return numbers.astype(np.int64)
