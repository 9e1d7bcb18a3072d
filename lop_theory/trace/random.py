"""Random numbers of PyTorch, Python and NumPy, put back as they were."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_state(seed: int | None = None, *, python: int | None = None) -> Generator[None]:
    """Within: PyTorch's generators start from ``seed``, Python's and NumPy's from ``python`` (``None``: go on as they
    are). Afterwards all are as before."""
    kept = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            if seed is not None:
                torch.manual_seed(seed)
            if python is not None:
                random.seed(python)
                np.random.seed(python)
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
