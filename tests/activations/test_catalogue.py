"""The catalogue: counterparts in PyTorch, kinks, parity, ranges, limits, labels."""

import numpy as np
import pytest

from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula, from_label, rational
from lop_theory.balls import arb, fmpq
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


KINKED = [name for name in CATALOGUE if activation(name).kinks()]
WITH_COUNTERPART = [name for name in KINKED if CATALOGUE[name].torch] + ["step", "relu_squared"]
FORMULAS = {  # left branch at the kink
    "relu(x) - 2*relu(-x)": 2.0,
    "max(0, x)": 0.0,
    "abs(x)": -1.0,
    "exp(min(x, 0))": 1.0,
}


def torch_slope(function, points):
    torch = pytest.importorskip("torch")
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    value = function(x).sum()
    return torch.autograd.grad(value, x)[0].numpy() if value.requires_grad else np.zeros(len(points))


def points_of(act):
    return [float(k.p) / float(k.q) for k in act.kinks()]


@pytest.mark.parametrize("name", WITH_COUNTERPART)
@pytest.mark.parametrize("parameter", [None, "0.3", "2"])
def test_slopes_at_kinks_are_those_of_pytorch(name, parameter):
    torch = pytest.importorskip("torch")
    entry = CATALOGUE[name]
    given = {key: parameter for key in entry.defaults} if parameter else {}
    act = activation(name, **given)
    assert {k for k, _ in act.kink_slopes()} == set(act.kinks())
    points = points_of(act)
    if entry.torch is None:
        expected = np.zeros(len(points))  # step and relu²
    else:
        names = {"slope": "negative_slope"}
        options = {names.get(key, key): float(v) for key, v in given.items()}
        module = getattr(torch.nn, entry.torch, None)
        expected = torch_slope(module(**options) if module else getattr(torch, entry.torch), points)
    np.testing.assert_allclose(act.derivative_numpy()(np.array(points)), expected, rtol=1e-7)  # CELU is float32 inside
    np.testing.assert_allclose(torch_slope(act.torch(), points), expected, rtol=1e-7)
    np.testing.assert_allclose(
        act.numpy()(np.array(points)), act.torch()(torch.tensor(points, dtype=torch.float64)), atol=1e-15
    )
    if name not in ("elu", "selu", "celu"):
        slope = act.derivative_exact()
        assert [float(q.p) / float(q.q) for q in map(slope, act.kinks())] == pytest.approx(list(expected), rel=1e-15)


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize(("scale", "bias"), [("2", "1"), ("-2", "1"), ("-1/4", "-3/2")])
def test_slopes_at_kinks_follow_the_chain_rule(name, scale, bias):
    plain, moved = activation(name), activation(name, scale=scale, bias=bias)
    a, b = float(moved.scale.p) / float(moved.scale.q), float(moved.bias.p) / float(moved.bias.q)
    points = points_of(moved)
    expected = torch_slope(lambda x: plain.torch()(a * x + b), points)
    np.testing.assert_allclose(moved.derivative_numpy()(np.array(points)), expected, rtol=1e-15)
    np.testing.assert_allclose(torch_slope(moved.torch(), points), expected, rtol=1e-15)


@pytest.mark.parametrize(("text", "slope"), FORMULAS.items())
def test_slopes_at_kinks_of_a_formula_are_those_of_the_left_branch(text, slope):
    act = from_formula(text)
    assert act.derivative_numpy()(np.zeros(3)).tolist() == [slope] * 3
    assert torch_slope(act.torch(), [0.0]) == [slope]
    if "exp" not in text:
        assert act.derivative_exact()(fmpq(0)) == int(slope)


def test_hardshrink_is_zero_at_its_jumps():
    assert activation("hardshrink").numpy()(np.array([-0.5, 0.5, 0.6])).tolist() == [0, 0, 0.6]


def test_merged_kinks_keep_the_slope_of_the_inner_piece():
    assert activation("softshrink", lambd="0").derivative_numpy()(np.array([-1.0, 0.0, 1.0])).tolist() == [1, 0, 1]


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


@pytest.mark.parametrize(("text", "place", "value"), [("sin(x)/x", 0, 1), ("(x**2 - 9)/(x - 3)", 3, 6)])
def test_quotients_in_pytorch_are_filled_in_with_gradient_zero(text, place, value):
    torch = pytest.importorskip("torch")
    x = torch.tensor([place - 0.5, place, place + 1.25], dtype=torch.float64, requires_grad=True)
    found = from_formula(text).torch()(x)
    plain = eval(text, {"__builtins__": {}, "sin": torch.sin}, {"x": x})  # the oracle: PyTorch, on this test's text
    assert float(found[1].detach()) == pytest.approx(value)
    assert torch.allclose(found[[0, 2]], plain[[0, 2]], rtol=1e-14)
    (slope,) = torch.autograd.grad(found.sum(), x)
    (right,) = torch.autograd.grad(plain[[0, 2]].sum(), x)
    assert slope[1] == 0
    assert torch.allclose(slope[[0, 2]], right[[0, 2]], rtol=1e-12)


def test_labels_are_read_back():
    for given in (
        activation("tanh"), activation("leaky_relu", slope="1/10"), activation("gelu", scale=2),
        activation("elu", alpha=2, scale="1/2", bias=-1), activation("relu", bias="1/3"),
    ):  # fmt: skip
        read = from_label(given.label)
        assert (read.name, read.parameters, read.scale, read.bias) == given[:2] + given[3:]
    assert activation("tanh").label == "tanh"
    assert activation("tanh", scale=2, bias=1).label == "tanh(scale=2, bias=1)"


def test_labels_of_formulas_and_rationals_as_parameters():
    text = "x*sigmoid(2*x) + 1/3"
    assert from_label(text) == (text, (), from_formula(text).expr, 1, 0)
    assert activation("leaky_relu", slope=fmpq(1, 10)) == activation("leaky_relu", slope="1/10")
    deep = "(" * 100 + "x" + "+1)" * 100
    with pytest.raises(InvalidInput, match="parentheses"):
        from_formula(deep)
    assert from_label(deep).expr.op == "add"  # what was written by us may be longer


def test_an_activation_as_other_libraries_have_it():
    import sympy as sp

    t = sp.Symbol("t")
    act = activation("leaky_relu", scale=2)
    assert act.exact()(fmpq(-3)) == fmpq(-6, 100)
    assert act.ball()(arb(3)) == 6
    assert sp.simplify(activation("tanh", bias=1).sympy(t) - sp.tanh(t + 1)) == 0


@pytest.mark.parametrize("value", ["1e-12", "-1e12", "0", "1/3", 0.5, 1e12])
def test_numbers_of_moderate_size_are_read_exactly(value):
    found = rational("scale", value)
    assert float(arb(found)) == pytest.approx(float(eval(str(value))), rel=1e-15)


@pytest.mark.parametrize("value", ["9e-13", "1.1e12", "-1e13", "nan", "inf", "x", "1/0"])
def test_other_numbers_are_refused(value):
    with pytest.raises(InvalidInput, match="scale"):
        rational("scale", value)


def test_a_scale_of_zero_is_refused_and_one_leaves_the_formula():
    with pytest.raises(InvalidInput, match="must not be 0"):
        activation("tanh", scale=0)
    assert activation("tanh", scale=1, bias=0).expr == from_formula("tanh(x)").expr
    assert activation("tanh", bias=1).expr == from_formula("tanh(x + 1)").expr
    assert activation("tanh", scale=2).expr == from_formula("tanh(2*x)").expr
