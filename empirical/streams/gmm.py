"""Gaussian mixtures: two classes in few dimensions, both drawn anew in every task (experiments.md, streams and data).

Each class is a mixture of ``COMPONENTS`` equally likely Gaussians of deviation 0.3 about centres that are themselves
standard normal. A pure function of (seed, task, class, sample), to the last bit of the platform's logarithm and sine.
"""

import numpy as np

from empirical.compilation import compiled
from empirical.streams.counter import MIXTURES, below, key, uniform, word

CLASSES, COMPONENTS, DEVIATION = 2, 4, 0.3


@compiled()
def points(seed: int, task: int, labels: np.ndarray, samples: np.ndarray, dimension: int) -> np.ndarray:
    """(N, 1, 1, dimension) float32: sample number ``samples[k]`` of class ``labels[k]``."""
    task_key = word(key(seed, MIXTURES), task)
    out = np.empty((len(labels), 1, 1, dimension), np.float32)
    for k in range(len(labels)):
        class_key = word(task_key, labels[k])
        point_key = word(class_key, samples[k] + 1)
        centre = below(point_key, 2 * dimension, COMPONENTS) * dimension
        for i in range(dimension):
            out[k, 0, 0, i] = _normal(class_key, centre + i) + DEVIATION * _normal(point_key, i)
    return out


@compiled()
def _normal(stream_key: np.uint64, counter: int) -> float:
    """Standard normal, by Box and Muller."""
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(stream_key, 2 * counter)))
    return radius * np.cos(2.0 * np.pi * uniform(stream_key, 2 * counter + 1))
