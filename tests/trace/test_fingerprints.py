"""A model's trace is used again while the model is built as it was, not after a change that a trace could show."""

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


def test_what_cannot_be_compared_has_no_fingerprint(model):
    def closure(bound=1):
        return lambda: bound

    class Text(str):
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = str.__hash__

    for value in (Text("relu"), torch.ones(1), object(), closure()):
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
