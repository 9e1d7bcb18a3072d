"""Random numbers start from a seed within, and go on as before afterwards."""

import random
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lop_theory.trace import random_state  # noqa: E402


def drawn():
    return float(torch.rand((), dtype=torch.float64)), random.random(), float(np.random.random())


def test_each_generator_starts_from_its_seed_or_goes_on():
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)
    with random_state():
        going_on = drawn()
    with random_state(5):
        seeded = drawn()
    with random_state(python=6):
        other = drawn()
    with pytest.raises(ZeroDivisionError), random_state(8, python=8):
        assert drawn()[0] / 0
    assert drawn() == going_on
    expected = float(torch.rand((), dtype=torch.float64, generator=torch.Generator().manual_seed(5)))
    assert seeded == (expected, *going_on[1:])
    assert other == (going_on[0], random.Random(6).random(), float(np.random.RandomState(6).random_sample()))


@pytest.mark.parametrize("used", [False, True])
def test_devices_are_left_alone_until_they_are_used(used, monkeypatch):
    seeded, kept = [], []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: seeded.append(("cuda", seed)))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: used)
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: seeded.append(("mps", seed)))
    monkeypatch.setattr(torch.xpu, "is_available", lambda: used)
    monkeypatch.setattr(torch.xpu, "manual_seed_all", lambda seed: seeded.append(("xpu", seed)))
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: kept.append([*devices]) or nullcontext())
    before = torch.get_rng_state()
    with random_state(7):
        pass
    torch.set_rng_state(before)
    assert kept == [[0, 1] if used else []]
    assert seeded == ([("cuda", 7), ("mps", 7), ("xpu", 7)] if used else [])
