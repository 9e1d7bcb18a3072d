"""Figure A.3 puts an activation where it belongs, and the floor that it draws holds there."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from lop_theory.activations.arrays import numpy_function
from lop_theory.activations.catalogue import CATALOGUE, activation
from paper_figs import fig_a3

GRID = np.linspace(-12, 12, 24_001)
FINE = np.linspace(-12, 12, 240_001)


def steps(name, at):
    return np.diff(numpy_function(activation(name).expr)(at))


def largest(name, at):
    return np.abs(steps(name, at)).max()


@pytest.mark.parametrize("name", CATALOGUE)
def test_continuous_monotone_activations_stand_on_the_left(name):
    change = steps(name, GRID)
    monotone = (change >= -1e-12).all() or (change <= 1e-12).all()
    continuous = largest(name, FINE) < 0.2 * largest(name, GRID)  # a jump does not shrink with the step
    assert (monotone and continuous and name != "identity") == (name in fig_a3.MONOTONE)


@pytest.mark.parametrize("name", fig_a3.MONOTONE)
def test_their_points_lie_above_the_floor(name, monkeypatch):
    monkeypatch.setattr(fig_a3, "BIASES", fig_a3.BIASES[::6])
    found = fig_a3.points(name)
    assert found
    for strength, frozen in found:
        assert frozen >= 1 - np.sqrt(1 - strength) / float(fig_a3.EPSILON) - 1e-12
