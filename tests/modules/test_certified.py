"""Units that are called frozen for ever have no gradient, whatever else the model does: what reads their weights and
pre-activations, writes over their inputs, changes their order or the mode is seen in the graph of the call.

``b`` reads a sigmoid in (0, 1)³ with weights 1 and bias −3.5: behind a relu both its units are frozen, unless.
"""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.metrics import measure  # noqa: E402
from lop_theory.modules import Criteria, detect  # noqa: E402

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """``how(self, x)`` is the forward pass."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.d, self.e = (nn.Linear(n, m) for n, m in ((4, 3), (3, 2), (2, 1), (2, 3), (3, 1)))
        self.how, self.drop, self.norm = how, nn.Dropout(0.5), nn.BatchNorm1d(3)
        with torch.no_grad():
            self.b.weight.fill_(1.0)
            self.b.bias.fill_(-3.5)
            self.d.weight.fill_(-1.0)
            self.d.bias.fill_(1.0)

    def forward(self, x):
        return self.how(self, x)

    def gates(self, x):
        return torch.sigmoid(self.a(x))

    def through(self, h):
        return self.c(torch.relu(self.b(h)))


def frozen(model, x=X, **wishes):
    return [(layer.module, *block.units) for layer, block in detect(model, x, **wishes).verdicts("frozen")]


def gradient(model, total):
    model.zero_grad()
    total(model(X)).backward()
    return max(float(p.grad.abs().max()) for p in model.b.parameters())


def everything(output):
    return sum((t.real + t.imag).sum() if t.is_complex() else t.sum() for t in leaves(output))


def leaves(output):
    if isinstance(output, torch.Tensor):
        return [output]
    parts = vars(output).values() if isinstance(output, SimpleNamespace) else output
    return [t for part in parts for t in leaves(part)]


BOTH = [("relu", 0), ("relu", 1)]
FINE = {
    "as it stands": lambda s, x: s.through(s.gates(x)),
    "rows of rows": lambda s, x: s.through(s.gates(x).view(4, 16, 3)).sum(1),
    "a view between": lambda s, x: s.c(torch.relu(s.b(s.gates(x)).view(4, 16, 2))).sum(1),
    "in place": lambda s, x: s.c(s.b(s.gates(x)).relu_()),
    "other order of what it reads": lambda s, x: s.through(s.gates(x).flip(-1)),
    "something beside it": lambda s, x: (s.through(s.gates(x)), s.gates(x).sum(1)),
    "dropout behind it": lambda s, x: s.c(s.drop(torch.relu(s.b(s.gates(x))))),
    "outputs with names": lambda s, x: {"y": s.through(s.gates(x)), "size": 3, "note": None},
    "checkpoint": lambda s, x: s.c(checkpoint(lambda h: torch.relu(s.b(h)), s.gates(x), use_reentrant=False)),
}


@pytest.mark.parametrize("how", FINE.values(), ids=FINE)
def test_what_nothing_else_touches_is_frozen(how):
    model = Net(how).eval()
    assert frozen(model) == BOTH
    output = model.train()(X)
    (output["y"] if isinstance(output, dict) else leaves(output)[0]).sum().backward()
    assert max(float(p.grad.abs().max()) for p in model.b.parameters()) == 0
    assert all(module.training for module in model.modules())


def written(write):
    def how(s, x):
        h = s.gates(x).clone()
        write(h)
        return s.through(h)

    return how


def scaled(h):
    h.data = h.data * 20


def added(z):
    z.data.add_(20)
    return z


READ = {
    "pre-activation": lambda v: v.z.sum(1),
    "pre-activation itself": lambda v: v.z,
    "a part of it": lambda v: v.z[:, :1].view(-1),
    "complex": lambda v: torch.complex(v.z, v.z),
    "in an object": lambda v: SimpleNamespace(z=v.z),
    "weight, transposed": lambda v: F.linear(v.h[:, :2], v.b.weight.t()),
    "weight, in a product": lambda v: v.h @ v.b.weight.t(),
    "weight, in an einsum": lambda v: torch.einsum("bi,oi->b", v.h, v.b.weight),
    "weight, as a table": lambda v: F.embedding(torch.zeros(2, dtype=torch.long), v.b.weight),
    "weight, squared": lambda v: (v.b.weight**2).sum(),
    "norm of the weight": lambda v: v.b.weight.norm(),
    "bias": lambda v: v.b.bias.sum(),
    "another relu": lambda v: torch.relu(v.z + 4),
}


def read(also):
    def how(s, x):
        h = s.gates(x)
        z = s.b(h)
        return s.c(torch.relu(z)), also(SimpleNamespace(b=s.b, h=h, z=z))

    return how


def summed(how):
    return lambda s, x: s.c(torch.relu(how(s, s.gates(x))))


LIVE = {
    **{f"read: {name}": read(also) for name, also in READ.items()},
    "written: a column": written(lambda h: h[:, 0].copy_(50 * h[:, 0] - 20)),
    "written: an entry": written(lambda h: h.__setitem__((slice(None), 0), 50 * h[:, 0] - 20)),
    "written: through a view": written(lambda h: h.view(-1).mul_(20)),
    "written: whole": written(lambda h: h.mul_(20)),
    "written: data": written(lambda h: h.data.mul_(20)),
    "written: other data": written(scaled),
    "written: array": written(lambda h: h.detach().numpy().__imul__(20)),
    "pre-activation's data": lambda s, x: s.c(torch.relu(added(s.b(s.gates(x))))),
    "weight and more": summed(lambda s, h: F.linear(h, s.b.weight + 3, s.b.bias)),
    "weight and another": summed(lambda s, h: F.linear(h, s.b.weight + 3 * s.d.weight.t() ** 2, s.b.bias)),
    "bias and more": summed(lambda s, h: F.linear(h, s.b.weight, s.b.bias + 5)),
    "twenty times the product": summed(lambda s, h: torch.addmm(s.b.bias, h, s.b.weight.t(), alpha=20)),
    "a tenth of the bias": summed(lambda s, h: torch.addmm(s.b.bias, h, s.b.weight.t(), beta=0.1)),
    "dropout before it": lambda s, x: s.through(2 * s.drop(s.gates(x))),
    "dropout in training": lambda s, x: s.through(s.drop(s.gates(9 * x))),
    "training reads more": lambda s, x: (s.through(s.gates(x)), s.b(s.gates(x)).sum() if s.training else x.sum()),
}  # fmt: skip


@pytest.mark.parametrize("how", LIVE.values(), ids=LIVE)
def test_what_gets_a_gradient_is_not_frozen(how):
    model = Net(how)
    assert gradient(model, everything) > 0
    assert frozen(model.eval()) == []


@pytest.mark.parametrize("aside", [torch.detach, torch.no_grad()(torch.clone)])
def test_a_relu_that_is_not_recorded_is_not_the_one_that_is_met(aside):
    def how(s, x):
        z = s.b(s.gates(x))
        return s.c(torch.relu(aside(z))) + s.e(torch.relu(s.d(z)))

    model = Net(how)
    assert gradient(model, everything) > 0
    assert ("relu", 0) not in frozen(model)


PERMUTED = {
    "flip": lambda h: h.flip(-1),
    "roll": lambda h: h.roll(1, -1),
    "index": lambda h: h[:, [2, 1, 0]],
    "one for all": lambda h: h[:, 1:2].expand(-1, 3),
    "tokens for units": lambda h: h[:63].reshape(21, 3, 3).transpose(1, 2),
    "shuffled": lambda h: h.reshape(3, 64).t(),
    "the largest of neighbours": lambda h: F.max_pool2d(h.view(1, 1, 64, 3), (1, 3), 1, (0, 1)).view(64, 3),
}


@pytest.mark.parametrize("order", PERMUTED.values(), ids=PERMUTED)
def test_bounds_of_units_stay_with_their_units(order):
    """Unit 0 of the first relu is 0 for ever, the others are not: bounds of one are not those of another."""

    def how(s, x):
        return s.o(torch.relu(s.n(order(torch.relu(s.m(s.gates(x))))))).sum()

    model = Net(how)
    model.m, model.n, model.o = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
    with torch.no_grad():
        model.m.weight.copy_(torch.tensor([[-1.0], [5.0], [5.0]]).expand(3, 3))
        model.m.bias.copy_(torch.tensor([-1.0, 0.0, 0.0]))
        model.n.weight.copy_(torch.eye(3))
        model.n.bias.fill_(-1.0)
    model(X).backward()
    moved = model.n.weight.grad.abs().sum(1)
    assert float(moved.max()) > 0
    found = [unit for name, unit in frozen(model) if name == "relu#2"]
    assert not any(moved[unit] for unit in found)
    model.how = lambda s, x: s.o(torch.relu(s.n(torch.relu(s.m(s.gates(x)))))).sum()
    assert frozen(model) == [("relu", 0), ("relu#2", 0)]


def test_a_square_weight_read_the_other_way_round():
    model = Net(lambda s, x: s.e(torch.relu(F.linear(s.gates(x), s.n.weight.t(), s.n.bias))))
    model.n = nn.Linear(3, 3)
    with torch.no_grad():
        model.n.weight.copy_(torch.tensor([[1.0, 1, 1], [0, 0, 0], [9, 9, 9]]))
        model.n.bias.copy_(torch.tensor([-3.5, -1.0, 0.0]))
    model(X).sum().backward()
    assert float(model.n.weight.grad.abs().sum()) > 0
    assert frozen(model) == []


def test_gradients_that_hooks_change():
    model = Net(FINE["as it stands"])
    handle = model.b.weight.register_hook(lambda g: g + 1)
    assert frozen(model) == []
    handle.remove()
    assert frozen(model) == BOTH
    model.b.bias.register_post_accumulate_grad_hook(torch.numel)
    assert frozen(model) == []

    def hooked(s, x):
        z = s.b(s.gates(x))
        z.register_hook(lambda g: g + 1)
        return s.c(torch.relu(z))

    model = Net(hooked)
    assert gradient(model, everything) > 0
    assert frozen(model) == []


def test_two_parameters_of_the_same_numbers():
    def how(s, x):
        return s.through(s.gates(x)), F.linear(s.gates(x), s.twin)

    model = Net(how)
    model.twin = nn.Parameter(model.b.weight.data)
    assert frozen(model) == []
    model.twin = nn.Parameter(model.b.weight.data.clone())
    assert frozen(model) == BOTH


def test_a_loss_that_reads_more():
    model = Net(FINE["as it stands"])
    assert frozen(model, loss=lambda y: y.mean()) == BOTH
    assert frozen(model, loss=lambda y: y.mean() + (model.b.weight**2).sum()) == []

    def keeping(s, x):
        s.kept = s.b(s.gates(x))
        return s.c(torch.relu(s.kept))

    model = Net(keeping)
    assert frozen(model, loss=lambda y: y.mean() + model.kept.sum()) == []


def loader(sizes):
    return torch.utils.data.DataLoader(X, batch_sampler=[list(range(size)) for size in sizes])


def test_clones_that_the_loss_tells_apart_are_not_called_trapped():
    """Theorem A.1 is about losses of the outputs; this one reads a row of a weight, or a value that the model kept."""

    def how(s, x):
        s.kept = s.gates(x)
        return s.e(s.kept)

    model = Net(how)
    with torch.no_grad():
        model.a.weight[1], model.a.bias[1] = model.a.weight[0], model.a.bias[0]
        model.e.weight[:, 1] = model.e.weight[:, 0]

    def verdicts(loss):
        return {b.kind for _, b in detect(model, X, loss=loss).verdicts() if {0, 1} <= {*b.units}}

    assert verdicts(None) == verdicts(lambda y: y.square().mean()) == {"trapped"}
    for extra in (lambda: model.a.weight[0].square().sum(), lambda m=model: m.kept[:, 0].sum()):
        assert verdicts(lambda y, extra=extra: y.square().mean() + extra()) == {"cloned"}
        model.zero_grad()
        (model(X).square().mean() + extra()).backward()
        assert float((model.a.weight.grad[0] - model.a.weight.grad[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("options", [{"beta": -1.0}, {"threshold": -50.0}])
def test_softplus_of_odd_settings_is_not_positive(options):
    model = Net(lambda s, x: s.c(torch.relu(s.b(F.softplus(s.a(x), **options)))))
    with torch.no_grad():
        model.b.weight.fill_(-1.0)
        model.b.bias.fill_(-0.5)
        model.a.bias.fill_(-3.0)
    assert gradient(model, everything) > 0
    with torch.no_grad():
        model.a.bias.fill_(30.0)
    assert frozen(model) == []
    for others in ({"beta": 2.0, "threshold": 9.0}, {"threshold": 0.0}):
        model.how = lambda s, x, others=others: s.c(torch.relu(s.b(F.softplus(s.a(x), **others))))
        assert frozen(model) == BOTH


def test_a_training_call_that_skips_the_layer_is_no_evidence():
    model = Net(lambda s, x: s.through(s.gates(x)) if not s.training else s.gates(x).sum(1))
    assert frozen(model.eval()) == []


def test_whatever_a_model_says_to_training_mode():
    def how(s, x):
        assert not s.training
        return s.through(s.gates(x))

    assert frozen(Net(how).eval()) == []


def test_every_batch_must_agree():
    """Batches of 5 read the pre-activation, too; those of 6 do not run the layer at all."""

    def how(s, x):
        z = s.b(s.gates(x)) if len(x) != 6 else x[:, :2]
        return s.c(torch.relu(z)) + (z.sum() if len(x) == 5 else 0)

    model = Net(how)
    for sizes, right in (((4, 8), BOTH), ((4, 5), []), ((5, 4), []), ((4, 6), BOTH)):
        assert frozen(model, loader(sizes)) == right


def test_frozen_without_weights_that_ask_for_gradients():
    """A bias whose numbers no gradient knows is not read off the graph: undecided."""
    model = Net(FINE["as it stands"])
    model.b.bias.requires_grad_(False)
    assert frozen(model) == []


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_keep_their_channels_through_pooling(bias):
    """Channel 0 is 0 for ever, and the next reads it with 1, the other with −1: frozen by its order alone."""
    first, second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, bias=bias)
    layers = [first, nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2, 1), second, nn.ReLU(), nn.Flatten(), nn.LazyLinear(1)]
    model, x = nn.Sequential(*layers), torch.rand(2, 1, 16, 16)
    model(x)
    with torch.no_grad():
        first.weight[0], first.bias[0] = -1.0, -1.0
        second.weight.copy_(torch.tensor([[[[1.0]], [[-1.0]]], [[[-1.0]], [[1.0]]]]).expand(2, 2, 3, 3))
        if bias:
            second.bias.fill_(-0.1)
    inside = frozen(model, x, criteria=Criteria(input_range=(0.0, 1.0)))
    assert inside == ([("1", 0), ("5", 0)] if bias else [("1", 0)])
    second.bias = nn.Parameter(torch.full((2,), -0.1), requires_grad=False)
    assert frozen(model, x, criteria=Criteria(input_range=(0.0, 1.0))) == [("1", 0)]
    grown = nn.Sequential(first, nn.ReLU(), nn.ConvTranspose2d(2, 2, 3, bias=False), nn.ReLU())
    with torch.no_grad():
        grown[2].weight.fill_(-1.0)
    assert frozen(grown, x, criteria=Criteria(input_range=(0.0, 1.0))) == [("1", 0)]


def test_a_bias_that_units_share_moves_with_each_of_them():
    model = Net(lambda s, x: s.c(torch.relu(torch.addmm(s.shared, s.gates(x), s.b.weight.t()))))
    model.shared = nn.Parameter(torch.tensor([-3.5]))
    with torch.no_grad():
        model.b.weight[1] = 9.0
    model(X).sum().backward()
    assert float(model.shared.grad.abs()) > 0
    assert frozen(model) == []


@pytest.mark.parametrize(("divisor", "right"), [(None, [("relu", 0), ("relu", 1)]), (1, []), (4, [])])
def test_a_pooling_with_a_divisor_of_its_own_is_no_mean(divisor, right):
    """Of numbers in (0, 1) four together reach 4; undecided even where the divisor is their number."""
    model = Net(lambda s, x: s.c(torch.relu(s.n(s.pooled(x))).mean((2, 3))))
    model.pooled = lambda x: F.avg_pool2d(torch.sigmoid(model.m(x.view(16, 1, 4, 4))), 2, divisor_override=divisor)
    model.m, model.n = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        model.n.weight.fill_(1.0)
        model.n.bias.fill_(-3.5)
        model.m.bias.fill_(2.0)
    assert frozen(model) == right
    if divisor == 1:
        model(X).sum().backward()
        assert float(model.n.weight.grad.abs().max()) > 0


def test_a_range_that_the_data_leaves_is_refused():
    with pytest.raises(InvalidInput, match=r"input_range=\(0.0, 1.0\): the data has values from -.*; give a range"):
        detect(Net(FINE["as it stands"]), X, criteria=Criteria(input_range=(0.0, 1.0)))


def test_training_mode_leaves_no_trace_and_may_be_impossible():
    """Batch normalisation of one row raises in training mode: nothing is certified."""

    def how(s, x):
        return s.through(s.gates(x)) + s.norm(s.gates(x)).sum()

    model = Net(how).eval()
    model.drop.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert frozen(model) == BOTH
    assert [name for name, module in model.named_modules() if module.training] == ["drop"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert frozen(model, X[:1]) == []


@pytest.mark.parametrize("training", [False, True])
def test_models_that_cannot_be_differentiated(training):
    def reentrant(s, x):
        return s.c(checkpoint(lambda h: torch.relu(s.b(h)), s.gates(x), use_reentrant=True))

    def overwritten(s, x):
        return s.through(s.gates(x).mul_(2))

    for how in (reentrant, overwritten):
        model = Net(how).train(training)
        for asked in (lambda m=model: detect(m, X), lambda m=model: measure(m, X, lambda y: y.sum())):
            with pytest.raises(InvalidInput, match=r"model='its backward pass': fails: .*use_reentrant=False"):
                asked()
