"""Frozen for ever: intervals against fractions, strict ends, and what a bound may and may not come from."""

import math
from fractions import Fraction

import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory.metrics.rounding import relative_error  # noqa: E402
from lop_theory.modules import Criteria, detect  # noqa: E402
from lop_theory.modules.frozen import UNKNOWN, Range, _after, _inside, _interval  # noqa: E402

numbers = st.integers(-40, 40).map(lambda n: n / 16)
U = 2.0**-53


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=6), numbers, st.sampled_from([U, 2.0**-24]))
def test_the_interval_of_a_sum_holds_every_value_and_little_more(terms, bias, roundoff):
    """b + Σ w·[l, h] exactly, widened by twice γ_n = (n + 2)u/(1 − (n + 2)u) times |b| + Σ|w·end|."""
    weight = vector(*(w for w, _, _ in terms))[None]
    low, high = (vector(*(end(a, b) for _, a, b in terms)) for end in (min, max))
    found = _interval(weight, vector(bias), Range(low, high), relative_error(len(terms), roundoff, 0.0))
    ends = [
        [Fraction(w * low_), Fraction(w * high_)]
        for w, low_, high_ in zip(weight[0].tolist(), low.tolist(), high.tolist(), strict=True)
    ]
    for side, got, sign in ((min, found.low, -1), (max, found.high, 1)):
        chosen = [side(pair) for pair in ends]
        exact = bias + sum(chosen)
        size = abs(bias) + sum(map(abs, chosen))
        n = (len(terms) + 2) * roundoff
        margin = float(sign * (Fraction(float(got)) - exact))
        assert margin == pytest.approx(float(2 * n / (1 - n) * size), rel=1e-3, abs=1e-14 * (roundoff == U))


def test_what_is_not_known_may_be_anything():
    assert (UNKNOWN.low.tolist(), UNKNOWN.high.tolist()) == ([-math.inf], [math.inf])
    found = _interval(vector(math.inf)[None], vector(0.0), Range(vector(-1.0), vector(0.0)), 1e-15)
    assert (float(found.low), float(found.high)) == (-math.inf, math.inf)


def test_infinite_ends_and_weights_of_nothing():
    weight = vector(1.0, -1.0, 0.0)[None].expand(1, 3)
    inf = math.inf
    for inputs, right in (
        (Range(vector(0, 0, 0), vector(inf, inf, inf)), (-inf, inf)),
        (Range(vector(0, 0, -inf), vector(1, 1, inf)), (-1, 1)),  # 0 · ∞ = 0
        (Range(vector(0, 0, 0), vector(inf, 1, 1)), (-1, inf)),
        (Range(vector(-1, 0, 0), vector(1, inf, 1)), (-inf, 1)),
    ):
        found = _interval(weight, vector(0.0), inputs, relative_error(3, U, 0.0))
        assert (float(found.low), float(found.high)) == pytest.approx(right, rel=1e-14)
    found = _interval(vector(1.0)[None], vector(math.nan), Range(vector(0), vector(1)), 0.0)
    assert (float(found.low), float(found.high)) == (-inf, inf)


@pytest.mark.parametrize(("columns", "bounded"), [(253, True), (254, False), (255, False), (300, False)])
def test_so_many_terms_of_few_bits_bound_nothing(columns, bounded):
    """(n + 2)u ≥ 1 for 254 terms in bfloat16: γ has no value there (it was negative, or a division by 0)."""
    ones = torch.ones(columns, dtype=torch.float64)
    found = _interval(ones[None], vector(-1e9), Range(0 * ones, ones), relative_error(columns, 2.0**-8, 0.0))
    assert (bool(torch.isfinite(found.low)), bool(torch.isfinite(found.high))) == (bounded, bounded)
    assert float(found.low) <= -1e9 <= float(found.high)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish])
def test_wide_layers_of_few_bits_are_not_certified(activation):
    torch.manual_seed(0)
    layers = nn.Linear(16, 300), nn.Sigmoid(), nn.Linear(300, 8), activation(), nn.Linear(8, 1)
    found = detect(nn.Sequential(*layers).bfloat16(), torch.randn(8, 16).bfloat16())
    assert not [v for layer in found.layers for v in layer.verdicts if v.kind == "frozen"]


def test_a_kernel_adds_up_all_its_positions():
    weight = torch.tensor([[[1.0, -2.0], [3.0, 0.0]], [[-1.0, -1.0], [0.5, 0.5]]], dtype=torch.float64)
    found = _interval(weight, vector(0.0, 10.0), Range(vector(-1, 0), vector(2, 1)), 0.0)
    assert found.low.tolist() == [-1 - 4 + 0, 10 - 4 + 0]
    assert found.high.tolist() == [2 + 2 + 3, 10 + 2 + 1]


TINY = math.ulp(0.0)
EDGES = {
    "relu": [((-5.0, -2 * TINY), True), ((-5.0, -TINY), False), ((-5.0, 0.0), False), ((-math.inf, -1.0), True)],
    "relu6": [((6.0 + 4 * math.ulp(6.0), 9.0), True), ((math.nextafter(6.0, 7), 9.0), False), ((6.0, 9.0), False)],
    "hardsigmoid": [((-9.0, -3.1), True), ((3.1, math.inf), True), ((-3.1, 3.1), False), ((-math.inf, -3.1), True)],
    "hardswish": [((-9.0, -3.1), True), ((3.1, 9.0), False)],
    "tanh": [((50.0, 60.0), False)],
}


@pytest.mark.parametrize("name", EDGES)
def test_units_are_inside_a_flat_region_strictly(name):
    for (low, high), right in EDGES[name]:
        found = _inside(name, Range(vector(-100.0 if name != "tanh" else 0.0, low), vector(100.0, high)))
        assert (1 in found) == right
        assert 0 not in found
        if right:
            assert (found[1].low, found[1].high) == (low, high)
            assert found[1].flat_region[0] <= low
            assert high <= found[1].flat_region[1]
    nothing = Range(vector(-math.inf), vector(math.inf))
    assert _inside(name, nothing) == {}


@pytest.mark.parametrize(
    ("name", "ends"), [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu", (0, math.inf)), ("relu6", (0, 6))]
)
def test_what_an_activation_gives_whatever_it_gets(name, ends):
    """Its range, wider by 1e-5: the rounding of the activation itself."""
    z = Range(vector(-1.0, -9.0, 8.0), vector(1.0, -1.0, 9.0))
    certified = _inside(name, z)
    found = _after(name, z, certified)
    low, high = ends
    wide = (1 + 1e-5) * high if math.isfinite(high) else high
    assert found.low[0] == pytest.approx((1 + 1e-5) * low, rel=1e-9)
    assert found.high[0] == pytest.approx(wide, rel=1e-9)
    if name in ("relu", "relu6"):
        assert (found.low[1], found.high[1]) == (0.0, 0.0)  # one point
    if name == "relu6":
        assert found.low[2] == 6.0
        assert found.high[2] == pytest.approx(6 * (1 + 1e-5), rel=1e-9)


def certified(model, x, low=None, high=None):
    criteria = Criteria() if low is None else Criteria(input_range=(low, high))
    return {x.module: b.units for x, b in detect(model, x, criteria=criteria).verdicts("frozen")}


def dense(*layers):
    torch.manual_seed(0)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.sign() * 0.5)
    return model


ROWS = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_bounds_go_through_layers_and_end_where_nothing_bounds():
    """|h| ≤ 1 behind a tanh: −1.6 + 3·½·1 < 0. Behind a relu nothing is known but of units that are frozen."""
    model = dense(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[2].bias[1] = -1.6
        model[4].weight.abs_()
        model[4].weight[2, [0, 2, 3]] = -0.5
        model[4].bias.fill_(-0.1)
    assert certified(model, ROWS) == {"3": (1,), "5": (2,)}  # unit 2 reads a frozen zero and subtracts the rest
    with torch.no_grad():
        model[2].bias[1] = -1.4
    assert certified(model, ROWS) == {}
    assert certified(model, ROWS, -1.0, 1.0) == {}


def test_what_stands_between_decides():
    for between, right in (
        ([nn.Sigmoid()], {"2": (1,)}),
        ([nn.Sigmoid(), nn.Flatten()], {"3": (1,)}),
        ([nn.Sigmoid(), nn.LayerNorm(3)], {}),
        ([nn.ELU()], {}),  # not one of the bounded activations that are known
        ([], {}),
    ):
        model = dense(*between, nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        linear = next(m for m in model if isinstance(m, nn.Linear))
        with torch.no_grad():
            linear.bias[1] = -1.6
            if len(between) == 2 and isinstance(between[1], nn.LayerNorm):
                between[1].weight.fill_(1.0)
        assert certified(model, ROWS) == right
    model = dense(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].bias[1] = -1.6
    assert certified(model, ROWS) == {}
    assert certified(model, ROWS, -1.0, 1.0) == {"1": (1,)}
    assert certified(model, ROWS, -1.1, 1.0) == {}
    with torch.no_grad():
        model[0].weight[1] = 0.5
    assert certified(model, ROWS, -1.1, 1.0) == {"1": (1,)}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv1d(2, 4, 3), (5, 2, 8)), (nn.Conv2d(2, 4, 3), (5, 2, 6, 6)), (nn.Conv3d(2, 4, 2), (5, 2, 4, 4, 4))],
)
def test_convolutions_pad_with_zeros(layer, shape):
    """Inputs in [1, 2] and weights −½: at most −½·k; with zeros beside the data at most 0."""
    model = nn.Sequential(layer, nn.ReLU()).double()
    x = 1 + torch.rand(shape, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(-0.5)
        layer.bias.copy_(vector(-0.25, 0.25, -0.25, 0.0))
    found = frozen_of(nn.Sequential(model, nn.Flatten(), nn.LazyLinear(2).double()), x, (1.0, 2.0))
    assert found == {(0, 2)}


def frozen_of(model, x, ends):
    with torch.no_grad():
        model(x)
    units = [b.units for _, b in detect(model, x, criteria=Criteria(input_range=ends)).verdicts("frozen")]
    return {tuple(sorted(u for one in units for u in one))}


def test_groups_second_uses_and_other_weights_are_no_ground():
    x = torch.rand(4, 4, 5, 5, dtype=torch.float64)
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)).double()
    with torch.no_grad():
        grouped[0].bias.fill_(-100.0)
    assert frozen_of(grouped, x, (0.0, 1.0)) == {()}

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.o, self.act = nn.Linear(3, 3), nn.Linear(3, 2), nn.ReLU()

        def forward(self, x):
            return self.o(self.act(self.a(x))) + self.o(torch.tanh(self.a(2 * x)))

    model = Twice().double()
    with torch.no_grad():
        model.a.bias.fill_(-100.0)
    assert frozen_of(model, ROWS, (0.0, 1.0)) == {()}  # the gradient of the other use moves its bias


def test_a_flatten_that_mixes_units_takes_the_bounds_of_all():
    x = torch.rand(4, 2, 4, 4, dtype=torch.float64)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)
    ).double()
    with torch.no_grad():
        model[3].weight.fill_(0.5)
        model[3].bias.copy_(vector(-6.1, -5.9, -7.0, 0.0))
    assert frozen_of(model, x, (0.0, 1.0)) == {(0, 2)}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([nn.ReLU, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish]))
def test_no_data_in_range_moves_a_unit_that_is_called_frozen(seed, last):
    """The first unit of either layer is one: its bias outweighs all weights (up to 1/√inputs each). The last moves."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 6), last(), nn.Linear(6, 1)
    ).double()
    with torch.no_grad():
        model[0].bias.mul_(4)
        model[4].bias.mul_(8)
        model[0].bias[0], model[4].bias[0] = -(3**0.5) - 0.1, -3 - 5**0.5 - 0.1
        model[0].bias[-1] = model[4].bias[-1] = 0.0
        model[4].weight[-1].abs_()
    x, other = (2 * torch.rand(64, 3, dtype=torch.float64) - 1 for _ in range(2))
    found = detect(model, x, criteria=Criteria(input_range=(-1.0, 1.0))).verdicts("frozen")
    assert {(layer.module, unit) for layer, block in found for unit in block.units} >= {("1", 0), ("5", 0)}
    model(torch.cat([other, other.sign()])).sum().backward()
    for layer, block in found:
        rows = model[int(layer.module) - 1]
        assert float(rows.weight.grad[list(block.units)].abs().max()) == 0.0
        assert float(rows.weight.grad.abs().max()) > 0.0


def near_zero():
    """3 · 1.00395 − 3.0119 < 0, but in bfloat16 3 · 1.0078125 − 3.015625 > 0."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].bias.fill_(30.0)
        model[2].weight.fill_(1.00395)
        model[2].bias.fill_(-3.0119)
    return model, torch.randn(64, 4)


def test_autocast_rounds_weights_that_are_certified_without_it():
    model, x = near_zero()
    assert len(detect(model, x).verdicts("frozen")) == 2
    with torch.autocast("cpu", torch.bfloat16):
        assert not detect(model, x).verdicts("frozen")
        model(x).sum().backward()
    assert float(model[2].weight.grad.abs().min()) > 0


def test_products_of_reduced_precision_widen_the_intervals():
    model, x = near_zero()
    try:
        torch.set_float32_matmul_precision("medium")
        assert not detect(model, x).verdicts("frozen")
        assert len(detect(model.double(), x.double()).verdicts("frozen")) == 2
        with torch.no_grad():
            model[2].bias.fill_(-3.4)
        assert len(detect(model.float(), x).verdicts("frozen")) == 2
    finally:
        torch.set_float32_matmul_precision("highest")
