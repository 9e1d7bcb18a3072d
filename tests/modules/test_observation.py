"""What a pass over data sees: which gradients are small, which layers end the model, masks and loaders; operators that
draw part clones; scales of attention."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Criteria, Loader, certify, detect, expand  # noqa: E402
from lop_theory.modules.batches import Batches  # noqa: E402
from lop_theory.modules.finder import detect as _detect  # noqa: E402
from lop_theory.modules.observation import observe  # noqa: E402
from lop_theory.verdict import Fails, Holds  # noqa: E402
from tests.modules.nets import Model, X  # noqa: E402
from tests.modules.planted import ROWS, layer, network  # noqa: E402

DATA = torch.randn(48, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def observed(model, data, loss=None, mask=None, **criteria):
    return observe(model, Batches(model, data), loss=loss, mask=mask, criteria=Criteria(**criteria))


def loss_of(output, batch=None):
    target = 0 if batch is None else batch[1]
    return (output - target).square().sum()


def small_by_hand(model, data, factor):
    """Units whose |∂L/∂h| is below 1e-4 of the mean |h| on more than 99 % of the samples."""
    h = torch.relu(model[0](data)).detach().requires_grad_()
    (factor * model[2:](h).square().sum()).backward()
    small = h.grad.abs() < 1e-4 * h.detach().abs().mean(0)
    return (small.double().mean(0) > 0.99).nonzero().flatten().tolist()


@pytest.mark.parametrize("factor", [1.0, 1e-4, 1e-7])
def test_saturated_units_are_those_of_the_papers_criterion(factor):
    model = network()
    with torch.no_grad():
        model[2].weight[:, 3] *= 1e-6
        model[2].weight[:, 5] *= 1e-3
    wanted = small_by_hand(model, DATA, factor)
    for data in (DATA, [DATA[:7], DATA[7:30], DATA[30:]]):
        given = data if torch.is_tensor(data) else Loader(data, lambda batch: batch)
        loss = (
            (lambda y: factor * y.square().sum()) if torch.is_tensor(data) else (lambda y, _: factor * y.square().sum())
        )
        assert layer(detect(model, given, loss=loss), "1").saturated == tuple(wanted)
    assert 3 in wanted


def test_what_is_seen_of_a_pass():
    model = network()
    found = observed(model, DATA)
    assert [s.name for s in found.seen] == ["0", "1", "2", "3", "4"]
    assert (found.samples, found.batches) == (48, 1)
    assert [len(found.gathered[s.name].columns.mean) for s in found.seen] == [8, 8, 6, 6, 2]
    assert {s.name for s in found.seen if s.source in found.ends} == {"4"}
    assert torch.equal(found.example, DATA)
    assert all(found.trouble(s.name) == "" for s in found.seen)
    assert found.gathered["1"].slopes.largest.tolist() == [1.0] * 8
    assert found.gathered["0"].slopes is None
    parts = observed(model, Loader([DATA[:8], DATA[8:]], lambda batch: batch))
    assert (parts.samples, parts.batches) == (48, 2)
    assert torch.equal(parts.example, DATA[:8])
    assert parts.small.keys() == found.small.keys()
    assert all(parts.small[name][1] == found.small[name][1] == 48 for name in found.small)


def test_labels_reach_the_loss_of_a_loader_and_not_the_model():
    model, labels = network(), torch.ones(48, 2, dtype=torch.float64)
    seen = []

    def loss(output, batch):
        seen.append(tuple(batch[1].shape))
        return loss_of(output, batch)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(DATA, labels), 16)
    found = _detect(model, loader, loss=loss)
    assert seen == [(16, 2)] * 3
    assert found.samples == 48
    alone = detect(model, DATA, loss=lambda output: loss_of(output, (None, labels)))
    assert [x.saturated for x in found.layers] == [x.saturated for x in alone.layers]


def test_a_mask_that_keeps_nothing_and_a_loader_without_batches():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.o = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x, keep):  # noqa: ARG002 - the batch has it
            return self.o(torch.tanh(self.a(x)))

    model, x = Tokens().double(), torch.randn(3, 5, 4, dtype=torch.float64)
    nothing = detect(model, {"x": x, "keep": torch.zeros(3, 5)}, mask="keep")
    assert {(s.layer, s.reason) for s in nothing.skipped} == {
        (name, "has no sample that the mask keeps") for name in ("a", "tanh")
    }
    with pytest.raises(InvalidInput, match="has no batch"):
        detect(model, Loader([], lambda batch: batch))
    half = torch.arange(15).reshape(3, 5) % 2
    masked = detect(model, {"x": x, "keep": half}, mask="keep")
    alone = detect(model, {"x": x.reshape(15, 4)[half.flatten().bool()], "keep": torch.ones(7)})
    assert [y.distance for y in masked.layers] == pytest.approx([y.distance for y in alone.layers])
    assert [y.dormant for y in masked.layers] == [y.dormant for y in alone.layers]


def test_slopes_of_operators_that_overwrite_their_input_or_have_none():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.o(nn.functional.hardtanh(self.b(self.act(self.a(x)))))

    model = Odd().double()
    with torch.no_grad():
        model.a.bias[2], model.b.bias[4] = -50.0, 50.0
    found = detect(model, ROWS)
    assert layer(found, "act").frozen == (2,)
    assert layer(found, "hardtanh").frozen == (4,)
    assert layer(found, "act").dead == (2,)


# --- operators that draw, and scales ----------------------------------------------------------------------------------


DRAWN = {
    "dropout": (lambda s, x: s.o(nn.functional.dropout(s.a(x), 0.3, s.training)), "dropout p=0.3 draws"),
    "alpha dropout": (lambda s, x: s.o(nn.functional.alpha_dropout(s.a(x), 0.3, s.training)), "draws independent"),
    "rrelu": (lambda s, x: s.o(nn.functional.rrelu(s.a(x), 0.1, 0.3, s.training)), "rrelu draws independent slopes"),
    "noise": (lambda s, x: s.o(s.a(x) + torch.randn_like(s.a(x)) * float(s.training)), "draws independent noise"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_for_every_unit_parts_clones(name):
    function, reason = DRAWN[name]
    base = Model(function).double()
    clone = expand(base.eval(), 2, example_input=X, traced=True)
    assert clone.state()["a.weight"].shape == (8, 5)
    verdict = certify(clone.train(), example_input=X)
    assert isinstance(verdict, Fails)
    assert reason in verdict.witness.reason
    first, second = sorted(verdict.witness.units)
    assert (second, first // 2) == (first + 1, second // 2)
    if name != "noise":
        assert isinstance(certify(clone.eval(), base=base.eval(), example_input=X), Holds)


def test_no_dropout_parts_nothing():
    base = Model(lambda s, x: s.o(nn.functional.dropout(s.a(x), 0.0, s.training))).double().train()
    assert isinstance(certify(expand(base, 2, example_input=X), base=base, example_input=X), Holds)


def test_masks_of_attention_and_between_recurrent_layers_part_clones():
    class Heads(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.e, self.o, self.p = nn.Linear(5, 6), nn.Linear(6, 2), p

        def forward(self, x):
            h = self.e(x).view(4, 4, 2, 3).transpose(1, 2)
            h = nn.functional.scaled_dot_product_attention(h, h, h, dropout_p=self.p if self.training else 0.0)
            return self.o(h.transpose(1, 2).reshape(16, 6))

    class Layers(nn.Module):
        def __init__(self, p, count=2):
            super().__init__()
            self.r, self.o = nn.LSTM(5, 4, count, dropout=p), nn.Linear(4, 2)

        def forward(self, x):
            return self.o(self.r(x.view(2, 8, 5))[0])

    for base, reason in ((Heads(0.5), "one mask a head"), (Layers(0.5), "dropout p=0.5 between layers")):
        clone = expand(base.double().train(), 2, example_input=X, traced=True)
        verdict = certify(clone.train(), example_input=X)
        assert isinstance(verdict, Fails)
        assert reason in verdict.witness.reason
        assert isinstance(certify(clone.eval(), base=base.eval(), example_input=X), Holds)
    for base in (Heads(0.0), Layers(0.0)):
        clone = expand(base.double().train(), 2, example_input=X, traced=True)
        assert isinstance(certify(clone.train(), base=base, example_input=X), Holds)


@pytest.mark.parametrize("scale", [None, 0.5, 0.25, 1.0])
def test_a_scale_that_a_wider_head_would_compute_anew_shrinks_with_it(scale):
    """½ = 1/√4 is the usual one; any other is a number of the model and stays."""

    def attention(s, x):
        q, k = (layer_(x).view(4, 4, 1, 4).transpose(1, 2) for layer_ in (s.q, s.a))
        return s.o(nn.functional.scaled_dot_product_attention(q, k, k, scale=scale).transpose(1, 2).reshape(16, 4))

    base = Model(attention)
    base.q = nn.Linear(5, 4)
    base.double()
    clone = expand(base, 2, example_input=X, attention="width", traced=True)
    torch.testing.assert_close(clone(X), base(X), rtol=1e-12, atol=1e-13)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    (node,) = [n for n in clone.program.graph.nodes if "scaled_dot" in str(n.target)]
    wide = {None: None, 0.5: 0.5 / 2**0.5, 0.25: 0.25, 1.0: 1.0}[scale]
    assert node.kwargs.get("scale") == (wide if wide is None else pytest.approx(wide))
    rows = clone.state()["q.weight"].detach()
    gain = 2**-0.5 if scale in (None, 0.5) else 0.5
    torch.testing.assert_close(rows, base.q.weight.detach().repeat_interleave(2, 0) * gain, rtol=1e-12, atol=0)


def test_a_layer_without_a_derivative_is_named():
    """What a quantised layer reads gets no gradient at all, which no share of small gradients can say."""
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InvalidInput, match="gets no gradient: a layer that reads it has no derivative"):
        _detect(quantised, torch.ones(8, 4))
