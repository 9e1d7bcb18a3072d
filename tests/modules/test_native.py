"""What a clone in the model's own class is made of: what grew, what is scaled, whether it answers as the base does."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import fx, nn  # noqa: E402

from lop_theory.modules import expand  # noqa: E402
from lop_theory.modules.own_class import (  # noqa: E402
    NotNativeError,
    _calls,
    _close,
    _fits,
    _growth,
    _near,
    _same,
    _scaled_modules,
    _slack,
    _traceable,
    _unchanged,
)
from lop_theory.modules.plan import widths  # noqa: E402
from lop_theory.trace.comparison import Pass, model_pass  # noqa: E402
from tests.modules.nets import Asked, Model, X, gap  # noqa: E402
from tests.zoo.plain import Function, lin  # noqa: E402

aten = torch.ops.aten


class Grid(nn.Module):
    """Four units as two rows of two."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, h):
        return self.inner(h.view(-1, 2, 2).flatten(1)).tanh()


def test_what_grew_in_which_module():
    """Rows and columns of the grid double, so that its four units become sixteen; literals, values and parameters are
    looked at, each where it stands."""
    base = Function(lambda m, x: m.o(m.b(m.a(x))), a=lin(5, 4), b=Grid(), o=lin(3, 2)).double()
    found = widths(base, X[:6])
    clone = expand(base, 2, example_input=X[:6], traced=True)
    grown = _growth({training: traced.program for training, traced in found.modes.items()}, clone)
    assert sorted(map(tuple, grown)) == [
        ("", 2, 2), ("", 3, 6), ("", 4, 16), ("", 5, 5), ("", 6, 6),
        ("a", 4, 16), ("a", 5, 5), ("a", 6, 6),
        ("b", -1, -1), ("b", 1, 1), ("b", 2, 4), ("b", 3, 6), ("b", 4, 16), ("b", 6, 6),
        ("b.inner", 3, 6), ("b.inner", 4, 16), ("b.inner", 6, 6),
        ("o", 2, 2), ("o", 3, 6), ("o", 6, 6),
    ]  # fmt: skip


def scaled(path, factor=0.5, *, first=True, like=True, weight=True):
    """What is scaled of a model of one layer whose input, or weight, the trace multiplies."""
    graph = fx.Graph()
    x, w = graph.placeholder("x"), graph.placeholder("w")
    made = graph.call_function(aten.mul.Tensor, (x, w if factor is None else factor))
    if like:
        made.meta["like"] = "x"
    user = graph.call_function(aten.linear.default, (made, w) if first else (w, made))
    program = SimpleNamespace(graph=graph, modules={user.name: path}, where=lambda node: node.name)
    model = Function(None, o=lin(2, 2) if weight else nn.Tanh())
    model.weight = nn.Parameter(torch.ones(1))
    return _scaled_modules(model, SimpleNamespace(programs={True: program}))


def test_inputs_of_modules_with_a_weight_are_scaled_by_numbers():
    assert scaled("o") == {"o": 0.5}
    assert scaled("", like=False) == {}
    for given in ({"path": ""}, {"path": "o", "factor": None}, {"path": "o", "first": False}):
        with pytest.raises(NotNativeError, match="needs a correction at linear_default"):
            scaled(**given)
    with pytest.raises(NotNativeError, match="needs a correction"):
        scaled("o", weight=False)


@pytest.mark.parametrize(
    ("dtypes", "slack"),
    [
        ([], 1e-9), ([torch.int64], 1e-9), ([torch.float64], 1e-9), ([torch.float64, torch.float32], 1e-3),
        ([torch.float16, torch.float64], 3e-2), ([torch.bfloat16], 1e-1), ([torch.float8_e5m2], 1e-1),
    ],
)  # fmt: skip
def test_the_coarsest_precision_of_a_trace_is_the_tolerance(dtypes, slack):
    nodes = [SimpleNamespace(meta={"val": torch.zeros(1).to(dtype)}) for dtype in dtypes]
    graph = SimpleNamespace(nodes=[*nodes, SimpleNamespace(meta={}), SimpleNamespace(meta={"val": 3})])
    assert _slack({True: SimpleNamespace(graph=graph)}) == slack


def test_what_a_trace_takes():
    assert _traceable(nn.Tanh(), X)
    assert not _traceable(Function(lambda _, x: x if x.sum() > 0 else -x), X)


def test_answers_that_are_the_same_bit_for_bit():
    answers = [(True, ((X,), {}), Pass([X * k], {}, {}, [])) for k in (1.0, 1 + 1e-15)]
    assert _unchanged(nn.Identity(), answers[:1], X)
    assert not _unchanged(nn.Identity(), answers, X)
    branch = Function(lambda _, x: x if x.sum() > -1e9 else -x)
    assert not _unchanged(branch, answers[:1], X)


def test_a_clone_fits_if_it_answers_every_call_and_can_be_traced():
    calls = [(mode, ((x,), {}), model_pass(nn.Identity(), ((x,), {}))) for mode, x in ((False, X), (True, X[:3]))]
    assert _fits(nn.Identity(), calls, X, 1e-9)
    assert not _fits(nn.Tanh(), calls, X, 1e-9)
    assert not _fits(Function(lambda _, x: x if len(x) > 3 else -x), calls, X, 1e-9)
    assert not _fits(Function(lambda m, x: -x if m.training else x), calls, X, 1e-9)
    assert not _fits(Function(lambda _, x: x if x.sum() > -1e9 else -x), calls, X, 1e-9)


def test_calls_of_what_is_random_in_evaluation_too_are_asked_there():
    found = _calls(Function(lambda _, x: x + torch.rand_like(x)), X[:2], 1e-9)
    assert [(training, len(given[0][0])) for training, given, _ in found] == [
        (False, 2),
        (False, 3),
        (False, 2),
        (False, 2),
    ]


def test_what_is_near_is_a_tensor_and_may_be_nothing():
    zero = torch.zeros(2)
    assert _near(zero, zero, 1.0)
    assert not _near(zero, None, 1.0)
    assert not _near(None, zero, 1.0)


def test_outputs_that_are_no_tensors_or_not_finite():
    nan, inf = float("nan"), float("inf")
    assert _close(1.5, float("1.5"), 0.0)
    assert _close(nan, nan, 0.0)  # the same object
    assert not _close(nan, float("nan"), 0.0)
    t = torch.tensor
    assert not _close(t([2, 3]), t([2, 4]), 1.0)
    for odd in (nan, inf, -inf):  # no measure of the others
        assert not _close(t([odd, 1.2e-3]), t([odd, 1e-3]), 1e-2)
    assert _close(t([inf, 1.0, -inf]), t([inf, 1.0, -inf]), 0.0)
    whole, part = Pass([], {}, {}, [t([inf])]), Pass([], {}, {}, [t([1.0, 1e-6])])
    assert _same(whole, whole, 1e-9)
    assert _same(Pass([], {}, {}, [t([1.0, 2e-6])]), part, 1e-7)  # 1e-6 of a norm of 1, where 3e-6 are let pass
    assert not _same(Pass([], {}, {}, [t([1.0, 5e-6])]), part, 1e-7)
    assert not _same(Pass([1.0, 2], {}, {}, []), Pass([1.0], {}, {}, []), 1e-7)


def test_a_size_that_only_a_parameter_shows_grows_with_it():
    base = Model(lambda s, x: s.p(s.b(torch.tanh(s.a(x)))))
    base.b, base.p = Asked(), nn.Linear(3, 2)
    clone = expand(base.double(), 2, example_input=X)
    assert type(clone) is Model
    assert clone.b.needed == 8
    assert gap(clone, base, X) < 1e-13
