"""Compression and merging: the user's own class, equal outputs, true bounds; what cannot be narrowed says why."""

import io

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.modules import certify, compress, detect, expand, merge  # noqa: E402
from lop_theory.modules.zoo import resnet18  # noqa: E402

ROWS = torch.randn(64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A class of one's own, with a keyword and a literal nowhere."""

    def __init__(self, width=8):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, width), nn.Linear(width, 6), nn.Linear(6, 2)

    def forward(self, x, *, scale=1.0):
        return self.c(torch.tanh(self.b(torch.relu(self.a(x))))) * scale


def net(width=8):
    torch.manual_seed(0)
    return Net(width).double()


@pytest.mark.claim("base-network")
def test_clones_go_and_the_class_stays():
    model = net()
    with torch.no_grad():
        for twin in (1, 5):
            model.a.weight[twin], model.a.bias[twin] = model.a.weight[0], model.a.bias[0]
    small = compress(model, detect(model, ROWS))
    assert type(small.model) is Net
    assert small.removed == {"a": (1, 5)}
    assert (small.model.a.out_features, small.model.b.in_features) == (6, 6)
    other = torch.randn(9, 4, dtype=torch.float64) * 10
    torch.testing.assert_close(small.model(other, scale=3.0), model(other, scale=3.0), rtol=0, atol=1e-13)
    assert small.difference < 1e-14
    file = io.BytesIO()
    torch.save(small.model.state_dict(), file)
    file.seek(0)
    Net(6).double().load_state_dict(torch.load(file, weights_only=True))


def test_an_expanded_model_compresses_to_its_base_and_is_certified_as_its_clone():
    base = net()
    wide = expand(base, 2, example_input=ROWS, redistribute=3)
    with torch.no_grad():
        same = Net(16)
        same.b, same.c = nn.Linear(16, 12), nn.Linear(12, 2)
        same.double().load_state_dict(wide.state_dict())
    small = compress(same, detect(same, ROWS))
    for mine, theirs in zip(small.model.parameters(), base.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)
    assert certify(same, base=small.model, example_input=ROWS)


def test_residual_convolutions_with_batch_normalisation():
    torch.manual_seed(0)
    base = resnet18((3, 8, 8), 5, base=4, blocks=(1, 1)).double().eval()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    wide = resnet18((3, 8, 8), 5, base=8, blocks=(1, 1)).double().eval()
    wide.load_state_dict(expand(base, 2, example_input=images).state_dict())
    small = compress(wide, detect(wide, images))
    assert [p.shape for p in small.model.parameters()] == [p.shape for p in base.parameters()]
    torch.testing.assert_close(small.model(images), base(images), rtol=1e-10, atol=1e-12)
    assert small.model[0].out_channels == small.model[1].num_features == 4


def test_constant_units_become_biases():
    model = net()
    with torch.no_grad():
        model.a.bias[2] = -50.0  # relu: always 0
        model.b.bias[3] = 50.0  # tanh: always 1
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"relu": (2,), "tanh": (3,)}
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-13)


def test_merging_near_clones_changes_no_more_than_its_bound():
    model = net()
    with torch.no_grad():
        noise = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for k, unit in enumerate((3, 6)):
            model.a.weight[unit] = (k + 1.5) * (model.a.weight[0] + 1e-2 * noise[k])
            model.a.bias[unit] = (k + 1.5) * model.a.bias[0]
    small = merge(model, detect(model, ROWS))
    assert small.removed == {"relu": (3, 6)}
    before, after = (m.b(torch.relu(m.a(ROWS))).detach() for m in (model, small.model))
    moved = float((before - after).square().sum(1).mean().sqrt())
    assert 0 < moved <= small.bounds["relu"] * (1 + 1e-9)
    assert small.bounds["relu"] < 0.1
    assert 0 < small.difference < 0.1


def test_twins_merge_without_a_change():
    model = net()
    with torch.no_grad():
        model.a.weight[3], model.a.bias[3] = 2.5 * model.a.weight[0], 2.5 * model.a.bias[0]
        model.b.weight[4], model.b.bias[4] = -model.b.weight[1], -model.b.bias[1]
    small = merge(model, detect(model, ROWS))
    assert small.removed == {"relu": (3,), "tanh": (4,)}
    torch.testing.assert_close(small.model(ROWS), model(ROWS), rtol=0, atol=1e-12)


def test_gated_pairs_stay():
    model = net()
    with torch.no_grad():
        model.a.weight[1], model.a.bias[1] = model.a.weight[0] + 1e-3, model.a.bias[0]
        model.b.weight[:, 0] *= 100
        model.b.weight[:, 1] = -model.b.weight[:, 0]
    assert merge(model, detect(model, ROWS)).removed == {}


class Fixed(nn.Module):
    """The width is a number in the code."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)).view(-1, 8))


def test_a_width_that_is_a_number_in_the_code_stays_and_says_so():
    torch.manual_seed(0)
    model = Fixed().double()
    with torch.no_grad():
        model.a.weight[1], model.a.bias[1] = model.a.weight[0], model.a.bias[0]
    small = compress(model, detect(model, ROWS))
    assert small.removed == {}
    assert small.kept == {"a": "its code has the width as a number"}
    assert torch.equal(small.model(ROWS), model(ROWS))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 8), nn.Linear(8, 9, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        return self.head(self.words(ids))


def test_tied_tables_and_normalised_units_stay():
    torch.manual_seed(0)
    model = Tied().double()
    with torch.no_grad():
        model.words.weight[:, 1] = model.words.weight[:, 0]
    small = compress(model, detect(model, torch.randint(0, 9, (20, 3))))
    assert small.removed == {}
    assert "tied" in small.kept["words"]
    normed = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)).double()
    with torch.no_grad():
        normed[0].weight[1], normed[0].bias[1] = normed[0].weight[0], normed[0].bias[0]
    assert "averages" in compress(normed, detect(normed, ROWS)).kept["0"]
