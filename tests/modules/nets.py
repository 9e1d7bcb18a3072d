"""A model of any function between two linear layers, how far a clone is from its base, and steps of training."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def restored(model: nn.Module) -> Iterator[nn.Module]:
    """Afterwards its values and its mode are as they were: tests may share one model, whose traces are kept."""
    before, training = copy.deepcopy(model.state_dict()), model.training
    try:
        yield model
    finally:
        model.load_state_dict(before)
        model.train(training).zero_grad()


class Several(nn.Module):
    """Real and complex outputs, whole numbers, a buffer, a parameter used twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 5)
        self.b.weight = nn.Parameter(self.a.weight.detach().T.contiguous())
        self.register_buffer("scale", torch.full((4,), 2.0))

    def forward(self, x):
        h = torch.tanh(self.a(x)) * self.scale
        y = self.b(h)
        return {"y": y, "places": y.argmax(-1), "z": torch.complex(h, -h)}


class Asked(nn.Module):
    """Asks for its width in Python: no operator and no value of its own has it."""

    def __init__(self):
        super().__init__()
        self.needed, self.linear = 4, nn.Linear(4, 3)

    def forward(self, h):
        if h.shape[-1] != self.needed:
            raise ValueError
        return self.linear(h)
