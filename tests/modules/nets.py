"""A model of any function between two linear layers, and how far a clone is from its base."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

X = torch.randn(16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    def __init__(self, function, width=4):
        super().__init__()
        self.function = function
        self.a, self.o = nn.Linear(5, width), nn.Linear(width, 3)

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


def tanh(s, x):
    return s.o(torch.tanh(s.a(x)))


def gap(clone, base, *args, **kwargs):
    return float((clone(*args, **kwargs) - base(*args, **kwargs)).detach().abs().max())
