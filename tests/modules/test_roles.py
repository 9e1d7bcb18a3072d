"""What parameters do in a traced model, against what the code of the model says; how arguments are bound and values are
told to be learned; clones as modules."""

import operator
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.clone import Clone, _common_dtype, program_of, tiled  # noqa: E402
from lop_theory.modules.equitable import structure  # noqa: E402
from lop_theory.modules.interface import (  # noqa: E402
    Breaks,
    Call,
    Contraction,
    Correction,
    Operand,
    Profile,
    Resize,
)
from lop_theory.modules.movements import elements_of  # noqa: E402
from lop_theory.modules.plan import widths  # noqa: E402
from lop_theory.modules.propagation import UnsupportedOperation, bind, learned, record, sizes_of  # noqa: E402
from lop_theory.modules.roles import _moved, _moving  # noqa: E402
from lop_theory.modules.rules import RULES, rule_of  # noqa: E402
from lop_theory.modules.rules.rule_table import table  # noqa: E402
from lop_theory.modules.scale import argument_of, linear_step, moves  # noqa: E402
from lop_theory.trace import flat_inputs, state_of, trace  # noqa: E402
from tests.modules.nets import Model, X, gap, tanh  # noqa: E402


class Everything(nn.Module):
    """A dense layer, a transposed weight, a convolution, a fused weight in two parts, a table that is the output's
    weight, a scale, a shared weight, one that is not used, one behind a norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.conv, self.fused = nn.Linear(4, 6), nn.Conv1d(6, 5, 2), nn.Linear(5, 8)
        self.turned, self.scale = nn.Parameter(torch.randn(4, 7)), nn.Parameter(torch.randn(7))
        self.table, self.shared, self.idle = nn.Embedding(9, 7), nn.Linear(7, 7, bias=False), nn.Linear(2, 2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(7, 7, bias=False))

    def forward(self, x):
        h = self.conv(torch.tanh(self.a(x)).transpose(1, 2)).mean(-1)
        first, second = self.fused.weight.chunk(2)
        h = F.linear(h, first, self.fused.bias[:4]) * F.linear(h, second)
        h = torch.tanh(h @ self.turned) * self.scale + self.table(torch.arange(1))
        h = self.shared(torch.tanh(self.shared(torch.relu(h)))) + self.normed(h)
        return F.linear(h, self.table.weight)


@pytest.fixture
def found():
    return structure(Everything().double(), torch.randn(3, 5, 4, dtype=torch.float64))


DIMENSIONS = {  # along, kept
    "a.weight": ({1}, {0}), "turned": ({0}, {1}), "conv.weight": ({1}, {0}), "fused.weight": ({1}, {0}),
    "shared.weight": ({1}, {0}), "table.weight": ({1}, {0}),
}  # fmt: skip


def test_dimensions_that_sums_run_along_and_that_they_are_told_apart_along(found):
    roles = found.roles
    for name, (along, kept) in DIMENSIONS.items():
        assert roles.along[name] == along
        assert roles.kept[name] == kept
        roots = {found.plan.find(found.axes[name][dim]) for dim in along}
        if name != "fused.weight":
            assert roles.summed[name] == roots
        assert {root for _, root in roles.readers[name]} == roles.summed[name]


def test_uses_readers_and_what_enters_as_it_is(found):
    roles = found.roles
    assert {name: roles.uses[name] for name in DIMENSIONS} == {
        "a.weight": 1, "turned": 1, "conv.weight": 1, "fused.weight": 2, "shared.weight": 2, "table.weight": 1
    }  # fmt: skip
    assert {path for path, _ in roles.readers["a.weight"]} == {"a"}
    assert {path for path, _ in roles.readers["turned"]} == {""}
    assert {path for path, _ in roles.readers["shared.weight"]} == {"shared"}
    root = found.plan.find(found.axes["scale"][0])
    assert roles.entering["scale"] == {root}
    assert root in roles.entering["table.weight"]
    assert "a.weight" not in roles.entering
    assert found.plan.find(found.axes["a.bias"][0]) in roles.entering["a.bias"]
    assert roles.unread == {"idle.weight", "idle.bias"}
    assert roles.uses[""] == 1  # the weight that is computed


def test_the_first_name_of_a_tied_weight_owns_it():
    model = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 9, bias=False)).double()
    model[1].weight = model[0].weight
    roles = structure(model, torch.randint(0, 9, (3, 2))).roles
    assert dict(roles.owner) == {"0.weight": "0.weight", "1.weight": "0.weight"}
    assert roles.readers["0.weight"] == {("1", next(iter(roles.summed["0.weight"])))}
    assert roles.unread == frozenset()


# --- programs and calls -----------------------------------------------------------------------------------------------


def test_arguments_are_bound_by_name_with_their_defaults():
    program = trace(Model(lambda s, x: s.o(F.leaky_relu(s.a(x), 0.2)[:, :4])), X.float())
    nodes = {
        str(n.target).split(".")[1]: n
        for n in program.graph.nodes
        if n.op == "call_function" and "aten" in str(n.target)
    }
    assert bind(nodes["leaky_relu"])["negative_slope"] == 0.2
    assert set(bind(nodes["linear"])) == {"input", "weight", "bias"}
    assert argument_of(nodes["linear"], "weight").op == "placeholder"
    assert bind(nodes["slice"])["step"] == 1
    part = SimpleNamespace(target=operator.getitem, args=("x", 1), kwargs={})
    assert bind(part) == {"0": "x", "1": 1}
    assert sizes_of([torch.ones(2, 3), (torch.ones(1), 4)]) == [(2, 3), [(1,), 4]]


def test_values_are_learned_if_no_input_reaches_them():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.u = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(4))

        def forward(self, x):
            return x @ (self.w * self.u.exp()) + torch.ones(4) + self.u[: x.shape[1] - 1].sum()

    program = trace(Mixed(), X.float())
    recording = record(program, state_of(Mixed()), flat_inputs(program, X.float()))
    names = {n.name: str(n.target) for n in program.graph.nodes}
    own = {names[name].split(".")[1] for name in recording.learned if name in names and "aten" in names[name]}
    assert own == {"exp", "mul", "slice", "sum"}
    assert set(program.state) <= recording.learned
    assert not set(program.user_inputs) & recording.learned
    assert learned(program, recording.sizes) == recording.learned


def test_operators_that_move_elements_and_those_that_are_linear():
    program = trace(
        Model(lambda s, x: s.o(2 * s.a(x).view(-1, 2, 2).transpose(1, 2).flatten(1) / 3 * s.a(x))), X.float()
    )
    found = {n.name: (moves(n), linear_step(n)) for n in program.graph.nodes if n.op == "call_function"}
    kinds = {name.rstrip("_0123456789"): pair for name, pair in found.items()}
    assert kinds["reshape"] == kinds["transpose"] == (True, True)
    assert kinds["linear"] == (False, False)
    assert found["mul"] == found["div"] == (False, True)
    assert found["mul_1"] == (False, False)
    assert not moves(next(n for n in program.graph.nodes if n.op == "placeholder"))


def test_rules_are_found_by_overload_packet_or_name():
    aten = torch.ops.aten
    rule = RULES[aten.relu.default]
    assert rule_of(aten.relu.default, RULES) is rule
    assert rule_of(aten.relu.default, {aten.relu: 1}) == 1
    assert rule_of(aten.relu.default, {"aten.relu.default": 2}) == 2
    assert rule_of(aten.relu.default, {}) is None
    assert rule_of(operator.getitem, RULES) is None
    assert set(table(1, "relu sum.dim_IntList nothing_like_it")) == {aten.relu.default, aten.sum.dim_IntList}
    assert not any(overload._schema.is_mutable for overload in RULES if hasattr(overload, "_schema"))
    assert aten.where.self in RULES
    assert aten.where.default not in RULES
    assert aten.view.dtype not in RULES
    assert aten.repeat_interleave.self_int in RULES
    assert aten.repeat_interleave.self_Tensor not in RULES
    with pytest.raises(UnsupportedOperation, match=r"'?aten\.x'?: no cloning rule .*met at here.*rules="):
        raise UnsupportedOperation("here", "aten.x")


def test_a_call_gives_arguments_and_tensors_by_name():
    one, two = (Operand(None, (2, 3), ("p", "q"), learned=False) for _ in range(2))
    made = []
    domain = SimpleNamespace(new=lambda size: made.append(size) or f"new {size}")
    call = Call(None, {"x": one, "list": [two, 3], "n": 4, "none": None}, [(2, 3), (4,)], domain)
    assert call["x"] is one
    assert call["list.0"] is two
    assert call["list"] == [two, 3]
    assert (call.get("n"), call.get("m"), call.get("m", 7)) == (4, None, 7)
    assert call.operands() == [one, two]
    assert call.shape == (2, 3)
    assert call.fresh() == ("new 2", "new 3")
    assert call.fresh((5,)) == ("new 5",)
    assert Call(None, {}, (7,), domain).shape == (7,)
    assert Call(None, {}, (), domain).shape == ()
    assert made == [2, 3, 5]


def test_what_a_rule_asks_for_counts_dimensions_from_the_front():
    told = []
    domain = SimpleNamespace(
        record=lambda _, effect: told.append(effect), average=lambda axis: told.append(("average", axis)),
        rigid=lambda axis: told.append(("rigid", axis)),
    )  # fmt: skip

    def node(dtype):
        return SimpleNamespace(meta={"val": SimpleNamespace(dtype=dtype)} if dtype else {})

    def operand(dtype=torch.float32):
        return Operand(node(dtype), (2, 3, 4), ("p", "q", "r"), learned=False)

    call = Call(node(torch.float32), {"self": operand(), "n": operand(torch.int64)}, (2,), domain)
    call.contract("self", -1, "w", [("kept", "k")])
    call.correct("self", -2, "q")
    call.correct("self", 0, "p", power=0.5)
    assert told == [
        Contraction("self", 2, "w", (("kept", "k"),)), ("average", "q"), Correction("self", 1, "q", 1.0),
        ("average", "p"), Correction("self", 0, "p", 0.5),
    ]  # fmt: skip
    told.clear()
    call.correct("n", 0, "p")
    for dtype, kind in ((torch.int64, "rigid"), (torch.bool, "rigid"), (torch.complex64, "average"), (None, "average")):
        Call(node(dtype), {"self": operand(dtype)}, (2,), domain).correct("self", 0, dtype)
        assert told[-1] == (kind, dtype) or told[-2] == (kind, dtype)
    assert told[0] == ("rigid", "p")
    told.clear()
    call.resize("size", ("p", None))
    call.breaks("noise", ["p"])
    assert told == [Resize("size", ("p", None)), Breaks("noise", ("p",))]


def test_a_profile_tells_the_multiplicities_of_outputs():
    pairs, single = np.array([0, 0, 1]), np.arange(3)
    profile = Profile({"w": (pairs, single), "b": (pairs[:2],), "s": (), "k": (single, pairs), "e": (single,)}, {})
    assert profile.widths() == {"w": (1, 2), "b": (2,)}
    assert profile.cloned()
    assert Profile({"k": (single, pairs)}, {}).cloned()
    assert not Profile({"e": (single,), "s": ()}, {}).cloned()


class Rearranged(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(6))

    def forward(self, x):
        w, u = self.w, self.u
        moved = (
            w.t(),
            w.view(3, 2)[1:],
            u.chunk(2)[1],
            u[: x.shape[0]],
            w.t().reshape(-1),
            w.unsqueeze(1).select(0, 1),
        )
        return w, *moved, w.exp().t(), x.t(), (u * x.sum()).view(2, 3)


def test_elements_of_a_parameter_that_a_value_is():
    program, state = trace(Rearranged(), torch.randn(4, 3)), state_of(Rearranged())
    sizes = record(program, state, flat_inputs(program, torch.randn(4, 3))).sizes
    output = next(n for n in program.graph.nodes if n.op == "output")
    found = [elements_of(n, program, state, partial(_moved, sizes)) for n in output.args[0]]
    assert found[0] == ("w", None)
    assert [(name, elements.tolist()) for name, elements in found[1:7]] == [
        ("w", [[0, 3], [1, 4], [2, 5]]), ("w", [[2, 3], [4, 5]]), ("u", [3, 4, 5]), ("u", [0, 1, 2, 3]),
        ("w", [0, 3, 1, 4, 2, 5]), ("w", [[3, 4, 5]]),
    ]  # fmt: skip
    assert found[7:] == [None, None, None]
    assert elements_of(output.args[0][1], program, state, lambda *_: None) is None


def test_dimensions_that_change_along_a_grid_of_elements():
    grid = torch.arange(6).reshape(2, 3)
    for elements, shape, right in (
        (grid, (2, 3), ({0}, {1})), (grid, (6,), ({0}, {0})), (grid, (2, 3, 1), ({0}, {1})),
        (torch.arange(6).reshape(3, 2).T, (3, 2), ({1}, {0})), (grid[:1], (2, 3), (set(), {1})),
        (torch.arange(24).reshape(6, 4), (2, 3, 4), ({0, 1}, {2})), (grid[:0], (2, 3), (set(), set())),
    ):  # fmt: skip
        assert tuple(_moving(elements, dim, shape) for dim in (0, 1)) == right


# --- clones as modules ------------------------------------------------------------------------------------------------


def test_tensors_are_tiled_along_every_dimension():
    value = torch.arange(6.0).reshape(2, 3)
    wide = tiled(value, ([0, 0, 1], [2, 2, 0, 1]))
    assert wide.tolist() == [[2, 2, 0, 1], [2, 2, 0, 1], [5, 5, 3, 4]]
    same = tiled(value, ([0, 1], [0, 1, 2]))
    assert torch.equal(same, value)
    assert same.data_ptr() != value.data_ptr()


def test_a_clone_holds_its_state_under_the_names_of_the_base():
    base = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), nn.Linear(3, 2))
    base.register_buffer("still", torch.ones(3), persistent=False)
    x = torch.randn(6, 4)
    clone = expand(base, 2, example_input=x, traced=True)
    assert isinstance(clone, Clone)
    assert list(clone.state_dict()) == [name for name in base.state_dict()]
    assert {n for n, _ in clone.named_parameters()} == {n for n, _ in base.named_parameters()}
    assert clone.state().keys() == {*base.state_dict(), "still"}
    assert clone.state()["0.1.running_var"].shape == (6,)
    for training in (True, False):
        clone.train(training)
        assert clone.program is clone.programs[training] is program_of(clone, x)
        assert clone.profile is clone.profiles[training]
        assert program_of(clone, x, training=not training) is clone.programs[not training]
    before = clone.state()["0.1.running_mean"].clone()
    clone.train()(x + 3)
    assert not torch.equal(clone.state()["0.1.running_mean"], before)


def test_a_clone_runs_in_other_precisions():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)).to(x.dtype) + torch.zeros(4))).float()
    clone = expand(base, 2, example_input=X.float(), traced=True)
    assert clone.traced_in == torch.float32
    found = clone.double()(X)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, base.double()(X), rtol=1e-12, atol=1e-13)
    assert _common_dtype({"a": torch.ones(1), "b": torch.ones(1).double()}) is None
    assert _common_dtype({"a": torch.ones(1), "n": torch.arange(2)}) == torch.float32
    assert _common_dtype({"n": torch.arange(2)}) is None


def test_widths_of_a_projection_of_inputs_by_outputs_fold_the_scale_of_attention():
    """As GPT-2's: weights are inputs × outputs, queries the first third of the columns."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.w, self.b, self.o = nn.Parameter(torch.randn(5, 12)), nn.Parameter(torch.randn(12)), nn.Linear(4, 2)

        def forward(self, x):
            q, k, v = (t.view(4, 4, 2, 2).transpose(1, 2) for t in torch.addmm(self.b, x, self.w).chunk(3, -1))
            return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(16, 4))

    base = Turned().double()
    clone = expand(base, 2, example_input=X, attention="width", traced=True)
    assert gap(clone, base, X) < 1e-13
    state = clone.state()
    gains = torch.ones(24, dtype=torch.float64)
    gains[:8] = 2**-0.5
    origin = torch.arange(12).repeat_interleave(2)
    torch.testing.assert_close(state["w"].detach(), base.w.detach()[:, origin] * gains, rtol=1e-13, atol=0)
    torch.testing.assert_close(state["b"].detach(), base.b.detach()[origin] * gains, rtol=1e-13, atol=0)
    assert not any("mul" in n.name for n in clone.program.graph.nodes)


def test_widths_in_both_modes_are_one():
    found = widths(Model(tanh).double(), X)
    assert found.plan.cloned(found.state["a.weight"][0])
    assert not found.plan.cloned(found.state["a.weight"][1])
    assert found.plan.find(found.state["a.bias"][0]) == found.plan.find(found.state["o.weight"][1])
    assert not found.plan.cloned(found.state["o.bias"][0])
