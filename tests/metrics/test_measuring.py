"""Measuring any model: every layer is seen as it ran, and a run with metrics is bit for bit the run without."""

import math
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory import metrics as M  # noqa: E402

torch.set_num_threads(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def test_captured_activations_and_gradients_against_a_run_by_hand():
    model = network().double().eval()
    x, y = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    seen = M.capture(model, x, lambda out: nn.functional.cross_entropy(out, y))
    h = model[:7](x).detach().requires_grad_()
    nn.functional.cross_entropy(model[7](h), y).backward()
    torch.testing.assert_close(seen["6"].activations, h.detach())
    torch.testing.assert_close(seen["6"].gradient, h.grad)
    batch_normed = model[:2](x).detach()  # the relu behind it is in place and must not reach what was captured
    torch.testing.assert_close(seen["1"].activations, batch_normed.movedim(1, -1).reshape(-1, 4))
    assert set(seen) == {"0", "1", "2", "5", "6", "7"}


@pytest.mark.parametrize(("in_place", "passes"), [(False, 1), (True, 2)])
def test_a_model_is_run_again_where_it_overwrites_what_was_captured(in_place, passes):
    """Outputs are copied in the second pass alone."""
    model, seen = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=in_place)), []
    model.register_forward_pre_hook(lambda *_: seen.append(0))
    found = M.capture(model, x := torch.randn(5, 4))
    assert len(seen) == passes
    assert torch.equal(found["0"].output, model[0](x))
    assert torch.equal(found["1"].output, model[0](x).relu())


@pytest.mark.parametrize("layers", [None, ["act"], ["act", "cut"]])
@pytest.mark.parametrize("loss", [None, lambda out: out.square().mean()])
def test_layers_are_measured_in_one_pass(layers, loss):
    """But for those that the backward pass to the inputs does not meet: their gradient is taken in a second one."""
    torch.manual_seed(0)
    model, seen = Twice(whole=False), []
    model.register_forward_pre_hook(lambda *_: seen.append(0))
    found = M.measure(model, torch.randn(4, 6), loss, layers=layers)
    assert len(seen) == 1 + (loss is not None and layers == ["act", "cut"])
    assert all(math.isnan(m.saturated) == (loss is None) for m in found.values())


def test_hooks_of_the_user_run_and_keep_their_order_and_those_that_only_gather_do_not():
    model, x, ran = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(5, 4), []
    gathers = lambda *_: ran.append("gathers")  # noqa: E731
    gathers.lop_theory_observer = True
    model[0].register_forward_hook(gathers)
    model[0].register_forward_hook(lambda _m, _i, out: 3 * out)
    model[0].register_forward_pre_hook(lambda _m, args: (args[0] - 1,))
    tables = [list(table.items()) for table in (model[0]._forward_hooks, model[0]._forward_pre_hooks)]
    found = M.capture(model, x)["1"].output
    torch.testing.assert_close(found, torch.relu(3 * ((x - 1) @ model[0].weight.T + model[0].bias)))
    assert ran == []
    assert [list(table.items()) for table in (model[0]._forward_hooks, model[0]._forward_pre_hooks)] == tables
    model(x)
    assert ran == ["gathers"]


class Counted(nn.Module):
    """Whole numbers without an embedding, and no weighted sum of them."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return torch.relu(nn.functional.one_hot(x, 5) * self.scale)


def test_what_no_backward_pass_reaches_has_no_saturation():
    """A loss that is a constant, and a model through which no gradient goes back to an end."""
    constant = M.measure(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(5, 4), lambda _: torch.ones(()))
    counted = M.measure(Counted(), torch.arange(4), lambda out: out.sum())
    for found in (constant["1"], counted["relu"]):
        assert math.isnan(found.saturated)
        assert found.effective_rank > 0


def test_channels_of_one_dimensional_convolutions_and_tokens():
    assert M.channel_dim(nn.Conv1d(1, 1, 1), torch.zeros(2, 3, 4)) == 1
    assert M.channel_dim(nn.Linear(1, 1), torch.zeros(2, 3, 4)) == -1
    assert M.channel_dim(nn.ReLU(), torch.zeros(2, 3, 4, 4)) == 1


def train(*, measured):
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(1)
    for _ in range(5):
        x, y = torch.randn(6, 1, 6, 6), torch.randint(0, 3, (6,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if measured:
            found = M.measure(model, x, lambda out, y=y: nn.functional.cross_entropy(out, y))
            assert found["2"].saturated == found["2"].saturated
        optimiser.step()
    return model, torch.get_rng_state()


def test_a_run_with_metrics_is_bit_for_bit_the_run_without():
    plain, random = train(measured=False)
    watched, random_watched = train(measured=True)
    assert torch.equal(random, random_watched)
    for (name, a), b in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert not watched[0]._forward_hooks


def test_without_a_loss_saturation_is_not_a_number():
    assert math.isnan(M.measure(network(), torch.randn(4, 1, 6, 6))["2"].saturated)


def test_saturation_is_one_where_the_head_is_zero():
    model = network()
    nn.init.zeros_(model[7].weight)
    found = M.measure(model, torch.randn(6, 1, 6, 6), lambda out: out.square().mean() + out.mean())
    assert found["6"].saturated == 1.0


class Twice(nn.Module):
    """One activation used twice, a branch without a way back to the inputs, and integer inputs."""

    def __init__(self, *, whole):
        super().__init__()
        self.embedding, self.first, self.act = nn.Embedding(5, 6), nn.Linear(6, 6), nn.Tanh()
        self.cut, self.late, self.whole = nn.ReLU(), nn.Sigmoid(), whole
        self.weight = nn.Parameter(torch.randn(6))

    def forward(self, x):
        h = self.embedding(x) if self.whole else x
        h = self.act(self.first(self.act(h) * 3))
        return self.late(h) + self.cut(self.weight * torch.ones(len(x), 6))


@pytest.mark.parametrize("inputs", [torch.arange(4) % 5, torch.randn(4, 6)])
def test_measuring_in_hooks_is_measuring_what_was_captured(inputs):
    torch.manual_seed(0)
    model = Twice(whole=not inputs.is_floating_point())
    names = ["act", "cut", "late"]
    seen = M.capture(model, inputs, lambda out: out.square().mean(), layers=names)
    expected = {k: M.layer_metrics(c.output, c.output_gradient, c.channel_dim) for k, c in seen.items()}
    assert M.measure(model, inputs, lambda out: out.square().mean(), layers=names) == expected
    found = M.measure(model, inputs, lambda out: out.square().mean())
    assert list(found) == ["act", "act#2", "late"]  # cut depends on no input
    assert (found["act#2"], found["late"]) == (expected["act"], expected["late"])
    assert all(x.saturated == x.saturated for x in found.values())


def test_layers_that_are_overwritten_in_place_are_measured_as_they_were():
    model, x = network(), torch.randn(6, 1, 6, 6)
    seen = M.capture(model, x, lambda out: out.square().mean(), layers=["1", "2"])
    found = M.measure(model, x, lambda out: out.square().mean(), layers=["1", "2"])
    assert found == {k: M.layer_metrics(c.output, c.output_gradient, c.channel_dim) for k, c in seen.items()}


class Swish(nn.Module):
    """An own activation class."""

    def forward(self, x):
        return x * torch.sigmoid(x)


class Free(nn.Module):
    """Functional relu, one shared module called twice, an own activation, a gate, keywords, Python numbers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 2)
        self.act, self.own = nn.ReLU(), Swish()

    def forward(self, x, *, scale=1.0):
        h = nn.functional.relu(self.a(x)) * scale
        h = self.act(self.c(self.act(self.b(h))))
        h = nn.functional.silu(self.b(h)) * self.c(h)
        h = 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.04 * h**3)))
        return self.out(self.own(self.b(h)))


def test_functional_shared_own_and_gated_activations_are_each_one_layer():
    torch.manual_seed(0)
    model, x = Free(), torch.randn(20, 4)
    with torch.no_grad():
        model.a.bias[:5] = -50.0
    found = M.measure(model, {"x": x, "scale": 2.0}, lambda out: out.square().sum())
    assert list(found) == ["relu", "act", "act#2", "silu", "mul", "mul#2", "own"]
    assert found["relu"].dead == 0.5
    h = torch.relu(model.a(x)) * 2
    first = model.act(model.b(h))
    second = model.act(model.c(first))
    gate = nn.functional.silu(model.b(second)) * model.c(second)
    for name, value in {"act": first, "act#2": second, "mul": gate}.items():
        assert found[name].effective_rank == pytest.approx(M.layer_metrics(value.detach()).effective_rank), name
    assert all(m.saturated == m.saturated for m in found.values())


def test_gradients_of_watched_layers_are_those_of_the_values():
    torch.manual_seed(0)
    model, x = Free().double(), torch.randn(20, 4, dtype=torch.float64)
    found = M.measure(model, x, lambda out: out.square().sum() * 1e-4)
    h = torch.relu(model.a(x))
    first = model.act(model.b(h)).detach().requires_grad_()
    second = model.act(model.c(first))
    gate = nn.functional.silu(model.b(second)) * model.c(second)
    bent = 0.5 * gate * (1 + torch.tanh(0.8 * (gate + 0.04 * gate**3)))
    (model.out(model.own(model.b(bent))).square().sum() * 1e-4).backward()
    assert found["act"] == M.layer_metrics(first.detach(), first.grad)


class Tokens(nn.Module):
    """Integer inputs, learned positions, multi-head attention, an encoder layer of torch's own."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(11, 8), nn.Embedding(7, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        return self.head(self.layer(self.words(ids) + self.positions(torch.arange(ids.shape[1])))[:, 0])


@pytest.mark.parametrize("frozen", [False, True])
def test_tokens_and_frozen_models_have_gradients(frozen):
    torch.manual_seed(0)
    model = Tokens().requires_grad_(not frozen)
    found = M.measure(model, {"ids": torch.randint(0, 11, (3, 7))}, lambda out: out.square().mean())
    assert {name: m.units for name, m in found.items()} == {"layer:relu": 12}
    assert found["layer:relu"].batch == 21
    assert found["layer:relu"].saturated == found["layer:relu"].saturated


def test_activations_of_hugging_face_models_are_seen():
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    bert = transformers.BertForSequenceClassification(transformers.BertConfig(**small, num_attention_heads=2))
    batch = {"input_ids": torch.randint(0, 50, (3, 7)), "labels": torch.tensor([0, 1, 0])}
    found = M.measure(bert.eval(), batch, lambda out: out.loss)
    assert [m.units for m in found.values()] == [24, 24, 16]
    assert next(iter(found)) == "bert.encoder.layer.0.intermediate.intermediate_act_fn"
    assert all(m.saturated == m.saturated for m in found.values())


def test_a_model_without_activations_is_measured_at_its_weighted_sums():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    assert list(M.measure(model, torch.randn(6, 4))) == ["0", "1"]


@pytest.mark.parametrize(
    ("wrong", "trouble"),
    [(math.nan, "6 of 48 activations are"), (math.inf, "6 of 48"), (1e200, "its squares over")],
)
def test_activations_that_are_not_finite_give_metrics_that_are_not_numbers_and_a_warning(wrong, trouble):
    model = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        model[0].bias[3] = wrong
    with pytest.warns(M.NonFiniteActivations, match=f"^layer 1: {trouble}") as caught:
        found = M.measure(model, torch.randn(6, 4).double(), lambda out: out.sum())
    assert (found["1"].units, found["1"].batch) == (8, 6)
    assert all(math.isnan(value) for name, value in found["1"]._asdict().items() if name not in ("units", "batch"))
    assert len(caught) == (1 if wrong > 1e100 else 2)
    assert {warning.filename for warning in caught} == {__file__}


def test_the_warning_names_the_line_that_asked_for_the_layer_too():
    with pytest.warns(M.NonFiniteActivations) as caught:
        M.measure(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.full((4, 2), math.inf), layers=["1"])
    assert [warning.filename for warning in caught] == [__file__]


def test_random_streams_of_python_and_numpy_come_back_and_companions_are_not_fed():
    import random

    from lop_theory.optim.units import find_units
    from lop_theory.optim.watch import Watch

    class Noisy(nn.Module):
        def forward(self, x):
            return x * (1 + random.random() + float(np.random.rand()) + torch.rand(1))

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Noisy(), nn.Linear(8, 2))
    watch = Watch(
        model[3], find_units(model[:2].append(model[3]), torch.randn(5, 4)).units[0].observed, torch.device("cpu")
    )
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    M.measure(model, torch.randn(5, 4), lambda out: out.sum())
    assert (random.random(), np.random.rand()) == expected
    assert watch.count == 0
    model(torch.randn(5, 4))
    assert watch.count == 5
    watch.detach()


def test_an_activation_of_the_inputs_has_a_gradient_like_any_other():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Tanh(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), torch.randn(6, 4)
    for p in model[1].parameters():
        p.requires_grad_(False)
    found = M.measure(model, x, lambda out: out.square().mean())
    h = torch.tanh(x).requires_grad_()
    model[1:](h).square().mean().backward()
    assert found["0"] == M.layer_metrics(h.detach(), h.grad)
    assert found["2"].saturated == found["2"].saturated


def test_nothing_that_asks_for_a_gradient_gives_none():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).requires_grad_(False)
    seen = M.capture(model, torch.randn(5, 4), lambda out: out.sum())
    assert [c.gradient for c in seen.values()] == [None, None]
    partly = nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.Linear(3, 2))
    seen = M.capture(partly, torch.randn(5, 4), lambda out: out.sum())
    assert seen["0"].gradient is None
    assert torch.equal(seen["1"].gradient, torch.ones(5, 2))


@pytest.mark.parametrize("training", [True, False])
def test_hooks_modes_and_buffers_are_as_before_even_after_a_failure(training):
    model, x = network().train(training), torch.randn(4, 1, 6, 6)
    handle = model[2].register_forward_hook(lambda *_: None)
    hooks, buffers = dict(model[2]._forward_hooks), [b.clone() for b in model.buffers()]

    def fails(_):
        raise ZeroDivisionError

    for loss in (fails, lambda out: out.sum()):
        for layers in (None, ["2"]):
            with pytest.raises(ZeroDivisionError) if loss is fails else nullcontext():
                M.measure(model, x, loss, layers=layers)
    assert dict(model[2]._forward_hooks) == hooks
    assert all(m.training == training for m in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
    handle.remove()


def test_a_threshold_of_dormancy_is_asked_for_by_name():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double(), torch.ones(5, 4, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([1.0, 2.0, 6.0]))  # of mean 3: scores 1/3, 2/3, 2
    for tau, share in ((0.0, 0), (0.33, 0), (0.34, 1 / 3), (0.7, 2 / 3), (2.0, 1)):
        for layers in (None, ["1"]):
            assert M.measure(model, x, layers=layers, dormant_tau=tau)["1"].dormant == pytest.approx(share)


@pytest.mark.parametrize(("whole", "ends"), [(False, 1), (True, 1)])
def test_the_backward_pass_keeps_the_gradients_of_its_ends_alone(whole, ends, monkeypatch):
    """Of the inputs, or of the embedding of whole numbers; those of the layers pass by."""
    asked, grad = [], torch.autograd.grad

    def counted(loss, inputs, **options):
        asked.append(len(inputs))
        return grad(loss, inputs, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    M.measure(Twice(whole=whole), torch.arange(4) % 5 if whole else torch.randn(4, 6), lambda out: out.square().mean())
    assert asked == [ends]
