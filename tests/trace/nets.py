"""A model of any function, with a normalisation and a buffer; a function with a wrong backward of its own."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.default_generator.manual_seed(0)
        self.function = function
        self.a, self.norm, self.o = nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.register_buffer("count", torch.zeros(()))
        self.double()

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)


class Lie(torch.autograd.Function):
    @staticmethod
    def forward(_, h):
        return torch.tanh(h)

    @staticmethod
    def backward(_, g):
        return 2 * g


def buffers_in_a_chain(s, x):
    s.count += 1
    s.count *= 2
    return s.o(s.norm(s.a(x))) * s.count
