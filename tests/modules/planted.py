"""Networks with planted clones, and what a detection says of a layer."""

import torch
from torch import nn

ROWS = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def layer(detection, module):
    return next(x for x in detection.layers if x.module == module)


def tanh_network(*, tied=False, scaled=False):
    """Two hidden units equal on all data; ``tied``: their readers' weights are equal, too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        if tied:
            model[2].weight[:, 1] = model[2].weight[:, 0]
        if scaled:
            model[2].weight[:, 1] *= 1.02
    return model


def kinds(detection, module):
    return {block.kind: block for block in layer(detection, module).verdicts}
