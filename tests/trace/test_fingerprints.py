"""A model's trace is used again while the model is built as it was, not after a change that a trace could show."""

import math
from collections import OrderedDict
from enum import Enum
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.trace import trace  # noqa: E402
from lop_theory.trace.fingerprints import fingerprint  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(3, 4)
FACTOR, WITHIN, LISTED = 2.0, 2.0, [2.0]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.scale = "relu", 1
        self.a, self.b, self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), nn.ReLU6()

    def forward(self, x):
        within = sum(map(lambda z: WITHIN * z, (x,)))
        y = getattr(F, self.act)(self.second(self.first(self.a(x))) * self.scale)
        return self.b(y) + torch.where(x > 9.0, FACTOR * x + within + LISTED[0], 0.0)


@pytest.fixture
def model():
    return Net()


def test_the_trace_is_kept_while_only_numbers_of_parameters_change(model):
    first = trace(model, X)
    with torch.no_grad():
        model.a.weight.mul_(2.0)
    model.load_state_dict(Net().state_dict())
    assert trace(model, X) is first
    assert trace(model, X + 1.0) is first


def changed(model, how):
    if how == "module":
        model.second = model.first
    elif how == "tied":
        model.b.weight = model.a.weight
    elif how == "strides":
        model.a.weight.data = model.a.weight.data.t().contiguous().t()
    elif how == "gradients":
        model.a.weight.requires_grad_(False)
    elif how == "forward":
        model.first.forward = torch.tanh
    else:
        setattr(model, *how)


@pytest.mark.parametrize(
    "how",
    [
        "module",
        "tied",
        "strides",
        "gradients",
        "forward",
        ("act", "gelu"),
        ("scale", 1.0),
        ("scale", True),
        ("scale", 2),
    ],
    ids=str,
)
def test_what_a_model_is_made_of_is_seen(model, how):
    before = fingerprint(model, X)
    assert fingerprint(model, X) == before is not None
    changed(model, how)
    assert fingerprint(model, X) != before


def test_the_two_zeros_are_told_apart(model):
    model.scale = 0.0
    before = fingerprint(model, X)
    model.scale = -0.0
    assert fingerprint(model, X) != before


@pytest.mark.parametrize(("name", "value"), [("FACTOR", 3.0), ("WITHIN", 3.0), ("LISTED", [3.0])])
def test_constants_that_a_forward_reads_are_seen(model, monkeypatch, name, value):
    """On this example none of them changes anything; a function inside of it may be what reads them."""
    first = trace(model, X)
    monkeypatch.setitem(Net.forward.__globals__, name, value)
    assert "3.0" in str(trace(model, X).graph)
    assert "3.0" not in str(first.graph)


def test_other_inputs_and_formats_are_seen(model):
    before = fingerprint(model, X)
    for other in (X.double(), X.repeat(2, 1), X.t().contiguous().t(), X.clone().requires_grad_(), (X,), {"x": X}):
        assert fingerprint(model, other) != before
    torch.set_default_dtype(torch.float64)
    try:
        assert fingerprint(model, X) != before
    finally:
        torch.set_default_dtype(torch.float32)


class Config:
    __module__ = "transformers.configuration"

    def __init__(self, width):
        self.width = width


class Other(Config):
    __module__ = "lop_theory.hooks"


class Slotted:
    __module__, __slots__ = "transformers.configuration", ()


class Kind(Enum):
    FIRST, SECOND = 1, 2


def first(x):
    return x


def second(x):
    return x


PLAIN = [
    (1, 2), ("a", "b"), (b"a", b"b"), (None, 0), (1j, 2j), (1.0, 1), (np.float64(1), np.float32(1)),
    (np.int64(1), np.int64(2)), (Kind.FIRST, Kind.SECOND), (torch.float32, torch.float64), (nn.ReLU, nn.ReLU6),
    (torch.device("cpu"), torch.device("meta")), (math.sin, math.cos), (torch.sin, torch.cos), (F.gelu, F.hardtanh),
    (first, second), (partial(first, 1), partial(second, 1)), (partial(first, 1), partial(first, 2)),
    (partial(first, x=1), partial(first, x=2)), ([1], [2]), ([1], (1,)), ((1, 2), (2, 1)), ({1}, {2}),
    ({1}, frozenset({1})), ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({"a": 1}, OrderedDict(a=1)),
    ({1: 0}, {1.0: 0}), (Config(1), Config(2)), (Config(1), Other(1)), ([Config(partial(first, 1))], [Config(first)]),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PLAIN, ids=range(len(PLAIN)))
def test_plain_values_are_told_apart(model, one, other):
    found = []
    for value in (one, other, one):
        model.scale = value
        found.append(fingerprint(model, X))
    assert None not in found
    assert found[0] == found[2] != found[1]
    assert fingerprint(nn.Identity(), (X, one)) != fingerprint(nn.Identity(), (X, other))


def test_a_constant_that_a_forward_reads_is_seen(model, monkeypatch):
    before = fingerprint(model, X)
    monkeypatch.setitem(Net.forward.__globals__, "FACTOR", 3.0)
    monkeypatch.setitem(Net.forward.__globals__, "F", object())
    assert fingerprint(model, X) not in (None, before)


def test_which_name_is_whose_is_seen_where_one_has_two(model):
    def found(name, value):
        setattr(model, name, value)
        return fingerprint(model, X)

    model.register_parameter("p", nn.Parameter(torch.ones(1)))
    model.register_parameter("q", nn.Parameter(torch.ones(1)))
    model.register_buffer("u", torch.ones(1))
    model.register_buffer("v", torch.ones(1))
    model.register_parameter("r", None)
    model.register_buffer("w", None)
    assert found("third", model.first) != found("third", model.second)
    assert found("r", model.p) != found("r", model.q)
    assert found("w", model.u) != found("w", model.v)


def test_hooks_are_seen_and_the_mode_is_not(model):
    before = fingerprint(model, X)
    assert fingerprint(model.eval(), X) == before
    model._expansion = object()
    assert fingerprint(model, X) == before
    model.a.register_forward_hook(first)
    assert fingerprint(model, X) not in (None, before)


def test_objects_in_objects_are_compared_four_deep(model):
    nested = Config(0)
    for _ in range(3):
        nested = Config(nested)
    model.scale = [nested]
    assert fingerprint(model, X) == fingerprint(model, X) is not None
    ring = Config(0)
    ring.width = ring
    for value in (Config(nested), ring):
        model.scale = value
        assert fingerprint(model, X) is None


def test_a_recurrence_runs_on_its_own_parameters():
    x, model = torch.ones(2, 3), nn.RNN(3, 4)
    before = fingerprint(model, x)
    assert before == fingerprint(model, x) is not None
    model._flat_weights[1] = model._flat_weights[1] * 2
    assert fingerprint(model, x) is None
    model = nn.RNN(3, 4)
    model._flat_weights.append(torch.ones(1))
    assert fingerprint(model, x) is None


def test_tensors_without_strides_are_given_too(model):
    found = [fingerprint(model, x) for x in (X, X.to_sparse(), X.to_sparse_csr(), X.to_sparse(), X.to_sparse_csr())]
    assert None not in found
    assert found[1:3] == found[3:]
    assert found[0] != found[2] != found[1] != found[0]
    assert fingerprint(model, torch.ones(2, 3)) != fingerprint(model, torch.ones(3, 2).t())


def test_what_cannot_be_compared_has_no_fingerprint(model):
    def closure(bound=1):
        return lambda: bound

    class Foreign:
        width = 1

    class Text(str):
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = str.__hash__

    unknown = (Text("relu"), torch.ones(1), object(), closure(), [].append, Foreign(), Slotted(), {"a": [object()]})
    for value in (*unknown, partial(closure(), 1), Config(object())):
        model.scale = value
        assert fingerprint(model, X) is None


def test_a_forward_that_is_no_function_has_no_constants():
    class Called:
        __code__ = None

        def __call__(self, x):
            return x

    class Own(nn.Module):
        forward = Called()

    own = Own()
    assert fingerprint(own, X) == fingerprint(own, X) is not None
