"""Detection against planted clones, frozen, dead and saturated units; its data, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import Criteria, certify, detect, expand  # noqa: E402
from lop_theory.modules.gathered import Gathered  # noqa: E402
from lop_theory.modules.likeness import equal_blocks  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402
from tests.modules.nets import stepped  # noqa: E402
from tests.modules.planted import ROWS, kinds, layer, network, tanh_network  # noqa: E402


@pytest.mark.claim("clone-forward")
def test_expanded_clones_are_found_as_they_were_made():
    base = network()
    clone = expand(base, 3, example_input=ROWS)
    assert layer(detect(base, ROWS), "0").cloned == 0
    for found in detect(clone, ROWS).layers:
        assert found.blocks == tuple(np.repeat(np.arange(found.units // 3), 3))
        assert (
            found.distance == pytest.approx(0, abs=1e-12)
            or found.near > found.cloned
            or len(set(found.near_blocks)) < found.units // 3
        )


def test_near_clones_are_reported_with_their_distances():
    model = network()
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] * (1 + 1e-4)
        model[0].bias[1] = model[0].bias[0]
    found = layer(detect(model, ROWS), "1")
    assert found.cloned == 0
    assert found.near_blocks[0] == found.near_blocks[1]
    assert found.distance > 0
    exact = layer(detect(model, ROWS, criteria=Criteria(clone=1e-3)), "1")
    assert exact.blocks[0] == exact.blocks[1]


def test_weight_distance_is_zero_on_clones_and_grows_with_the_perturbation():
    clone = expand(network(), 2, example_input=ROWS)
    criteria = Criteria(near=1 - 1e-9)
    distances = []
    for size in (0.0, 1e-8, 1e-7):
        with torch.no_grad():
            state_of(clone)["2.weight"][0, 0] += size
        distances.append(layer(detect(clone, ROWS, criteria=criteria), "2").weight_distance)
    assert distances[0] == pytest.approx(0, abs=1e-15)
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.claim("frozen-unit")
def test_frozen_dead_dormant_and_saturated_units_are_named():
    model = network()
    with torch.no_grad():
        model[0].bias[2] = -100.0  # relu never active: dead, dormant and frozen
        model[2].bias[3] = 60.0  # tanh saturated to 1: derivative exactly 0
        model[2].bias[4] = 12.0  # tanh close to 1: derivative 1e-10, saturated but not exactly frozen
    relu, tanh = layer(detect(model, ROWS), "1"), layer(detect(model, ROWS), "3")
    assert 2 in relu.dead
    assert 2 in relu.dormant
    assert 2 in relu.frozen
    assert 3 in tanh.frozen
    assert 4 not in tanh.frozen
    assert 4 in layer(detect(model, ROWS), "2").saturated
    model.zero_grad()
    (model(ROWS) ** 2).sum().backward()
    assert float(model[0].weight.grad[2].abs().max()) == 0.0
    assert float(model[2].weight.grad[3].abs().max()) == 0.0


def test_detection_disturbs_nothing():
    model = (
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).double().train()
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    detect(model, ROWS)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_exact_blocks_against_pairwise_comparison():
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(20, 5, generator=generator, dtype=torch.float64)[:, [0, 1, 2, 0, 3, 1, 4, 0, 2]]
    gathered = Gathered()
    gathered.add(h, 1)
    assert equal_blocks(gathered, 1e-9, torch.ones(9, dtype=torch.bool)) == (0, 1, 2, 0, 3, 1, 4, 0, 2)


def test_table_and_json_agree():
    found = detect(expand(network(), 2, example_input=ROWS), ROWS)
    table, data = found.table(), found.as_json()
    rows, _, legend = table.partition("\n\n")
    assert len(rows.splitlines()) == 1 + len(found.layers)
    assert "cosine" in legend
    assert json.loads(json.dumps(data))["layers"][0]["cloned"] == found.layers[0].cloned == 16


def test_the_rest_of_the_library_does_not_import_torch():
    code = (
        "import sys, pkgutil, importlib, lop_theory\n"
        "skip = ('lop_theory.modules', 'lop_theory.trace', 'lop_theory.metrics', 'lop_theory.optim',"
        " 'lop_theory.stability', 'lop_theory.strategies')\n"
        "for m in pkgutil.iter_modules(lop_theory.__path__, 'lop_theory.'):\n"
        "    if not m.name.startswith(skip) and not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_detected_clones_of_a_trained_clone_still_match_the_certificate():
    clone = expand(network(), 2, example_input=ROWS)
    stepped(clone, torch.optim.Adam(clone.parameters(), 1e-2), 20, ROWS)
    assert certify(clone, example_input=ROWS)
    assert all(found.cloned == found.units for found in detect(clone, ROWS).layers)


# --- data -------------------------------------------------------------------------------------------------------------


def test_a_loader_is_as_one_batch_however_it_is_cut():
    model = tanh_network(tied=True)
    with torch.no_grad():
        model[2].weight[4], model[2].bias[4] = -model[2].weight[2], -model[2].bias[2]
        model[0].bias[6] = 30.0
    rows = torch.randn(96, 4, dtype=torch.float64)
    labelled = torch.utils.data.TensorDataset(rows, torch.arange(96))
    whole = detect(model, rows)
    for size in (1, 7, 96):
        loader = torch.utils.data.DataLoader(labelled, size)
        found = detect(model, loader)
        assert found.samples == 96
        assert found.batches == len(loader)
        for a, b in zip(whole.layers, found.layers, strict=True):
            assert (a.blocks, a.near_blocks, a.dead, a.constant, a.dormant) == (
                b.blocks, b.near_blocks, b.dead, b.constant, b.dormant
            )  # fmt: skip
            assert (a.frozen, a.saturated) == (b.frozen, b.saturated)
            assert [(v.kind, v.units) for v in a.verdicts] == [(v.kind, v.units) for v in b.verdicts]
            assert a.distance == pytest.approx(b.distance, rel=1e-9, abs=1e-12)


def test_second_moments_of_batches_merge_to_the_last_bit_of_the_exact_sum():
    from fractions import Fraction

    h = torch.randn(64, 3, dtype=torch.float64) * torch.tensor([1e8, 1.0, 1e-8], dtype=torch.float64)
    gathered = Gathered()
    for row in h:
        gathered.add(row[None], 1)
    grams = [torch.outer(row, row) for row in h]
    for i in range(3):
        for j in range(3):
            exact = float(sum(Fraction(float(g[i, j])) for g in grams))
            assert float(gathered.related()[1].gram[i, j]) == pytest.approx(exact, rel=3e-16)


def test_padding_is_left_out():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.up, self.out = nn.Embedding(9, 6), nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, ids, attention_mask):  # noqa: ARG002 - a model that takes it
            return self.out(torch.tanh(self.up(self.words(ids))))

    model = Text()
    batch = {"ids": torch.randint(1, 9, (5, 4)), "attention_mask": torch.ones(5, 4)}
    longer = {name: torch.cat([t, torch.zeros(5, 3).to(t)], 1) for name, t in batch.items()}
    alone, padded = detect(model, batch), detect(model, longer, mask="attention_mask")
    assert [x.distance for x in alone.layers] == pytest.approx([x.distance for x in padded.layers])
    assert [x.near_blocks for x in alone.layers] == [x.near_blocks for x in padded.layers]
    with pytest.raises(ValueError, match="no key of the batch"):
        detect(model, batch, mask="padding")


def test_a_function_picks_the_inputs_of_a_loader():
    from lop_theory.modules import Loader

    batches = [{"image": ROWS, "label": torch.zeros(40)}, {"image": ROWS + 1, "label": torch.zeros(40)}]
    found = detect(network(), Loader(batches, lambda batch: batch["image"]), loss=lambda out, _: out.sum())
    assert (found.samples, found.batches) == (80, 2)


# --- it never gives up ------------------------------------------------------------------------------------------------


class TopK(nn.Module):
    """A sparse autoencoder: topk and scatter on the hidden axis."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 12), nn.Linear(12, 4)

    def forward(self, x):
        h = torch.relu(self.up(x))
        values, index = h.topk(3, -1)
        return self.down(torch.zeros_like(h).scatter(-1, index, values))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.t1, self.t2, self.o = nn.Linear(5, 8), nn.Linear(6, 7), nn.Linear(7, 6), nn.Linear(8, 3)

    def forward(self, x):
        h = self.e(x)
        mixed = self.t2(nn.functional.gelu(self.t1(h.transpose(1, 2)))).transpose(1, 2)
        return self.o((h + mixed).mean(1))


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.round()

    @staticmethod
    def backward(_, g):
        return g


class Quantised(nn.Module):
    """No trace is this model."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        if float(h.detach().sum()) > 1e9:
            return h
        return self.c(torch.relu(self.b(Straight.apply(h * 8) / 8)))


def test_layers_behind_any_operator_are_judged():
    torch.manual_seed(0)
    names = [x.module for x in detect(TopK(), ROWS.float()).layers]
    assert names == ["up", "relu"]
    mixer = detect(Mixer(), torch.randn(8, 6, 5))
    assert {x.module: x.units for x in mixer.layers} == {"e": 8, "t1": 7, "gelu": 7, "t2": 6, "add": 8}
    assert all(x.cloned == 0 for x in mixer.layers)


def test_equal_units_of_a_model_that_cannot_be_traced_are_named_and_not_judged():
    torch.manual_seed(0)
    model = Quantised()
    with torch.no_grad():
        model.b.weight[1], model.b.bias[1] = model.b.weight[0], model.b.bias[0]
    found = detect(model, ROWS.float())
    assert [x.module for x in found.layers] == ["a", "tanh", "round", "b", "relu"]
    assert kinds(found, "b")["cloned"].units == (0, 1)
    assert any("was not checked" in note for note in found.notes)


def test_an_operator_that_equal_units_are_not_traced_through_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.o(torch.tanh(self.a(x))) + torch.special.i0(self.b(x))[:, :2]

    model = Odd().double()
    assert detect(model, ROWS).skipped == ()  # no equal units: nothing is traced
    with torch.no_grad():
        for p in model.a.parameters():
            p[1] = p[0]
    (found,) = detect(model, ROWS).skipped
    assert (found.layer, found.reason) == (
        "(top):special_i0: has no rule",
        "aten.special_i0.default: not traced through",
    )


def test_a_layer_that_is_not_finite_is_skipped_by_name():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    found = detect(model, ROWS)
    assert [(s.layer, s.reason) for s in found.skipped] == [
        *((name, "has NaN or infinite activations") for name in ("0", "1", "2", "3")),
        ("0.weight", "the weight is NaN or infinite"),
    ]


def test_a_last_layer_that_is_not_finite_is_named_too():
    model = network()
    with torch.no_grad():
        model[4].bias[0] = float("inf")
    assert [(s.layer, s.reason) for s in detect(model, ROWS).skipped] == [("4.bias", "the weight is NaN or infinite")]


@pytest.mark.parametrize("data", [3, ROWS[:, :2], {"y": ROWS}, []])
def test_data_that_the_model_cannot_be_called_with_is_one_line(data):
    with pytest.raises(ValueError, match="data") as error:
        detect(network(), data)
    assert len(str(error.value).splitlines()) == 1


def test_the_page_is_self_contained_and_names_every_verdict():
    page = detect(tanh_network(tied=True), ROWS).html()
    assert "trapped" in page
    assert "http" not in page
    assert "<script" not in page


def test_a_vocabulary_costs_no_square_of_itself(monkeypatch):
    from lop_theory.modules import observation

    monkeypatch.setattr(observation, "WIDEST", 7)
    found = detect(network(), ROWS)
    assert [x.module for x in found.layers] == ["2", "3"]
    assert [(s.layer, s.reason) for s in found.skipped] == [(n, "has more than 7 units") for n in ("0", "1")]


def test_a_table_cut_to_the_size_of_the_data_is_learned():
    """A size of the data is no content of it: the rows of the cut table are weights, whatever the batch size."""

    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.table = nn.Linear(5, 4), nn.Parameter(torch.randn(9, 4))

        def forward(self, x):
            return torch.tanh(self.a(x)) @ self.table[: x.shape[0]].mT

    torch.manual_seed(0)
    model, x = Scores(), torch.randn(7, 5)
    assert not detect(model, x).verdicts("trapped", "separating", "cloned")
    with torch.no_grad():
        for tensor in (model.a.weight, model.a.bias):
            tensor[3] = tensor[1]
        model.table[:, 3] = model.table[:, 1]
    assert {b.kind for _, b in detect(model, x).verdicts()} == {"trapped"}
