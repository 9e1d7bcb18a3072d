"""Hypothesis profiles and the precision guard."""

import os

import pytest
from hypothesis import HealthCheck, settings

from lop_theory.balls import working_bits

settings.register_profile(
    "default", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def precision_is_restored():
    """Every function leaves the working precision as it found it."""
    before = working_bits()
    yield
    assert working_bits() == before
