"""What widening multiplies weights and activations by: divisors that two uses agree on or not, noise, rows that carry a
constant, what is inserted where no weight can carry it."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.interface import Contraction  # noqa: E402
from lop_theory.modules.scale import Fold, Scales, _distinct, _divisor, _gains  # noqa: E402
from tests.modules.nets import Model, X, gap  # noqa: E402

NAN = torch.nan


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def flat(scales, tensor):
    return [None if x.isnan() else round(float(x), 9) for x in scales.divisors[id(tensor)].flatten()]


def test_a_divisor_is_asked_for_once_or_twice_alike():
    w = torch.zeros(2, 3)
    scales = Scales({"w": w})
    whole = double(2.0, 1.0, 1.0, 2.0, 1.0, 1.0)
    assert scales._ask((w, None), whole)
    assert scales.divisors[id(w)].shape == (2, 3)
    assert scales._ask((w, None), whole)
    assert scales._ask((w, torch.tensor([0, 3])), double(2.0, 2.0))
    assert not scales._ask((w, torch.tensor([0, 1])), double(2.0, 2.0))
    assert not scales._ask((w, None), double(2.0, 1.0, 1.0, 2.0, 1.0, 3.0))
    assert flat(scales, w) == [2, 1, 1, 2, 1, 1]


def test_parts_of_a_weight_are_asked_for_one_by_one():
    w = torch.zeros(2, 3)
    scales = Scales({"w": w})
    assert scales._ask((w, torch.tensor([0, 4])), double(2.0, 3.0))
    assert flat(scales, w) == [2, None, None, None, 3, None]
    assert scales._ask((w, torch.tensor([4, 5])), double(3.0, 7.0))
    before = scales.divisors[id(w)]
    assert not scales._ask((w, torch.tensor([1, 5])), double(4.0, 8.0))
    assert scales.divisors[id(w)] is before
    assert not scales._ask((w, torch.tensor([5])), double(8.0))
    assert scales._ask((w, torch.tensor([1])), double(4.0).reshape(1, 1))
    assert flat(scales, w) == [2, 4, None, None, 3, 7]
    assert scales.divisors[id(w)].shape == (2, 3)
    assert not scales._ask((w, None), torch.ones(6).double())
    assert scales._ask((w, None), double(2.0, 4.0, 5.0, 6.0, 3.0, 7.0))
    assert flat(scales, w) == [2, 4, 5, 6, 3, 7]


def carried_out():
    """A divided weight, one divided in part, one with noise, a fold of rows, whole numbers, one in half precision."""
    state = {
        "w": torch.ones(2, 3), "part": torch.ones(4), "noisy": torch.ones(2, 2), "rows": torch.ones(4, 2),
        "turned": torch.ones(2, 4), "bias": torch.ones(4), "n": torch.arange(3), "half": torch.ones(2).half(),
    }  # fmt: skip
    state["tied"] = state["w"]
    scales = Scales(state)
    scales._ask((state["w"], None), double(2.0, 1.0, 4.0)[None].expand(2, 3))
    scales._ask((state["part"], torch.tensor([1, 3])), double(2.0, 4.0))
    scales._ask((state["half"], None), double(2.0, 8.0))
    scales.noise[id(state["noisy"])] = double(1.0, -1.0, -1.0, 1.0)
    scales.folds |= {Fold(("rows", "bias"), False, (1, 3), 0.5), Fold(("turned",), True, (0,), 3.0)}
    return state, scales


RESULTS = {
    "w": [[0.5, 1.0, 0.25]] * 2, "tied": [[0.5, 1.0, 0.25]] * 2, "part": [1.0, 0.5, 1.0, 0.25],
    "rows": [[1.0] * 2, [0.5] * 2, [1.0] * 2, [0.5] * 2], "bias": [1.0, 0.5, 1.0, 0.5],
    "turned": [[3.0, 1.0, 1.0, 1.0]] * 2, "half": [0.5, 0.125],
}  # fmt: skip


def test_what_was_asked_for_is_carried_out_once():
    state, scales = carried_out()
    scales.apply()
    for name, right in RESULTS.items():
        assert state[name].tolist() == right
    assert state["noisy"].tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert state["n"].tolist() == [0, 1, 2]
    assert state["half"].dtype == torch.float16
    bias = Scales({"b": torch.ones(3)})
    bias.folds.add(Fold(("b",), True, (2,), 3.0))  # the bias of a weight that is inputs × outputs
    bias.apply()
    assert bias.state["b"].tolist() == [1.0, 1.0, 3.0]


def test_factors_say_what_was_carried_out():
    state, scales = carried_out()
    found = scales.factors()
    assert set(found) == {*state} - {"n"}
    for name, right in RESULTS.items():
        assert (found[name] * torch.ones_like(state[name]).double()).tolist() == right
    assert found["noisy"].shape == ()
    assert float(found["noisy"]) == 1.0
    assert found["w"].shape == (1, 3)
    assert found["turned"].shape == (1, 4)
    assert found["rows"].shape == (4, 1)
    assert all(factor.dtype == torch.float64 for factor in found.values())


def test_expanded_tensors_are_kept_without_their_repetitions():
    one = double(1.0, 2.0, 3.0)
    assert _distinct(one[None].expand(4, 3)).shape == (1, 3)
    assert _distinct(one[:, None].expand(3, 4)).tolist() == [[1.0], [2.0], [3.0]]
    assert _distinct(one).shape == (3,)
    assert _gains(torch.zeros(2, 3), 0, Fold((), False, (1,), 5.0)).tolist() == [[1.0], [5.0]]
    assert _gains(torch.zeros(2, 3), -1, Fold((), True, (0, 2), 5.0)).tolist() == [[5.0, 1.0, 5.0]]


COUNTS = {"s": [2, 1], "t": [3], "k": [2, 2], "one": [1, 1, 1], "u": [1]}


def rewriter():
    return SimpleNamespace(
        counts=lambda axis: np.array(COUNTS[axis]),
        origin=lambda axis: np.repeat(np.arange(len(COUNTS[axis])), COUNTS[axis]),
    )


def sums(*roles):
    return Contraction("input", 1, "weight", roles)


def test_weights_are_divided_by_the_copies_of_what_they_sum_over():
    assert _divisor(rewriter(), sums(("kept", "k"), ("summed", "s"))).tolist() == [[2.0, 2.0, 1.0]] * 4
    assert _divisor(rewriter(), sums(("summed", "s"), ("shared", "k"))).tolist() == [[2.0] * 4, [2.0] * 4, [1.0] * 4]
    assert _divisor(rewriter(), sums(("summed", "s"), ("summed", "t"))).tolist() == [[6.0] * 3, [6.0] * 3, [3.0] * 3]
    assert _divisor(rewriter(), sums(("kept", "k"))).tolist() == [1.0] * 4


class Leaves(Scales):
    """What a node is a rearrangement of is given."""

    def __init__(self, leaf, **state):
        super().__init__(state)
        self.leaf = leaf

    def _leaf(self, *_):
        return self.leaf


NODE = SimpleNamespace(target=None, args=(), kwargs={"weight": "w"}, name="n")


def test_weights_that_are_computed_need_no_divisor_where_nothing_that_is_summed_is_cloned():
    for roles, right in (
        ((("kept", "k"), ("summed", "one")), True), ((("kept", "k"), ("summed", "s")), False),
        ((("summed", "one"), ("summed", "t")), False), ((("kept", "k"),), True),
    ):  # fmt: skip
        assert Leaves(None)._divide(rewriter(), NODE, sums(*roles)) == right
    w = torch.ones(4, 3)
    scales = Leaves((w, None), w=w)
    assert scales._divide(rewriter(), NODE, sums(("kept", "k"), ("summed", "s")))
    assert flat(scales, w) == [2, 2, 1] * 4


def test_weights_are_redistributed_once_where_one_operator_uses_them():
    w = torch.tensor([[1.0, 2.0, 3.0]] * 3 + [[5.0, 6.0, 7.0]])
    roles, user = sums(("kept", "k"), ("summed", "s")), SimpleNamespace(name="u")

    def noise(leaf, users=1, seed=0, again=False):
        scales = Leaves(leaf, w=w)
        for k in range(users):
            scales._count(None, None, SimpleNamespace(name=f"u{k}"))
        scales._redistribute(rewriter(), NODE, roles, seed)
        if again:
            before = scales.noise[id(w)]
            scales._redistribute(rewriter(), NODE, roles, seed)
            assert scales.noise[id(w)] is before
        return scales.noise.get(id(w))

    found = noise((w, None), again=True).reshape(4, 3)
    torch.testing.assert_close(found[:, 0] + found[:, 1], torch.zeros(4).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(found[::2] + found[1::2], torch.zeros(2, 3).double(), rtol=0, atol=1e-14)
    double_w = 2 * w
    twice = Leaves((double_w, None), w=double_w)
    twice._count(None, None, user)
    twice._count(None, None, user)  # the same operator, in another mode
    twice._redistribute(rewriter(), NODE, roles, 0)
    torch.testing.assert_close(twice.noise[id(double_w)].reshape(4, 3), 2 * found)
    assert noise((w, None), users=2) is None
    assert Leaves(None)._redistribute(rewriter(), NODE, roles, 0) is None
    index = torch.arange(12).flip(0)
    torch.testing.assert_close(noise((w, index)).flip(0).reshape(4, 3), found)
    long = torch.cat([w.flatten(), torch.ones(3)])
    part = Leaves((long, torch.arange(12)), w=long)
    part._count(None, None, user)
    part._redistribute(rewriter(), NODE, roles, 0)
    assert part.noise[id(long)][12:].tolist() == [0.0] * 3
    single = torch.ones(1)
    alone = Leaves((single, None), w=single)
    alone._count(None, None, user)
    alone._redistribute(rewriter(), NODE, sums(("kept", "u"), ("summed", "u")), 0)
    assert alone.noise[id(single)].tolist() == [0.0]
    other = torch.randn(4, 3)
    both = Leaves((w, None), w=w, other=other)
    both._count(None, None, user)
    both._redistribute(rewriter(), NODE, roles, 0)
    both.leaf = (other, None)
    both._count(None, None, user)
    both._redistribute(rewriter(), NODE, roles, 0)
    first, second = (both.noise[id(t)] / t.double().std() for t in (w, other))
    assert float((first - second).abs().max()) > 0.1  # two weights have noise of their own


# --- whole models -----------------------------------------------------------------------------------------------------


def muls(clone):
    return sum("mul" in str(n.target) for n in clone.program.graph.nodes)


def computed(s, x):
    return F.linear(torch.tanh(s.a(x)), s.w * s.g.exp())


@pytest.mark.parametrize(("factor", "inserted"), [(2, ["mul"]), ((1, 2, 3, 1), ["tensor", "type_as", "view", "mul"])])
def test_data_is_rescaled_where_the_weight_is_computed(factor, inserted):
    base = Model(computed)
    base.w, base.g = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 1))
    clone = expand(base.double(), {"a": factor}, example_input=X, traced=True)
    assert gap(clone, base, X) < 1e-13
    own = expand(base, 1, example_input=X, traced=True)
    names = [str(n.target) for n in clone.program.graph.nodes if n.op == "call_function"]
    assert len(names) - sum(n.op == "call_function" for n in own.program.graph.nodes) == len(inserted)
    assert all(any(kind in name for name in names) for kind in inserted)


def attention(project):
    """Queries as ``project`` makes them, two heads of two."""
    return partial(attending, project)  # no closure: its trace is kept


def attending(project, s, x):
    q, rest = project(s, x)
    k = s.a(x)
    q, k = (t.view(4, 4, 2, 2).transpose(1, 2) for t in (q, k))
    y = s.o(F.scaled_dot_product_attention(q, k, k).transpose(1, 2).reshape(16, 4))
    return y if rest is None else (y, rest)


def bare(s, x):
    return F.linear(x, s.q.weight), None


def shown(s, x):
    q = s.q(x)
    return q, q.sum(-1)


def shared(s, x):
    return s.a(x), None


def weighed(s, x):
    return F.linear(x, s.q.weight * 2.0, s.q.bias), None


def turned(s, x):
    return torch.addmm(s.q.bias, x, s.v), None


def doubled(s, x):
    return s.q(x) * 2.0, None


@pytest.mark.parametrize(
    ("project", "inserted"),
    [(lambda s, x: (s.q(x), None), 0), (bare, 0), (turned, 0), (doubled, 0), (shown, 1), (shared, 1), (weighed, 1)],
)
def test_rows_carry_the_scale_of_attention_where_nothing_else_reads_them(project, inserted):
    torch.manual_seed(0)
    base = Model(attention(project))
    base.q, base.v = nn.Linear(5, 4), nn.Parameter(torch.randn(5, 4))
    base.double()
    clone, same = (expand(base, f, example_input=X, attention="width", traced=True) for f in (2, 1))
    mine, theirs = clone(X), base(X)
    for a, b in zip(*(t if isinstance(t, tuple) else (t,) for t in (mine, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
    assert muls(clone) - muls(same) == inserted + (project is shown)  # a sum over units is divided, too
    if not inserted:
        rows = clone.state()["v" if project is turned else "q.weight"].detach()
        weight = base.v.detach() if project is turned else base.q.weight.detach()
        wide = weight.repeat_interleave(2, int(project is turned))
        torch.testing.assert_close(rows, wide * 2**-0.5, rtol=1e-13, atol=0)


def test_unequal_copies_that_no_power_but_one_can_correct_are_refused():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x))) + torch.tanh(s.a(x)).sum(-1, keepdim=True)).double()
    clone = expand(base, {"a": (1, 2, 1, 3)}, example_input=X, traced=True)
    assert gap(clone, base, X) < 1e-13  # a sum is corrected coordinate by coordinate
    base = Model(attention(lambda s, x: (s.q(x), None)))
    base.q = nn.Linear(5, 4)
    with pytest.raises(InvalidInput, match="unequal multiplicities"):
        expand(base.double(), {"q": (1, 3)}, example_input=X, attention="width", traced=True)


def test_only_sums_between_activations_are_left_uncorrected():
    base = Model(attention(lambda s, x: (s.q(x), None)))
    base.q = nn.Linear(5, 4)
    options = {"example_input": X, "attention": "uncorrected", "traced": True}
    assert gap(expand(base.double(), {"q": (2, 2)}, **options), base, X) > 1e-6
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x))) + torch.tanh(s.a(x)).sum(-1, keepdim=True)).double()
    clone = expand(base, 2, **options)
    assert gap(clone, base, X) < 1e-13
    clone = expand(base, 2, example_input=X, traced=True)
    assert gap(clone, base, X) < 1e-13
