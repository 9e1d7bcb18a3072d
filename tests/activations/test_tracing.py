"""Python callables as formulas: every elementwise activation of torch.nn, NumPy, SciPy, lambdas; refusals by name."""

import math

import numpy as np
import pytest
from scipy import special

from lop_theory.activations.catalogue import activation
from lop_theory.activations.tracing import as_activation, trace
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import analyse

torch = pytest.importorskip("torch")
F = torch.nn.functional
POINTS = torch.linspace(-6, 6, 241, dtype=torch.float64)
NOT_ELEMENTWISE = {"GLU", "MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
ARGUMENTS = {"Threshold": (0.5, -1.0), "MultiheadAttention": (4, 2)}


@pytest.mark.parametrize("name", torch.nn.modules.activation.__all__)
def test_every_activation_class_of_torch(name):
    """Elementwise ones give the same function; those that mix units are refused."""
    module = getattr(torch.nn, name)(*ARGUMENTS.get(name, ())).double().eval()
    if name in NOT_ELEMENTWISE:
        with pytest.raises(InvalidInput):
            trace(module)
        return
    found = trace(module)
    np.testing.assert_allclose(found.torch()(POINTS).numpy(), module(POINTS).detach().numpy(), atol=3e-9)


@pytest.mark.parametrize(
    "function",
    [
        F.mish,
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
        lambda x: torch.where(x > 0, x, torch.expm1(x)),
        lambda x: x.clamp(min=0) + x.pow(2) - torch.tensor(0.5) * x.abs(),
        torch.nn.Sequential(torch.nn.Tanh(), torch.nn.GELU()),
        lambda x: x * (x > 0) + 2 ** (-x.square()),
        lambda x: F.leaky_relu(x, negative_slope=0.2) + F.softplus(x, beta=2.0),
        lambda x: torch.special.expit(x) * torch.nn.functional.hardtanh(x, -2.0, 2.0),
        lambda x: (x > 0).to(x.dtype) * x if isinstance(x, torch.Tensor) else (x > 0) * x,
    ],
)
def test_torch_callables(function):
    np.testing.assert_allclose(trace(function).torch()(POINTS).numpy(), function(POINTS).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        np.tanh,
        np.arctan,
        special.expit,
        special.ndtr,
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.clip(x, -1, 1) + np.maximum(x, 0) ** 2,
        lambda x: np.float64(2) * x + np.exp(-(x**2)) - np.logaddexp(0, x),
        lambda x: x * special.erf(x / np.sqrt(2)),
        lambda x: np.heaviside(x, 0.5) * np.log1p(x**2),
        lambda x: np.where((x > -1) & (x < 1), x, np.sign(x)),
    ],
)
def test_numpy_callables(function):
    x = np.array([-3.7, -1.2, -0.31, 0.27, 0.8, 1.4, 2.6])
    np.testing.assert_allclose(trace(function).numpy()(x), function(x), rtol=1e-12)


def test_a_known_function_is_recognised():
    assert trace(torch.nn.GELU()) == activation("gelu")
    assert trace(torch.tanh).label == "tanh"
    assert as_activation("gelu").label == "gelu"
    assert as_activation("gelu(x)").expr == activation("gelu").expr


def test_analyse_takes_what_people_have():
    expected = analyse(activation("gelu")).kern.strength
    for given in ("gelu", torch.nn.GELU(), F.gelu, lambda x: 0.5 * x * (1 + special.erf(x / np.sqrt(2)))):
        assert analyse(given).kern.strength.overlaps(expected) or abs(analyse(given).kern.strength - expected) < 1e-15


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda x: F.softmax(x, -1), "softmax"),
        (lambda x: x.mean(), "mean"),
        (lambda x: x if x > 0 else 0, "where"),
        (lambda x: max(x, 0), "where"),
        (math.tanh, "one number"),
        (torch.nn.Linear(3, 3), "several numbers"),
        (torch.nn.Dropout(), "dropout"),
        (torch.nn.RReLU(), "training"),
        (np.cumsum, "cumsum"),
        (np.add.reduce, "mixes units"),
        (lambda x: np.matmul(x, x), "matmul"),
        (lambda _: "text", "str"),
        (lambda x: x * math.inf, "inf"),
        (lambda x, y: x + y, "cannot be traced"),
        (lambda x: x**1000, "limited"),
        (lambda x: x.__class__(x).data, "data"),
        (lambda x: np.where(x, 1, 2), "condition"),
        (lambda x: x == 1, "single point"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(function, word):
    with pytest.raises(InvalidInput) as caught:
        trace(function)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_repeated_doubling_does_not_explode():
    def doubled(x):
        for _ in range(60):
            x = x * torch.sigmoid(x)
        return x

    with pytest.raises(InvalidInput, match="operations"):
        trace(doubled)


def test_precisions_are_passed_over_and_switches_are_numbers():
    plain = activation("silu")
    assert trace(lambda x: x.double().contiguous() * torch.sigmoid(x.float())).expr == plain.expr
    assert trace(lambda x: x.to(torch.float16) * torch.sigmoid(x.type_as(x))).expr == plain.expr
    assert trace(lambda x: x * np.True_).expr == activation("identity").expr
    assert as_activation(plain) is plain
