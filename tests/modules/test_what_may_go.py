"""Which units a compression may take out and why others stay, of width classes, roles and verdicts that are written
down."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.metrics.watch import Layer as Seen  # noqa: E402
from lop_theory.modules import compress, detect, merge  # noqa: E402
from lop_theory.modules.axes import Axes  # noqa: E402
from lop_theory.modules.compression import (  # noqa: E402
    _alone,
    _clone_steps,
    _constant_steps,
    _constants,
    _first,
    _known,
    _leaf,
    _merge_steps,
    _untried,
    _why_constants_stay,
)
from lop_theory.modules.detection import Detection, Layer  # noqa: E402
from lop_theory.modules.verdicts import Block  # noqa: E402
from tests.modules.planted import ROWS  # noqa: E402
from tests.modules.test_compress import Net, net  # noqa: E402

ALONE = "something else than linear layers reads it, or other values share its width"
H = Layer(
    "h", "relu", 4, (0, 1, 2, 3), (0, 1, 2, 3), 0.0, None, (), (), (), (), kind="activation", weight=("a.weight", 0)
)
A = H._replace(module="a", operator="linear", kind="sum")
READERS = (
    Seen("b", "linear", "sum", -1, ("b.weight", 0), 2, "h", plainly=True),
    Seen("c", "linear", "sum", -1, ("c.weight", 0), 3, "h", plainly=True),
    Seen("b", "relu", "activation", -1, ("b.weight", 0), 2, "", plainly=True),
    Seen("z", "linear", "sum", -1, ("z.weight", 0), 2, "g", plainly=True),
)


def structure(**changes):
    """Units of ``a`` that ``b`` and ``c`` sum over; ``z`` reads others."""
    plan = Axes()
    leaf, out, other = plan.free(4), plan.free(2), plan.free(3)
    axes = {
        "a.weight": (leaf, plan.new(3)), "a.bias": (leaf,), "b.weight": (out, leaf), "c.weight": (plan.new(5), leaf),
        "z.weight": (out, other),
    }  # fmt: skip
    roles = SimpleNamespace(
        owner={name: name for name in axes},
        summed={"b.weight": {leaf}, "c.weight": {leaf, other}, "z.weight": {other}},
        uses={"b.weight": 1, "c.weight": 1, "z.weight": 2, "": 3},
    )
    classes = {axis: np.arange(plan.size(axis)) for dims in axes.values() for axis in dims}
    classes |= {leaf: np.array([0, 1, 0, 1]), other: np.array([0, 0, 1])}
    known = SimpleNamespace(plan=plan, axes=axes, roles=roles, classes=classes, leaf=leaf, out=out, other=other)
    for name, value in changes.items():
        setattr(known.roles, name, value(known) if callable(value) else value)
    return known


def detection(*layers, seen=READERS):
    return SimpleNamespace(layers=layers, seen=seen)


class Readers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.z = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 5), nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.b.weight.copy_(torch.tensor([[0.0, 3.0, 0.0, 1.0], [0.0, 4.0, 0.0, 1.0]]))
            self.c.weight.copy_(torch.tensor([[0.0, 0.0, 2.0, 1.0]] + [[0.0] * 4] * 4))


def test_the_width_class_of_units_that_are_one():
    known = structure()
    assert _leaf(H, known) == known.leaf
    assert _leaf(H._replace(weight=None), known) is None
    assert _leaf(H._replace(units=5), known) is None
    assert _leaf(H._replace(weight=("b.weight", 1)), known) == known.leaf
    known.plan.split(known.leaf, [2, 2])
    assert _leaf(H, known) is None


def test_units_are_replaced_by_multiples_where_linear_layers_alone_read_them():
    assert _alone(H, detection(), structure()) == ""
    assert _alone(H._replace(units=5), detection(), structure()) == "its units are a compound of several widths"
    b, c, act, z = READERS
    for seen in (
        (b,), (c,), (b, c._replace(reads="g")), (b, c, z._replace(reads="h")), (b, c._replace(plainly=False)),
        (b, c._replace(operator="conv1d")), (b, c._replace(weight=None)), (b, c._replace(kind="activation")),
    ):  # fmt: skip
        assert _alone(H, detection(seen=seen), structure()) == ALONE
    assert _alone(H, detection(seen=(b, c, act._replace(reads="h"))), structure()) == ""
    for changes in ({"summed": {}}, {"uses": {"b.weight": 1, "c.weight": 2}}, {"uses": {"b.weight": 2, "c.weight": 1}}):
        seen = () if "summed" in changes else READERS
        assert _alone(H, detection(seen=seen), structure(**changes)) == ALONE
    known = structure(
        owner={**{n: n for n in "xyz"}, "b.weight": "c.weight", "c.weight": "c.weight", "z.weight": "b.weight"}
    )
    assert _alone(H, detection(), known) == ALONE  # tied to what is not of the class


def test_averages_and_fixed_widths_keep_units():
    known = structure()
    known.plan.average(known.other)
    assert _alone(H, detection(), known) == ""
    known.plan.average(known.leaf)
    assert _alone(H, detection(), known) == ALONE
    known = structure()
    known.plan.rigid(known.leaf)
    assert _alone(H, detection(), known) == ALONE


def test_constants_are_units_of_one_value_and_relus_that_never_move():
    verdicts = (Block("constant", (1, 3), "r", values=(0.5, 0.0)), Block("near", (0, 2), "r"), Block("dead", (2,), "r"))
    layer = H._replace(verdicts=verdicts, dead=(0, 2), frozen=(2, 3))
    assert _constants(layer) == {1: 0.5, 3: 0.0, 2: 0.0}
    assert _constants(layer._replace(operator="tanh")) == {1: 0.5, 3: 0.0}
    assert _constants(H) == {}


def constant_layer(values, dead=(), frozen=()):
    block = Block("constant", tuple(values), "r", values=tuple(values.values()))
    return H._replace(verdicts=(block,) if values else (), dead=dead, frozen=frozen)


def test_why_constants_stay():
    model = Readers()
    for layer, reason in (
        (constant_layer({1: 0.5}), ""), (constant_layer({1: 0.5, 2: 1.0, 3: 0.0}), ""),
        (constant_layer({0: 0.5, 1: 1.0, 2: 1.0, 3: 0.0}), "no unit of the layer moves"),
        (constant_layer({0: 0.5, 1: 1.0}, dead=(2, 3)), "no unit of the layer moves"),
        (constant_layer({0: 0.5, 1: 1.0}, dead=(1, 2)), ""), (constant_layer({0: 0.5}, dead=(0, 1, 2)), ""),
    ):  # fmt: skip
        assert _why_constants_stay(layer, detection(), structure(), model) == reason
    assert _why_constants_stay(constant_layer({1: 0.5}), detection(seen=()), structure(), model) == ALONE
    model.c.bias = None
    biased = "a layer that reads it has no bias"
    for values, reason in (({1: 0.5, 2: 0.0}, biased), ({1: 0.0, 2: 0.5}, biased), ({1: 0.0, 2: 0.0}, "")):
        assert _why_constants_stay(constant_layer(values), detection(), structure(), model) == reason


def test_constants_go_into_the_first_unit_that_moves():
    known, model = structure(), Readers()
    (step,) = _constant_steps(constant_layer({1: 0.5, 3: 2.0}, dead=(0,)), detection(), known, model)
    assert (step.layer, step.axis, step.leaf, step.bound) == ("h", known.leaf, known.leaf, 0.0)
    assert step.target.tolist() == [0, 2, 2, 2]
    assert step.gain.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert step.shift.tolist() == [0.0, 0.5, 0.0, 2.0]
    (step,) = _constant_steps(constant_layer({0: 0.5}), detection(), known, model)
    assert step.target.tolist() == [1, 1, 2, 3]
    assert _constant_steps(H, detection(), known, model) == []
    assert _constant_steps(constant_layer({1: 0.5}), detection(seen=()), known, model) == []


def test_a_step_a_width_class_named_by_the_layer_of_its_units():
    known = structure()
    assert _first(np.array([2, 0, 2, 1])).tolist() == [0, 1, 0, 3]
    for layers, names in (
        ((A,), ["a", "z"]), ((H,), ["a", "z"]), ((H._replace(module="late"), A._replace(weight=None)), ["a", "z"]),
        ((A._replace(module="own"),), ["own", "z"]), ((A._replace(module="own"), A), ["own", "z"]),
        ((A._replace(module="zz", weight=("z.weight", 1)),), ["zz", "a"]),
    ):  # fmt: skip
        steps = _clone_steps(detection(*layers), known)
        assert [s.layer for s in steps] == names
    own = next(s for s in steps if s.leaf == known.leaf)
    assert (own.axis, own.bound) == (known.leaf, 0.0)
    assert own.target.tolist() == [0, 1, 0, 1]
    assert own.gain.tolist() == [1.0] * 4
    assert own.shift.tolist() == [0.0] * 4
    parts = known.plan.split(known.leaf, [2, 2])
    known.classes |= {parts[0]: np.arange(2), parts[1]: np.zeros(2, dtype=int)}
    (step, _) = _clone_steps(detection(A), known)
    assert (step.axis, step.leaf) == (known.leaf, known.plan.find(parts[1]))


def test_layers_for_which_there_is_no_step_say_why():
    known, model = structure(), Readers()
    cloned = A._replace(blocks=(0, 0, 1, 2))
    equal = "units equal on this data, not by their weights"
    for layer, told in (
        (cloned, {"a": equal}), (A, {}), (cloned._replace(kind="activation"), {}), (cloned._replace(weight=None), {}),
    ):  # fmt: skip
        assert _untried(detection(layer), known, model, []) == told
    assert _untried(detection(cloned), known, model, [SimpleNamespace(leaf=known.leaf)]) == {}
    assert _untried(detection(cloned), known, model, [SimpleNamespace(leaf=known.other)]) == {"a": equal}
    constant = constant_layer({0: 0.5, 1: 1.0, 2: 1.0, 3: 0.0})
    assert _untried(detection(constant), known, model, []) == {"h": "constant units: no unit of the layer moves"}
    assert _untried(detection(constant_layer({0: 0.5})), known, model, []) == {}
    assert _untried(detection(H, seen=()), known, model, []) == {}


def test_merged_units_are_multiples_with_a_bound_of_what_their_readers_lose():
    known, model = structure(), Readers()
    near = Block("near", (0, 1), "r", 0.1, (1.0, 2.0), None, residuals=(0.0, 0.5))
    twin = Block("twin", (1, 3), "r", factors=(1.0, -3.0), residuals=(0.0, 0.25))
    gated = Block("near", (2, 3), "a gated unit", 0.1, (1.0, 9.0), None, residuals=(0.0, 9.0))

    def steps(*blocks, seen=READERS):
        return _merge_steps(H._replace(verdicts=blocks), detection(seen=seen), known, model)

    (step,) = steps(near, gated, Block("dead", (2,), "r"))
    assert (step.layer, step.axis, step.leaf) == ("h", known.leaf, known.leaf)
    assert step.target.tolist() == [0, 0, 2, 3]
    assert step.gain.tolist() == [1.0, 2.0, 1.0, 1.0]
    assert step.shift.tolist() == [0.0] * 4
    assert step.bound == pytest.approx(5 * 0.5)  # ‖(3, 4)‖ of b; of c none
    (step,) = steps(near, twin)
    assert step.target.tolist() == [0, 0, 2, 0]
    assert step.gain.tolist() == [1.0, 2.0, 1.0, -6.0]
    assert step.bound == pytest.approx(5 * 0.5 + 2**0.5 * (0.25 + 3 * 0.5))
    (step,) = steps(Block("near", (3, 2), "r", 0.1, (1.0, 0.5), None, residuals=(0.0, 4.0)))
    assert step.target.tolist() == [0, 1, 3, 3]
    assert step.bound == pytest.approx(2 * 4.0)  # of c, which loses most
    assert steps(gated, Block("dead", (2,), "r")) == steps() == steps(near, seen=()) == []


def test_a_detection_is_of_the_model_that_it_is_used_for():
    model = net()
    found = detect(model, ROWS)
    assert _known(model, found).axes.keys() == dict(model.named_parameters()).keys()
    other = net()
    other.a = nn.Linear(4, 7).double()
    with pytest.raises(InvalidInput, match=r"^detection='a.weight': is of another model"):
        _known(other, found._replace(structure=_known(model, found)))
    other.a = None
    with pytest.raises(InvalidInput, match=r"^detection='a.weight': is of another model"):
        _known(other, found._replace(structure=_known(model, found)))
    renamed = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for function in (compress, merge):  # what it found without a structure, too
        with pytest.raises(InvalidInput, match=r"^detection='a.weight': is of another model"):
            function(renamed, found._replace(structure=None))
    known = _known(model, found)
    assert _known(model, found._replace(structure=known)) is known
    for function, name, given in ((compress, "model", (3, found)), (merge, "detection", (model, 3))):
        with pytest.raises(InvalidInput, match=f"^{name}="):
            function(*given)
    assert isinstance(found, Detection)


def test_what_is_compressed_must_give_the_same_outputs_and_what_is_merged_need_not():
    model = net()
    with torch.no_grad():
        model.a.weight[3] = model.a.weight[0] + 1e-3 * torch.tensor([1.0, -1.0, 1.0, 0.5])
        model.a.bias[3] = model.a.bias[0]
        model.b.bias[2] = 50.0
    found = detect(model, ROWS)
    small = merge(model, found)
    assert small.removed == {"relu": (3,)}
    assert 1e-10 < small.difference < 1e-2
    assert small.unread == ()
    exact = compress(model, found)
    assert exact.removed == {"tanh": (2,)}
    assert exact.difference < 1e-10
    assert (exact.scaled, exact.bounds, exact.kept) == ({}, {}, {})
    known = _known(model, found)
    # a step that is not exact is taken back, and says so
    lying = found._replace(structure=known._replace(classes={
        axis: np.zeros(len(b), dtype=int) if len(b) == 8 else b for axis, b in known.classes.items()}))  # fmt: skip
    back = compress(model, lying)
    assert "a" not in back.removed
    assert "a" in back.kept
    assert isinstance(back.model, Net)
