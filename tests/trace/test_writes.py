"""Writes become pure calls: by our own rewriting where nobody else sees them, else by PyTorch's functionalisation."""

import copy
from functools import lru_cache
from unittest.mock import patch

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lop_theory.trace import NotTraceable, operator_name, purity, state_of, trace  # noqa: E402
from lop_theory.trace.comparison import difference, model_pass, program_pass  # noqa: E402
from tests.trace.nets import Model, X, buffers_in_a_chain  # noqa: E402


def writes_on_views(s, x):
    h = s.a(x).sin() * 1.0
    h[:, 0] = 0.0
    h[:, 1:3] *= 2
    h.view(-1, 4).add_(1)
    F.relu(h.flatten(1), inplace=True)
    return s.o(h)


def without_gradient(s, x):
    with torch.no_grad():
        weight = s.a(x).abs()
    return s.o(torch.tanh(s.a(x)) + weight)


def lower_precision(s, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = s.a(x)
    return s.o(torch.tanh(s.a(x)) + h)


def writes_on_its_input(s, x):
    x.mul_(2)
    return s.o(s.a(x))


def dropped(s, x):
    return s.o(F.dropout(s.a(x), 0.5, s.training)) + torch.rand(3, dtype=x.dtype)


def writes_on_fresh_values(s, x):
    k = s.a(x).neg_().add_(1.0)
    k += x[:, :4]
    return s.o(F.relu_(s.a(x))), k


def view_before_the_write(s, x):
    h = s.a(x)
    first = h[:, :2]
    h.mul_(2)
    return s.o(h) + first.sum()


def detached_before_the_write(s, x):
    h = s.a(x)
    target = h.detach()
    h.add_(1)
    return s.o(h) - target.sum()


def view_after_the_write(s, x):
    h = s.a(x)
    h.tanh_()
    return s.o(h) + h[:, :3]


def dropout_in_place(s, x):
    """In evaluation its result is its argument, here a view."""
    return s.o(F.dropout(s.a(x).flatten(1), 0.5, s.training, inplace=True))


def norm_used_twice(s, x):
    return s.o(F.relu(s.norm(s.norm(s.a(x))), inplace=True)) + s.norm.running_mean[:3]


def norm_without_statistics(s, x):
    h = F.batch_norm(s.a(x), None, None, s.norm.weight, s.norm.bias, training=True)
    return s.o(h.mul_(s.norm.running_var))


def instances(s, x, **options):
    """Of four channels, two dimensions of space: 3 × 2 numbers each."""
    h = s.a(x)
    rows = torch.stack([h, h**2, h.sin(), 2 * h + 1, h.exp(), h.cos()], -1).unflatten(-1, (3, 2))
    given = {"use_input_stats": s.training, "momentum": 0.3, "eps": 0.1, **options}
    norm = s.norm
    return F.instance_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, **given).sum((2, 3))


def instance_norm(s, x):
    """Its running statistics are averages over instances."""
    return s.o(instances(s, x)) + s.norm.running_var[:3], s.norm.running_mean


def instance_norm_twice(s, x):
    return s.o(instances(s, x) + instances(s, 2 * x, momentum=0.7))


def statistics_given_out(s, x):
    """The tensor itself, which is what it becomes."""
    return s.o(s.norm(s.a(x))), s.norm.running_mean, s.norm.num_batches_tracked, s.count.add_(2)


def buffer_overwritten(s, x):
    before = s.norm.running_mean * 1.0
    s.norm.running_mean.copy_(s.a(x).detach().mean(0)).mul_(0.5)
    return s.o(s.a(x) - s.norm.running_mean) + before[:3]


def view_of_a_buffer_before_the_write(s, x):
    first = s.norm.running_mean[:3]
    return s.o(s.norm(s.a(x))) * first


def view_of_a_buffer_after_the_write(s, x):
    h = s.norm(s.a(x))
    return s.o(h + s.norm.running_mean.unsqueeze(0))


def write_on_a_view_of_a_buffer(s, x):
    s.norm.running_mean[1:].mul_(2)
    return s.o(s.norm(s.a(x)) + s.norm.running_mean)


def view_of_a_variance_before_the_write(s, x):
    first = s.norm.running_var[:3]
    return s.o(s.norm(s.a(x))) * first


def write_on_a_part_of_a_buffer(s, x):
    s.norm.running_mean.split(2)[0].add_(1)
    return s.o(s.norm(s.a(x)) + s.norm.running_mean)


def comparison_in_place(s, x):
    """Numbers become 0 and 1, not truth values."""
    s.count.gt_(0.5)
    h = s.a(x).gt_(0.0)
    return s.o(h + h) * (s.count + s.count + 1)


def power_in_place(s, x):
    s.count.add_(3).pow_(2)
    return s.o(s.a(x).pow_(2)) * s.count


def norm_of_other_momentum(s, x):
    s.norm.momentum, s.norm.eps = 0.3, 0.25
    return s.o(s.norm(s.a(x))) + s.norm.running_var[:3]


def one_norm_at_two_places(s, x):
    s.again = s.norm
    return s.o(s.again(s.norm(s.a(x))))


def masks_sizes_and_numbers(s, x):
    """The result has the type of what is written into, whatever the others have."""
    h = s.a(x).masked_fill_(x[:, :4] > 1, 0.5).mul_(x.shape[0]).add_(x[:, :4].float())
    return s.o(h.mul_(x[:, :4] > -1)), F.linear(x.float(), s.a.weight.float()).mul_(s.count + 1.1)


def lists_in_place(s, x):
    h, k = s.a(x), s.a(2 * x)
    torch._foreach_mul_([h, k], 3.0)
    return s.o(h * k)


def noise_in_place(s, x):
    return s.o(F.rrelu(s.a(x), training=True, inplace=True))


def gradients_within_none(s, x):
    """Of the region without gradients one value is given out, and one has gradients nevertheless."""
    with torch.no_grad():
        weight = s.a(x).exp()
    with torch.enable_grad():
        h = s.a(x) * weight
        h[:, 0] = 0.0
    return s.o(h), weight


def sorted_in_place(s, x):
    """A pair of results, of which one is written into."""
    h, places = s.a(x).sort(1)
    return s.o(h.mul_(2)), places


def given_out_before_a_view(s, x):
    """Both ways: a write elsewhere, whose result is given out, and one that is traced again."""
    h = s.a(x).neg_()
    h.t().mul_(2)
    return h, s.o(h), s.count.add_(1), s.norm.running_mean


SOUND = [given_out_before_a_view, lists_in_place, noise_in_place, gradients_within_none]
SOUND += [writes_on_views, without_gradient, lower_precision, writes_on_its_input, dropped]
SOUND += [view_before_the_write, detached_before_the_write, dropout_in_place]
SOUND += [view_of_a_buffer_before_the_write, write_on_a_view_of_a_buffer]
FRESH = [masks_sizes_and_numbers, sorted_in_place]
FRESH += [writes_on_fresh_values, view_after_the_write, buffers_in_a_chain, norm_used_twice, norm_without_statistics]
SOUND += [view_of_a_variance_before_the_write, write_on_a_part_of_a_buffer, comparison_in_place]
SOUND += [power_in_place, norm_of_other_momentum, one_norm_at_two_places]
FRESH += [
    instance_norm,
    instance_norm_twice,
    statistics_given_out,
    buffer_overwritten,
    view_of_a_buffer_after_the_write,
]


SEEN = [view_before_the_write, detached_before_the_write, view_of_a_buffer_before_the_write]
SEEN += [view_of_a_variance_before_the_write, write_on_a_part_of_a_buffer, comparison_in_place]


@lru_cache
def traced(function, training=True):
    """The model, its trace, and how often PyTorch's functionalisation traced it again."""
    model = Model(function).train(training)
    with patch.object(purity, "_functionalised", wraps=purity._functionalised) as again:
        return model, trace(model, X), again.call_count


@pytest.mark.parametrize("function", [*SOUND, *FRESH])
@pytest.mark.parametrize("training", [True, False])
def test_values_buffers_and_gradients_are_the_models(function, training):
    """The oracle is the model's own code, on another batch than the traced one."""
    model, program, _ = traced(function, training)
    other = ((torch.cat([X, 2 * X])[:9],), {})
    theirs, mine = model_pass(model, other, seed=3), program_pass(model, program, other, seed=3)
    assert all(difference(a, b) is None for a, b in zip(mine.outputs, theirs.outputs, strict=True))
    kept = {name: b for name, b in theirs.buffers.items() if name in state_of(model)}
    assert kept
    assert all(difference(mine.buffers[name], b) is None for name, b in kept.items())
    assert all(difference(mine.gradients[name], g) is None for name, g in theirs.gradients.items())
    assert difference(mine.input_gradients[0], theirs.input_gradients[0]) is None


@pytest.mark.parametrize("later", [lambda count: count, lambda count: count.mul_(2)])
def test_a_buffer_that_is_replaced_is_refused(later):
    def replaced(s, x):
        s.count = s.count + 1
        later(s.count)
        return s.o(s.a(x))

    model = Model(replaced)
    with pytest.raises(NotTraceable, match="count"):
        trace(model, X)
    assert model.count == 0


@pytest.mark.parametrize("function", [instance_norm, lambda s, x: s.o(s.norm(s.a(x)))])
def test_a_trace_that_writes_and_does_not_say_so_is_refused(function, monkeypatch):
    monkeypatch.setattr(purity, "WRITES_UNSEEN", frozenset())
    model = Model(function)
    mean = model.norm.running_mean.clone()
    with pytest.raises(NotTraceable, match=r"norm\.running_(mean|var)'.*(does not say so|after a call)"):
        trace(model, X)
    assert torch.equal(model.norm.running_mean, mean)


def test_buffers_that_cannot_be_compared_are_no_reason_to_refuse():
    model = Model(lambda s, x: s.o(s.a(x)))
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("rows", torch.eye(3).to_sparse_csr())
    model.register_buffer("empty", torch.ones(3, device="meta"))
    assert trace(model, X)


@pytest.mark.parametrize("function", FRESH)
def test_writes_that_nobody_else_sees_need_no_second_trace(function):
    _, program, again = traced(function)
    assert not again
    assert not any(operator_name(n).endswith("_") for n in program.graph.nodes)


@pytest.mark.parametrize("function", SEEN)
def test_writes_that_a_view_may_see_are_traced_again(function):
    _, _, again = traced(function)
    assert again


def test_normalisation_and_casts_need_no_second_trace(monkeypatch):
    monkeypatch.setattr(purity, "_functionalised", lambda _: pytest.fail("traced twice"))
    assert trace(Model(dropout_in_place).eval(), X)
    model = Model(lambda s, x: s.o(s.norm(s.a(x)).float().to(x.dtype)))
    assert "batch_norm" in [operator_name(n) for n in trace(model.eval(), X).graph.nodes]
    names = [operator_name(n) for n in trace(model.train(), X).graph.nodes]  # in training neither, with its statistics
    assert {"_native_batch_norm_legit_functional", "add"} <= set(names)


def test_only_operators_of_the_graph_are_prepared_and_none_is_decomposed():
    model = Model(lambda s, x: F.layer_norm(s.norm(s.a(x)), (4,)) @ s.o.weight.mT).train()
    names = [operator_name(n) for n in trace(model, X).graph.nodes]
    assert {"linear", "layer_norm", "matmul"} <= set(names)
    assert not {"addmm", "mm", "native_layer_norm"} & set(names)


class Shared(nn.Module):
    def __init__(self, alias, write):
        super().__init__()
        self.register_buffer("a", torch.ones(5))
        alias(self)
        self.write = write

    def forward(self, x):
        self.write(self)
        return x * self.b.sum() + self.a


ALIASES = {
    "a view": lambda s: s.register_buffer("b", s.a[:2]),
    "detached": lambda s: s.register_buffer("b", s.a.detach()),
    "a plain attribute": lambda s: setattr(s, "b", s.a[1:]),
    "a parameter": lambda s: s.register_parameter("b", nn.Parameter(s.a.view(1, 5))),
}


@pytest.mark.parametrize("alias", ALIASES)
def test_a_buffer_that_is_written_into_lies_in_memory_of_its_own(alias):
    with pytest.raises(NotTraceable, match=r"shares its memory with (c_model_)?b"):
        trace(Shared(ALIASES[alias], lambda s: s.a.add_(0)), X)
    trace(Shared(ALIASES[alias], lambda s: s.a.add(1)), X)  # nothing is written
    halves = Shared(lambda s: s.register_buffer("b", torch.ones(5)), lambda s: s.a.add_(1))
    halves._buffers.update(zip("ab", torch.ones(2, 5), strict=True))  # beside one another
    assert trace(halves, X).updates


def test_a_trace_leaves_the_buffers_of_a_module_at_two_places_as_they_are():
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Linear(5, 3), norm, nn.Linear(3, 3), norm).double()
    before, tensors = copy.deepcopy(model.state_dict()), list(model.buffers())
    trace(model, X)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(a is b for a, b in zip(tensors, model.buffers(), strict=True))
