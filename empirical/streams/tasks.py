"""Tasks of continual classification: disjoint classes, fresh pixels, batches, all pure functions of (seed, task, step).

Classes are dealt out like cards: a shuffled deck, ``classes_per_task`` at a time, and a new shuffle when too few are
left. A permutation moves pixels, the same way for every picture and channel of a task.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from empirical.compilation import compiled
from empirical.data import library
from empirical.streams import glyphs, gmm, real, scenes
from empirical.streams.atlas import CLASSES as GLYPH_CLASSES
from empirical.streams.counter import BATCHES, CLASS_ORDER, PERMUTATION, shuffled
from empirical.streams.source import Source, Task
from empirical.training.options import DataOptions, check_data
from lop_theory.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

FIRST_PROBE = 1 << 30
"""Generated samples from this number on are held out."""
LARGEST_SIDE = 512


class Painted(NamedTuple):
    """How many classes of pictures there are, and ``pictures(seed, task, labels, samples, side, noise)``."""

    classes: int
    pictures: Callable[[int, int, np.ndarray, np.ndarray, int, float], np.ndarray]


PAINTED = {
    "glyphs": Painted(GLYPH_CLASSES, glyphs.pictures),
    "scenes": Painted(scenes.CLASSES, scenes.pictures),
}


def open_source(options: DataOptions) -> Source:
    """The source that options name. Raises ``InvalidInput`` if they are wrong or if real data are not here."""
    check_data(options)
    if options.side > LARGEST_SIDE:
        raise InvalidInput("side", options.side, f"must be at most {LARGEST_SIDE}")
    if options.source == "gmm":
        return Source("Gaussian mixtures", (1, 1, options.side), gmm.CLASSES, _draw_points)
    prefix = "permuted " if options.permuted else ""
    if options.source in PAINTED:
        suffix = f" with pixel noise {options.noise:g}" if options.noise else ""
        name, classes = f"{prefix}{options.source}{suffix}", PAINTED[options.source].classes
        return Source(name, (3, options.side, options.side), classes, _draw_pictures)
    return real.source(options, prefix)


def require_sources(options: Iterable[DataOptions]) -> None:
    """Raises ``InvalidInput`` for real data that are not on this machine: before anything is begun."""
    for name in dict.fromkeys(chosen.source for chosen in options):
        if name != "gmm" and name not in PAINTED:
            library.require(name)


def task(source: Source, options: DataOptions, seed: int, index: int, classes_per_task: int) -> Task:
    """Task number ``index`` of a seed. Raises ``InvalidInput`` if the source has fewer classes than a task needs."""
    drawn, order = unpermuted(source, options, seed, index, classes_per_task)
    if order is None:
        return drawn
    return drawn._replace(images=_permuted(drawn.images, order), probe_images=_permuted(drawn.probe_images, order))


def unpermuted(
    source: Source, options: DataOptions, seed: int, index: int, classes_per_task: int
) -> tuple[Task, np.ndarray | None]:
    """The task before its pixels are moved, and which pixel each pixel is to show, if they are."""
    drawn = source.draw(options, seed, index, task_classes(source, seed, index, classes_per_task))
    if not options.permuted or options.source == "gmm":
        return drawn, None
    return drawn, pixel_permutation(seed, index, source.image[1] * source.image[2])


def task_classes(source: Source, seed: int, index: int, count: int) -> tuple[int, ...]:
    """The classes of a task, ascending: disjoint from those of every other task of the same round of the deck."""
    if not 1 <= count <= source.classes:
        raise InvalidInput("classes_per_task", count, f"must lie in 1…{source.classes}, the classes of {source.name}")
    deck, place = divmod(index, source.classes // count)
    dealt = shuffled(seed, CLASS_ORDER, deck, 0, source.classes)[place * count : (place + 1) * count]
    return tuple(sorted(int(c) for c in dealt))


def pixel_permutation(seed: int, index: int, pixels: int) -> np.ndarray:
    """Which pixel of the unpermuted picture each pixel shows."""
    return shuffled(seed, PERMUTATION, index, 0, pixels)


def batch_indices(seed: int, index: int, step: int, batch: int, n: int) -> np.ndarray:
    """(batch,) int64 numbers of the pictures that ``step`` trains on, out of ``n``.

    Positions step·batch … of an endless row of shuffles of 0…n−1, a fresh one each epoch: every picture comes exactly
    once in each n positions, and a batch that reaches an epoch's end goes on in the next.
    """
    start = step * batch
    positions = np.arange(start, start + batch)
    epochs = [epoch_order(seed, index, epoch, n) for epoch in range(start // n, (start + batch - 1) // n + 1)]
    return np.concatenate(epochs)[positions - (start // n) * n]


@lru_cache(maxsize=64)
def epoch_order(seed: int, index: int, epoch: int, n: int) -> np.ndarray:
    """The order of one epoch."""
    order = shuffled(seed, BATCHES, index, epoch, n)
    order.setflags(write=False)
    return order


def as_bytes(images: np.ndarray, order: np.ndarray | None, device: str) -> "Tensor":
    """The pictures as they are drawn, on ``device``, their pixels moved there."""
    import torch

    moved = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    if order is None:
        return moved
    return moved.flatten(2).index_select(2, torch.from_numpy(order).to(device)).view(moved.shape)


def as_inputs(images: np.ndarray, device: str = "cpu") -> "Tensor":
    """float32 tensor on ``device``: bytes are mapped to x/127.5 − 1, in [−1, 1]; floats stay as they are."""
    import torch

    moved = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return moved.float().div_(127.5).sub_(1.0) if moved.dtype == torch.uint8 else moved.float()


def _draw_pictures(options: DataOptions, seed: int, index: int, classes: tuple[int, ...]) -> Task:
    pictures = PAINTED[options.source].pictures

    def drawn(labels: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return pictures(seed, index, labels, samples, options.side, options.noise)

    return _generated(drawn, options, classes)


def _draw_points(options: DataOptions, seed: int, index: int, classes: tuple[int, ...]) -> Task:
    def drawn(labels: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return gmm.points(seed, index, labels, samples, options.side)

    return _generated(drawn, options, classes)


def _generated(
    drawn: Callable[[np.ndarray, np.ndarray], np.ndarray], options: DataOptions, classes: tuple[int, ...]
) -> Task:
    labels, probe_labels = (np.repeat(classes, count) for count in (options.per_class, options.probe_per_class))
    samples, probe_samples = (np.tile(np.arange(k), len(classes)) for k in (options.per_class, options.probe_per_class))
    probe_images = drawn(probe_labels, FIRST_PROBE + probe_samples)
    return Task(drawn(labels, samples), labels, probe_images, probe_labels, classes)


def _permuted(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    out = np.empty(images.shape, images.dtype)
    _move_pixels(images.reshape(-1, order.size), order, out.reshape(-1, order.size))
    return out


@compiled(nogil=True)
def _move_pixels(images: np.ndarray, order: np.ndarray, out: np.ndarray) -> None:
    for k in range(len(images)):
        for i in range(order.size):
            out[k, i] = images[k, order[i]]
