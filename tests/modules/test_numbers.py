"""The numeric half of a certificate, piece by piece: kinks, numbers that are not finite, differences that rounding does
not explain."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules.conditions import Offence  # noqa: E402
from lop_theory.modules.numeric import (  # noqa: E402
    KINKS,
    MARGIN,
    NEAR,
    Rule,
    bad,
    by_last,
    infinite_offences,
    near_tie,
    sensitivity,
    signals,
    spread_offence,
)
from lop_theory.modules.outputs import outputs_of, weights_of_outputs  # noqa: E402
from lop_theory.trace import state_of, trace  # noqa: E402
from tests.modules.nets import Model, Several, X  # noqa: E402


def node_of(function, x):
    """The one operator of a function of one tensor, and the values it reads."""
    program = trace(Model(function), x)
    node = next(n for n in program.graph.nodes if n.op == "call_function")
    return node, {node.args[0].name: x}


ACTIVATIONS = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "prelu": None, "rrelu": None, "abs": torch.abs, "elu": F.elu,
    "hardtanh": F.hardtanh, "relu6": torch.ops.aten.relu6, "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "hardshrink": F.hardshrink, "softshrink": F.softshrink, "selu": F.selu, "celu": F.celu,
    "threshold": None, "clamp": lambda x: x.clamp(min=0.0), "clamp_min": lambda x: x.clamp_min(0.0),
}  # fmt: skip


def derivatives(function, z, step):
    """Value, slope and curvature (of the slope's difference) beside the point z, at z + step."""
    x = torch.tensor([z + step, z + 2 * step], dtype=torch.float64, requires_grad=True)
    y = function(x * 1)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return float(y[0].detach()), float(slope[0]), float(slope[1] - slope[0]) / step


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_where_a_value_a_slope_or_a_curvature_jumps(name):
    function = ACTIVATIONS[name]
    if function is None:  # their kinks have parameters, or draw numbers
        assert KINKS[name] == {"prelu": (0.0,), "rrelu": (0.0,), "threshold": ()}[name]
        return
    found = []
    for place in np.arange(-7, 7.25, 0.25):
        left, right = (derivatives(function, place, step) for step in (-1e-4, 1e-4))
        if any(abs(a - b) > 1e-2 for a, b in zip(left, right, strict=True)):
            found.append(float(place))
    more = {0.0, 6.0} if name == "hardtanh" else set()  # relu6 is a hardtanh, too
    assert sorted({*found, *more}) == sorted(KINKS[name])


@pytest.mark.parametrize("scale", [10.0, 1e4])
@pytest.mark.parametrize("name", ["relu", "hardtanh", "relu6", "hardswish", "softshrink"])
def test_a_value_beside_a_kink_is_near_and_one_on_it_is_not(name, scale):
    large = torch.tensor([scale, -scale, 3.3], dtype=torch.float64)
    node, values = node_of(lambda _, x: ACTIVATIONS[name](x), large)
    (source,) = values
    for kink in KINKS[name]:
        for off, near in ((0.0, False), (0.5e-6, True), (-0.5e-6, True), (3e-6, False), (-3e-6, False)):
            x = torch.cat([large, torch.tensor([kink + off * scale], dtype=torch.float64)])
            assert near_tie(node, {source: x}, 1e-6) == near
    assert not near_tie(node, {source: torch.zeros(3)}, 1e-6)
    on_the_edge = torch.tensor([2.0, kink + 2.0**-19], dtype=torch.float64)
    assert near_tie(node, {source: on_the_edge}, 2.0**-20) == (float(on_the_edge.abs().max()) > 2)
    assert not near_tie(node, {source: torch.zeros(0)}, 1e-6)
    assert not near_tie(node, {}, 1e-6)


def test_smooth_operators_have_no_kinks():
    for function in (lambda _, x: torch.tanh(x), lambda _, x: x * x):
        node, values = node_of(function, torch.tensor([0.0, 1e-14, 1.0], dtype=torch.float64))
        assert not near_tie(node, values, NEAR)


def test_nothing_is_near_in_pools_of_no_samples():
    node, values = node_of(lambda _, x: F.max_pool2d(x, 2), torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    assert not near_tie(node, {name: x[:0] for name, x in values.items()}, 1.0)


def pooled(x, margin, dims=2):
    function = (lambda _, x: F.max_pool2d(x, 2)) if dims == 2 else (lambda _, x: F.max_pool1d(x, 2))
    node, values = node_of(function, x)
    return near_tie(node, values, margin)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_pixels_that_differ_by_rounding_tie_within_their_channel(scale):
    x = scale * torch.arange(32.0, dtype=torch.float64).reshape(1, 2, 4, 4) / 31
    assert not pooled(x, 1e-6)
    close = x.clone()
    close[0, 0, 3, 3] = close[0, 0, 0, 1] + 0.5e-6 * scale
    assert pooled(close, 1e-6)
    close[0, 0, 3, 3] = close[0, 0, 0, 1] + 2e-6 * scale
    assert not pooled(close, 1e-6)
    close[0, 0, 3, 3] = close[0, 0, 0, 1]  # all clones take the first of equal pixels
    assert not pooled(close, 1e-6)
    close[0, 1, 3, 3] = close[0, 0, 0, 1] + 0.5e-6 * scale  # another channel
    assert not pooled(close, 1e-6)


def test_signals_of_one_channel_tie_along_their_length():
    x = torch.tensor([[0.0, 1.0, 1.0 + 1e-9, 3.0], [1.0, 5.0, 6.0, 7.0]], dtype=torch.float64)
    assert pooled(x, 1e-8, 1)
    assert not pooled(x[1:], 1e-8, 1)
    apart = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0 + 1e-9, 5.0, 6.0, 7.0]], dtype=torch.float64)
    assert not pooled(apart, 1e-8, 1)  # of two channels
    steps = torch.tensor([[0.0, 2.0**-10, 1.0, 2.0]], dtype=torch.float64)
    assert not pooled(steps, 2.0**-11, 1)  # as far apart as the margin
    assert pooled(steps, 2.0**-11 * (1 + 1e-9), 1)


@pytest.fixture(scope="module")
def several():
    model = Several()
    program, state = trace(model, X.float()), state_of(model)
    return program, state, signals(program, state, [X.float()], seed=7)


def test_values_adjoints_and_gradients_are_those_of_autograd_in_float64(several):
    program, state, seen = several
    model = Several().double()
    x = X.float().double()
    h = torch.tanh(model.a(x)) * model.scale
    y = model.b(h)
    h.retain_grad()
    outputs = outputs_of({"y": y, "z": torch.complex(h, -h)})
    loss = sum((t * w).sum() for t, w in zip(outputs, weights_of_outputs(outputs, 7), strict=True))
    loss.backward()
    assert set(seen.gradients) == {"a.weight", "a.bias", "b.weight", "b.bias"}  # a buffer has none
    assert not set(seen.adjoints) & set(program.state)
    for name, p in model.named_parameters():
        torch.testing.assert_close(seen.gradients[name], p.grad, rtol=1e-10, atol=1e-12)
    mul = next(n.name for n in program.graph.nodes if "mul" in n.name)
    torch.testing.assert_close(seen.adjoints[mul], h.grad, rtol=1e-10, atol=1e-12)
    assert [t.shape for t in seen.outputs] == [(16, 5), (16, 4, 2)]
    torch.testing.assert_close(seen.outputs[0], y.detach(), rtol=1e-12, atol=0)
    assert all(t.dtype == torch.float64 for t in seen.values.values())
    assert not any(t.requires_grad for t in state.values() if not isinstance(t, nn.Parameter))
    assert all(p.grad is None for p in state.values())
    assert seen.near_ties == ()
    argmax = next(n.name for n in program.graph.nodes if "argmax" in n.name)
    assert argmax in seen.tensors
    assert argmax not in seen.values
    assert seen.sizes[argmax] == (16,)


def test_a_loss_of_ones_own_and_random_errors(several):
    program, state, seen = several
    inputs = [X.float()]
    ones = signals(program, state, inputs, seed=7, loss=lambda output: output["y"].sum())
    assert ones.gradients["b.bias"].tolist() == [16.0] * 5
    off = signals(program, state, inputs, seed=7, rounding=1e-6)
    mul = next(n.name for n in program.graph.nodes if "mul" in n.name)
    (given,) = program.user_inputs
    assert torch.equal(off.values[given], seen.values[given])  # data has no rounding
    for name in (n.name for n in program.graph.nodes if n.name in program.state):
        relative = ((off.values[name] - seen.values[name]) / seen.values[name]).detach().abs()
        assert float(relative.min()) >= 0.499e-6
        assert float(relative.max()) <= 1.501e-6
    errors = (off.values[mul] - seen.values[mul]).detach()
    assert bool((errors > 0).any())
    assert bool((errors < 0).any())
    assert torch.equal(off.values[mul], signals(program, state, inputs, seed=7, rounding=1e-6).values[mul])


def test_outputs_that_no_weight_reaches_have_no_gradient():
    model = Model(lambda s, x: (2 * x, s.a(x).detach()))
    program, state = trace(model, X.float()), state_of(model)
    seen = signals(program, state, [X.float()], seed=1)
    assert (seen.adjoints, seen.gradients) == ({}, {})
    assert torch.equal(seen.outputs[0], 2 * X.float().double())


def test_errors_of_every_value_that_is_computed_be_it_in_a_list_or_not_a_number():
    def function(s, x):
        first, second = torch.tanh(s.a(x)).split(2, -1)
        return s.o(torch.cat([first, second], -1)) * x.shape[0]

    model = Model(function)
    program, state = trace(model, X.float()), state_of(model)
    seen = signals(program, state, [X.float()], seed=1)
    found = sensitivity(program, state, [X.float()], seen, 1)
    assert found.values.keys() == seen.values.keys()
    assert not set(seen.adjoints) & set(program.state)
    given = set(program.user_inputs)
    assert all(bool((t > 0).all()) != (name in given) for name, t in found.values.items())


def test_sensitivities_are_of_the_order_of_what_numbers_move_by(several):
    """d(y)/y of a sum of terms is at most the sum of the terms over y, and about as large as their root mean square."""
    program, state, seen = several
    found = sensitivity(program, state, [X.float()], seen, 7)
    assert found.values.keys() == seen.values.keys()
    assert found.adjoints.keys() == seen.adjoints.keys()
    assert found.gradients.keys() == seen.gradients.keys()
    weight = next(n for n in program.graph.nodes if n.name in program.state and program.state[n.name] == "b.weight")
    moved = found.values[weight.name] / state["b.weight"].detach().double().abs()
    assert 0.4 < float(moved.min()) <= float(moved.max()) < 1.6
    y = next(n.name for n in program.graph.nodes if n.name.startswith("linear") and n.args[1] is weight)
    h = seen.values[next(n.name for n in program.graph.nodes if "mul" in n.name)].detach()
    terms = h.abs() @ state["b.weight"].detach().double().abs().T + 1
    assert float((found.values[y] / terms).max()) < 10
    assert float((found.values[y] / terms).median()) > 0.02
    torch.testing.assert_close(found.outputs[0], found.values[y], rtol=1e-6, atol=1e-6)


def test_masks_of_minus_infinity_do_not_move():
    def masked(s, x):
        mask = torch.full((16, 16), float("-inf"), dtype=x.dtype).triu(1)
        return s.o((x @ x.T + mask).softmax(-1) @ s.a(x))

    model = Model(masked).double()
    program, state = trace(model, X), state_of(model)
    found = sensitivity(program, state, [X], signals(program, state, [X], 0), 0)
    assert all(bool(t.isfinite().all()) for t in found.values.values())


def test_bad_numbers():
    nan, inf = float("nan"), float("inf")
    for value, masks, wrong in (
        ([1.0, nan], True, True), ([1.0, nan], False, True), ([inf, 0.0], True, True), ([-inf, 0.0], True, False),
        ([-inf, 0.0], False, True), ([1.0, -1e300], False, False), ([], False, False),
    ):  # fmt: skip
        assert bad(torch.tensor(value, dtype=torch.float64), masks=masks) == wrong
    assert not bad(torch.arange(3), masks=False)
    assert not bad(torch.zeros(2).to(torch.float8_e4m3fn), masks=False)
    assert bad(torch.tensor([nan]).to(torch.float8_e4m3fn), masks=True)


def test_what_is_not_finite_is_named_with_its_place():
    model = Model(lambda s, x: s.o(s.a(x) / (s.shift - s.shift) * s.mask)).double()
    model.shift, model.mask = nn.Parameter(torch.ones(4).double()), nn.Buffer(torch.ones(4).double())
    model.mask[2] = -torch.inf
    program, state = trace(model, X), state_of(model)
    with torch.no_grad():
        model.o.weight[1, 3] = float("nan")
    found = infinite_offences(program, state, signals(program, state, [X], seed=0))
    assert found[0] == Offence("o", "o.weight", "finite", "the weight o.weight is NaN or infinite", (1, 3))
    names = {(o.node, o.reason) for o in found}
    assert not any("mask" in node for node, _ in names)  # a buffer may hold −∞
    model.mask[2] = torch.inf
    found = infinite_offences(program, state_of(model), signals(program, state_of(model), [X], seed=0))
    assert Offence("", "mask", "finite", "the buffer mask is NaN or infinite", (2,)) in found
    assert {o.reason for o in found} >= {f"the {kind} is NaN or infinite" for kind in ("value", "adjoint", "gradient")}
    assert {o.module for o in found if "gradient" in o.reason} >= {"a", "o"}


@pytest.mark.parametrize("last", [True, False])
def test_minus_infinity_may_stand_inside_and_not_at_the_end(last):
    def masked(s, x):
        h = s.a(x)
        h = h + torch.where(torch.arange(4) > 2, -torch.inf, 0.0)
        return h if last else s.o(h.softmax(-1))

    model = Model(masked).double()
    program, state = trace(model, X), state_of(model)
    found = infinite_offences(program, state, signals(program, state, [X], seed=0))
    assert bool([o for o in found if "value" in o.reason]) == last


PROGRAM = SimpleNamespace(modules={"h": "0.a"})


def spread(value, moved, index, level=1e-3, dim=1):
    axes = [np.arange(n) for n in value.shape]
    axes[dim] = np.array(index)
    return spread_offence(PROGRAM, "h", (value, moved), tuple(axes), Rule("MC1", level))


def test_clones_may_differ_by_what_rounding_moves_them():
    """Bound: 64 × level × the largest movement of a unit of the block; still units count as the median one."""
    value = torch.ones(3, 4, dtype=torch.float64)
    moved = torch.tensor([2.0, 0.5, 1.0, 4.0]).double().expand(3, 4).clone()
    index = [0, 0, 1, 2]
    bound = 64 * 1e-3 * 2.0
    for factor, offends in ((0.99, False), (1.01, True), (-0.99, False), (-1.01, True)):
        off = value.clone()
        off[2, 1] += factor * bound
        found = spread(off, moved, index)
        assert (found is not None) == offends
        if offends:
            assert found.module == "0.a"
            assert (found.node, found.condition) == ("h", "MC1")
            assert sorted(found.units) == [0, 1]
            assert f"{abs(factor) * bound:.2e} (rounding explains {bound:.2e})" in found.reason
    apart = value.clone()
    apart[:, 2:] = torch.randn(3, 2).double()
    assert spread(apart, moved, index) is None  # of different blocks
    assert MARGIN == 64


def test_a_unit_that_did_not_move_counts_as_the_median_one():
    value, moved = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    value[:, 1] = 0.5 * 64 * 1e-3
    index = [0, 0, 1, 1]
    assert spread(value, moved, index) is not None
    moved[:, 2:] = 1.0
    moved[:, 1] = torch.tensor([0.6, 0.1])
    assert spread(value, moved, index) is None  # sizes 0, 0.6, 1, 1: the (lower) median is 0.6
    moved[0, 0], moved[1, 0] = float("inf"), float("nan")
    assert spread(10 * value, moved, index) is not None  # infinite movements explain nothing
    assert spread(value[0], moved[1].nan_to_num(0.0), index, dim=0) is not None
    assert spread(value[0], torch.tensor([torch.inf, 0.1, 0.1, 0.1]).double(), index, dim=0) is not None


def test_the_pair_that_is_named_is_of_the_worst_block_and_of_nothing_else():
    value = torch.zeros(2, 6, dtype=torch.float64)
    value[1, 2], value[0, 5] = 1.0, 3.0
    found = spread(value, torch.zeros(2, 6).double(), [0, 1, 0, 1, 2, 2])
    assert sorted(found.units) == [4, 5]
    assert "3.00e+00" in found.reason
    turned = spread(value.T.contiguous(), torch.zeros(6, 2).double(), [0, 1, 0, 1, 2, 2], dim=0)
    assert sorted(turned.units) == [4, 5]
    line = spread(value[0], torch.zeros(6).double(), [0, 1, 0, 1, 2, 2], dim=0)
    assert sorted(line.units) == [4, 5]
    value[0, 0] = float("nan")
    assert spread(value, torch.zeros(2, 6).double(), [0, 1, 0, 1, 2, 2]) is not None
    assert spread(value[:0], value[:0], [0, 1, 0, 1, 2, 2]) is None


def test_the_largest_entry_of_each_last_coordinate_where_there_are_many_samples():
    many = torch.zeros(16, 3, dtype=torch.float64)
    many[4] = torch.tensor([1.0, 5.0, 3.0])
    assert by_last(many).tolist() == [3.0, 5.0, 3.0]  # never below the median
    assert by_last(many, middle=False).tolist() == [1.0, 5.0, 3.0]
    assert by_last(many.reshape(4, 4, 3)).tolist() == [3.0, 5.0, 3.0]
    few = many[1:]
    assert by_last(few).tolist() == by_last(few, middle=False).tolist() == [5.0]
    assert by_last(torch.tensor([2.0, 7.0])).tolist() == [7.0]
    many[0, 0] = float("inf")
    assert by_last(many).tolist() == [3.0, 5.0, 3.0]
    assert by_last(many, middle=False)[0] == float("inf")
    assert by_last(few[:1].fill_(float("inf"))).tolist() == [0.0]
