"""The tensors of units: bounds of fresh weights against torch.nn.init, sizes and mixing against loops over units, what
is said to move a function against the function."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import find_units  # noqa: E402
from lop_theory.optim.layer import INITIALISATIONS, Layer, bound, gain  # noqa: E402

torch.set_num_threads(1)


def maps(**options):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 5, (3, 2)),
        nn.BatchNorm2d(5),
        nn.LeakyReLU(),
        nn.Conv2d(5, 3, 3, **options),
    ).double()


IMAGES = torch.randn(4, 2, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def layer_of(model, x=IMAGES):
    return Layer(model, find_units(model, x).units[0])


def test_bounds_are_those_of_torch_initialisations():
    (incoming,) = layer_of(maps()).incoming

    def limit(initialise, **options):
        return max(float(initialise(torch.empty(5, 2, 3, 2), **options).abs().max()) for _ in range(40))

    torch.manual_seed(0)
    own = max(float(nn.Conv2d(2, 5, (3, 2)).weight.detach().abs().max()) for _ in range(40))
    leaky = {"nonlinearity": "leaky_relu", "a": 0.01}
    for found, seen in (
        (bound(incoming, "own", "relu"), own),
        (bound(incoming, "kaiming", "relu"), limit(nn.init.kaiming_uniform_, nonlinearity="relu")),
        (bound(incoming, "kaiming", "leaky_relu"), limit(nn.init.kaiming_uniform_, **leaky)),
        (bound(incoming, "lecun", "tanh"), limit(nn.init.kaiming_uniform_, nonlinearity="linear")),
    ):
        assert found * 0.995 < seen <= found * (1 + 1e-6)
    # as in the code beside Dohare et al., the second fan of xavier is the number of units
    assert bound(incoming, "xavier", "tanh") == pytest.approx(5 / 3 * (6 / (12 + 5)) ** 0.5)
    dense = layer_of(nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 2)), torch.ones(2, 7)).incoming[0]
    seen = max(float(nn.init.xavier_uniform_(torch.empty(5, 7), gain=5 / 3).abs().max()) for _ in range(40))
    assert bound(dense, "xavier", "tanh") * 0.995 < seen <= bound(dense, "xavier", "tanh") * (1 + 1e-6)
    with pytest.raises(InvalidInput, match="init"):
        bound(incoming, "odd", None)


@pytest.mark.parametrize("name", ["leaky_relu", "tanh", "sigmoid", "selu", "relu"])
def test_gains_are_those_of_torch(name):
    assert gain(name) == pytest.approx(nn.init.calculate_gain(name))
    assert gain("gelu") == pytest.approx(2**0.5)
    assert gain(None) == 1


class Scaled(nn.Module):
    """A weighted sum with an initialisation of its own."""

    def __init__(self, inputs, outputs, deviation):
        super().__init__()
        self.weight = nn.Parameter(deviation * torch.randn(outputs, inputs, dtype=torch.float64))

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


def test_fresh_weights_fill_their_interval_or_have_the_present_deviation():
    generator = torch.Generator().manual_seed(0)
    layer = layer_of(maps())
    for init in INITIALISATIONS:
        drawn = layer.fresh(layer.incoming[0], 400, init, generator)
        limit = bound(layer.incoming[0], init, "leaky_relu")
        assert tuple(drawn.shape) == (400, 2, 3, 2)
        assert 0.99 * limit < float(drawn.max()) <= limit
        assert -limit <= float(drawn.min()) < -0.99 * limit
        assert abs(float(drawn.mean())) < 0.05 * limit
    own = layer_of(nn.Sequential(Scaled(30, 40, 0.2), nn.ReLU(), Scaled(40, 2, 0.1)), torch.ones(2, 30).double())
    drawn = own.fresh(own.incoming[0], 400, "own", generator)
    assert float(drawn.std()) == pytest.approx(0.2, rel=0.05)
    assert float(drawn.abs().max()) > 0.6  # normal, not uniform
    assert abs(float(drawn.mean())) < 0.01


class Flattened(nn.Module):
    """Maps read by a convolution, and by a linear layer at every place."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, (2, 3)), nn.Linear(80, 2)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.b(h).mean((1, 2, 3)) + self.c(h.flatten(1)).sum(1)


def test_sizes_are_means_over_the_weights_of_a_unit():
    torch.manual_seed(0)
    model = Flattened().double()
    layer = layer_of(model)
    model(IMAGES).square().sum().backward()
    columns = model.c.weight.detach().view(2, 4, 20)
    for unit in range(4):
        own = torch.cat([model.b.weight[:, unit].detach().flatten(), columns[:, unit].flatten()])
        assert float(layer.outgoing_size()[unit]) == pytest.approx(float(own.abs().mean()))
        assert float(layer.incoming_size()[unit]) == pytest.approx(float(model.a.weight[unit].detach().abs().mean()))
        assert float(layer.incoming_gradient()[unit]) == pytest.approx(float(model.a.weight.grad[unit].abs().mean()))
    model.a.weight.grad = None
    assert torch.equal(layer.incoming_gradient(), torch.zeros(4, dtype=torch.float64))


def test_mixing_shrinks_what_is_read_by_the_share_of_the_unit():
    torch.manual_seed(0)
    model = Flattened().double()
    layer, before = layer_of(model), {name: p.detach().clone() for name, p in model.named_parameters()}
    shares = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        layer.mix(shares, "own", generator)
    fresh = layer.fresh(layer.incoming[0], 4, "own", torch.Generator().manual_seed(5))
    part = shares[:, None, None, None]
    torch.testing.assert_close(model.a.weight.detach(), (1 - part) * before["a.weight"] + part * fresh)
    torch.testing.assert_close(model.b.weight.detach(), (1 - shares[:, None, None]) * before["b.weight"])
    torch.testing.assert_close(model.c.weight.detach(), (1 - shares.repeat_interleave(20)) * before["c.weight"])
    assert torch.equal(model.a.bias, before["a.bias"])


def test_the_places_of_units_are_the_weights_that_compute_and_read_them():
    torch.manual_seed(0)
    model = maps()
    places = layer_of(model).places(torch.tensor([1, 4]))
    names = {id(p): name for name, p in model.named_parameters()}
    found = {(names[id(p.parameter)], p.dim): p.which.tolist() for p in places}
    rows = {(name, 0): [1, 4] for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
    assert found == {**rows, ("3.weight", 1): [1, 4]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, None),
        ({"padding": "valid"}, None),
        ({"padding": "same"}, "border"),
        ({"padding": 1}, "border"),
        ({"padding": (0, 1)}, "border"),
        ({"padding": (0, 0)}, None),
        ({"bias": False}, "no bias"),
    ],
)
def test_a_function_that_moves_is_one_that_is_said_to_move(options, said):
    """A unit that is constant on all inputs is replaced, and its mean absorbed: the function stays, or it was said."""
    model = maps(**options).eval()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, 0.7
    layer, before = layer_of(model), model(IMAGES).detach()
    constant = model[:3](IMAGES)[0, :, 0, 0].detach()
    with torch.no_grad():
        layer.absorb(torch.tensor([1]), [constant])
        layer.renew(torch.tensor([1]), "own", torch.Generator().manual_seed(0))
    moved = float((model(IMAGES) - before).detach().abs().max())
    assert (layer.moves() is None) == (moved < 1e-12)
    assert said is None or said in layer.moves()
    assert torch.equal(model[3].weight[:, 1], torch.zeros_like(model[3].weight[:, 1]))
    neutral = [
        float(t.detach()[1]) for t in (model[1].weight, model[1].bias, model[1].running_mean, model[1].running_var)
    ]
    assert neutral == [1, 0, 0, 1]


class Inputs(nn.Module):
    """A weighted sum with a weight of inputs × outputs, as in GPT-2."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


def test_units_of_weights_of_inputs_by_outputs_are_columns_and_are_read_by_rows():
    torch.manual_seed(0)
    model, x = nn.Sequential(Inputs(4, 6), nn.Tanh(), Inputs(6, 3)).double(), torch.randn(50, 4, dtype=torch.float64)
    layer = layer_of(model, x)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    torch.testing.assert_close(layer.incoming_size(), before["0.weight"].abs().mean(0))
    torch.testing.assert_close(layer.outgoing_size(), before["2.weight"].abs().mean(1))
    h, output = torch.tanh(model[0](x)).detach(), model(x).detach()
    with torch.no_grad():
        layer.absorb(torch.tensor([2]), [h.mean(0)])
        layer.renew(torch.tensor([2]), "lecun", torch.Generator().manual_seed(0))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(model[0].weight[:, others], before["0.weight"][:, others])
    assert float((model[0].weight[:, 2] - before["0.weight"][:, 2]).detach().norm()) > 0.1
    assert float(model[0].weight[:, 2].detach().abs().max()) <= (3 / 4) ** 0.5
    assert float(model[0].bias[2].detach()) == 0
    expected = output - (h[:, 2:3] - h[:, 2].mean()) * before["2.weight"][2]
    torch.testing.assert_close(model(x).detach(), expected, rtol=0, atol=1e-12)


def test_readers_that_pad_with_anything_but_zeros_are_refused():
    with pytest.raises(InvalidInput, match="pass through pad, which has no rule"):
        layer_of(maps(padding=1, padding_mode="circular"))


def test_units_without_biases_are_renewed_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3)).double()
    layer = layer_of(model, torch.ones(2, 4).double())
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        layer.renew(torch.tensor([2]), "own", torch.Generator().manual_seed(0))
        layer.mix(torch.zeros(6).double(), "own", torch.Generator().manual_seed(0))
    assert (model[0].weight != before).any(1).nonzero().flatten().tolist() == [2]
    assert (model[2].weight == 0).all(0).nonzero().flatten().tolist() == [2]
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p.parameter)] for p in layer.places(torch.tensor([2]))] == ["0.weight", "2.weight"]
