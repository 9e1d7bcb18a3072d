"""Hypothesis profiles, the precision guard, and how often garbage is looked for."""

import gc
import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from lop_theory.balls import working_bits

settings.register_profile(
    "default", max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=10_000)
settings.register_profile(  # for verdicts on mutants: fewer examples, and a failing one is as good as the smallest
    "mutants", settings.get_profile("default"), max_examples=25, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
gc.set_threshold(20_000, 50, 50)  # traces are many small objects: looking every 700 took 7 % of the CPU of two files


@pytest.fixture(autouse=True)
def precision_is_restored():
    """Every function leaves the working precision as it found it."""
    before = working_bits()
    yield
    assert working_bits() == before


@pytest.fixture
def one_thread():
    """PyTorch with one thread: the matrices are tiny."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
