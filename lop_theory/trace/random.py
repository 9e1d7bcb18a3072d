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
                _seed(seed)
            if python is not None:
                random.seed(python)
                np.random.seed(python)
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _seed(seed: int) -> None:
    """Of what is in use. ``torch.manual_seed`` leaves a seed for devices that are initialised later, too, in place of
    the user's, and writes down the call stack for each kind of device: a tenth of the time of a trace."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    if torch.xpu.is_available():
        torch.xpu.manual_seed_all(seed)
