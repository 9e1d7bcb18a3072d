"""Models that are built alike share a trace; what is not alike, or computes something else, has its own."""

from collections import deque

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.trace import trace, tracing  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(3, 4)
FACTOR = 2.0
STATE = {"gate": torch.tanh, "mask": torch.ones(4), "bound": 0.0}


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """Only traces of this test."""
    monkeypatch.setattr(tracing, "_ALIKE", deque(maxlen=8))


@pytest.fixture
def exported(monkeypatch):
    """How often ``torch.export`` was asked."""
    asked, export = [], torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *given, **options: asked.append(1) or export(*given, **options))
    return asked


class Net(nn.Module):
    def __init__(self, width=4, act="relu", tied=False, bias=True, scale=1.0):
        super().__init__()
        self.act, self.scale = act, scale
        self.a, self.b = nn.Linear(4, width, bias=bias), nn.Linear(width, 4, bias=bias)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(getattr(F, self.act)(self.a(x)) * self.scale)


class Reading(nn.Module):
    """What it computes is decided by what it reads, which no fingerprint shows."""

    def __init__(self, what):
        super().__init__()
        self.what, self.a = what, nn.Linear(4, 4)

    def forward(self, x):
        y = self.a(x)
        if self.what == "gate":
            return STATE["gate"](y)
        if self.what == "mask":
            return y * STATE["mask"]
        return y.clamp(min=0.0) if STATE["bound"] else y


def text(program):
    return str(program.graph)


def test_other_seeds_copies_and_weights_take_one_trace(exported):
    first = trace(Net(), X)
    assert len(exported) == 1
    for _ in range(3):
        assert trace(Net(), X) is first
    assert len(exported) == 1
    assert set(first.state.values()) == set(Net().state_dict())


@pytest.mark.parametrize(
    "changed",
    [{"width": 5}, {"act": "gelu"}, {"tied": True}, {"bias": False}, {"scale": 2.0}],
    ids=lambda changed: next(iter(changed)),
)
def test_models_that_are_built_otherwise_have_their_own(exported, changed):
    first, other = trace(Net(), X), trace(Net(**changed), X)
    assert len(exported) == 2
    tracing._ALIKE.clear()
    assert text(trace(Net(**changed), X)) == text(other)
    assert text(trace(Net(), X)) == text(first)


def test_tied_parameters_are_those_of_the_model():
    assert trace(Net(), X) is not trace(Net(tied=True), X)
    assert trace(Net(tied=True), X) is trace(Net(tied=True), X)


@pytest.mark.parametrize(
    "how",
    [
        lambda model: (model.double(), X.double()),
        lambda model: (model.train(), X),
        lambda model: (model.requires_grad_(False), X),
        lambda model: (model, X.repeat(1, 2, 1)),
        lambda model: (model, {"x": X}),
    ],
    ids=["dtype", "training", "gradients", "dimensions", "call"],
)
def test_other_modes_calls_and_formats_have_their_own(exported, how):
    trace(Net().eval(), X)
    trace(*how(Net().eval()))
    assert len(exported) == 2


@pytest.mark.parametrize(
    ("what", "other"), [("gate", torch.relu), ("mask", torch.tensor([1.0, 0.0, 1.0, 1.0])), ("bound", 1.0)]
)
def test_a_model_that_computes_something_else_is_traced_itself(monkeypatch, exported, what, other):
    """The trace of one that is built alike is compared with it before it is taken."""
    first = trace(Reading(what), X)
    monkeypatch.setitem(STATE, what, other)
    second = trace(Reading(what), X)
    assert second is not first
    assert len(exported) == 2
    model = Reading(what)
    tracing.compare(model, trace(model, X), (X,), {})


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        return torch.where(x > 9.0, FACTOR * x, self.a(x))


def test_constants_that_a_forward_reads_are_part_of_how_a_model_is_built(monkeypatch, exported):
    """On this example none of them changes anything."""
    model = Scaled()
    first = trace(model, X)
    monkeypatch.setitem(Scaled.forward.__globals__, "FACTOR", 3.0)
    for other in (model, Scaled()):
        assert "3.0" in text(trace(other, X))
        assert "3.0" not in text(first)
    assert len(exported) == 2


def test_tensors_that_a_trace_holds_are_never_anothers(exported):
    trace(Reading("mask"), X)
    trace(Reading("mask"), X)
    assert len(exported) == 2
    assert not tracing._ALIKE


def test_only_the_last_few_are_kept(exported):
    for width in range(4, 13):
        trace(Net(width), X)
    asked = len(exported)
    trace(Net(12), X)
    assert len(exported) == asked
    trace(Net(4), X)
    assert len(exported) == asked + 1
