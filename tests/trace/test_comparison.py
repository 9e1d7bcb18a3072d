"""What makes two passes differ, what a pass is made of, and that it leaves the model as it was."""

import random
import weakref

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.trace import Input, NotTraceable, trace  # noqa: E402
from lop_theory.trace.comparison import (  # noqa: E402
    _agree,
    another_call,
    answer,
    compare,
    difference,
    model_pass,
    program_pass,
)
from lop_theory.trace.passes import keep, kept, passes_kept  # noqa: E402
from tests.trace.nets import Lie, Model, X  # noqa: E402

NAN, INF = float("nan"), float("inf")
GIVEN = ((X,), {})


def plain(s, x):
    return s.o(torch.tanh(s.a(x)))


@pytest.fixture(scope="module")
def program():
    return trace(Model(plain), X)


def tensor(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "within", "beyond"),
    [
        (torch.float64, 0.9e-11, 1.2e-11),
        (torch.float32, 1.8e-5, 2.5e-5),
        (torch.bfloat16, 3 * 2.0**-7, 5 * 2.0**-7),
        (torch.float16, 4 * 2.0**-10, 5 * 2.0**-10),
        (torch.float8_e5m2, 0.0, 0.25),
        (torch.float8_e4m3fn, 0.0, 0.125),
    ],
)
def test_how_much_is_rounding(dtype, within, beyond):
    """A part of the largest entry, wherever the difference is."""
    for scale in (1.0, 16.0):
        one = tensor(scale, 0.5, dtype=dtype)
        assert difference(tensor(scale * (1 + within), 0.5, dtype=dtype), one) is None
        assert "differs by" in difference(tensor(scale * (1 + beyond), 0.5, dtype=dtype), one)


def test_eight_bits_may_differ_by_a_tenth():
    """One step of four bits between eight and sixteen is 1/15 to 1/8 of the larger."""
    fifteen, sixteen, nine, eight = (tensor(x, dtype=torch.float8_e4m3fn) for x in (15.0, 16.0, 9.0, 8.0))
    assert difference(fifteen, sixteen) is None
    assert difference(nine, eight) == "differs by 1.00e+00 (largest entry 8.00e+00)"


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (1, 1, None),
        (1, 2, "is 1, not 2"),
        (float("2.5"), 2.5, None),
        (NAN, NAN, None),
        (NAN, 1.0, "is nan, not 1.0"),
        (None, None, None),
        ("a", None, "is 'a', not None"),
        (None, tensor(0.0, 1.0), "is there for one of them only"),
        (tensor(0.0, 1.0), None, "is there for one of them only"),
        (tensor(NAN), None, "is there for one of them only"),
        (None, tensor(0.0, 0.0), None),
        (tensor(0.0, 0.0), None, None),
        (tensor(1.0, 1.0), 3, "has the shape torch.Size([2]), not 3"),
        (3, tensor(1.0, 1.0), "has the shape 3, not torch.Size([2])"),
        (tensor(1.0), tensor(1.0, 1.0), "has the shape torch.Size([1]), not torch.Size([2])"),
        (tensor(1.0), tensor(1.0, dtype=torch.float32), "is torch.float64, not torch.float32"),
        (tensor(1, 2, dtype=torch.int64), tensor(1, 2, dtype=torch.int64), None),
        (tensor(1, 2, dtype=torch.int64), tensor(1, 3, dtype=torch.int64), "differs"),
        (tensor(1.0, 0.0), tensor(1 + 1e-13, 0.0), None),
        (tensor(1.0, 0.0), tensor(1.0, 0.5), "differs by 5.00e-01 (largest entry 1.00e+00)"),
        (tensor(1.0, 4.0), tensor(-1.0, 4.0), "differs by 2.00e+00 (largest entry 4.00e+00)"),
        (tensor(1e-12), tensor(2e-12), "differs by 1.00e-12 (largest entry 2.00e-12)"),
        (tensor(NAN, 1e-12), tensor(NAN, 2e-12), "differs by 1.00e-12 (largest entry 2.00e-12)"),
        (tensor(NAN, INF, -INF, 1.0), tensor(NAN, INF, -INF, 1 + 1e-13), None),
        (tensor(NAN, 0.0), tensor(NAN, 0.0), None),
        (tensor(NAN), tensor(INF), "is not finite in the same places"),
        (tensor(INF), tensor(-INF), "is not finite in the same places"),
        (tensor(INF, 1.0), tensor(1.0, 1.0), "is not finite in the same places"),
        (tensor(1.0, 1.0), tensor(1.0, INF), "is not finite in the same places"),
    ],
    ids=str,
)
def test_what_two_leaves_differ_by(mine, theirs, said):
    assert difference(mine, theirs) == said


def test_a_part_that_one_of_them_has_alone_is_a_difference():
    weight = nn.Parameter(tensor(1.0))
    assert difference(weight, weight * (1 + 1e-13)) is None  # with graphs or without
    assert difference(weight * 2, None) == "is there for one of them only"


def test_a_trace_is_its_model(program):
    assert compare(Model(plain), program, *GIVEN) is None  # it raises of what is not


def test_the_other_call_has_one_row_more(program):
    symbol = program.inputs[0].shape[0]
    (x,), kwargs = another_call(program, ((X[:3],), {}))
    assert torch.equal(x, X[[0, 1, 2, 0]])
    assert kwargs == {}
    number = Input("t", "t", None, None, 2.0)
    args, kwargs = another_call(program._replace(inputs=(*program.inputs, number)), ((X,), {"t": 2.0}))
    assert len(args[0]) == 7
    assert kwargs == {"t": 2.0}
    fixed = program.inputs[0]._replace(shape=(6, 5))
    assert another_call(program._replace(inputs=(fixed,), ranges={}), GIVEN) is None
    derived = program.inputs[0]._replace(shape=(f"2*{symbol}", 5))  # how large may be one that is computed?
    assert another_call(program._replace(inputs=(derived, program.inputs[0])), ((X, X[:3]), {})) is None


def test_a_pass_has_all_outputs_buffers_and_gradients():
    """By hand: y = 3x + b, whose buffer counts."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.Parameter(tensor(1.0))
            self.unused = nn.Parameter(tensor(1.0))
            self.frozen = nn.Parameter(tensor(3.0), requires_grad=False)
            self.register_buffer("count", tensor(0.0))
            self.register_buffer("absent", None)
            self.again = nn.Module()
            self.again.register_buffer("count", self.count)

        def forward(self, x, index, factor=1):
            self.count += 1
            self.register_buffer("made", tensor(5.0))
            return {"y": self.frozen * x * factor + self.b, "index": index, "text": "said"}

    model = Own()
    given = ((tensor(1.0, 2.0), torch.tensor([7])), {"factor": 2})
    with passes_kept():
        found = model_pass(model, given)
        assert list(found.gradients) == ["b", "unused"]
        again = model_pass(model, given)  # is taken anew, for it has gradients of parameters
        assert again.gradients["b"] == found.gradients["b"] != 0
        known = model_pass(model, given, parameters=False)
    assert known.outputs[0].grad_fn is None
    y, index, text = found.outputs
    assert y.tolist() == [7, 13]
    assert index.tolist() == [7]
    assert text == "said"
    assert found.structure == torch.utils._pytree.tree_structure({"y": 0, "index": 0, "text": 0})
    assert {name: t.item() for name, t in found.buffers.items()} == {"count": 1, "again.count": 1, "made": 5}
    assert model.count == 0
    assert [name for name, _ in model.named_buffers(remove_duplicate=False)] == ["count", "again.count"]
    assert list(model._buffers) == ["count", "absent"]
    assert found.gradients["unused"] is None
    (dx,) = found.input_gradients  # a random sum of the outputs, in which b has its sum
    assert dx.sum() / 6 == pytest.approx(found.gradients["b"].item())
    assert not model_pass(model, given, parameters=False).gradients


def test_a_pass_without_gradients_has_none():
    index = ((torch.tensor([1, 2]),), {})
    assert model_pass(nn.Embedding(4, 3), index, parameters=False).input_gradients == []
    detached = model_pass(Model(lambda s, x: s.a(x).detach()), GIVEN)
    assert detached.input_gradients == [None]
    assert set(detached.gradients.values()) == {None}


def test_gradients_that_are_sent_are_not_kept(program):
    model, received = Model(plain), {}
    mine = program_pass(model, program, GIVEN, receive=received.__setitem__)
    assert list(mine.gradients) == [name for name, _ in model.named_parameters()]
    expected = model_pass(model, GIVEN).gradients
    assert received.keys() == {"a.weight", "a.bias", "o.weight", "o.bias"}
    assert all(difference(g, expected[name]) is None for name, g in received.items())
    assert all(mine.gradients[name].untyped_storage().nbytes() == 8 for name in received)
    theirs = model_pass(model, GIVEN)
    _agree(model, program, GIVEN, theirs)
    assert not theirs.gradients  # nor are the model's, once they are compared


def test_a_program_writes_into_copies_of_buffers():
    model = Model(lambda s, x: s.a(x) * s.count.add_(1))
    assert program_pass(model, trace(model, X), GIVEN).buffers["count"] == 1
    assert model.count == 0


def test_an_answer_is_that_of_a_pass_and_leaves_the_call_as_it_is():
    def drawn(s, x, unused=None):
        x.mul_(2)
        s.count.add_(1)
        return s.o(s.a(x)) * torch.rand(()) * random.random(), unused

    model, x = Model(drawn), X.clone()
    found, unused = answer(model, ((x,), {"unused": None}))
    assert unused is None
    assert torch.equal(x, X)
    assert model.count == 0
    assert torch.equal(found, model_pass(model, ((x,), {"unused": None})).outputs[0])
    for other in ({"seed": 1}, {"python": 1}):
        assert not torch.equal(found, answer(model, GIVEN, **other)[0])


def test_what_a_model_remembers_is_refused_wherever_it_shows(program):
    def in_one_output(s, x):
        s.calls = getattr(s, "calls", 0) + 1
        return plain(s, x), x * s.calls

    def in_their_number(s, x):
        s.calls = [*getattr(s, "calls", []), 1]
        return [plain(s, x) for _ in s.calls]

    for function in (in_one_output, in_their_number):
        with pytest.raises(NotTraceable, match="the same call gives another output"):
            compare(Model(function), program, *GIVEN)


DIFFERENT = {
    "model='Model': .* output 0 has the shape": lambda s, x: (x.sin(), s.a(x)),  # both are among the values
    "outputs have another structure": lambda s, x: [s.a(x), x.sin()],
    "model='count': the trace is not the model: this buffer differs by 1.00e.00": lambda s, x: (
        s.count.add_(1) * 0 + s.a(x),
        x.sin(),
    ),
    "model='input 0': the trace is not the model: the gradient of input 0": lambda s, x: (s.a(x), x.sin().detach()),
    "model='a': the trace is not the model: output 0": lambda s, x: (s.a(x + 1), x.sin()),
    "model='Model': the trace is not the model: output 1": lambda s, x: (s.a(x), x.cos()),
}


@pytest.fixture(scope="module")
def pair():
    return trace(Model(lambda s, x: (s.a(x), x.sin())), X)


@pytest.mark.parametrize("said", DIFFERENT)
def test_a_difference_is_said(said, pair):
    with pytest.raises(NotTraceable, match=said):
        compare(Model(DIFFERENT[said]), pair, *GIVEN)


def test_a_trace_of_one_batch_size_is_compared_on_it(program):
    fixed = program._replace(inputs=(program.inputs[0]._replace(shape=(6, 5)),))
    compare(Model(plain), fixed, *GIVEN)
    with pytest.raises(NotTraceable, match="output 0 differs"):
        compare(Model(lambda s, x: 2 * plain(s, x)), fixed, *GIVEN)


def test_hooks_on_values_are_refused_whatever_they_do(program):
    def hooked(s, x):
        h = plain(s, x)
        h.register_hook(lambda g: g)
        return h

    with pytest.raises(NotTraceable, match="its forward registers a hook on a tensor"):
        compare(Model(hooked), program, *GIVEN)


def test_another_batch_size_is_compared_unless_the_model_refuses_it(program):
    sizes = []

    def otherwise(s, x):
        sizes.append(len(x))
        return plain(s, x) * (1 if len(x) == 6 else 2)

    def refusing(s, x):
        assert len(x) == 6
        return plain(s, x)

    with pytest.raises(NotTraceable, match="output 0 differs"):
        compare(Model(otherwise), program, *GIVEN)
    assert sizes[:3] == [6, 6, 7]
    compare(Model(refusing), program, *GIVEN)


class Lying(nn.Module):
    def forward(self, x):
        return Lie.apply(x)


def test_the_module_with_a_backward_of_its_own_is_named():
    model = nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.Identity(), Lying()), nn.Linear(4, 3)).double()
    with pytest.raises(NotTraceable, match=r"model='1\.1': torch.autograd.Function Lie has"):
        compare(model, None, *GIVEN)


class Pair(nn.Module):
    def forward(self, x):
        return x * 2, torch.tanh(x)


class Whole(nn.Module):
    """A module that computes nothing, one of several values, one with random numbers, and one of two outputs."""

    def __init__(self):
        super().__init__()
        torch.default_generator.manual_seed(0)
        self.none, self.drop = nn.Identity(), nn.Dropout()
        self.block, self.pair = nn.Sequential(nn.Linear(5, 5), nn.ReLU()), Pair()
        self.double()

    def forward(self, x):
        two, tanh = self.pair(self.block(self.drop(self.none(x))))
        return two + tanh


def test_the_first_module_that_differs_is_named():
    model = Whole()
    program = trace(model, X)
    tanh = next(n for n in program.graph.nodes if n.name == "tanh")
    tanh.target = torch.ops.aten.sin.default
    with pytest.raises(NotTraceable, match=r"model='pair': the trace is not the model: output 0 differs"):
        compare(model, program, *GIVEN)


def test_passes_are_known_by_their_call():
    model, other = nn.Identity(), nn.Identity()
    whole = tensor(1.0, NAN)
    calls = [
        ((X,), {}),
        ((), {"x": X}),
        ((X, 1), {}),
        ((X, 2), {}),
        ((X.float().double(), 2.5), {}),
        ((X.float(), 2.5), {}),
        ((X.float().double(), "2.5"), {}),
        ((X.float().double(), {1}), {}),
        ((whole, None), {}),
        ((1, X), {}),
        ((1, 1), {}),
        ((True, 1), {}),
        ((X.to("meta"), 2.5), {}),
    ]
    with passes_kept():
        for k, given in enumerate(calls):
            assert kept(model, given, 0) is None
            keep(model, given, 0, k)
        assert [kept(model, given, 0) for given in calls[:7]] == list(range(7))
        assert kept(model, ((X.float().double(), float("2.5")), {}), 0) == 4
        assert kept(model, ((whole, None), {}), 0) == 8
        assert kept(model, ((1, 1), {}), 0) == 10
        assert kept(model, ((X.float().double(), {1}), {}), 0) is None  # sets may change
        assert kept(other, calls[0], 0) is kept(model, calls[0], 1) is None
        assert kept(model.eval(), calls[0], 0) is None
        keep(model.train(), calls[0], 0, "another")
        assert kept(model, calls[0], 0) == 0
        with passes_kept():
            assert kept(model, calls[0], 0) is None
        assert kept(model, calls[0], 0) == 0
    keep(model, calls[0], 0, "nobody asked")
    assert kept(model, calls[0], 0) is None


def test_a_pass_that_is_known_is_not_kept_twice():
    model = nn.Identity()
    with passes_kept():
        model_pass(model, GIVEN)
        second = model_pass(model, GIVEN).input_gradients[0]
        gone = weakref.ref(second)
        del second
        assert gone() is None
