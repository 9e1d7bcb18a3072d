"""A network of rows and one of images, their units, and steps that move nothing."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.optim import find_units  # noqa: E402


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def images(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(27, 2),
    ).double()


ROWS = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FOUND = {}


def found(model):
    """Traced once for each architecture."""
    key = str(model)
    if key not in FOUND:
        FOUND[key] = find_units(model, ROWS if isinstance(model[0], nn.Linear) else IMAGES)
    return FOUND[key]


def still(model):
    """An optimiser that does not move the model."""
    return torch.optim.SGD(model.parameters(), lr=0.0)


def step(model, optimiser, x):
    optimiser.zero_grad()
    (model(x) ** 2).mean().backward()
    optimiser.step()
    return getattr(optimiser, "replaced", None)
