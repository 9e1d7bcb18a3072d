"""What goes and what takes its place: parameters of smaller models by sums over blocks, reasons to stay, changes."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules import compress, detect, expand, merge  # noqa: E402
from lop_theory.modules.equitable import structure  # noqa: E402
from lop_theory.modules.narrowing import Reduced as Line  # noqa: E402
from lop_theory.modules.narrowing import Step, _product, _sum, fill, gain_of, reduced  # noqa: E402
from lop_theory.modules.own_class import Scaled  # noqa: E402
from lop_theory.modules.plan import Plan  # noqa: E402
from lop_theory.modules.shrinking import _apart, _Base, _base, _change, _close, _difference, _is_as, _sizes  # noqa: E402
from tests.modules.nets import Asked  # noqa: E402
from tests.modules.test_compress import ROWS, Branches, branches, net  # noqa: E402
from tests.zoo.plain import Function  # noqa: E402


def line(place, gain, stays):
    return Line(np.array(place), np.array(gain, dtype=float), np.array(stays, dtype=bool))


def test_lines_of_products_and_sums():
    """Two units of which the second is 3 times the first, by three of which the last is −1 times the first."""
    a, b = line([0, 0], [1, 3], [1, 0]), line([0, 1, 0], [1, 1, -1], [1, 1, 0])
    grid = _product([a, b])
    assert grid.place.tolist() == [0, 1, 0, 0, 1, 0]
    assert grid.gain.tolist() == [1, 1, -1, 3, 3, -3]
    assert grid.stays.tolist() == [True, True, False, False, False, False]
    row = _sum([a, b])
    assert row.place.tolist() == [0, 0, 1, 2, 1]
    assert row.gain.tolist() == [1, 3, 1, 1, -1]
    assert row.stays.tolist() == [True, False, True, True, False]
    assert _product([]).place.tolist() == [0]


def test_parameters_are_rows_that_stay_and_sums_over_what_they_stand_for():
    """Unit 2 of the first layer is −½ times unit 0 and goes; unit 3 is constant 7 and goes into the bias."""
    model = net(4)
    known = structure(model, ROWS)
    leaf = known.plan.find(known.axes["a.bias"][0])
    target, gain = np.array([0, 1, 0, 0]), np.array([1.0, 1.0, -0.5, 0.0])
    step = Step("a", leaf, leaf, target, gain, np.array([0.0, 0.0, 0.0, 7.0]), 0.0)
    line_ = reduced(known, leaf, {leaf: step})
    assert line_.place.tolist() == [0, 1, 0, 0]
    assert line_.stays.tolist() == [True, True, False, False]
    shell = net(4)
    fill(shell, model, known, {leaf: step})
    w = model.b.weight.detach()
    torch.testing.assert_close(shell.a.weight, model.a.weight[:2])
    torch.testing.assert_close(shell.a.bias, model.a.bias[:2])
    torch.testing.assert_close(shell.b.weight.detach(), torch.stack([w[:, 0] - 0.5 * w[:, 2], w[:, 1]], 1))
    torch.testing.assert_close(shell.b.bias.detach(), model.b.bias.detach() + 7 * w[:, 3])
    assert (shell.a.out_features, shell.b.in_features, shell.b.out_features) == (2, 2, 6)
    assert torch.equal(shell.c.weight, model.c.weight)
    assert isinstance(shell.a.weight, nn.Parameter)


def test_gains_of_hooks_multiply():
    layer = nn.Linear(2, 2)
    assert gain_of(layer) == 1
    layer.register_forward_pre_hook(Scaled(2.0))
    layer.register_forward_pre_hook(lambda *_: None)
    layer.register_forward_pre_hook(Scaled(1.5))
    assert gain_of(layer) == 3.0


# --- changes of outputs -----------------------------------------------------------------------------------------------


t, INF, NAN = torch.tensor, math.inf, math.nan
PAIRS = [
    (t([1.0, -4.0]), t([1.0, -4.0]), 0.0), (t([1.0, -4.0]), t([1.5, -4.0]), 0.125),
    (t([1.0]), t([1.0]).double(), INF), (torch.ones(2), torch.ones(3), INF), (t([2, 3]), t([2, 3]), 0.0),
    (t([2, 3]), t([2, 4]), INF), (t([True]), t([False]), INF), (t([NAN]), t([NAN]), 0.0), (t([NAN]), t([1.0]), INF),
    (t([NAN, 2.0]), t([NAN, 3.0]), 0.5), (t([1.0]), t([INF]), INF), (t([INF, 4.0]), t([INF, 3.0]), 0.25),
    (t([3 + 4j]), t([3 + 5j]), 0.25), (torch.zeros(2), t([0.0, 1.0]), INF), (3, 3, 0.0), (3, 4, INF), ("a", "a", 0.0),
    ("a", "b", INF), (None, None, 0.0), (3, 3.0, 0.0), (3, 4.0, INF), (None, 0, INF), ("3", 3, INF), (object(), 3, 0.0),
    (object(), object(), 0.0), (1.0, torch.ones(1), 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "change"), PAIRS)
def test_the_change_of_an_output(a, b, change):
    found = _apart(a, b)
    assert found == pytest.approx(change) if change != math.inf else found > 1e200


def test_zeros_are_measured_by_the_smallest_number():
    assert _apart(torch.zeros(1, dtype=torch.float64), torch.full((1,), 1e-10, dtype=torch.float64)) == 1e-10 / 1e-300


@pytest.mark.parametrize(
    ("dtypes", "tolerance"),
    [
        ([], 0.0), ([torch.int64, torch.bool], 0.0), ([torch.float64], 1e-10), ([torch.complex128], 1e-10),
        ([torch.float64, torch.float32], 1e-5), ([torch.complex64], 1e-5), ([torch.float16, torch.int64], 5e-2),
    ],
)  # fmt: skip
def test_outputs_are_close_by_the_coarsest_of_their_precisions(dtypes, tolerance):
    assert _close([*(torch.zeros(2, dtype=dtype) for dtype in dtypes), 3, "x"]) == tolerance


def test_sizes_that_an_axis_is_made_of():
    """Of itself, of a grid's lines and of neighbouring lines together, of a row's parts."""
    plan = Plan()
    known = SimpleNamespace(plan=plan)
    two, three, five = plan.free(2), plan.free(3), plan.free(5)
    assert _sizes(known, two, {}) == [2]
    assert _sizes(known, plan.join([two, three, five]), {}) == [30, 2, 6, 30, 3, 15, 5, 2, 3, 5]
    assert _sizes(known, plan.concat([two, three]), {}) == [5, 2, 3]
    gone = Step("a", five, five, np.array([0, 0, 2, 2, 2]), np.ones(5), np.zeros(5), 0.0)
    assert _sizes(known, plan.join([two, five]), {five: gone}) == [4, 2, 4, 2, 2, 2]


def test_a_width_that_only_a_parameter_of_an_inner_module_shows_shrinks_with_it():
    base = Function(lambda m, x: m.o(m.b(torch.tanh(m.a(x)))), a=nn.Linear(4, 4), b=Asked(), o=nn.Linear(3, 2)).double()
    wide = expand(base, 2, example_input=ROWS)
    small = compress(wide, detect(wide, ROWS))
    assert (small.model.b.needed, small.model.b.linear.in_features) == (4, 4)
    assert small.difference < 1e-12


def test_answers_that_are_whole_numbers_must_not_change():
    """Their tolerance is 0; a batch of another size that the model refuses is no answer."""

    def only(m, x):
        assert len(x) == len(ROWS)
        return m.o(torch.tanh(m.a(x))).argmax(1)

    base = Function(only, a=nn.Linear(4, 3), o=nn.Linear(3, 2)).double()
    with torch.no_grad():
        base.a.weight[1], base.a.bias[1] = base.a.weight[0], base.a.bias[0]
        base.o.weight[:, 1] = base.o.weight[:, 0]
    small = compress(base, detect(base, ROWS))
    assert small.model.a.out_features == 2
    assert small.difference == 0.0


def test_answers_are_those_to_the_example_and_to_other_sizes():
    x = torch.randn(2, 3)
    plain, named = nn.Identity(), Function(lambda _, *, x: 2 * x)
    for model, example in ((plain, x), (plain, (x,)), (named, {"x": x})):
        base = _base(model, example, exact=True)
        assert [tuple(outputs[0].shape) for _, outputs in base.answers] == [(2, 3), (3, 3), (2, 5), (2, 9)]
        assert base.limit == 1e-5
    assert _base(plain, x, exact=False).limit == math.inf
    nothing = _base(Function(lambda _, x: x[9]), x, exact=True)
    assert (nothing.answers, nothing.read) == ([], set())


def test_answers_bit_for_bit():
    x = torch.ones(2, dtype=torch.float64)
    base = _Base(nn.Identity(), [(x, [x])], 1.0, set())
    assert _is_as(base, nn.Identity()) is True
    assert _is_as(base, Function(lambda _, x: x * (1 + 1e-15))) is False
    assert _is_as(base, Function(lambda _, x: x * 2)) is False


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_formed_in_doubles_and_kept_in_the_precision_of_the_model(dtype):
    """1 + 2⁻²⁴ + 2⁻²⁴ is 1 + 2⁻²³, which a sum in float32 does not see; what no step narrows stays as it is."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).to(dtype)
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, 2.0**-24, 2.0**-24]]))
    known = structure(model.double(), torch.ones(4, 2, dtype=torch.float64))
    model, shell = model.to(dtype), copy.deepcopy(model.to(dtype))
    leaf = known.plan.find(known.axes["0.weight"][0])
    step = Step("0", known.axes["0.weight"][0], leaf, np.zeros(3, int), np.ones(3), np.zeros(3), 0.0)
    fill(shell, model, known, {leaf: step})
    assert shell[2].weight.dtype == dtype
    assert shell[2].weight.tolist() == torch.tensor([[1.0 + 2.0**-23]], dtype=torch.float64).to(dtype).tolist()
    assert shell[0].weight.shape == (1, 2)
    assert torch.equal(shell[2].bias, model[2].bias)


def test_the_change_of_all_outputs_is_the_largest():
    one = torch.ones(2)
    assert _change([one, one, 3], [one, 1.5 * one, 3]) == 0.5
    assert _change([one, one], [1.5 * one, 1.25 * one]) == 0.5
    assert _change([one], [one, one]) == math.inf
    assert _change([], []) == 0.0


def test_the_first_change_beyond_the_limit_ends_the_comparison():
    model = nn.Identity()
    answers = [
        (torch.ones(1), [torch.ones(1)]),
        (2 * torch.ones(1), [4 * torch.ones(1)]),
        (torch.ones(1), [torch.ones(2)]),
    ]
    for limit, change in ((0.4, 0.5), (0.5, math.inf), (math.inf, math.inf)):
        assert _difference(_Base(model, answers, limit, set()), model) == change
    assert _difference(_Base(model, answers[:2], 1.0, set()), model) == 0.5
    assert _difference(_Base(model, answers[:1], 0.0, set()), nn.Linear(2, 2)) == math.inf  # does not run
    assert _difference(_Base(model, [], 0.0, set()), model) == 0.0


# --- what stays, and why ----------------------------------------------------------------------------------------------


def constant(model, unit=2, value=50.0):
    with torch.no_grad():
        model.a.weight[unit], model.a.bias[unit] = 0.0, value
    return model


def counted(m, x):
    h = torch.tanh(m.a(x))
    return m.b(h) * h.shape[1]


def test_clones_stay_where_the_outputs_would_change_or_cannot_be_asked():
    for function in (counted, lambda m, x: m.b(torch.tanh(m.a(x)))):
        model = branches(function)
        with torch.no_grad():
            model.a.weight[3], model.a.bias[3] = model.a.weight[0], model.a.bias[0]
        found = detect(model, ROWS)
        if function is counted:
            assert compress(model, found).kept == {
                "a": "the outputs would change by 1.2e-01"
            }  # 8 units of which 7 stay
        else:
            assert compress(model, found).removed == {"a": (3,)}
            model.function = None
            small = compress(model, found)
            assert small.kept == {"a": "the model does not run on the example"}
            assert (small.removed, small.model.a.out_features) == ({}, 8)


WHERE = {
    "something else than linear layers reads it, or other values share its width": lambda m, x: m.b(
        torch.tanh(m.a(x)).cumsum(1)
    ),
    "its units are a compound of several widths": lambda m, x: m.b(torch.tanh(torch.cat(m.a(x).split([2, 6], 1), 1))),
}


@pytest.mark.parametrize("reason", WHERE)
def test_constants_stay_where_not_only_linear_layers_read_just_them(reason):
    model = constant(branches(WHERE[reason]), 2, 0.5)
    small = compress(model, detect(model, ROWS))
    assert small.removed == {}
    assert small.kept == {name: f"constant units: {reason}" for name in ("a", "tanh")}


def test_constants_go_into_biases_and_stay_where_there_is_none():
    model = constant(branches(lambda m, x: m.b(torch.tanh(m.a(x)))), 2, 0.5)
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"tanh": (2,)}
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-13)
    model.b.bias = None
    small = compress(model, detect(model, ROWS))
    assert small.removed == {}
    assert small.kept["tanh"] == "constant units: a layer that reads it has no bias"
    dead = constant(branches(lambda m, x: m.b(torch.relu(m.a(x)))), 2, -50.0)
    dead.b.bias = None
    assert compress(dead, detect(dead, ROWS)).removed == {"relu": (2,)}  # zero needs none


def test_a_layer_of_constants_keeps_one_that_moves():
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x))))
    with torch.no_grad():
        model.a.weight.zero_()
        model.a.bias.copy_(torch.linspace(0.1, 0.8, 8))
    small = compress(model, detect(model, ROWS))
    assert small.kept["tanh"] == "constant units: no unit of the layer moves"
    with torch.no_grad():
        model.a.weight[3] = 1.0
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"tanh": (0, 1, 2, 4, 5, 6, 7)}
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-13)


def test_units_equal_on_this_data_alone_stay():
    data = ROWS.clone()
    data[:, 3] = 0.0
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x))), 5)
    with torch.no_grad():
        model.a.weight[5, 3] += 1.0
    small = compress(model, detect(model, data))
    assert small.removed == {}
    assert small.kept == {"a": "units equal on this data, not by their weights"}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: m.b(h := torch.tanh(m.a(x))) + h.sum(-1, keepdim=True), "an operator sums over these units"),
        (lambda m, x: m.b(F.layer_norm(torch.tanh(m.a(x)), (8,))), "averages over these units"),
        (lambda m, x: m.b(torch.tanh(m.a(x)).view(-1, 8)), "its code has the width as a number"),
    ],
)
def test_why_clones_stay(function, reason):
    model = branches(function, 3)
    small = compress(model, detect(model, ROWS))
    assert small.removed == {}
    assert reason in small.kept["a"]
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=0)


def test_blocks_of_one_size_pass_a_normalisation():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            return self.b(self.norm(torch.tanh(self.a(x))))

    torch.manual_seed(0)
    model = Normed().double()
    with torch.no_grad():
        model.a.weight[4:], model.a.bias[4:] = model.a.weight[:4], model.a.bias[:4]
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"a": (4, 5, 6, 7)}
    assert small.model.norm.normalized_shape == (4,)
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-12)


def test_steps_are_taken_one_by_one_where_not_all_can_be():
    """The second layer has its width as a number; the first goes all the same."""

    class Two(Branches):
        def __init__(self):
            super().__init__(None)
            self.d = nn.Linear(5, 2)

        def forward(self, x):
            return self.d(torch.tanh(self.b(torch.tanh(self.a(x)))).view(-1, 5))

    torch.manual_seed(0)
    model = Two().double()
    with torch.no_grad():
        model.a.weight[7], model.a.bias[7] = model.a.weight[1], model.a.bias[1]
        model.b.weight[4], model.b.bias[4] = model.b.weight[2], model.b.bias[2]
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"a": (7,)}
    assert small.kept == {"b": "its code has the width as a number"}
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-13)
    assert small.difference < 1e-14


def test_merging_takes_least_squares_factors_of_near_units():
    """Readers' weights become w_i + f w_j, and the bound is ‖w_j‖ · rms(h_j − f h_i)."""
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x))))
    with torch.no_grad():
        model.a.weight[3] = 0.9 * model.a.weight[0]
        model.a.bias[3] = 0.9 * model.a.bias[0]
    found = detect(model, ROWS)
    small = merge(model, found)
    assert small.removed == {"tanh": (3,)}
    h = torch.tanh(model.a(ROWS)).detach()
    f = float(h[:, 3] @ h[:, 0] / (h[:, 0] @ h[:, 0]))
    w = model.b.weight.detach()
    torch.testing.assert_close(small.model.b.weight.detach()[:, 0], w[:, 0] + f * w[:, 3], rtol=1e-9, atol=1e-12)
    left = float((h[:, 3] - f * h[:, 0]).square().mean().sqrt() * w[:, 3].norm())
    assert small.bounds["tanh"] == pytest.approx(left, rel=1e-6)
    moved = (small.model(ROWS) - model(ROWS)).detach()
    assert small.difference == pytest.approx(float(moved.abs().max() / model(ROWS).detach().abs().max()), rel=0.5)
