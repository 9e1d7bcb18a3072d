"""Compression and merging: the user's own class, equal outputs, true bounds; what cannot be narrowed says why."""

import io
import threading

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import certify, compress, detect, expand, merge  # noqa: E402
from lop_theory.modules.shrinking import _change  # noqa: E402
from lop_theory.modules.zoo import resnet18  # noqa: E402
from tests.zoo.plain import PLAIN, Function  # noqa: E402

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


@pytest.mark.parametrize(("near", "twins"), [(0, (2, 3)), (1, (3, 6)), (5, (6, 7))])
def test_a_twin_of_what_goes_into_another_unit_counts_with_both_errors(near, twins):
    """Twins are merged exactly, and their first into a near-clone before it: what reads the second moves most."""
    model, (first, second) = net(), twins
    with torch.no_grad():
        noise = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        model.a.weight[second], model.a.bias[second] = 2 * model.a.weight[first], 2 * model.a.bias[first]
        model.a.weight[near] = 3 * model.a.weight[first] + 0.02 * noise
        model.a.bias[near] = 3 * model.a.bias[first]
        model.b.weight[:, first] *= 1e-3
    small = merge(model, detect(model, ROWS))
    assert small.removed["relu"] == twins
    h = torch.relu(model.a(ROWS)).detach()
    factor = float(h[:, first] @ h[:, near] / h[:, near].square().sum())
    lost = (h[:, [first]] - factor * h[:, [near]]) * (model.b.weight[:, first] + 2 * model.b.weight[:, second])
    before, after = (m.b(torch.relu(m.a(ROWS))) for m in (model, small.model))
    torch.testing.assert_close(before - after, lost, rtol=0, atol=1e-6)
    assert 0.9 <= float(lost.detach().square().sum(1).mean().sqrt()) / small.bounds["relu"] <= 1 + 1e-9


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


def test_a_tied_table_goes_with_blocks_of_one_size_and_its_reader_is_scaled():
    torch.manual_seed(0)
    model, ids = Tied().double(), torch.randint(0, 9, (20, 3))
    with torch.no_grad():
        model.words.weight[:, 4:] = model.words.weight[:, :4]
    small = compress(model, detect(model, ids))
    assert small.removed == {"words": (4, 5, 6, 7)}
    assert small.scaled == {"head": 2.0}
    assert small.model.head.weight is small.model.words.weight
    other = torch.randint(0, 9, (5, 7))
    torch.testing.assert_close(small.model(other), model(other), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "name", ["highway", "bilinear", "bidirectional lstm", "decoder layer", "squeeze-excite", "mlp spectral norm"]
)
def test_square_recurrent_bilinear_and_attention_weights_go_back_to_the_base(name):
    torch.manual_seed(0)
    base, inputs = PLAIN[name]()
    wide = expand(base.eval(), 2, example_input=inputs)
    small = compress(wide, detect(wide, inputs))
    assert [tuple(p.shape) for p in small.model.parameters()] == [tuple(p.shape) for p in base.parameters()]
    assert all(reason.startswith("constant units") for reason in small.kept.values())
    assert small.difference < 1e-5


def test_a_weight_that_is_also_its_transpose_says_so():
    torch.manual_seed(0)
    base, inputs = PLAIN["tied autoencoder"]()
    wide = expand(base.eval(), 2, example_input=inputs)
    small = compress(wide, detect(wide, inputs))
    assert (small.removed, dict(small.kept)) == ({}, {"linear": "w is tied: it enters in two ways"})


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


class Branches(Function):
    """Whatever a test wants to do with a layer ``a`` of eight units and a reader ``b``."""

    def __init__(self, function, **parts):
        super().__init__(function, a=nn.Linear(4, 8), b=nn.Linear(8, 5), c=nn.Linear(4, 8), k=8, **parts)


def branches(function, *twins, factor=1.0, **parts):
    torch.manual_seed(0)
    model = Branches(function, **parts).double()
    with torch.no_grad():
        for copy in twins:
            model.a.weight[copy], model.a.bias[copy] = factor * model.a.weight[0], factor * model.a.bias[0]
    return model


def test_what_the_example_does_not_use_stays_as_it_is():
    def forward(m, x, aux=False):
        h = torch.relu(m.a(x)) + m.table[: x.shape[1]].sum()
        return (m.b(h), m.c(x)) if aux else m.b(h)

    model = branches(forward, 5, table=nn.Parameter(torch.zeros(16, 1)))
    small = compress(model, detect(model, ROWS))
    assert small.removed == {"a": (5,)}
    assert small.unread == ("c.weight", "c.bias")
    for mine, theirs in zip(small.model(ROWS, aux=True), model(ROWS, aux=True), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-13)
    assert small.model.table.shape == (16, 1)


@pytest.mark.parametrize(
    "extra",
    [
        lambda y: torch.full_like(y, -torch.inf),
        lambda y: torch.full_like(y, torch.nan),
        lambda y: 1e12 * torch.ones_like(y),
    ],
    ids=["infinite", "nan", "large"],
)
def test_no_other_output_hides_a_wrong_one(extra):
    """The same constant unit of two layers that one reader sums: its bias would be added once."""
    model = branches(lambda m, x: (m.b(torch.tanh(m.a(x))) + m.b(torch.tanh(m.c(x))), extra(x)))
    with torch.no_grad():
        model.a.bias[5] = 80.0
    small = compress(model, detect(model, ROWS))
    assert small.removed == {}
    assert "constant" in small.kept["tanh"]


def test_outputs_that_differ_are_refused_whatever_their_type():
    base = [torch.tensor([1.0, torch.inf, torch.nan]), torch.tensor([3]), torch.tensor([1e12]), torch.tensor([1j])]
    assert _change(base, [t.clone() for t in base]) == 0.0
    wrong = [
        torch.tensor([1.0, torch.inf, 2.0]),
        torch.tensor([4]),
        torch.tensor([torch.nan]),
        torch.tensor([1j], dtype=torch.complex128),
    ]
    for k, value in enumerate(wrong):
        assert _change(base, [*base[:k], value, *base[k + 1 :]]) == float("inf")
    assert _change(base, [torch.tensor([1.5, torch.inf, torch.nan]), *base[1:]]) == 0.5
    assert _change(base, [*base[:3], torch.tensor([1j + 0.25])]) == 0.25


def test_a_number_that_equals_the_width_by_chance_is_left_alone():
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x.clamp(-m.k, m.k)))), 3, 4)
    small = compress(model, detect(model, ROWS))
    assert (small.removed, small.model.k) == ({"a": (3, 4)}, 8)
    torch.testing.assert_close(small.model(50 * ROWS), model(50 * ROWS), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "reader",
    [
        lambda m, _, x: m.b(torch.relu(m.c(x))),
        lambda m, h, _: m.b(h**2),
        lambda _, h, __: h.amax(-1, keepdim=True),
        lambda _, h, __: h.cumsum(-1)[:, :5],
        lambda _, h, __: h.logsumexp(-1, keepdim=True),
        lambda _, h, __: h.mean(-1, keepdim=True),
        lambda m, h, _: m.b(h / (h.square().mean(-1, keepdim=True) + 1).sqrt()),
    ],
    ids=["another layer", "twice", "largest", "cumulated", "logsumexp", "mean", "root mean square"],
)
def test_merge_claims_nothing_of_units_that_are_read_in_other_ways(reader):
    model = branches(lambda m, x: m.b(h := torch.relu(m.a(x))) + reader(m, h, x), 3, factor=1.5)
    assert merge(model, detect(model, ROWS)).removed == {}


def test_one_coarse_parameter_does_not_loosen_what_is_equal():
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x))) * m.s, 3, s=nn.Parameter(torch.ones(()))).float()
    model.s.data = model.s.data.bfloat16()
    with torch.no_grad():
        model.a.weight[3] *= 1.02
    assert compress(model, detect(model, ROWS.float())).removed == {}


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (nn.Conv1d(8, 8, 1, groups=8), {"in_channels": 7, "out_channels": 7, "groups": 7}),
        (nn.ConvTranspose1d(8, 8, 1, groups=8), {"in_channels": 7, "out_channels": 7, "groups": 7}),
        (nn.ConvTranspose1d(8, 8, 1, groups=2), {"in_channels": 8, "out_channels": 8, "groups": 2}),
    ],
)
def test_layers_remember_the_sizes_that_they_have(layer, sizes):
    model = branches(lambda m, x: m.b(m.conv(torch.tanh(m.a(x))[:, :, None])[..., 0]), 7, conv=layer)
    with torch.no_grad():
        model.conv.weight[7], model.conv.bias[7] = model.conv.weight[0], model.conv.bias[0]
    small = compress(model, detect(model, ROWS)).model
    assert {name: getattr(small.conv, name) for name in sizes} == sizes
    torch.testing.assert_close(small(3 * ROWS), model(3 * ROWS), rtol=0, atol=1e-12)


def test_both_sides_of_a_bilinear_layer_are_remembered():
    base, inputs = PLAIN["bilinear"]()
    wide = expand(base.eval(), 2, example_input=inputs)
    small = compress(wide, detect(wide, inputs)).model
    for model, sizes in ((wide, (6, 6, 8)), (small, (3, 3, 4))):
        assert (model.b.in1_features, model.b.in2_features, model.b.out_features) == sizes


def test_a_model_that_cannot_be_copied_says_so():
    model = branches(lambda m, x: m.b(torch.tanh(m.a(x))), 3)
    found = detect(model, ROWS)
    model.lock = threading.Lock()
    with pytest.raises(InvalidInput, match="cannot be copied"):
        compress(model, found)
