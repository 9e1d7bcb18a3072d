"""The catalogue: counterparts in PyTorch, kinks, parity, ranges, limits."""

import numpy as np
import pytest

from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput

INF = float("inf")


@pytest.mark.parametrize("name", [n for n, e in CATALOGUE.items() if e.torch])
def test_equals_the_pytorch_counterpart(name):
    torch = pytest.importorskip("torch")
    target, _, argument = CATALOGUE[name].torch.partition("(")
    options = {"approximate": "tanh"} if argument else {}
    found = getattr(torch.nn, target, None)
    reference = found(**options) if found else getattr(torch, target)
    x = torch.linspace(-7, 7, 281, dtype=torch.float64)
    expected = reference(x).numpy()
    np.testing.assert_allclose(activation(name).numpy()(x.numpy()), expected, atol=2e-9)
    np.testing.assert_allclose(activation(name).torch()(x).numpy(), expected, atol=2e-9)


@pytest.mark.parametrize("name", CATALOGUE)
def test_derivative_matches_autograd(name):
    torch = pytest.importorskip("torch")
    act = activation(name)
    x = torch.tensor([-3.7, -1.2, -0.41, 0.13, 0.77, 2.9], dtype=torch.float64, requires_grad=True)
    value = act.torch()(x).sum()
    gradient = torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros_like(x)
    np.testing.assert_allclose(act.derivative_numpy()(x.detach().numpy()), gradient.numpy(), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "kinks", "jumps", "parity"),
    [
        ("relu", [0], [], "mixed"),
        ("hardtanh", [-1, 1], [], "odd"),
        ("hardshrink", [fmpq(-1, 2), fmpq(1, 2)], [fmpq(-1, 2), fmpq(1, 2)], "odd"),
        ("sign", [0], [0], "odd"),
        ("step", [0], [0], "odd"),
        ("sigmoid", [], [], "odd"),
        ("abs", [0], [], "even"),
        ("gelu", [], [], "mixed"),
        ("gaussian", [], [], "even"),
    ],
)
def test_structure(name, kinks, jumps, parity):
    act = activation(name)
    assert (list(act.kinks()), list(act.jumps()), act.parity()) == (kinks, jumps, parity)


@pytest.mark.parametrize("name", CATALOGUE)
def test_declared_parity_is_seen_in_values(name):
    act = activation(name)
    x = np.array([0.3, 0.9, 1.7, 4.2])
    right, left = act.numpy()(x), act.numpy()(-x)
    if act.parity() == "even":
        np.testing.assert_allclose(left, right, atol=1e-12)
    elif act.parity() == "odd":
        assert np.ptp(left + right) < 1e-12
    else:
        assert np.ptp(left + right) > 1e-6
        assert np.abs(left - right).max() > 1e-6


@pytest.mark.parametrize("name", CATALOGUE)
def test_range_encloses_samples(name):
    act = activation(name)
    for lo, hi in [(fmpq(-2), fmpq(1)), (fmpq(1, 2), fmpq(5)), (-INF, fmpq(3)), (-INF, INF)]:
        low, high = act.range_on(lo, hi)
        ends = [float(-30 if lo == -INF else int(lo.p) / int(lo.q)), float(30 if hi == INF else int(hi.p) / int(hi.q))]
        values = act.numpy()(np.linspace(*ends, 501))
        assert low <= values.min() + 1e-12
        assert values.max() - 1e-12 <= high


def test_ranges_of_bounded_activations_are_tight():
    assert activation("tanh").range_on(-INF, INF) == (-1.0, 1.0)
    assert activation("relu6").range_on(-INF, INF) == (0.0, 6.0)
    assert activation("relu").range_on(fmpq(-3), fmpq(-1)) == (0.0, 0.0)


def test_range_at_a_point_that_no_double_holds():
    low, high = activation("relu").range_on(fmpq(1, 3), fmpq(1, 3))
    assert low <= 1 / 3 <= high
    assert high - low < 1e-15
    assert activation("hardsigmoid", scale="3").range_on(fmpq(-1, 3), fmpq(1, 3)) == pytest.approx((1 / 3, 2 / 3))
    assert activation("relu", bias="-1/3").range_on(fmpq(1, 3), INF) == (0.0, INF)


def test_flat_regions():
    assert activation("relu").flat_regions() == ((-INF, 0),)
    assert activation("relu6").flat_regions() == ((-INF, 0), (6, INF))
    assert activation("tanh").flat_regions() == ()
    assert activation("relu", scale="2", bias="1").flat_regions() == ((-INF, fmpq(-1, 2)),)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("tanh", np.pi / 2),
        ("sigmoid", np.pi),
        ("silu", np.pi),
        ("mish", 3 * np.pi / 4),
        ("gelu", INF),
        ("sin", INF),
        ("arctan", 1),
    ],
)
def test_strip_of_analyticity(name, width):
    act = activation(name)
    assert act.strip() == pytest.approx(width)
    assert activation(name, scale="2").strip() == pytest.approx(width / 2)


@pytest.mark.parametrize("name", ["relu", "softsign", "gelu_tanh"])
def test_no_strip_is_claimed(name):
    assert activation(name).strip() is None


def test_limits():
    import sympy as sp

    assert activation("tanh").limits() == (-1, 1)
    assert activation("relu").limits() == (0, sp.oo)
    assert activation("elu").limits() == (-1, sp.oo)


def test_scale_and_bias_modulate():
    x = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(
        activation("silu", scale="3", bias="-0.5").numpy()(x), activation("silu").numpy()(3 * x - 0.5)
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: activation("rleu"), ["rleu", "did you mean 'relu'"]),
        (lambda: activation("relu", slope=1), ["slope", "not a parameter of relu"]),
        (lambda: activation("leaky_relu", slope="abc"), ["slope", "finite number"]),
        (lambda: activation("elu", alpha="-1"), ["alpha", "positive"]),
        (lambda: activation("hermite", k="99"), ["k", "1 to 40"]),
        (lambda: activation("tanh", scale="inf"), ["scale", "finite number"]),
        (lambda: activation("tanh", scale="nan"), ["scale", "finite number"]),
        (lambda: activation("tanh", scale="0"), ["scale", "constant"]),
        (lambda: activation("tanh", bias="1e999"), ["bias", "size between"]),
        (lambda: from_formula("x +* 2"), ["column"]),
    ],
)
def test_bad_input_is_one_line_that_names_the_offence(call, words):
    with pytest.raises(InvalidInput) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words)
