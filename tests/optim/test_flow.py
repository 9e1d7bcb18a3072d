"""Where hidden units go between the layer that makes them and those that read them, against the model that runs: a row
of the producer is moved, and the reader's inputs that move are the ones said to belong to it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import find_units  # noqa: E402

torch.set_num_threads(1)
X, I = torch.randn(4, 6, dtype=torch.float64), torch.randn(2, 3, 5, 5, dtype=torch.float64)
T = torch.randn(3, 7, 6, dtype=torch.float64)
r = torch.relu


class Program(nn.Module):
    def __init__(self, run, width=8):
        super().__init__()
        self.run = run
        self.a, self.b, self.conv = nn.Linear(6, 8), nn.Linear(width, 2), nn.Conv2d(3, 4, 2)
        self.c, self.maps = nn.Linear(6, 8), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.run(self, x)


def sheared(h):
    """Units 0…7 in another order, by a round trip through a matrix."""
    return h.reshape(-1, 2, 4).transpose(1, 2).reshape(-1, 8)


PROGRAMS = {
    "plain": (lambda m, x: m.b(r(m.a(x))), X, 8),
    "sheared": (lambda m, x: m.b(sheared(r(m.a(x)))), X, 8),
    "negative dims": (lambda m, x: m.b(r(m.a(x)).transpose(-3, -2)), T, 8),
    "units first": (lambda m, x: m.b(r(m.a(x)).transpose(1, 2).transpose(-1, -2)), T, 8),
    "turned twice": (lambda m, x: m.b(r(m.a(x)).t().t()), X, 8),
    "mean of tokens": (lambda m, x: m.b(r(m.a(x)).mean(1)), T, 8),
    "mean of tokens, kept": (lambda m, x: m.b(r(m.a(x)).mean(1, keepdim=True)), T, 8),
    "mean of batch and tokens": (lambda m, x: m.b(r(m.a(x)).mean((0, 1))), T, 8),
    "sum, kept, then squeezed": (lambda m, x: m.b(r(m.a(x)).sum((0,), True).squeeze(0)), T, 8),
    "half": (lambda m, x: m.b(r(m.a(x))[:, 2:6]), X, 4),
    "every second": (lambda m, x: m.b(r(m.a(x))[:, 1::2]), X, 4),
    "from the end": (lambda m, x: m.b(r(m.a(x))[:, -3:]), X, 3),
    "one token": (lambda m, x: m.b(r(m.a(x))[:, 0]), T, 8),
    "last token": (lambda m, x: m.b(r(m.a(x)).select(1, -1)), T, 8),
    "second part": (lambda m, x: m.b(r(m.a(x)).split([3, 5], 1)[1]), X, 5),
    "second chunk": (lambda m, x: m.b(r(m.a(x)).chunk(2, -1)[1]), X, 4),
    "chunk of tokens": (lambda m, x: m.b(r(m.a(x)).chunk(2, 1)[1]), T, 8),
    "unbound batch": (lambda m, x: m.b(r(m.a(x)).unbind()[1]), T, 8),
    "unbound batch of units first": (lambda m, x: m.b(r(m.a(x)).transpose(1, 2).unbind()[1].t()), T, 8),
    "split tokens of units first": (lambda m, x: m.b(r(m.a(x)).transpose(1, 2).split(2)[1].transpose(1, 2)), T, 8),
    "slice of units first": (lambda m, x: m.b(r(m.a(x)).permute(2, 0, 1)[1:-1:2].permute(1, 2, 0)), T, 3),
    "slice beyond the end": (lambda m, x: m.b(r(m.a(x)).narrow(-1, 2, 6)), T, 6),
    "permuted from the end": (lambda m, x: m.b(r(m.a(x)).permute(-1, 0, 1).permute(1, -1, 0)), T, 8),
    "one unit twice": (lambda m, x: m.b(torch.cat([h := r(m.a(x)), h[:, :1]], 1)), X, 9),
    "selected batch of units first": (lambda m, x: m.b(r(m.a(x)).permute(2, 0, 1).select(-2, 1).t()), T, 8),
    "new first dimension": (lambda m, x: m.b(r(m.a(x)).unsqueeze(0)), X, 8),
    "mean of no dimension but two": (lambda m, x: m.b(r(m.a(x)).mean((-2, 0))), T, 8),
    "variance of tokens": (lambda m, x: m.b(r(m.a(x)).square().var(1, keepdim=True)), T, 8),
    "largest of tokens": (lambda m, x: m.b(r(m.a(x)).amax(-2)), T, 8),
    "product with a constant": (lambda m, x: m.b(2.0 * r(m.a(x)) - 0.5), X, 8),
    "added to a parameter": (lambda m, x: m.b(r(m.a(x)) + m.c.bias), X, 8),
    "matrices of tokens": (lambda m, x: m.b(torch.softmax(x @ x.mT, -1) @ r(m.a(x))), T, 8),
    "a dropout and its mask": (lambda m, x: m.b(torch.native_dropout(r(m.a(x)), 0.0, True)[0]), X, 8),
    "unbound tokens": (lambda m, x: m.b(r(m.a(x)).unbind(1)[3]), T, 8),
    "new dimension behind": (lambda m, x: m.b(r(m.a(x)).unsqueeze(-1).squeeze(-1)), X, 8),
    "expanded": (lambda m, x: m.b(r(m.a(x)).expand(3, 4, 8)), X, 8),
    "beside another": (lambda m, x: m.b(torch.cat([r(m.c(x)), r(m.a(x))], 1)), X, 16),
    "beside a constant": (lambda m, x: m.b(torch.cat([torch.ones(4, 3).double(), r(m.a(x))], -1)), X, 11),
    "flattened maps": (lambda m, x: m.b(r(m.conv(x)).flatten(1)), I, 64),
    "mean of maps": (lambda m, x: m.b(r(m.conv(x)).mean((2, 3))), I, 4),
    "maps": (lambda m, x: m.maps(nn.functional.max_pool2d(r(m.conv(x)), 2)), I, 8),
    "gated": (lambda m, x: m.b(r(m.a(x)) * torch.sigmoid(m.c(x))), X, 8),
}


def inputs_of(model, name, x):
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    model(x)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_owners_are_what_moves(name):
    run, x, width = PROGRAMS[name]
    torch.manual_seed(0)
    model = Program(run, width).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.1, 1.0)  # so that no unit is off
        x = x.abs() + 0.1
    found = find_units(model, x)
    assert found.units, found.skipped
    for units in found.units:
        for reader in units.readers:
            before = inputs_of(model, reader.module, x)
            columns = before.shape[1 if reader.module == "maps" else -1]
            for unit in range(units.size):
                shift(model, units, unit, 1.0)
                change = (inputs_of(model, reader.module, x) - before).abs()
                shift(model, units, unit, -1.0)
                moved = change.movedim(1 if reader.module == "maps" else -1, 0).reshape(columns, -1).amax(1) > 1e-9
                assert np.array_equal(np.asarray(reader.owners) == unit, moved.numpy())


def shift(model, units, unit, by):
    with torch.no_grad():
        for producer in units.producers:
            model.get_submodule(producer.module).bias[producer.rows[unit]] += by


@pytest.mark.parametrize(
    ("run", "x", "word"),
    [
        (lambda m, x: m.b(torch.cat([r(m.c(x)), r(m.a(x))])), X, "torn by cat"),
        (lambda m, x: m.b(torch.cumsum(r(m.a(x)), 1)), X, "pass through cumsum, which has no rule"),
        (lambda m, x: r(m.a(x)), X, "are an output of the model"),
        (lambda m, x: m.b(r(m.a(x)).reshape(2, 4, 4).transpose(0, 1).reshape(4, 8)), X, "are not the inputs of b"),
        (lambda m, x: m.b(r(m.a(x)) @ torch.ones(8, 8).double()), X, "enter a product of two values"),
        (lambda m, x: m.b(r(m.a(x)) + r(m.c(x))), X, "are added to other values"),
        (lambda m, x: m.b(r(m.c(x)) * r(m.a(x)).mean(1, keepdim=True)), X, "nothing reads its units"),
        (lambda m, x: torch.addmm(m.b.bias, r(m.a(x)), m.b.weight.t()), X, "read by (top):addmm, whose weight is no"),
        (lambda m, x: m.b((h := r(m.a(x))) * h.flip(1)), X, "pass through flip, which has no rule"),
        (
            lambda m, x: m.b((h := r(m.a(x))) * h[:, [1, 0, 2, 3, 4, 5, 6, 7]]),
            X,
            "pass through index, which has no rule",
        ),
        (lambda m, x: m.b(torch.cat([r(m.c(x)), r(m.a(x))], 1)[:, :8]), X, "a:linear_1: nothing reads its units"),
        (lambda m, x: m.b((torch.eye(8).double() @ r(m.a(x)).transpose(1, 2)).transpose(1, 2)), T, "product of two"),
        (lambda m, x: m.b(r(m.a(x)).t() @ r(m.c(x))), X, "product of two"),
        (lambda m, x: m.b(nn.functional.max_pool1d(r(m.a(x)), 2).repeat(1, 1, 2)), T, "torn by max_pool1d"),
        (
            lambda m, x: m.b(nn.functional.batch_norm(r(m.a(x)), None, None, training=True)),
            T,
            "torn by batch_norm",
        ),
        (lambda m, x: m.b(r(m.a(x))[:, :1] + torch.ones(4, 8).double()), X, "are repeated by add"),
        (lambda m, x: m.b(r(m.a(x))[:, :4].repeat_interleave(2, 1)), X, "pass through repeat_interleave"),
        (lambda m, x: m.b(((h := r(m.a(x)))[:, :4, None] * h[:, None, 4:6]).flatten(1)), X, "meet one another"),
        (
            lambda m, x: m.b(torch.softmax(r(m.a(x)) @ r(m.c(x)).mT, -1) @ x.repeat(1, 1, 2)[..., :8]),
            T,
            "product of two",
        ),
    ],
)
def test_units_that_are_torn_or_not_read_are_skipped_with_the_reason(run, x, word):
    try:
        skipped = "; ".join(f"{where}: {why}" for where, why in find_units(Program(run).double(), x).skipped.items())
    except InvalidInput as error:
        skipped = str(error)
    assert word in skipped


@pytest.mark.parametrize(
    ("run", "x", "coupled"),
    [
        (lambda m, x: m.b(torch.softmax(r(m.a(x)), -1)), X, "(top):softmax"),
        (lambda m, x: m.b(nn.functional.layer_norm(r(m.a(x)), (8,))), T, "(top):layer_norm"),
        (lambda m, x: m.b((h := r(m.a(x))) / h.sum(1, keepdim=True)), X, "(top):sum_1"),
        (lambda m, x: m.b((h := r(m.a(x))) / (1 + h.mean())), X, "(top):mean"),
        (lambda m, x: m.b((h := r(m.a(x))) / (1 + h.mean(-1, keepdim=True))), X, "(top):mean"),
        (lambda m, x: m.b((h := r(m.a(x))) / (1 + h.amax((0, 1)))), X, "(top):amax"),
        (PROGRAMS["plain"][0], X, None),
    ],
)
def test_what_mixes_units_is_named(run, x, coupled):
    (units,) = find_units(Program(run).double(), x).units
    assert units.coupled == coupled
