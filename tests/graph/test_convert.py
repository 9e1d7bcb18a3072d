"""Conversions keep the function: the DAG computes what the torch module computes, or the module is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import from_torch
from lop_theory.graph.passes import forward

SAME = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(0.25),
    nn.ELU(0.5),
    nn.CELU(2.0),
    nn.SELU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Softplus(),
    nn.Softplus(beta=3),
    nn.Sigmoid(),
    nn.LogSigmoid(),
    nn.Tanh(),
    nn.Hardtanh(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Softsign(),
    nn.Softshrink(0.25),
    nn.Hardshrink(0.25),
    nn.Tanhshrink(),
    nn.Identity(),
]


def linear(fan_in, fan_out):
    return nn.Linear(fan_in, fan_out, dtype=torch.float64)


@pytest.mark.parametrize("phi", SAME, ids=str)
def test_the_dag_computes_what_the_module_computes(phi):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), linear(3, 5), phi, linear(5, 4), phi, linear(4, 2), phi)
    x = 4 * torch.randn(20, 3, dtype=torch.float64)
    network = from_torch(model)
    h = forward(network, x.numpy().T).h[network.dag.outputs]
    assert np.allclose(h, model(x).detach().numpy().T, rtol=1e-8, atol=1e-8)


class Twice(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Reversed(nn.Sequential):
    def forward(self, input):
        return -super().forward(input)


class ReLU(nn.Module):
    def forward(self, input):
        return -input


REFUSED = [
    ([linear(2, 2), nn.Tanh(), nn.ReLU(), linear(2, 2)], "ReLU.*follows tanh"),
    ([linear(2, 2), nn.Tanh(), nn.Tanh()], "Tanh.*follows tanh"),
    ([nn.Tanh(), linear(2, 2)], "tanh.*before the first Linear"),
    ([linear(2, 2), nn.Hardtanh(-2, 1)], "Hardtanh.*min_val"),
    ([linear(2, 2), nn.Hardtanh(-1, 3)], "Hardtanh.*max_val"),
    ([linear(2, 2), nn.Softplus(threshold=1)], "Softplus.*threshold"),
    ([linear(2, 2), nn.PReLU()], "PReLU"),
    ([linear(2, 2), nn.Flatten(0)], "Flatten"),
    ([linear(2, 2), ReLU()], "ReLU"),
    ([Twice(2, 2)], "Twice"),
    ([linear(2, 2), nn.Tanh(), linear(2, 2), nn.ReLU(), linear(2, 2)], "relu.*tanh.*one kind"),
    ([linear(2, 2), linear(2, 2), nn.ReLU(), linear(2, 2)], "identity.*relu.*one kind"),
    ([nn.Tanh()], "Linear"),
    ([], "Linear"),
]


@pytest.mark.parametrize(("modules", "words"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_the_dag_would_not_compute_is_refused_by_name(modules, words):
    with pytest.raises(InvalidInput, match=words):
        from_torch(nn.Sequential(*modules))


def test_a_forward_of_its_own_is_refused():
    with pytest.raises(InvalidInput, match=r"Reversed.*forward"):
        from_torch(Reversed(linear(2, 2)))
