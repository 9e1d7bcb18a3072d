"""The engine's activations are the catalogue's."""

import numpy as np
import pytest
import torch

from empirical.bitflip import units
from lop_theory.activations.catalogue import CATALOGUE

PLACES = np.linspace(-6, 6, 1001)


@pytest.mark.parametrize("name", units.ACTIVATIONS)
def test_value_slope_and_gain(name: str) -> None:
    z = torch.tensor(PLACES, requires_grad=True)
    module = getattr(torch.nn, CATALOGUE[name].torch)()
    value = module(z)
    value.sum().backward()
    h, slope, code = np.empty_like(PLACES), np.empty_like(PLACES), units.ACTIVATIONS.index(name)
    units.activate(code, PLACES, h)
    units.derivative(code, PLACES, h, slope)
    np.testing.assert_allclose(h, value.detach().numpy(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(slope, z.grad.numpy(), rtol=1e-11, atol=1e-14)
    torch_name = "relu" if name == "elu" else name
    assert units.GAINS[name] == pytest.approx(torch.nn.init.calculate_gain(torch_name, units.SLOPE), rel=1e-12)


def test_relu_keeps_nan() -> None:
    h = np.empty(2)
    units.activate(0, np.array([np.nan, -1.0]), h)
    assert np.isnan(h[0])
    assert h[1] == 0.0
