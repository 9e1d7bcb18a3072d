"""What an optimizer's state and options say of clones, number by number: tolerances, what entries are divided by, which
two are named, which options nobody here can read."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Profile  # noqa: E402
from lop_theory.modules.conditions import Offence, clone_pair, pair_of  # noqa: E402
from lop_theory.modules.optimizer import (  # noqa: E402
    UNKNOWN,
    _apart,
    _array,
    _Clones,
    _divisor,
    _entries_apart,
    _farthest,
    _tolerance,
    optimizer_offences,
)
from lop_theory.modules.steps import Step  # noqa: E402
from lop_theory.modules.training import TrainingRule, _decays, step_offences, training_rule  # noqa: E402

PAIRS, THREE = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0])
ROWS = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def clones(*blocks, none=0.0, sums=False, optimizer="Adam", **group):
    return _Clones(Profile({}, {}), blocks, Step(optimizer, group, none), sums)


def test_moments_have_a_hundred_tolerances_of_a_weight_and_a_tenth_at_most():
    found = {d: _tolerance(d) for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)}
    assert list(found.values()) == pytest.approx([1e-7, 1e-2, 0.1, 0.1, 1e-2], rel=1e-12)
    assert _tolerance(torch.complex128) == pytest.approx(1e-7, rel=1e-12)
    assert _tolerance(torch.float8_e4m3fn) == 0.1
    assert _tolerance(torch.int64) is None
    assert _tolerance(torch.uint8) is None


def test_arrays_are_of_double_precision():
    assert _array(torch.ones(2)).dtype == np.float64
    assert _array(torch.ones(2) * 1j).dtype == np.complex128
    assert _array(torch.tensor([3])).tolist() == [3.0]


def test_what_an_entry_is_divided_by():
    """|g| of Adam and RMSprop is the root of the mean square; of Adamax it is kept as it is; of Rprop a sign counts."""
    four, moment = torch.tensor([4.0, 9.0]), torch.tensor([-1.0, 1.0])
    for key, state, right in (
        ("exp_avg", {"exp_avg_sq": four}, [2.0, 3.0]), ("exp_avg", {"exp_inf": four}, [4.0, 9.0]),
        ("grad_avg", {"square_avg": four}, [2.0, 3.0]), ("prev", {"exp_avg_sq": four}, 0.0),
        ("exp_avg", {"exp_avg_sq": 4.0}, 0.0), ("exp_avg", {}, 0.0), ("exp_avg_sq", {}, None),
    ):  # fmt: skip
        found = _divisor(key, {key: moment, **state})
        assert (found is None) if right is None else (np.asarray(found).tolist() == right)
    assert _divisor("exp_avg_sq", {"exp_avg_sq": torch.tensor([0.0, 2.0])}) == 0.0
    assert _divisor("exp_avg_sq", {"exp_avg_sq": torch.tensor([-1.0, -2.0])}) is None
    assert _divisor("x", {"x": four * 1j}) is None
    assert _divisor("x", {"x": [four]}) is None
    assert _divisor("x", {"x": four.numpy()}) is None


def test_single_entries_may_be_off_by_a_tenth_of_themselves_and_their_divisor():
    def said(b, divisor, **of):
        array = np.array([[1.0, 1.0], [b, 1.0], [5.0, 6.0], [5.0, 6.0]])
        return _entries_apart("exp_avg", array, divisor, clones(PAIRS, np.arange(2), **of))

    reason = f"single entries of exp_avg differ between clones, or are rounding: {UNKNOWN}"
    assert said(1.2, 0.0) == ""  # 0.1 from the mean 1.1
    assert said(1.24, 0.0) == reason
    assert said(1.24, 0.1) == ""
    assert said(1.5, np.full((4, 2), 1.3)) == ""
    assert said(1.5, np.full((4, 2), 1.1)) == reason
    assert said(9.0, None) == ""
    assert said(-1.0, 0.0) == reason
    assert said(-1.0, 10.0) == ""  # as far apart as the limit
    assert said(1.24, 0.0, none=1e-3, eps=1.0, lr=1e-3, betas=(0.9, 0.99)) == ""  # 1e-3 · (1 − 0.9)² / 1e-3 = 0.01


def test_clones_may_be_off_by_the_tolerance_of_the_largest_number_of_a_unit():
    def said(array, tolerance=0.1, **of):
        return _apart("m", np.array(array), tolerance, clones(np.arange(2), PAIRS, **of))

    assert said([[1.0, 1.0, 5.0, 5.0], [2.0, 2.0, 0.0, 0.0]]) == ("", ())
    assert said(np.zeros((2, 4))) == ("", ())
    near, far = [[4.0, 4.0, 5.0, 5.0], [1.0, 1.75, 0.0, 0.0]], [[4.0, 4.0, 5.0, 5.0], [1.0, 1.0, 1.0, 3.0]]
    assert said(near) == ("", ())  # 0.375 from the mean, of units as large as 4
    assert said(near, 0.09) == ("m differs between clones by up to 3.75e-01", (0, 1))
    assert said(far) == ("m differs between clones by up to 1.00e+00", (2, 3))
    reason, units = said([[0.0, 1.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]], None)
    assert (reason, units) == (f"m differs between clones by up to 5.00e-01, in whole numbers: {UNKNOWN}", (0, 1))
    assert said(np.zeros((2, 1))) == ("", ())  # of one column for all
    assert said(np.zeros((2, 0))) == ("", ())
    # what a step makes nothing of; of codes nothing is known
    rounding = {"none": 1e-3, "eps": 1.0, "lr": 1e-3, "betas": (0.5, 0.9)}
    array, small = np.array([[0.0, 0.3, 5.0, 5.0]]), clones(np.arange(1), PAIRS, **rounding)
    assert _apart("exp_avg", array, 0.1, small) == ("", ())  # 1e-3 · ½ · ½ / 1e-3 = ¼
    assert _apart("exp_avg", 2 * array, 0.1, small)[1] == (0, 1)
    assert _apart("exp_avg", array, None, small)[1] == (0, 1)


def test_state_in_the_manifold_of_weights_has_equal_sums():
    array = np.array([[1.0, 2.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0]])
    for sums, apart in ((True, False), (False, True)):
        reason, _ = _apart("m", array, 0.1, clones(np.array([0, 0]), PAIRS, sums=sums))
        assert bool(reason) == apart
    reason, units = _apart("m", array + np.array([[0, 0, 3.0, 0]] * 2), 0.1, clones(np.array([0, 0]), PAIRS, sums=True))
    assert (reason, units) == ("m differs between clones by up to 3.00e+00", (2, 3))


def test_the_two_that_are_named_are_of_one_block_and_farthest_apart():
    array = np.array([[0.0, 0.0], [50.0, 90.0], [0.0, 2.0], [0.0, -7.0]])
    apart = np.abs(array - np.array([0.0, -5 / 3]))
    apart[1] = 0
    assert _farthest(THREE, array, apart) == (3, 2)
    assert _farthest(
        np.array([0, 1, 1, 1, 1]), np.array([9.0, 1.0, 1.0, 1.0, 2.0]), np.array([0, 0.25, 0.25, 0.25, 0.75])
    ) == (4, 1)
    assert pair_of(np.array([1, 3, 4]), np.array([9.0, 5.0, -9.0, 2.0, 7.0])) == (3, 4)
    assert pair_of(np.array([1, 3, 4]), np.zeros(5)) == (1, 3)
    assert clone_pair(np.array([0, 1, 1, 0, 2])) == (0, 3)
    assert clone_pair(np.array([3, 1, 1, 1, 3])) == (1, 2)
    assert clone_pair(np.arange(3)) == ()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.o = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.o(torch.tanh(self.a(x)))


def tied(first=(1.0, 2.0, 3.0)):
    model = Tied().double()
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor([first, (1.0, 2.0, 3.0), (0.0, 1.0, 0.5), (0.0, 1.0, 0.5)]))
        model.o.weight.copy_(torch.tensor([[1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0]]))
    return model


PROFILE = Profile({"a.weight": (PAIRS, np.arange(3)), "o.weight": (np.arange(2), PAIRS)}, {})


def offences(kind, state, model=None, profile=PROFILE, **options):
    model = tied() if model is None else model
    optimizer = kind(model.parameters(), **options)
    optimizer.state.update(state(model))
    return [(o.node, o.reason) for o in optimizer_offences(model, optimizer, profile)]


def test_state_is_read_of_the_parameters_of_the_model_alone():
    stranger, nan = nn.Parameter(torch.ones(2)), torch.full((2,), math.nan)
    assert offences(torch.optim.SGD, lambda _: {stranger: {"momentum_buffer": nan}}) == []
    bad = [("a.weight", "momentum_buffer is NaN or infinite")]
    assert offences(torch.optim.SGD, lambda m: {m.a.weight: {"momentum_buffer": nan}}) == bad


def test_state_of_no_parameter_counts_from_two_numbers_on():
    for held, told in (
        ({"count": torch.ones(())}, False), ({"count": torch.ones(1)}, False), ({"moments": torch.ones(2)}, True),
        ({"count": torch.ones(1), "moments": torch.ones(2)}, True), ({"count": 3, "name": "x"}, False),
    ):  # fmt: skip
        found = offences(torch.optim.SGD, lambda _, held=held: {"shared": held})
        assert found == ([("", f"shared is state of no parameter: {UNKNOWN}")] if told else [])


def test_a_layout_of_its_own_counts_from_two_numbers_on_where_there_are_clones():
    for profile, cloned in (
        (PROFILE, True), (Profile({"a.weight": (PAIRS, np.arange(3))}, {}), True), (Profile({}, {}), False),
        (Profile({"a.weight": (np.arange(4), np.arange(3))}, {}), False),
    ):  # fmt: skip
        for value, own in ((torch.ones(1), False), (torch.ones(2), True), (torch.ones(2, 2), True)):
            found = offences(torch.optim.SGD, lambda m, v=value: {m.o.weight: {"q": v}}, profile=profile)
            right = [("o.weight", f"q has a layout of its own: {UNKNOWN}")]
            assert found == (right if own and cloned else [])
    for value in (torch.ones(2, 1), torch.ones(1, 4), torch.ones(1, 1), torch.ones(2, 4)):
        assert offences(torch.optim.SGD, lambda m, v=value: {m.o.weight: {"q": v}}) == []


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("equal", [True, False])
def test_only_sums_of_weights_that_are_not_equal_may_have_state_that_is_not(kind, equal):
    """Rows (2, 2, 2) and (1, 2, 3) have one sum over the inputs, which are one block here."""
    model = tied((2.0, 2.0, 2.0))
    if equal:
        nn.init.constant_(model.a.weight, 2.0)
    profile = Profile({"a.weight": (PAIRS, np.zeros(3, dtype=int))}, {})
    buffer = torch.tensor([[1.0, -2.0, 1.0], [-1.0, 2.0, -1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]).double()
    key = "momentum_buffer" if kind is torch.optim.SGD else "exp_avg"
    found = offences(kind, lambda m: {m.a.weight: {key: buffer}}, model, profile, lr=0.1)
    alike = kind is torch.optim.SGD and not equal
    assert bool(found) != alike


def test_a_parameter_of_no_profile_has_no_clones():
    values = torch.arange(8.0).reshape(2, 4)
    profile = Profile({"a.weight": (PAIRS, np.arange(3))}, {})
    assert offences(torch.optim.SGD, lambda m: {m.o.weight: {"momentum_buffer": values}}, profile=profile) == []
    assert offences(torch.optim.SGD, lambda m: {m.o.weight: {"momentum_buffer": values}}) != []


# --- the rule of a training run ---------------------------------------------------------------------------------------


UNTIED = Offence("m", "m.weight", "optimizer", "exp_avg differs")
NOT_READ = Offence("m", "m.bias", "optimizer", f"q: {UNKNOWN}")
RULE = TrainingRule("Adam", "", (NOT_READ, UNTIED), ("b.weight", "c.weight"))


def test_what_parts_units_and_what_is_not_known():
    assert RULE.parting(["m.bias", "m.weight"]) == "the state of Adam for m.weight is not tied: exp_avg differs"
    assert RULE.parting(["m.bias"]) == ""
    decay = "Adam divides the decay of c.weight, whose weights differ within the block"
    assert RULE.parting(["m.bias", "c.weight"]) == decay
    assert RULE.parting([]) == RULE.parting(["z"]) == ""
    assert RULE.not_known() == f"m.bias: q: {UNKNOWN}"
    assert RULE._replace(unknown="odd").not_known() == "odd"
    assert RULE._replace(untied=(UNTIED,)).not_known() == ""


def unknown(kind=torch.optim.Adam, change=lambda _: None, **options):
    model = tied()
    optimizer = kind(model.parameters(), **options)
    change(optimizer.param_groups[0])
    return training_rule(model, optimizer, PROFILE).unknown


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("lr", torch.tensor(0.1), ""),
        ("lr", torch.tensor([0.1]), ""),
        ("weight_decay", torch.tensor([0.1, 0.1]), "weight_decay has several values: which units have which"),
        ("betas", (0.9, math.nan), "betas is NaN or infinite: what becomes of clones"),
        ("betas", (math.inf, 0.9), "betas is NaN or infinite: what becomes of clones"),
        ("eps", torch.tensor([0.1, math.nan]), "eps is NaN or infinite: what becomes of clones"),
        ("name", "text", ""),
    ],
)
def test_options_are_numbers(option, value, said):
    assert unknown(change=lambda group: group.update({option: value})).startswith(said)
    assert bool(unknown(change=lambda group: group.update({option: value}))) == bool(said)


def test_hooks_are_named_by_their_parameter():
    model = tied()
    rule = training_rule(model, torch.optim.Adam(model.parameters()), PROFILE)
    assert rule == TrainingRule("Adam", "", (), ())
    model.o.weight.register_hook(lambda g: g)
    rule = training_rule(model, torch.optim.Adam(model.parameters()), PROFILE)
    assert rule.unknown == "o.weight has a hook on its gradient: what it does to clones is not known"


def uneven(tolerance=None, profile=None, model=None, **options):
    """The first two rows have one sum, and not the same entries."""
    model = tied((2.0, 2.0, 2.0)) if model is None else model
    profile = Profile({"a.weight": (PAIRS, np.zeros(3, dtype=int))}, {}) if profile is None else profile
    optimizer = torch.optim.Adam(model.parameters(), 0.1, **options)
    return training_rule(model, optimizer, profile, tolerance).uneven


def test_coupled_decay_is_uneven_on_clones_whose_weights_differ():
    assert uneven(weight_decay=0.1) == ("a.weight",)
    assert uneven() == uneven(weight_decay=0.0) == uneven(weight_decay=0.1, decoupled_weight_decay=True) == ()
    assert uneven(weight_decay=0.1, profile=Profile({}, {})) == ()
    assert uneven(weight_decay=0.1, model=tied(), profile=PROFILE) == ()
    close = tied((1.0, 2.0, 3.0 + 1e-6))
    assert uneven(weight_decay=0.1, model=close, profile=PROFILE) == ("a.weight",)  # to 1e-9 in float64
    assert uneven(1e-5, weight_decay=0.1, model=close, profile=PROFILE) == ()
    assert uneven(0.0, weight_decay=0.1, model=tied(), profile=PROFILE) == ()
    partly = torch.tensor([0.0, 0.1])
    model = tied((2.0, 2.0, 2.0))
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    optimizer.param_groups[0]["weight_decay"] = partly
    profile = Profile({"a.weight": (PAIRS, np.zeros(3, dtype=int))}, {})
    assert training_rule(model, optimizer, profile).uneven == ("a.weight",)
    model.other = model.a
    shared = Profile({name: profile.state["a.weight"] for name in ("a.weight", "other.weight")}, {})
    assert uneven(weight_decay=0.1, model=model, profile=shared) == ("a.weight", "other.weight")


def test_steps_of_gradients_that_are_rounding_are_not_known():
    model = tied()
    sgd, rprop = (kind(model.parameters(), 0.1) for kind in (torch.optim.SGD, torch.optim.Rprop))
    assert step_offences(model, rprop, PROFILE, {"a.weight": 0.0}) == []
    (found,) = step_offences(model, rprop, PROFILE, {"a.weight": 1e-300, "o.weight": 0.0})
    assert (found.module, found.node, found.condition) == ("a", "a.weight", "optimizer")
    assert found.reason == "of its gradient, which is rounding, what Rprop makes is not known"
    assert step_offences(model, sgd, PROFILE, {"a.weight": 1e-12}) == []

    class Own(torch.optim.SGD):
        pass

    (found,) = step_offences(model, Own(model.parameters(), 0.1), PROFILE, {})
    assert (found.module, found.node) == ("", "")
    assert found.reason == "whether Own treats all units alike is not known"
    model = tied((2.0, 2.0, 2.0))
    adam = torch.optim.Adam(model.parameters(), 0.1, weight_decay=0.1)
    (found,) = step_offences(model, adam, Profile({"a.weight": (PAIRS, np.zeros(3, dtype=int))}, {}), {})
    assert found.reason == "Adam divides the decay of a.weight, whose weights differ within the block"


def test_a_group_without_a_decay_has_none():
    for group, decays in (
        ({}, False), ({"weight_decay": 0}, False), ({"weight_decay": 0.1}, True),
        ({"weight_decay": torch.tensor([0.0, 0.1])}, True), ({"weight_decay": torch.zeros(2)}, False),
    ):  # fmt: skip
        assert _decays(group) == decays
