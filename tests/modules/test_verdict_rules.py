"""Verdicts from evidence that is written down: inert units, units equal on the data, twins, what an optimizer does."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.metrics.watch import Layer as Seen  # noqa: E402
from lop_theory.modules import judge  # noqa: E402
from lop_theory.modules.detection import Layer  # noqa: E402
from lop_theory.modules.frozen import Interval  # noqa: E402
from lop_theory.modules.judge import (  # noqa: E402
    Evidence,
    _equal,
    _fitted,
    _inert,
    _near,
    _own_weights,
    _same_incoming,
    _told_equal,
    _twins,
    _why_trapped,
)
from lop_theory.modules.verdicts import Block  # noqa: E402

ALONE = Layer("h", "relu", 4, (0, 1, 2, 3), (0, 1, 2, 3), 0.0, None, (), (), (), (), kind="activation")
SUM = ALONE._replace(module="a", operator="linear", kind="sum", weight=("a.weight", 0))
CLEAR = Interval(-3.0, -1.0, (-float("inf"), 0.0))


def gathered(samples=100, mean=(), small=None):
    slopes = None if small is None else SimpleNamespace(small=torch.tensor(small))
    return SimpleNamespace(summed=lambda: SimpleNamespace(samples=samples, mean=torch.tensor(mean)), slopes=slopes)


def evidence(model=None, seen=(), of=None, certified=None, rule=None):
    return Evidence(model, seen, {"h": of or gathered(), "a": of or gathered()}, 1e-6, certified or {}, rule)


def said(blocks):
    return [(b.kind, b.units, b.reason) for b in blocks]


def test_inert_units_are_said_once_the_strongest_first():
    layer = ALONE._replace(dead=(0, 1), constant=(2, 3))
    found = _inert(layer, evidence(of=gathered(mean=[0.0, 0.0, 1.5, 2.0]), certified={"h": {1: CLEAR, 3: CLEAR}}))
    frozen = "pre-activation in [-3, -1] whatever other units do"
    assert said(found) == [
        ("frozen", (1,), frozen), ("frozen", (3,), frozen), ("dead", (0,), "zero on more than 95 % of 100 samples"),
        ("constant", (2,), "one value on all of 100 samples"),
    ]  # fmt: skip
    assert found[0].interval is CLEAR
    assert found[-1].values == (1.5,)
    assert _inert(ALONE, evidence()) == []
    assert [b.kind for b in _inert(layer, evidence(of=gathered(mean=[0.0] * 4), certified={"g": {0: CLEAR}}))] == [
        "dead", "constant"
    ]  # fmt: skip


def test_saturated_units_are_above_99_per_cent_and_nothing_else():
    few = gathered(small=[99.0, 100.0, 100.0, 100.0])
    found = _inert(ALONE._replace(dead=(2,)), evidence(of=few, certified={"h": {3: CLEAR}}))
    assert said(found)[-1] == ("saturated", (1,), "derivative below 1e-4 on more than 99 % of 100 samples")
    assert [b.kind for b in _inert(ALONE._replace(dead=(2,), constant=(1,)), evidence(
        of=gathered(mean=[0.0] * 4, small=[0.0, 100.0, 100.0, 0.0])))] == ["dead", "constant"]  # fmt: skip
    assert _inert(ALONE, evidence(of=gathered(small=[99.0] * 4))) == []


def known(blocks, forward=None, noise=(), tolerance=1e-9):
    def all_of(index):
        return {
            "a.weight": (np.array(index), np.arange(3)),
            "a.bias": (np.array(index),),
            "o.weight": (np.arange(2), np.array(index)),
        }

    return SimpleNamespace(
        blocks=all_of(blocks), forward=all_of(blocks if forward is None else forward), noise=noise, tolerance=tolerance
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.o, self.other = nn.Linear(3, 4), nn.Linear(4, 2, bias=False), nn.Linear(2, 2)


def net(rows=((1.0, 2.0, 3.0),) * 4, bias=(0.5,) * 4, out=((1.0,) * 4,) * 2):
    model = Net().double()
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor(rows))
        model.a.bias.copy_(torch.tensor(bias))
        model.o.weight.copy_(torch.tensor(out))
    return model


READER = Seen("o", "linear", "sum", -1, ("o.weight", 0), 2, "a")


def equal(layer, group, structure, reason="", rule=None, model=None):
    model = net() if model is None else model
    return said(_equal(layer, group, evidence(model, (READER,), rule=rule), structure, reason))


def test_equal_units_that_were_not_traced_are_not_judged():
    text = "equal on 100 samples; not checked further: "
    assert equal(SUM, (0, 1), None, "it has no trace") == [("cloned", (0, 1), f"{text}it has no trace")]
    for layer in (ALONE, SUM._replace(units=5)):
        assert equal(layer, (0, 1), known([0, 0, 1, 1])) == [
            ("cloned", (0, 1), f"{text}its units are not those of one parameter")
        ]


def test_sub_blocks_are_trapped_and_their_first_units_apart():
    found = equal(SUM, (0, 1, 2, 3), known([0, 0, 1, 1]))
    assert [(kind, units) for kind, units, _ in found] == [("trapped", (0, 1)), ("trapped", (2, 3)), ("cloned", (0, 2))]
    found = equal(SUM, (1, 2, 3), known([0, 0, 1, 1]))
    assert [(kind, units) for kind, units, _ in found] == [("trapped", (2, 3)), ("cloned", (1, 2))]
    (only,) = equal(SUM, (0, 1), known([0, 0, 1, 1]))
    assert only[:2] == ("trapped", (0, 1))


def test_units_of_different_blocks_are_parted_by_their_readers_or_their_own_weights():
    by_readers = "equal on all data, but the weights that read them differ: their gradients do, and training parts them"
    structure = known([0, 1, 2, 3], [0, 0, 1, 2])
    assert equal(SUM, (0, 1), structure) == [("separating", (0, 1), by_readers)]
    for rows, bias, reason in (
        (((1.0, 2.0, 3.0),) * 4, (0.5,) * 4, None), (((1.0, 2.0, 3.0),) * 3 + ((1.0, 2.5, 3.0),), (0.5,) * 4, "rows"),
        (((1.0, 2.0, 3.0),) * 4, (0.5, 0.5, 0.5, 0.75), "bias"),
    ):  # fmt: skip
        (found,) = equal(SUM, (0, 3), known([0, 1, 2, 3]), model=net(rows, bias))
        if reason is None:
            why = "their incoming weights are equal, too, but something else tells them apart"
            assert found == ("cloned", (0, 3), f"equal on 100 samples; not checked further: {why}")
        else:
            assert found == ("separating", (0, 3), "equal on 100 samples only: their incoming weights differ")


def test_rows_are_equal_to_the_tolerance_of_the_largest_entry():
    model = net(((0.0, 0.0, 8.0), (0.0, 0.0, 8.5), (4.0, 0.0, 8.0), (0.0, 16.0, 8.5)))

    def same(units, tolerance, layer=SUM):
        return _same_incoming(layer, units, evidence(model), known([0, 1, 2, 3], tolerance=tolerance))

    assert same((0, 1), 2.0**-5)  # 0.5 of 16, which is of another row
    assert not same((0, 1), 2.0**-6)
    assert not same((0, 1, 2), 2.0**-5)
    assert same((1, 0), 2.0**-5)
    with torch.no_grad():
        model.a.bias[1] = 1.0
    assert not same((0, 1), 2.0**-5)
    model.a.bias = None
    model.a.scale = nn.Parameter(torch.arange(3.0))  # of the inputs
    model.a.grid = nn.Parameter(torch.randn(4, 2))
    model.a.sub = nn.Linear(1, 4)
    assert same((0, 1), 2.0**-5)
    columns = SUM._replace(weight=("a.weight", 1), units=3)
    assert not same((0, 2), 2.0**-5, columns)
    assert same((0, 0), 2.0**-5, columns)


def test_own_weights_are_those_of_the_layer_and_of_its_readers():
    other = Seen("other", "linear", "sum", -1, ("other.weight", 0), 3, "o")
    without = Seen("x", "bmm", "sum", -1, None, 4, "a")
    model = net()
    assert _own_weights(SUM, evidence(model, (READER, other, without))) == ["a.weight", "a.bias", "o.weight"]
    assert _own_weights(SUM, evidence(model)) == ["a.weight", "a.bias"]
    assert _own_weights(SUM._replace(module="o"), evidence(model, (READER, other))) == [
        "a.weight", "a.bias", "other.weight", "other.bias"
    ]  # fmt: skip
    model.other = model.a
    for name in ("a", "other"):
        assert _own_weights(SUM._replace(weight=(f"{name}.weight", 0)), evidence(model)) == [
            f"{name}.weight",
            f"{name}.bias",
        ]


def rule(parting=None, not_known=""):
    return SimpleNamespace(
        name="Adam", not_known=lambda: not_known, parting=lambda names: next((n for n in names if n == parting), "")
    )


def test_the_optimizer_parts_units_keeps_them_or_is_not_known():
    structure = known([0, 0, 1, 1])
    for of, kind, reason in (
        (rule("o.weight"), "separating", "weights in RE∩CE, but o.weight"),
        (rule(not_known="nothing is known"), "cloned", "weights in RE∩CE; not checked further: nothing is known"),
        (rule("o.weight", "nothing is known"), "separating", "weights in RE∩CE, but o.weight"),
        (rule("elsewhere"), "trapped", None),
    ):  # fmt: skip
        (found,) = equal(SUM, (0, 1), structure, rule=of)
        assert found[:2] == (kind, (0, 1))
        assert reason is None or found[2] == reason
    structure.blocks["elsewhere"] = (np.arange(1),)
    (found,) = equal(SUM, (0, 1), structure, rule=rule("elsewhere"))  # what it parts there may spread
    assert found == ("cloned", (0, 1), "weights in RE∩CE; not checked further: elsewhere")


NAMES = ["a.weight", "o.weight"]
TRAPPED = (
    "weights in RE∩CE to 1e-09 (Theorem A.1): no permutation-equivariant optimiser with tied "
    "state parts them without gradient noise or dropout; weights "
)
PARTED = "not block-constant: coupled L2 with an adaptive update parts them"


@pytest.mark.parametrize(
    ("rows", "out", "text"),
    [
        ([[1.0, 2, 3]] * 4, [[1.0] * 4, [2.0] * 4], "block-constant: weight decay keeps it"),
        ([[1.0, 2, 3]] * 4, [[1.0, 2, 2, 1], [1] * 4], PARTED),
        ([[1.0, 2, 3], [1, 3, 2], [1, 2, 3], [0, 4, 2]], [[1.0] * 4] * 2, PARTED),
    ],
)  # fmt: skip
def test_why_units_are_trapped(rows, out, text):
    structure = known([0, 0, 1, 1])
    found = _why_trapped(evidence(net(rows, out=out)), NAMES, structure)
    assert found == TRAPPED + text
    structure.noise = ("dropout draws", "more")
    assert _why_trapped(evidence(net(rows, out=out)), NAMES, structure) == f"{TRAPPED}{text}; dropout draws"
    with_rule = _why_trapped(evidence(net(rows, out=out), rule=rule()), NAMES, structure)
    assert with_rule == f"{TRAPPED}{text}; so it is with this Adam, whose state is tied; dropout draws"
    structure.noise = ()
    with_rule = _why_trapped(evidence(net(rows, out=out), rule=rule()), NAMES, structure)
    assert with_rule == f"{TRAPPED}{text}; so it is with this Adam, whose state is tied"


def test_weights_that_are_the_same_in_another_order_are_kept_by_decay():
    structure = known([0, 0, 1, 1])
    structure.blocks["a.weight"] = (np.array([0, 0, 1, 1]), np.array([0, 1, 1]))
    found = _why_trapped(evidence(net([[1.0, 2, 3], [1, 3, 2], [0, 4, 4], [0, 4, 4]])), ["a.weight"], structure)
    assert found == f"{TRAPPED}not block-constant: weight decay keeps it"


# --- twins and near units ---------------------------------------------------------------------------------------------


def twins(monkeypatch, factors, layer=ALONE, one_value=()):
    """Units of one block with these factors; ``one_value``: those of one nonzero value."""
    asked = []

    def blocks(_, tolerance, moving):
        asked.append((tolerance, moving.tolist()))
        return tuple(0 if m else k + 1 for k, m in enumerate(moving.tolist())), torch.tensor(factors).double()

    mask = torch.zeros(4, dtype=torch.bool)
    mask[list(one_value)] = True
    monkeypatch.setattr(judge, "twin_blocks", blocks)
    monkeypatch.setattr(judge, "one_nonzero_value", lambda _: mask)
    monkeypatch.setattr(judge, "_opposition", lambda _layer, _evidence, group: group)
    monkeypatch.setattr(judge, "_told_equal", lambda _gathered, group, tolerance: (tolerance, len(group)))
    return _twins(layer, evidence()), asked


def test_twins_are_multiples_of_one_sign_or_of_one_size(monkeypatch):
    (found,), asked = twins(monkeypatch, [2.0, 4.0, -2.0, 1.0])
    assert found[:3] == ("twin", (0, 1, 3), "one is 2 × the other (scale symmetry of relu)")
    assert found.factors == (1.0, 2.0, 0.5)
    assert (found.outgoing, found.residuals) == ((0, 1, 3), (1e-6, 3))
    assert asked == [(1e-6, [True] * 4)]
    (found,), _ = twins(monkeypatch, [2.0, -4.0, -2.0, 1.0])
    assert found.units == (0, 3)
    tanh = ALONE._replace(operator="tanh")
    (found,), _ = twins(monkeypatch, [2.0, -2.0, 2.0 + 3e-5, 2.0 - 1e-5], tanh)
    assert found[:3] == ("twin", (0, 1, 3), "one is -1 × the other (sign symmetry of tanh)")
    assert twins(monkeypatch, [2.0, -4.0, 3.0, 1.0], tanh)[0] == []
    assert twins(monkeypatch, [2.0, -4.0, -3.0, 0.0])[0] == []


def test_units_that_move_and_are_not_equal_to_an_earlier_one_may_be_twins(monkeypatch):
    layer = ALONE._replace(dead=(0,), constant=(1,))
    assert twins(monkeypatch, [1.0] * 4, layer)[1] == [(1e-6, [False, False, True, True])]
    assert twins(monkeypatch, [1.0] * 4, layer, one_value=(3,))[1] == [(1e-6, [False, False, True, False])]
    tanh = layer._replace(operator="tanh")
    assert twins(monkeypatch, [1.0] * 4, tanh, one_value=(3,))[1] == [(1e-6, [False, False, True, True])]
    equal_ones = ALONE._replace(blocks=(0, 1, 0, 0))
    assert twins(monkeypatch, [1.0] * 4, equal_ones)[1] == [(1e-6, [True, True, False, False])]


def test_only_activations_with_a_symmetry_have_twins(monkeypatch):
    for layer in (ALONE._replace(kind="gate", operator="prelu"), ALONE._replace(operator="gelu"), SUM):
        assert twins(monkeypatch, [1.0, 2.0, 3.0, 4.0], layer) == ([], [])
    assert twins(monkeypatch, [1.0, 2.0, 3.0, 4.0], ALONE._replace(operator="prelu"))[0] != []


def near(monkeypatch, layer, twins=(), spread=(2.0, 4.0, 8.0, 1.0)):
    """Units as far apart as their numbers."""
    like = SimpleNamespace(spread=torch.tensor(spread).double(), distance=lambda i, j: (j - i).abs().double())
    monkeypatch.setattr(judge, "likeness", lambda _: like)
    monkeypatch.setattr(judge, "_fitted", lambda _, group: (group, ("left", *group)))
    monkeypatch.setattr(judge, "_opposition", lambda _layer, _evidence, group: (-0.9, 2.0 + len(group)))
    return _near(layer, evidence(), list(twins))


def test_near_units_are_one_for_each_that_is_equal_or_a_twin(monkeypatch):
    layer = ALONE._replace(near_blocks=(0, 0, 0, 1))
    (found,) = near(monkeypatch, layer)
    assert found[:4] == ("near", (0, 1, 2), judge._why_near(1.0, (-0.9, 5.0)), 1.0)
    assert (found.factors, found.outgoing, found.residuals) == ((0, 1, 2), (-0.9, 5.0), ("left", 0, 1, 2))
    (found,) = near(monkeypatch, layer._replace(blocks=(0, 0, 1, 2)))
    assert found.units == (0, 2)
    (found,) = near(monkeypatch, layer, [Block("twin", (0, 2), "r")])
    assert (found.units, found.distance) == ((0, 1), 0.5)
    assert near(monkeypatch, layer, [Block("twin", (0, 1, 2), "r")]) == []
    assert near(monkeypatch, layer._replace(near_blocks=(0, 1, 1, 2)), [Block("twin", (0, 2), "r")]) == []
    first, second = near(monkeypatch, layer._replace(near_blocks=(0, 1, 0, 1)))
    assert (first.units, second.units) == ((0, 2), (1, 3))
    assert (first.distance, second.distance) == (1.0, 0.5)
    (found,) = near(monkeypatch, layer, spread=(0.0, 1.0, 1.0, 1.0))
    assert found.distance > 1e299


def test_least_squares_multiples_and_what_they_leave():
    gram = torch.tensor([[4.0, 2.0, -8.0], [2.0, 10.0, 0.0], [-8.0, 0.0, 15.5]]).double()
    asked = []
    of = SimpleNamespace(
        gram=lambda units: asked.append(units.tolist()) or gram, summed=lambda: SimpleNamespace(samples=4)
    )
    factors, left = _fitted(of, (5, 2, 7))
    assert factors == (1.0, 0.5, -2.0)
    assert left == (0.0, 1.5, 0.0)  # √(9/4); rounding below 0 is none
    assert asked == [[5, 2, 7]]


def test_how_far_a_twin_may_be_from_a_multiple(monkeypatch):
    like = SimpleNamespace(spread=torch.tensor([1.0, 2.0, 4.0]), size=torch.tensor([8.0, 16.0, 32.0]))
    monkeypatch.setattr(judge, "likeness", lambda _: like)
    assert _told_equal(SimpleNamespace(eps=2.0**-6), (2, 0), 0.5) == (4.0, 1.0)
    assert _told_equal(SimpleNamespace(eps=0.0), (1,), 0.5) == (1.0,)
