"""What a source of tasks is, and a task."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from empirical.training.options import DataOptions


class Task(NamedTuple):
    """Pictures (N, C, H, W), uint8 (Gaussian mixtures: float32), and labels (N,), int64 numbers of the source's
    classes, both in class order; the probe is balanced and disjoint from them."""

    images: np.ndarray
    labels: np.ndarray
    probe_images: np.ndarray
    probe_labels: np.ndarray
    classes: tuple[int, ...]


class Source(NamedTuple):
    """Where tasks come from: its name in captions, (C, H, W) of a picture, how many classes there are, and
    ``draw(options, seed, index, classes)``, which gives the pictures and labels of a task, unpermuted."""

    name: str
    image: tuple[int, int, int]
    classes: int
    draw: Callable[[DataOptions, int, int, tuple[int, ...]], Task]
