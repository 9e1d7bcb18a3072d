"""The one pass that a certificate looks at: it sees what all values at once show, and lets nothing through."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory.modules import certification as certification_module  # noqa: E402
from lop_theory.modules import certify, expand, survey  # noqa: E402
from lop_theory.modules.conditions import copies  # noqa: E402
from lop_theory.modules.numeric import signals  # noqa: E402
from lop_theory.trace import NotTraceable, state_of, trace  # noqa: E402
from lop_theory.verdict import Fails  # noqa: E402
from tests.modules.nets import Model  # noqa: E402

X = torch.randint(0, 7, (3, 4), generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """A table that is used twice, once more without gradient; biases, a normalisation, a write on a view."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.hidden, self.norm = nn.Embedding(7, 6), nn.Linear(6, 6), nn.LayerNorm(6)

    def forward(self, x):
        h = self.norm(torch.tanh(self.hidden(self.table(x))))
        h[:, 0].mul_(1.5)
        table = self.table.weight
        return nn.functional.linear(h, table) + nn.functional.linear(h, table.detach())


@pytest.fixture(scope="module")
def base():
    return Tied().eval()


@pytest.fixture(scope="module")
def honest(base):
    return expand(base, 2, example_input=X)


@pytest.fixture
def measured(monkeypatch):
    """How often the pass with all values at once was asked for."""
    calls = []
    exact = certification_module._measured
    monkeypatch.setattr(certification_module, "_measured", lambda *a: calls.append(a) or exact(*a))
    return calls


def test_the_pass_has_the_adjoints_and_gradients_of_one_that_keeps_all(base):
    program, state = trace(base, X), state_of(base)
    seen = signals(program, state, [X], seed=5)
    adjoints, gradients, values = {}, {}, {}
    watch = survey._Watch(
        lambda node, value: values.__setitem__(node.name, value),
        lambda: None,
        adjoints.__setitem__,
        gradients.__setitem__,
    )
    outputs = survey._passed(program, state, [X], 5, watch)
    assert torch.equal(outputs[0], seen.outputs[0])
    assert adjoints.keys() == seen.adjoints.keys() - set(program.state)
    assert all(torch.equal(adjoints[name], seen.adjoints[name]) for name in adjoints)
    assert gradients.keys() == {id(state[name]) for name in seen.gradients}
    for name, gradient in seen.gradients.items():
        torch.testing.assert_close(gradients[id(state[name])], gradient, rtol=1e-13, atol=1e-15)


def test_an_honest_clone_needs_no_more_than_the_one_pass(base, honest, measured):
    assert certify(honest, base=base, example_input=X)
    assert not measured


@pytest.mark.parametrize("name", ["table.weight", "hidden.weight", "hidden.bias", "norm.weight", "norm.bias"])
@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_one_wrong_number_in_a_clone_fails(base, honest, name, wrong):
    forged = copy.deepcopy(honest)
    with torch.no_grad():
        forged.get_parameter(name).view(-1)[-1] += wrong
    assert isinstance(certify(forged, base=base, example_input=X), Fails)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-9]))
@settings(deadline=None)
def test_the_distance_of_clones_is_that_of_the_definition(blocks, seed, error):
    index = np.unique(blocks, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(3, index.max() + 1))[:, index] + error * rng.normal(size=(3, len(index)))
    sizes = [np.abs(value[:, index == b]).max() for b in range(index.max() + 1)]
    floor = sorted(sizes)[(len(sizes) - 1) // 2]
    gaps = [np.abs(value[:, index == b] - value[:, index == b][:, :1]).max() for b in range(index.max() + 1)]
    wanted = max(gap / max(size, floor) for gap, size in zip(gaps, sizes, strict=True))
    found = survey.distance(torch.from_numpy(value), (np.arange(3), index))
    assert found == pytest.approx(wanted if len(set(blocks)) < len(blocks) else 0.0, rel=1e-12)
    same = all(gap == 0 for gap in gaps)
    assert len(set(blocks)) == len(blocks) or copies(torch.from_numpy(value), index, 1) == same


def test_copies_are_equal_bit_by_bit():
    index, value = np.repeat(np.arange(3), 2), torch.ones(2, 6)
    assert copies(value, index, 1)
    value[1, 3] += torch.finfo(torch.float32).eps
    assert not copies(value, index, 1)
    value[1, 2:4] = float("nan")
    assert not copies(value, index, 1)


class Lying(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return 2 * gradient


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)).eval()


def test_a_clone_whose_code_lies_about_its_gradient_is_not_certified(chain):
    x = torch.randn(3, 4)
    clone = expand(chain, 2, example_input=x)
    assert type(clone) is nn.Sequential
    clone[2].forward = lambda h: Lying.apply(torch.tanh(h))
    with pytest.raises(NotTraceable):
        certify(clone, base=chain, example_input=x)


@pytest.mark.parametrize("places", [slice(0, 1), slice(None)])
def test_a_clone_that_writes_on_a_view_is_another_function(chain, places):
    x = torch.randn(3, 4)
    clone = expand(chain, 2, example_input=x)
    clone[1].register_forward_hook(lambda _module, _args, h: (h[:, places].mul_(1 + 1e-3), None)[1])
    assert not certify(clone, base=chain, example_input=x)


def test_a_parameter_that_is_an_output_is_one_of_the_outputs():
    class Shown(nn.Module):
        def __init__(self):
            super().__init__()
            self.o, self.shift = nn.Linear(4, 2), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.o(x), self.shift

    model, x = Shown(), torch.ones(3, 4)
    program, state = trace(model, x), state_of(model)
    seen, gradients = signals(program, state, [x], seed=1), {}
    watch = survey._Watch(lambda *_: None, lambda: None, lambda *_: None, gradients.__setitem__)
    outputs = survey._passed(program, state, [x], 1, watch)
    assert [t.tolist() for t in outputs] == [t.tolist() for t in seen.outputs]
    assert torch.equal(gradients[id(model.shift)], seen.gradients["shift"])


def adds(s, x, change):
    h = torch.tanh(s[0](x))
    return s[1](h + change(h))


def total(h):
    return h * h.sum(1, keepdim=True)


FALSE_RULES = {
    torch.ops.aten.cumsum.default: lambda call: call["self"].axes,  # as if it were elementwise
    torch.ops.aten.where.self: lambda call: call["self"].axes,
    torch.ops.aten.sum.dim_IntList: lambda call: (call["self"].axes[0], *call.fresh((1,))),  # as if it were a mean
}


@pytest.mark.parametrize(
    ("change", "condition"),
    [
        (lambda h: 1e-11 * h.cumsum(1), "MC1"),
        (lambda h: 1e-11 * torch.where(torch.arange(h.shape[1]) % 2 == 0, h, h.detach()), "MC2"),
        (lambda h: 1e-11 * total(h), "base"),
    ],
)
def test_what_a_false_rule_proves_the_pass_refutes(change, condition):
    """The weights are right and the proof is complete; one number in 10¹¹ is not what it says."""

    class Changed(nn.Sequential):
        def forward(self, x):
            return adds(self, x, change)

    torch.manual_seed(0)
    base, x = Changed(nn.Linear(4, 6), nn.Linear(6, 2)).double(), torch.randn(5, 4, dtype=torch.float64)
    found = certification_module.certificate(
        expand(base, 2, example_input=x, rules=FALSE_RULES), base, example_input=x, rules=FALSE_RULES
    )
    assert not found.symbolic
    assert isinstance(found.verdict, Fails)
    assert found.numeric[0].condition.startswith(condition)


def test_a_ratio_is_of_the_worst_and_infinite_where_a_number_is_not_finite():
    t, inf, nan = torch.tensor, float("inf"), float("nan")
    assert survey._ratio(t([1.0, 3.0]), t([4.0, 2.0])) == 1.5
    assert survey._ratio(t([0.0, 0.0]), t([0.0, 2.0])) == 0.0
    assert survey._ratio(t([1.0]), t([0.0])) == inf
    assert survey._ratio(t([nan, 0.0]), t([1.0, 1.0])) == inf
    assert survey._ratio(t([inf]), t([inf])) == inf
    assert survey._ratio(t([]), t([])) == 0.0


def test_outputs_are_compared_by_their_last_coordinate():
    theirs = torch.tensor([1.0, 100.0, 10.0]).double().expand(16, 3).contiguous()
    mine = theirs.clone()
    mine[3, 0] += 0.5
    mine[5, 1] -= 1.0
    assert survey._ratio_by_last(mine, theirs) == 0.5
    assert survey._ratio_by_last(mine[:15], theirs[:15]) == 0.01  # few samples: over the largest of all
    assert survey._ratio_by_last(mine[:, :2], theirs) == float("inf")
    assert survey._ratio_by_last(mine[:0], theirs[:0]) == 0.0
    masks = torch.full((3, 3), -torch.inf)
    assert survey._ratio_by_last(masks, masks) == 0.0
    mine[0, 0] = float("nan")
    assert survey._ratio_by_last(mine, theirs) == float("inf")


@pytest.mark.parametrize("index", [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 3, 2]])
def test_block_sums_of_adjoints_are_the_bases(index):
    index = np.array(index)
    adjoint = torch.randn(5, 4, dtype=torch.float64)
    total = torch.stack([adjoint[:, index == k].sum(1) for k in range(index.max() + 1)], 1)
    values = {"b": (np.arange(5), index)}
    base = survey.Base((), {"b": total}, {"a": "b"}, values)
    assert survey._from_base("a", adjoint, base) < 1e-14
    assert survey._from_base("c", 2 * adjoint, base) == 0.0  # a node that the base does not have
    assert survey._from_base("a", adjoint, base._replace(values={})) == 0.0
    assert survey._from_base("a", adjoint, base._replace(adjoints={})) == 0.0
    off = total.clone()
    off[2, 1] += 0.25
    largest = float(off.abs().max())
    assert survey._from_base("a", adjoint, base._replace(adjoints={"b": off})) == pytest.approx(0.25 / largest)


def test_a_survey_is_clear_within_eight_roundings():
    seen = survey.Survey(None, 8e-16, 8e-7, finite=True, near_ties=(), magnitudes={}, loose={})
    assert seen.clear(1e-16, 1e-7)
    assert not seen.clear(0.99e-16, 1e-7)
    assert not seen.clear(1e-16, 0.99e-7)
    assert not seen._replace(finite=False).clear(1.0, 1.0)


def test_clones_are_apart_relative_to_their_block_the_median_block_or_the_terms():
    value = torch.tensor([[4.0, 4.0, 1.0, 1.5, 0.0, 1e-3]]).double().repeat(3, 1)
    index = np.array([0, 0, 1, 1, 2, 2])
    axes = (np.arange(3), index)
    assert survey.distance(value, axes) == pytest.approx(0.5 / 1.5)
    assert survey.distance(value, axes, 10.0) == pytest.approx(0.05)
    assert survey.distance(value[:, :2], (np.arange(3), index[:2])) == 0.0
    assert (
        survey.distance(value[:, 2:], (np.arange(3), index[2:] - 1)) == 1.0
    )  # of two blocks the smaller is the median
    assert survey.distance(value, None) == survey.distance(value[:0], axes) == 0.0
    assert survey.distance(value.T.contiguous(), axes[::-1]) == pytest.approx(0.5 / 1.5)
    crossed = np.array([0, 1, 0, 1, 2, 2])
    assert survey.distance(value, (np.arange(3), crossed)) == pytest.approx(3 / 4)
    value[1, 0] = float("nan")
    assert survey.distance(value, axes) == float("inf")


class Biased(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(4, 6), nn.Conv1d(6, 5, 1)
        self.shift, self.scale = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
        self.pixels = nn.Parameter(torch.ones(5, 1))

    def forward(self, x):
        h = self.c(torch.tanh(self.a(x)).transpose(1, 2)).transpose(1, 2)
        return (h * self.scale + self.shift).transpose(1, 2) + self.pixels


def test_vectors_that_are_added_are_listed_with_their_sizes():
    model, x = Biased(), torch.randn(2, 3, 4)
    program, state = trace(model, x), state_of(model)
    found = survey._biases(program, state)
    named = sorted(
        (state_name, size)
        for node in found.values()
        for key, size in node
        for state_name, t in state.items()
        if id(t) == key
    )
    assert named == [("a.bias", 6), ("c.bias", 5), ("shift", 5)]


def test_terms_of_a_bias_are_those_of_the_median_unit():
    adjoint = torch.randn(7, 5, 3, dtype=torch.float64)
    by_channel = adjoint.square().sum((0, 2)).sqrt()
    assert survey._terms(adjoint, 5) == pytest.approx(float(by_channel.median()))
    assert survey._terms(adjoint, 3) == pytest.approx(float(adjoint.square().sum((0, 1)).sqrt().median()))
    assert survey._terms(adjoint, 7) == pytest.approx(float(adjoint.square().sum((1, 2)).sqrt().median()))
    assert survey._terms(adjoint, 4) == 0.0
    assert survey._terms(adjoint[0, 0], 3) == 0.0
    square = torch.randn(3, 3, dtype=torch.float64)
    assert survey._terms(square, 3) == pytest.approx(float(square.square().sum(0).sqrt().median()))  # the last first


def test_a_bias_whose_gradient_cancels_is_judged_by_its_terms():
    """Keys' biases shift all logits alike: their gradient is rounding, of numbers that are not small."""
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(4, 6) for _ in range(3))

        def forward(self, x):
            return (self.q(x) @ self.k(x).mT / 6**0.5).softmax(-1) @ self.v(x)

    base, x = Attention().double(), torch.randn(3, 5, 4, dtype=torch.float64)
    clone = expand(base, 2, example_input=x)
    assert certify(clone, base=base, example_input=x)


def test_a_weight_is_opened_for_each_use_and_told_once():
    """y = W(Wx): the gradient of both uses together; a use that reaches no output adds nothing."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.u = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))

        def forward(self, x):
            unseen = (x @ self.w).sum() * self.u
            return torch.tanh(x @ self.w) @ self.w + 0 * unseen.detach()

    model, x = Twice(), torch.randn(3, 4)
    program, state = trace(model, x), state_of(model)
    found = {}

    def told(key, gradient):
        assert key not in found
        found[key] = gradient

    watch = survey._Watch(lambda *_: None, lambda: None, lambda *_: None, told)
    (output,) = survey._passed(program, state, [x], 2, watch)
    w = model.w.detach().double().requires_grad_()
    wanted = torch.tanh(x.double() @ w) @ w
    torch.testing.assert_close(output, wanted.detach(), rtol=1e-12, atol=1e-14)
    (wanted * torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(found[id(model.w)], w.grad, rtol=1e-12, atol=1e-14)
    assert found.keys() == {id(model.w)}
    assert model.w.grad is None


def test_whole_numbers_among_the_parameters_are_no_weights():
    class Picks(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.order = nn.Linear(4, 3), nn.Parameter(torch.tensor([2, 0]), requires_grad=False)

        def forward(self, x):
            return torch.tanh(self.a(x))[:, self.order]

    model, x = Picks(), torch.randn(5, 4)
    program, state, found = trace(model, x), state_of(model), {}
    watch = survey._Watch(lambda *_: None, lambda: None, lambda *_: None, found.__setitem__)
    (output,) = survey._passed(program, state, [x], 1, watch)
    torch.testing.assert_close(output, torch.tanh(model.a.double()(x.double()))[:, [2, 0]].detach())
    assert found.keys() == {id(state["a.weight"]), id(state["a.bias"])}
    seen = signals(program, state, [x], seed=1)
    assert seen.gradients.keys() == {"a.weight", "a.bias"}


def test_what_autograd_saves_of_an_opened_weight_is_its_parameter():
    parameter = torch.arange(6.0).reshape(2, 3)
    opened, live = parameter.double(), survey._Live()
    live.add(opened, parameter)
    for view in (opened, opened.T, opened[1, 1:], opened[:, 1]):
        kept = live.pack(view)
        assert kept[0] is parameter
        assert torch.equal(live.unpack(kept), view)
        assert live.unpack(kept).data_ptr() != view.data_ptr()
    other = torch.ones(3).double()
    assert live.pack(other) is other
    assert live.unpack(other) is other
    single, sparse = torch.ones(3), torch.eye(2).double().to_sparse()
    assert live.pack(single) is single
    assert live.pack(sparse) is sparse
    numbers = opened.view(torch.int64)  # the same place, read as something else
    assert live.pack(numbers) is numbers
    later = opened.detach()
    del opened, view
    assert live.pack(later) is later  # the weight is gone: something else lies there now


def test_a_gradient_is_told_as_soon_as_its_last_use_has_given_its_own():
    model, x = Model(lambda s, x: s.o(torch.tanh(s.a(torch.tanh(s.a(x)[:, :1]) * x)))), torch.randn(3, 5)
    program, state, events = trace(model, x), state_of(model), []
    names = {id(t): name for name, t in state.items()}
    watch = survey._Watch(
        lambda *_: None, lambda: None, lambda name, _: events.append(name), lambda key, _: events.append(names[key])
    )
    survey._passed(program, state, [x], 2, watch)
    values = [n.name for n in program.graph.nodes if n.op == "call_function"]
    assert events.index("o.weight") < events.index(values[-2])
    assert events[-2:] == ["a.weight", "a.bias"] or events[-2:] == ["a.bias", "a.weight"]
    assert len(events) == len(set(events))
