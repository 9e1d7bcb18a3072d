"""What PyTorch's functions do to units: where they are, where they come from, what reductions take away."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.weak import WeakIdKeyDictionary  # noqa: E402

from lop_theory import metrics as M  # noqa: E402
from lop_theory.metrics.calls import carried_dim, name_of, reduced_dims, summed, tensors_of  # noqa: E402
from lop_theory.metrics.recording import Captured, capture, hidden_layers  # noqa: E402

torch.set_num_threads(1)
X, W, B = torch.randn(5, 3), torch.randn(4, 3), torch.randn(4)
IMAGE, KERNEL, TURNED = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3), torch.randn(3, 4, 3, 3)


def learned(*tensors):
    found = WeakIdKeyDictionary()
    for k, t in enumerate(tensors):
        found[t] = f"w{k}"
    return found


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "out", "parameter", "right"),
    [
        ("linear", (X, W, B), {}, X @ W.T, W, (1, ("w0", 0))),
        ("linear", (X,), {"weight": W}, X @ W.T, W, (1, ("w0", 0))),
        ("linear", (X, W), {}, X @ W.T, B, (1, None)),
        ("embedding", (torch.tensor([0, 1]), W), {}, W[:2], W, (1, ("w0", 1))),
        ("conv2d", (IMAGE, KERNEL), {}, F.conv2d(IMAGE, KERNEL), KERNEL, (1, ("w0", 0))),
        ("conv_transpose2d", (IMAGE, TURNED), {}, F.conv_transpose2d(IMAGE, TURNED), TURNED, (1, ("w0", 1))),
        ("conv_transpose2d", (IMAGE, TURNED, None, 1, 0, 0, 3), {}, IMAGE, TURNED, (1, None)),
        ("conv_transpose2d", (IMAGE, TURNED), {"groups": 3}, IMAGE, TURNED, (1, None)),
        ("addmm", (B, X, W.T), {}, X @ W.T, None, None),
        ("matmul", (X, W.T), {}, X @ W.T, None, None),
        ("bilinear", (X, X, W), {}, X, W, (1, None)),
        ("lstm", (X,), {}, X, None, (1, None)),
        ("relu", (X,), {}, X, None, None),
        ("mm", (X,), {}, X, X, None),
        ("matmul", (W, X.T), {}, W @ X.T, W, (0, ("w0", 0))),
        ("einsum", ("bi,oi->bo", X, W), {}, X @ W.T, W, (1, ("w0", 0))),
        ("einsum", ("oi, bi -> ob", [W, X]), {}, W @ X.T, W, (0, ("w0", 0))),
        ("einsum", ("bi,io->bo", X, W.T), {}, X @ W.T, B, None),
        ("einsum", ("...i,oi->...o", X, W), {}, X @ W.T, W, None),
        ("einsum", ("bi,oi", X, W), {}, X @ W.T, W, None),
        ("einsum", ("ij,kl->jl", W, W), {}, W.T @ W, W, None),
        ("other", ("bi,oi->bo", X, W), {}, X @ W.T, W, None),
    ],
)
def test_weighted_sums(name, args, kwargs, out, parameter, right):
    assert summed(name, args, kwargs, out, learned(*([] if parameter is None else [parameter]))) == right


def test_the_matrix_of_a_product_may_stand_on_either_side():
    right = W.T.contiguous()
    assert summed("addmm", (B, X, right), {}, X @ right, learned(right)) == (1, ("w0", 1))
    assert summed("addmm", (B, X), {}, X, learned(right)) is None
    assert summed("matmul", (X, right), {}, X @ right, learned(right)) == (1, ("w0", 1))
    assert summed("matmul", (right, right), {}, X, learned(right)) is None
    assert summed("mv", (W, X[0]), {}, W @ X[0], learned(W)) == (-1, ("w0", 0))


@pytest.mark.parametrize(
    ("args", "kwargs", "right"),
    [
        ((X,), {}, set()),
        ((X, 1), {}, {1}),
        ((X, -1), {}, {1}),
        ((X, (0, 1)), {}, {0, 1}),
        ((X, [0]), {}, {0}),
        ((X, None), {}, set()),
        ((X,), {"dim": 0}, {0}),
        ((X, 0), {"dim": 1}, {1}),
        ((X,), {"axis": -2}, {0}),
        ((torch.tensor(1.0), 0), {}, set()),
    ],
)
def test_reduced_dims(args, kwargs, right):
    assert reduced_dims(args[0], args, kwargs) == right


@pytest.mark.parametrize(
    ("name", "change", "dim", "right"),
    [
        ("permute", lambda t: t.permute(2, 0, 1), 1, 2),
        ("transpose", lambda t: t.transpose(0, 1), 1, 0),
        ("clone", lambda t: t.clone(), 1, 1),
        ("view", lambda t: t.view(2, 3, 2, 2), 1, 1),
        ("view", lambda t: t.view(6, 4), 1, None),
        ("unsqueeze", lambda t: t.unsqueeze(0), 1, 2),
        ("getitem", lambda t: t[:, :2], 1, 1),
        ("getitem", lambda t: t[:, 0], 1, None),
        ("view", lambda t: t[:, :2], 1, None),
        ("getitem", lambda t: t[0], 1, 0),
        ("double", lambda t: t.double(), 2, 2),
        ("reshape", lambda t: t.flatten(2).double(), 1, 1),
        ("reshape", lambda t: t.reshape(2, 12).double(), 1, None),
        ("reshape", lambda t: t.reshape(2, 3, 2, 2).double(), 1, 1),
        ("reshape", lambda t: t.reshape(6, 4).double(), 2, 1),
        ("reshape", lambda t: t.transpose(0, 1).double().contiguous(), 2, 2),
        ("view", lambda t: t, None, None),
    ],
)
def test_where_units_go(name, change, dim, right):
    before = torch.randn(2, 3, 4)
    assert carried_dim(name, before, change(before), dim) == right


@pytest.mark.parametrize(
    ("func", "right"),
    [(torch.relu_, "relu"), (torch.Tensor.__rsub__, "rsub"), (torch.Tensor.__radd__, "add"), (torch.multiply, "mul"),
     (torch.ops.aten.add.Tensor, "add"), (torch.Tensor.T.__get__, "__get__"), ("true_divide", "div")],
)  # fmt: skip
def test_plain_names(func, right):
    assert name_of(func) == right


def test_tensors_inside_lists_are_found_in_order():
    assert [id(t) for t in tensors_of([X, 3, [W, (B,)], "x", None])] == [id(X), id(W), id(B)]


def test_what_is_captured_has_its_gradient_or_none():
    found = Captured(IMAGE, None, 1)
    assert found.gradient is None
    assert found.activations.shape == (72, 3)
    assert Captured(IMAGE, 2 * IMAGE, 1).gradient.equal(2 * found.activations)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    seen = capture(model, X, lambda out: out.sum(), layers=["1"])
    assert seen["1"].gradient.allclose(model[2].weight.expand(5, 4))
    assert capture(model, X, layers=["1"])["1"].gradient is None


class Odd(nn.Module):
    """A layer whose outputs are no samples of units: whole numbers, one number, a pair."""

    def __init__(self, form):
        super().__init__()
        self.form, self.scale = form, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return {"whole": x.long(), "vector": x[0] * self.scale, "pair": (x, x), "samples": x * self.scale}[self.form]


@pytest.mark.parametrize(("form", "seen"), [("whole", []), ("vector", []), ("pair", []), ("samples", ["0"])])
def test_only_samples_of_units_are_captured(form, seen):
    assert list(capture(nn.Sequential(Odd(form)), X)) == seen
    assert list(M.measure(nn.Sequential(Odd(form)), X, layers=["0"])) == seen


def test_hidden_layers_are_activations_or_else_what_has_weights():
    assert hidden_layers(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 1))) == ["1"]
    assert hidden_layers(nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1))) == ["0", "2"]
    assert hidden_layers(nn.Sequential(nn.Dropout())) == []
    assert hidden_layers(nn.Sequential(nn.Linear(3, 4), nn.MaxPool1d(1), nn.Softmax(1))) == ["2"]
    assert hidden_layers(nn.Sequential(nn.Linear(3, 4), nn.MaxPool1d(1))) == ["0"]


@pytest.mark.parametrize(("samples", "length"), [(10, 10), (2500, 1250)])
def test_the_longest_chain_of_additions(samples, length, monkeypatch):
    """Pieces of ``length`` samples: within one, then one more for each piece."""
    from lop_theory.metrics import units

    monkeypatch.setattr(units, "_length", lambda *_: length)
    m = M.moments(torch.randn(samples, 3))
    assert m.chain == samples // length + length
    assert m.samples == samples


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(F.glu(self.a(x)))


class Raw(nn.Module):
    """An activation of the input itself, of which no layer says where its units are."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return torch.relu(self.a(x)), torch.relu(x)


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(F.dropout(torch.relu(self.a(x)), 0.5, self.training))


@pytest.mark.parametrize(
    ("model", "x", "right"),
    [
        (Gated(), X, {"glu": 4}),
        (Raw(), IMAGE[:, :2], {"relu": 4, "relu#2": 2}),
        (Raw(), IMAGE[:, :2].double(), None),
        (Dropped().eval(), X, {"relu": 8}),
        (Dropped().train(), X, {"relu": 8}),
    ],
    ids=["glu", "input of images", "wrong dtype", "dropout off", "dropout on"],
)
def test_which_layers_are_measured_and_how_many_units_they_have(model, x, right):
    if right is None:
        with pytest.raises(RuntimeError):
            M.measure(model, x)
    else:
        assert {name: found.units for name, found in M.measure(model, x).items()} == right
