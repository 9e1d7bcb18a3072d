"""Small networks with a planted loss of plasticity, and a loop that trains them."""

from itertools import pairwise

import torch
from torch import nn

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(1))


def losses(output):
    """One a sample."""
    return nn.functional.cross_entropy(output, Y, reduction="none")


def mlp(*, activation=nn.ReLU, width=12, dtype=torch.float32):
    torch.manual_seed(0)
    sizes = (6, width, width, 3)
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1]).to(dtype)


@torch.no_grad()
def clone(model, i=0, j=1):
    """Units i and j of the first layer become clones of each other, on BC."""
    model[0].weight[j], model[0].bias[j] = model[0].weight[i], model[0].bias[i]
    model[2].weight[:, j] = model[2].weight[:, i]
    return model


@torch.no_grad()
def freeze(model, unit=3):
    """A unit of the second layer that intervals certify: weights ≤ 0 on inputs ≥ 0, bias < 0."""
    model[2].weight[unit] = -model[2].weight[unit].abs()
    model[2].bias[unit] = -0.5
    return model


@torch.no_grad()
def silence(model, unit=4):
    """A unit of the first layer that is off on all data, uncertified: inputs have no bounds."""
    model[0].bias[unit] = -4.0
    return model


def train(model, optimiser, steps=1, after=lambda: None):
    for _ in range(steps):
        optimiser.zero_grad()
        losses(model(X)).mean().backward()
        optimiser.step()
        after()
