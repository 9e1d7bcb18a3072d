"""A model of any function between two linear layers, how far a clone is from its base, and steps of training."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.zoo.plain import Function  # noqa: E402

X = torch.randn(16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Model(Function):
    def __init__(self, function, width=4):
        super().__init__(function, a=nn.Linear(5, width), o=nn.Linear(width, 3))


def tanh(s, x):
    return s.o(torch.tanh(s.a(x)))


def gap(clone, base, *args, **kwargs):
    return float((clone(*args, **kwargs) - base(*args, **kwargs)).detach().abs().max())


def stepped(model, optimizer, steps, x=X, target=0.0):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        optimizer.step()
