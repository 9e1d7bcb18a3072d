"""Units found on traced models: readers, gates, heads, what is skipped and why; which passes count."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.metrics import measure  # noqa: E402
from lop_theory.optim import ContinualBackprop, find_units  # noqa: E402
from lop_theory.optim.axis import Axis, joined, permuted, reshaped  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402


def stack(act=nn.ReLU):
    return nn.Sequential(nn.Linear(8, 16), act(), nn.Linear(16, 2))


def companion(model, x, **settings):
    inner = torch.optim.SGD(model.parameters(), lr=0.0)
    return ContinualBackprop(inner, model, example_input=x, settings=Settings(**settings))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.up, self.gate, self.down = (
            nn.Linear(8, n) if n != 8 else nn.Linear(m, 8) for n, m in ((24, 8), (8, 8), (12, 8), (12, 8), (8, 12))
        )

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def test_values_of_attention_and_gated_pairs_are_units_and_the_rest_is_named():
    found = find_units(Attention(), torch.randn(3, 5, 8))
    values, gated = found.units
    assert (values.name, values.size, values.readers[0].module) == ("qkv", 8, "out")
    assert values.producers[0].rows.tolist() == list(range(16, 24))
    assert (gated.name, gated.size, [r.module for r in gated.readers]) == ("gate, up", 12, ["down"])
    assert all("residual" in reason for where, reason in found.skipped.items() if where.startswith(("out", "down")))


def test_a_value_channel_is_read_by_its_own_column_of_the_projection():
    """Perturb row 16 + i of the projection: only column i of the reader's input moves."""
    torch.manual_seed(0)
    model, x = Attention().double(), torch.randn(3, 5, 8, dtype=torch.float64)
    (reader,) = find_units(model, x).units[0].readers
    seen = []
    model.out.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    model(x)
    with torch.no_grad():
        model.qkv.bias[16 + 5] += 1.0
    model(x)
    moved = (seen[1] - seen[0]).abs().amax((0, 1)) > 1e-9
    assert np.flatnonzero(reader.owners == 5).tolist() == torch.nonzero(moved).flatten().tolist()


def test_what_cannot_be_rewritten_is_skipped_with_the_reason():
    x = torch.randn(4, 8)
    frozen = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    frozen[0].requires_grad_(False)
    found = find_units(frozen, x)
    assert [u.name for u in found.units] == ["2"]
    assert "frozen" in found.skipped["0:linear"]
    tied = nn.Sequential(*(nn.Linear(8, 8) if k % 2 == 0 else nn.ReLU() for k in range(7)))
    tied[2].weight = tied[0].weight
    assert [u.name for u in find_units(tied, x).units] == ["4"]
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), nn.ReLU(), stack())
    assert any("computed" in reason for reason in find_units(normed, x).skipped.values())
    with pytest.raises(InvalidInput, match="hidden units that can be replaced"):
        find_units(nn.Linear(8, 2), x)
    grouped = nn.Sequential(nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1, groups=2))
    with pytest.raises(InvalidInput, match="grouped"):
        find_units(grouped, torch.randn(2, 4, 6))


def test_frozen_layers_are_left_alone():
    model, x = nn.Sequential(stack(), nn.ReLU(), nn.Linear(2, 2)), torch.randn(8, 8)
    model[0][0].requires_grad_(False)
    before = model[0][0].weight.clone()
    method = companion(model, x, rate=0.5, maturity=2)
    for _ in range(20):
        model(x)
        method.step()
    assert torch.equal(before, model[0][0].weight)


class Branches(nn.Module):
    """Concatenation, a functional activation, two readers at different places."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.both, self.one = nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(5, 2), nn.Linear(3, 2)

    def forward(self, x):
        a, b = torch.relu(self.left(x)), torch.sigmoid(self.right(x))
        return self.both(torch.cat([b, a], 1)) + self.one(a)


def test_concatenation_shifts_the_columns():
    left, right = find_units(Branches(), torch.randn(3, 4)).units
    assert [r.owners.tolist() for r in left.readers] == [[-1, -1, 0, 1, 2], [0, 1, 2]]
    assert [r.owners.tolist() for r in right.readers] == [[0, 1, -1, -1, -1]]
    assert (left.activation, right.activation) == ("relu", "sigmoid")


@given(st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_reshapes_and_permutations_move_owners_as_they_move_values(sizes, random):
    """Write the owner into the values, transform them as tensors, and read it back."""
    dim = random.randrange(len(sizes))
    axis = Axis((dim,), np.arange(sizes[dim]))
    values = torch.tensor(axis.over(sizes, range(len(sizes))).copy())
    order = random.sample(range(len(sizes)), len(sizes))
    moved, after = permuted(axis, order), values.permute(order)
    assert np.array_equal(moved.over(after.shape, range(after.ndim)), after.numpy())
    flat = reshaped(moved, list(after.shape), [after.numel()])
    assert np.array_equal(flat.over([after.numel()], [0]), after.reshape(-1).numpy())
    twice = joined(
        [moved, 2],
        moved.dims[0],
        [list(after.shape), [2 if d == moved.dims[0] else s for d, s in enumerate(after.shape)]],
    )
    assert (twice.owners == -1).sum() == 2


# --- which passes count -----------------------------------------------------------------------------------------------


def mean_seen(method):
    return method.corrected(method.mean[0][0], 0)


@pytest.mark.parametrize("disturb", ["copy", "measure", "eval", "no_grad", "saved"])
def test_only_passes_that_train_count(disturb):
    torch.manual_seed(0)
    model, x = stack().double(), torch.randn(64, 8, dtype=torch.float64)
    method = companion(model, x)
    model(x)
    if disturb == "copy":
        copy.deepcopy(model)(x + 50)
    elif disturb == "measure":
        measure(model, x + 50, lambda out: out.sum())
    elif disturb == "eval":
        model.eval()(x + 50)
        model.train()
    elif disturb == "no_grad":
        with torch.no_grad():
            model(x + 50)
    else:
        saved = io.BytesIO()
        torch.save(model, saved)
        saved.seek(0)
        torch.load(saved, weights_only=False)(x + 50)
    method.step()
    torch.testing.assert_close(mean_seen(method), model[1](model[0](x)).mean(0).detach(), rtol=1e-12, atol=1e-12)


def test_every_micro_batch_counts_and_checkpointed_passes_once():
    torch.manual_seed(0)
    model, x = stack().double(), torch.randn(64, 8, dtype=torch.float64)
    method = companion(model, x)
    for part in x.split(16):
        torch.utils.checkpoint.checkpoint(model, part, use_reentrant=False).sum().backward()
    assert float(method.watches[0][0].count) == 64
    method.step()
    torch.testing.assert_close(mean_seen(method), model[1](model[0](x)).mean(0).detach(), rtol=1e-12, atol=1e-12)


def test_tokens_are_samples():
    model = stack()
    method = companion(model, torch.randn(4, 8))
    model(torch.randn(4, 5, 8))
    assert float(method.watches[0][0].count) == 20
    method.step()
    assert method.replaced == [[]]


class Torn(nn.Module):
    """Batch normalisation over positions: the units, in the last dimension, are not its channels."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(8, 6), nn.BatchNorm1d(5), nn.Linear(6, 3)

    def forward(self, x):
        return self.two(self.norm(torch.relu(self.one(x))))


def test_a_batch_norm_over_another_dimension_tears_units():
    with pytest.raises(InvalidInput, match=r"one:linear: its units are torn by .*batch_norm"):
        find_units(Torn().eval(), torch.randn(2, 5, 8))


class Stacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other, self.out = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(torch.cat([torch.relu(self.one(x)), torch.relu(self.other(x))]))


def test_a_concatenation_without_a_dimension_is_along_the_first():
    with pytest.raises(InvalidInput, match="one:linear: its units are torn by cat"):
        find_units(Stacked(), torch.randn(4, 8))


def test_queries_and_keys_are_skipped_for_the_scores_that_they_enter():
    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, x):
            q, k, v = (f(x).unflatten(-1, (2, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
            return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    found = find_units(Apart(), torch.randn(3, 5, 8))
    assert [(u.name, u.size) for u in found.units] == [("v", 8)]
    assert found.skipped["q:linear"] == found.skipped["k:linear_1"] == "its units enter attention scores"
    assert found.skipped["out:linear_3"] == "its units are an output of the model"


class Gates(nn.Module):
    """h · g · f, and the second gate is read once more."""

    def __init__(self):
        super().__init__()
        self.h, self.g, self.f, self.out, self.also, self.third = (
            nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(6, 3), nn.Linear(6, 3)
        )  # fmt: skip

    def forward(self, x):
        g, f = torch.sigmoid(self.g(x)), torch.sigmoid(self.f(x))
        return self.out(torch.tanh(self.h(x)) * g * f) + self.also(g) + self.third(f)


def test_a_unit_of_several_gates_is_read_wherever_one_of_them_is():
    torch.manual_seed(0)
    model, x = Gates().double(), torch.randn(5, 8, dtype=torch.float64)
    (units,) = find_units(model, x).units
    assert units.name == "g, f, h"
    assert sorted(reader.module for reader in units.readers) == ["also", "out", "third"]
    assert all(reader.owners.tolist() == list(range(6)) for reader in units.readers)
    assert units.activation == "sigmoid"
    assert units.observed.module == "out"


@pytest.mark.parametrize("first", [True, False])
def test_units_are_observed_behind_their_activation(first):
    """At a normalisation behind it, at the first reader if the normalisation stands before it."""
    between = [nn.BatchNorm1d(6), nn.ReLU()] if first else [nn.ReLU(), nn.BatchNorm1d(6)]
    (units,) = find_units(nn.Sequential(nn.Linear(8, 6), *between, nn.Linear(6, 2)), torch.randn(4, 8)).units
    assert units.observed.module == ("3" if first else "2")
    assert units.norms[0].names == tuple(
        f"{1 if first else 2}.{n}" for n in ("weight", "bias", "running_mean", "running_var")
    )
    assert units.norms[0].owners.tolist() == list(range(6))
    plain = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    assert find_units(plain, torch.randn(4, 8)).units[0].observed.module == "2"  # without an activation
    functional = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), Functional(), nn.Linear(6, 2))
    (units,) = find_units(functional, torch.randn(4, 8)).units
    assert units.observed.module == "3"  # a module with modules of its own is called with something else


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        return nn.functional.layer_norm(x, (6,))
