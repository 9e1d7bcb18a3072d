"""Real images as tasks: a random choice of each class's training images, held-out images as the probe.

Every task has equally many images of each class, at most what the source's smallest class has.
"""

from typing import NamedTuple

import numpy as np

from empirical.data import library
from empirical.data.catalogue import data_set
from empirical.data.formats import Split
from empirical.streams.counter import IMAGE_CHOICE, shuffled
from empirical.streams.source import Source, Task
from empirical.training.options import DataOptions

HELD_OUT = 1 << 30
"""Added to a class's number in the counter of the probe's choice."""


class Part(NamedTuple):
    """A split with the numbers of each class's images."""

    split: Split
    by_class: tuple[np.ndarray, ...]

    def chosen(self, counters: tuple[int, int, int], classes: tuple[int, ...], count: int) -> Split:
        """``count`` images of each class, in class order, chosen by (seed, task, offset)."""
        seed, index, offset = counters
        count = min(count, *(len(numbers) for numbers in self.by_class))
        picked = [
            self.by_class[c][shuffled(seed, IMAGE_CHOICE, index, offset + c, len(self.by_class[c]))[:count]]
            for c in classes
        ]
        numbers = np.concatenate(picked)
        return Split(np.asarray(self.split.images[numbers]), np.asarray(self.split.labels[numbers]))


def source(options: DataOptions, prefix: str) -> Source:
    """The source of a real data set. Raises ``InvalidInput`` if it is not on this machine."""
    data = data_set(options.source)
    train, test = (_indexed(split, data.classes) for split in library.opened(options.source, options.side))

    def draw(options: DataOptions, seed: int, index: int, classes: tuple[int, ...]) -> Task:
        training = train.chosen((seed, index, 0), classes, options.per_class)
        probe = test.chosen((seed, index, HELD_OUT), classes, options.probe_per_class)
        return Task(*training, *probe, classes)

    return Source(prefix + data.title, (data.image[0], options.side, options.side), data.classes, draw)


def _indexed(split: Split, classes: int) -> Part:
    return Part(split, tuple(np.flatnonzero(split.labels == c) for c in range(classes)))
