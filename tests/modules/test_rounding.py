"""Numbers of the numeric half, one by one: how near is near, what of a movement counts, which clones are named, and
what one pass sees of a value, an adjoint, a gradient."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules import certificate, expand, numeric, survey  # noqa: E402
from lop_theory.modules.clone import program_of  # noqa: E402
from lop_theory.modules.conditions import Offence  # noqa: E402
from lop_theory.modules.growth import profile_of_clone  # noqa: E402
from lop_theory.modules.numeric import (  # noqa: E402
    MARGIN,
    NEAR,
    ROUNDING,
    Comparison,
    Evidence,
    Rule,
    Sensitivity,
    _block_largest,
    _by_unit,
    _differs,
    _fits,
    base_offence,
    by_last,
    cloned_offences,
    infinite_offences,
    near_tie,
    signals,
    spread_offence,
)
from lop_theory.trace import state_of, trace  # noqa: E402
from tests.modules.nets import Model, X  # noqa: E402
from tests.modules.test_look import LINES, PAIRS, look  # noqa: E402

PROGRAM = type("Program", (), {"modules": {"h": "m"}})


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_near_is_within_a_hundredth_of_a_billionth_of_the_largest():
    program = trace(Model(lambda _, x: F.relu(x)), double(1.0))
    node = next(n for n in program.graph.nodes if n.op == "call_function")
    for place, near in ((0.9e-11, True), (-0.9e-11, True), (1.1e-11, False), (0.0, False)):
        assert near_tie(node, {node.args[0].name: double(2.0, 2 * place)}, NEAR) == near


def test_units_move_as_much_as_their_largest_entry_or_the_median_unit():
    moved = torch.tensor([[0.5, 0.25, 0.125], [0.0, 0.75, 0.0]]).double()
    assert _by_unit(moved, 1).tolist() == [0.5, 0.75, 0.5]
    assert _by_unit(moved, 0).tolist() == [0.5, 0.75]
    assert _by_unit(double(torch.inf, torch.nan, 0.25, 0.5), 0).tolist() == [0.0, 0.0, 0.25, 0.5]
    assert _by_unit(double(torch.inf, 0.25, 0.5), 0).tolist() == [0.25, 0.25, 0.5]
    assert _by_unit(double(torch.nan, 0.25, 0.5), 0).tolist() == [0.25, 0.25, 0.5]
    assert _block_largest(double(0.5, 0.25, 0.125), np.array([3, 1, 3])).tolist() == [0.5, 0.25, 0.5]


def test_last_coordinates_that_are_not_finite_bound_nothing():
    for odd in (torch.inf, torch.nan):
        many = torch.full((32, 2), 0.5, dtype=torch.float64)
        many[3, 0] = odd
        assert by_last(many).tolist() == [0.0, 0.5]
    assert by_last(double(torch.inf, 0.5)).tolist() == [0.5]


def spread(value, index, moved=None, level=1e-3):
    moved = torch.zeros_like(value) if moved is None else moved
    return spread_offence(PROGRAM, "h", (value, moved), (np.arange(len(value)), np.array(index)), Rule("MC2", level))


def test_the_two_that_lie_farthest_apart_in_the_worst_line_are_named():
    value = torch.zeros(3, 6).double()
    assert spread(value, [0, 0, 0, 1, 1, 2]) is None  # equal, and nothing moves
    value[1, [0, 1, 2, 5]], value[2, 2] = double(1.0, 4.0, -1.0, 99.0), 0.5
    found = spread(value, [0, 0, 0, 1, 1, 2])
    assert found[:3] == ("m", "h", "MC2")
    assert found.units == (2, 1)
    assert found.reason == "clones differ by 3.00e+00 (rounding explains 0.00e+00)"
    found = spread(value, [0, 0, 0, 1, 1, 2], torch.ones_like(value) / 64)
    assert found.reason == "clones differ by 3.00e+00 (rounding explains 1.00e-03)"
    value[0, 4] = torch.nan
    assert spread(value, [0, 0, 0, 1, 1, 2]).units == (3, 4)


def difference(mine, theirs, moved, level=2.0**-50):
    c = Comparison(PROGRAM, {}, None, None, None, {}, frozenset(), level)
    return _differs(c, "h", mine, theirs, moved)


def test_the_worst_difference_from_the_base_is_told_beside_its_own_bound():
    theirs = torch.arange(4.0).double().repeat(16, 1)
    mine, moved = theirs.clone(), torch.zeros(16, 4).double()
    assert difference(mine, theirs, moved) is None
    moved[2] = double(0.0, 2.0, 1.0, 1.0)
    mine[3, 1] += 100.0
    mine[4, 2] -= 101.0
    mine[5, 3] += 0.5
    level = 1 / MARGIN
    found = difference(mine, theirs, moved, level)
    assert found == Offence("m", "h", "base", "differs from the base by 1.01e+02 (rounding explains 1.00e+00)")
    assert difference(mine, theirs, 101 * moved.clamp_min(1.0), level) is None
    few = difference(mine[:5], theirs[:5], moved[:5], level)  # of few samples all count together
    assert few.reason == "differs from the base by 1.01e+02 (rounding explains 2.00e+00)"


def test_partitions_fit_values_of_their_sizes():
    maps, mine, theirs = (np.arange(3), PAIRS), torch.zeros(3, 4), torch.zeros(3, 2)
    assert _fits(maps, mine, theirs)
    assert not _fits(None, mine, theirs)
    for a, b in (
        (mine[0], theirs),
        (mine, theirs[0]),
        (mine[:2], theirs),
        (mine, theirs[:2]),
        (mine, mine),
        (mine[:, :3], theirs),
    ):
        assert not _fits(maps, a, b)
    assert not _fits(maps[:1], mine, theirs)


@pytest.fixture(scope="module")
def clone():
    torch.manual_seed(0)
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) * s.scale))
    base.scale = nn.Parameter(torch.rand(4) + 0.5)
    return expand(base.double(), 2, example_input=X)


@pytest.mark.parametrize(("slack", "level"), [(0.0, ROUNDING), (1e-18, ROUNDING), (1e-6, 2e-6)])
def test_clones_may_differ_by_what_twice_the_deviation_of_the_weights_moves(clone, monkeypatch, slack, level):
    program, state, maps = program_of(clone, X), state_of(clone), profile_of_clone(clone)
    seen, levels = signals(program, state, [X], 3), set()
    still = Sensitivity(seen.values, seen.adjoints, seen.gradients, seen.outputs)
    monkeypatch.setattr(numeric, "spread_offence", lambda *a: levels.add(a[-1].level))
    assert cloned_offences(program, Evidence(seen, still), maps.values, maps.state, slack) == []
    assert levels == {level}
    some = {name: axes for name, axes in maps.state.items() if name != "o.bias"}  # a profile need not name all
    assert cloned_offences(program, Evidence(seen, still), maps.values, some, slack) == []


def test_a_gradient_alone_may_overflow():
    """s = 1e-200 of 1e200, times 1e200: every value and adjoint is finite, dL/ds = 1e400 is not."""
    model = Model(lambda s, x: s.o((s.a(x) * 0 + 1e200) * s.scale * 1e200)).double()
    model.scale = nn.Parameter(torch.full((4,), 1e-200, dtype=torch.float64))
    with torch.no_grad():
        model.o.weight.fill_(1.0)
    program, state = trace(model, X), state_of(model)
    found = infinite_offences(program, state, signals(program, state, [X], seed=0))
    assert found == [Offence("", "scale", "finite", "the gradient is NaN or infinite", (0,))]


@pytest.mark.parametrize(("kind", "places"), [("values", 0), ("adjoints", 1), ("gradients", 1)])
def test_minus_infinity_is_a_mask_in_values_alone(kind, places):
    model = Model(lambda s, x: s.o(torch.tanh(s.a(x)))).double()
    program, state = trace(model, X), state_of(model)
    seen = signals(program, state, [X], seed=0)
    name = "a.weight" if kind == "gradients" else next(name for name in seen.adjoints if name.startswith("tanh"))
    masked = getattr(seen, kind)[name].detach().clone()
    masked[0, 0] = -torch.inf
    found = infinite_offences(program, state, seen._replace(**{kind: getattr(seen, kind) | {name: masked}}))
    assert [o.reason for o in found] == [f"the {kind[:-1]} is NaN or infinite"] * places


def test_adjoints_that_one_side_does_not_have_are_not_compared(clone):
    torch.manual_seed(0)
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)) * s.scale))
    base.scale = nn.Parameter(torch.rand(4) + 0.5)
    base.double()
    program, reference = program_of(clone, X), program_of(base, X)
    mine, theirs = signals(program, state_of(clone), [X], 3), signals(reference, state_of(base), [X], 3)
    moved = numeric.sensitivity(reference, state_of(base), [X], theirs, 3)
    pairs = numeric.aligned(program, reference)
    c = Comparison(program, pairs, mine, theirs, moved, profile_of_clone(clone).values, frozenset(), ROUNDING)
    assert base_offence(c) is None
    other = {name: 2 * t for name, t in mine.adjoints.items()}
    last = [name for name in pairs if name in other][-1]
    assert base_offence(c._replace(clone=mine._replace(adjoints=other))).node == last
    assert base_offence(c._replace(clone=mine._replace(adjoints={}))) is None
    assert base_offence(c._replace(clone=mine._replace(adjoints=other), base=theirs._replace(adjoints={}))) is None
    rescaled = c._replace(clone=mine._replace(adjoints=other), rescaled=frozenset({last}))
    assert base_offence(rescaled).node != last


# --- one pass ---------------------------------------------------------------------------------------------------------


def test_a_batch_near_a_kink_is_told_though_all_is_clear():
    base = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        base[0].weight[2], base[0].bias[2] = 0.0, 1e-13
    clone = expand(base, 2, example_input=X)
    found = certificate(clone, base, example_input=X)
    assert found
    (place,) = found.near_ties
    assert place.startswith("1")
    with torch.no_grad():
        base[0].bias[2] = 1.0
    assert certificate(expand(base, 2, example_input=X), base, example_input=X).near_ties == ()


def test_weights_are_no_values_that_must_be_equal_on_clones():
    found, _, state = look(h=(LINES, PAIRS))
    assert float((state["a.weight"][0] - state["a.weight"][1]).detach().abs().max()) > 0.1
    weight = next(n for n, name in found.program.state.items() if name == "a.weight")
    other, _, _ = look(h=(LINES, PAIRS), **{weight: (PAIRS, np.arange(5))})
    assert other.clones == pytest.approx(1 / 3)


def test_a_buffer_may_hold_minus_infinity_and_a_parameter_may_not():
    model = Model(lambda s, x: s.o(s.a(x)))
    model.mask = nn.Buffer(double(-torch.inf, 0.0))
    program = trace(model, X.float())
    for name, value, finite in (
        ("mask", -torch.inf, True), ("mask", torch.inf, False), ("mask", torch.nan, False),
        ("a.bias", -torch.inf, False), ("a.bias", torch.nan, False), ("a.bias", 0.0, True),
    ):  # fmt: skip
        with torch.no_grad():
            model.mask[0], model.a.bias[1] = 0.0, 0.0
            state_of(model)[name][0] = value
            assert survey._Look(program, state_of(model), {}, None, entries=False).finite == finite
            state_of(model)[name][0] = 0.0


def test_small_gradients_are_told_from_their_own_size_or_their_terms():
    found, name, state = look()
    found.gradient(id(state["a.weight"]), 0.01 * torch.tensor([[1.0], [3.0], [1.0], [1.0]]).double().repeat(1, 5))
    assert found.clones == pytest.approx(2 / 3)
    found, name, state = look()
    found.adjoint(name, torch.full((3, 4), 0.01).double())
    found.gradient(id(state["a.bias"]), double(1e-9, 2e-9, 1e-4, 1e-4))
    assert found.clones == pytest.approx(1e-9 / (0.01 * 3**0.5))
    assert found.loose == {}


def test_terms_that_are_not_finite_count_as_none():
    for odd in (torch.nan, torch.inf, -torch.inf):
        assert survey._terms(torch.tensor([[odd, 3.0, 0.5]]).double(), 3) == 0.5
        assert survey._terms(torch.tensor([[odd, 3.0, odd]]).double(), 3) == 0.0
    assert survey._terms(double(1.0, 2.0), 2) == 0.0
    assert survey._terms(torch.ones(4, 2), 4) == pytest.approx(2**0.5)
    assert survey._terms(torch.ones(2, 3, 4, 5), 4) == 0.0  # no axis of channels


def test_entries_are_loose_that_differ_by_more_than_a_tenth_of_the_first():
    for values, right in (
        ((10.0, 11.0), 0.0),
        ((10.0, 11.5), 1.5),
        ((10.0, 8.5), 1.5),
        ((0.0, 0.0), 0.0),
        ((0.0, 1e-9), 1e-9),
    ):
        assert survey.loose(double(*values), (np.array([0, 0]),)) == right
        assert survey.loose(double(*values), (np.array([0, 1]),)) == 0.0
        assert survey.loose(double(*values)[None], (np.arange(1), np.array([0, 0]))) == right
    assert survey.loose(double(1.0, 2.0, 5.0, 9.0), (np.array([0, 0, 1, 1]),)) == 4.0
    assert survey.loose(double(1.0, 2.0), None) == 0.0
    assert survey.loose(torch.zeros(0, 2), (np.arange(0), np.array([0, 0]))) == 0.0


def test_inputs_are_data_whatever_they_are():
    """A number and a tensor that requires a gradient: no adjoint of theirs is asked for, none is left behind."""
    x = X.clone().requires_grad_()
    model = Model(lambda s, x, n: s.o(torch.tanh(s.a(x)) * n)).double()
    program, state, told = trace(model, (X, 3)), state_of(model), []
    watch = survey._Watch(lambda *_: None, lambda: None, lambda name, _: told.append(name), lambda *_: None)
    (output,) = survey._passed(program, state, [x, 3], 1, watch)
    torch.testing.assert_close(output, model(X, 3).detach())
    assert not output.requires_grad
    assert told
    assert not set(told) & set(program.user_inputs)
    seen = signals(program, state, [x, 3], seed=1)
    torch.testing.assert_close(seen.outputs[0], output)
    assert not set(seen.adjoints) & set(program.user_inputs)
    assert x.grad is None


def test_an_opened_weight_is_a_copy_though_it_has_the_precision_already():
    parameter = torch.arange(12.0).double()[6:].reshape(2, 3)  # it lies behind others
    live, opened = survey._Live(), parameter.to(torch.float64, copy=True)
    live.add(opened, parameter)
    kept = live.pack(opened[1])
    assert kept[0] is parameter
    assert live.unpack(kept).tolist() == [9.0, 10.0, 11.0]
    weight = survey._Weight(nn.Parameter(parameter), lambda _: None, live)
    found = weight.open()
    assert torch.equal(found, parameter)
    assert found.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr()
