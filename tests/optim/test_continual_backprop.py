"""Continual backprop: formulas step by step, and each trap of existing implementations."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402
from tests.optim.nets import IMAGES, ROWS, found, images, network, step, still  # noqa: E402

torch.set_num_threads(1)


def cbp(model, optimiser=None, **settings):
    settings = Settings(**{"init": "kaiming", **settings})
    return ContinualBackprop(optimiser or still(model), model, example_input=found(model), settings=settings)


@pytest.mark.parametrize("utility", ["contribution", "adaptable"])
def test_utility_and_bias_correction_against_the_formula(utility):
    model = network()
    method = cbp(model, rate=0.0, utility=utility)
    u = f = torch.zeros(6, dtype=torch.float64)
    for age in range(1, 4):
        x = ROWS * age
        model(x)
        method.step()
        h = model[:2](x).detach()
        f = 0.99 * f + 0.01 * h.mean(0)
        outgoing = model[2].weight.detach().abs().mean(0)
        if utility == "contribution":
            y = h.abs().mean(0) * outgoing
        else:
            y = (h - f / (1 - 0.99**age)).abs().mean(0) * outgoing / model[0].weight.detach().abs().mean(1)
        u = 0.99 * u + 0.01 * y
        torch.testing.assert_close(method.utility[0], u, rtol=1e-9, atol=0)
        torch.testing.assert_close(method.corrected(method.utility[0], 0), u / (1 - 0.99**age))


def test_at_age_zero_nothing_is_divided():
    method = cbp(network())
    assert torch.equal(method.corrected(method.mean[0][0], 0), torch.zeros(6, dtype=torch.float64))


def test_no_unit_is_eligible_before_maturity():
    model = network()
    method = cbp(model, rate=1.0, maturity=5)
    for age in range(1, 8):
        model(ROWS)
        method.step()
        assert bool(method.replaced[0]) == (age == 6)


def test_replacement_rate_accumulates_to_whole_units():
    """rate × 6 units × steps = 0.06 a step: one replacement in about 17 steps, not one a step (the max(1, int())
    trap)."""
    model = network()
    method = cbp(model, rate=0.01, maturity=0)
    counts = []
    for _ in range(100):
        model(ROWS)
        method.step()
        counts.append(len(method.replaced[0]))
    assert max(counts) == 1
    assert 4 <= sum(counts) <= 6  # replaced units are young for a step, hence not exactly 6
    assert counts.index(1) == 16


def test_accumulation_of_one_or_more_replaces_at_least_one_unit():
    model = network()
    method = cbp(model, rate=0.0, maturity=0)
    method.accumulated[0] = 1.0
    model(ROWS)
    method.step()
    assert [len(units) for units in method.replaced] == [1, 0]
    assert method.accumulated[0] == 0.0


def test_drawn_replacements_have_the_right_mean():
    model = network()
    method = cbp(model, rate=0.05, maturity=0, accumulate=False)
    count = 0
    for _ in range(600):
        model(ROWS)
        method.step()
        count += len(method.replaced[0])
    assert count == pytest.approx(600 * 6 * 0.05, rel=0.2)


def replace_one(model, x, optimiser=None, steps=3, **settings):
    """A few observed steps, then a step that replaces exactly one unit of the first layer."""
    method = cbp(model, optimiser, rate=0.0, maturity=0, **settings)
    for _ in range(steps):
        model(x)
        method.step()
    method.accumulated[0] = 1.0
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(x)
    method.step()
    return method, method.replaced[0][0], before


def test_the_replaced_unit_is_the_least_useful_and_really_new():
    model = network()
    with torch.no_grad():
        model[2].weight[:, 3] *= 1e-3
    method, unit, before = replace_one(model, ROWS)
    assert unit == 3
    assert not torch.equal(model[0].weight[3], before["0.weight"][3])  # written to the parameter, not to a copy
    assert float(model[0].weight[3].detach().abs().max()) <= (6 / 4) ** 0.5
    assert float(model[0].bias[3].detach()) == 0.0
    assert torch.equal(model[2].weight[:, 3], torch.zeros(5, dtype=torch.float64))
    others = [0, 1, 2, 4, 5]
    assert torch.equal(model[0].weight[others], before["0.weight"][others])
    assert torch.equal(model[0].bias[others], before["0.bias"][others])  # not all biases are zeroed
    assert (float(method.age[0][3]), float(method.utility[0][3]), float(method.mean[0][0][3])) == (0, 0, 0)
    assert float(method.age[0][0]) == 4


def test_the_outgoing_bias_absorbs_the_corrected_mean():
    """The mean must be used before it is zeroed: with constant inputs the network's output does not change at all."""
    model = network()
    x = ROWS[:1].repeat(8, 1)
    output = model(x).detach()
    _, unit, before = replace_one(model, x)
    assert float(before["2.weight"][:, unit].abs().max()) > 0
    assert float(model[2].weight[:, unit].detach().abs().max()) == 0  # only the bias speaks for the old unit
    torch.testing.assert_close(model(x).detach(), output, rtol=0, atol=1e-12)


def test_optimiser_state_of_the_replaced_weights_is_reset():
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        step(model, optimiser, ROWS)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    method = cbp(model, optimiser, rate=0.0, maturity=0)
    with torch.no_grad():
        model[2].weight[:, 3] *= 1e-6
    for _ in range(3):
        step(model, method, ROWS)
    method.accumulated[0] = 1.0
    ((unit,), _) = step(model, method, ROWS)
    for name in ("exp_avg", "exp_avg_sq"):
        assert float(optimiser.state[model[0].weight][name][unit].abs().max()) == 0
        assert float(optimiser.state[model[0].bias][name][unit]) == 0
        assert float(optimiser.state[model[2].weight][name][:, unit].abs().max()) == 0
        assert float(optimiser.state[model[0].weight][name].abs().max()) > 0


def test_convolutions_and_the_boundary_to_a_linear_layer():
    model = images()
    first, second = found(model).units
    assert (first.size, len(first.readers[0].owners), second.size, len(second.readers[0].owners)) == (4, 4, 3, 27)
    method = cbp(model.train(), rate=0.0, maturity=0)
    with torch.no_grad():
        model[7].weight[:, 9:18] *= 1e-6  # channel 1 of the second convolution owns inputs 9 to 17
    for _ in range(3):
        model(IMAGES)
        method.step()
    method.accumulated[1] = 1.0
    bias, old = model[7].bias.detach().clone(), model[7].weight.detach().clone()
    mean = method._read(1)[0][9:18]  # the same in the next step, for so are weights and images
    model(IMAGES)
    method.step()
    assert method.replaced[1] == [1]
    assert torch.equal(model[7].weight[:, 9:18], torch.zeros(2, 9, dtype=torch.float64))
    assert torch.equal(model[7].weight[:, :9], old[:, :9])
    torch.testing.assert_close(model[7].bias, bias + old[:, 9:18] @ mean, rtol=1e-9, atol=1e-15)


def test_normalisation_of_a_replaced_channel_is_neutral_again():
    model = images().train()
    with torch.no_grad():
        model[1].weight.fill_(3.0)
    _, unit, _ = replace_one(model, IMAGES)
    assert float(model[1].weight[unit].detach()) == 1
    assert float(model[1].running_var[unit]) == 1
    assert float(model[1].weight.detach().sum()) == 10


def test_evaluation_passes_are_not_observed():
    model = network().eval()
    method = cbp(model, rate=1.0, maturity=0)
    model(ROWS)
    method.step()
    assert method.replaced == [[], []]


def test_cbp_state_round_trip_and_detach():
    a = network()
    opt_a = torch.optim.SGD(a.parameters(), 0.1)
    method = cbp(a, opt_a, rate=0.05, maturity=2, accumulate=False)
    for _ in range(10):
        step(a, method, ROWS)
    b = network()
    b.load_state_dict(a.state_dict())
    opt_b = torch.optim.SGD(b.parameters(), 0.1)
    other = cbp(b, opt_b, rate=0.05, maturity=2, accumulate=False, seed=7)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for _ in range(20):
        assert step(a, method, ROWS) == step(b, other, ROWS)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    method.detach()
    assert not a[2]._forward_pre_hooks


@pytest.mark.parametrize("bad", [{"utility": "beauty"}, {"rate": 2.0}, {"decay": 1.0}, {"init": "odd"}])
def test_cbp_refuses_bad_settings(bad):
    with pytest.raises(InvalidInput):
        cbp(network(), **bad)


def jump(model, x, layer=0, unit=1):
    """How much the mean output moves when a unit is replaced after many observed steps."""
    method = ContinualBackprop(still(model), model, example_input=x, settings=Settings(rate=0.0, maturity=0))
    for _ in range(300):
        model(x)
        method.step()
    with torch.no_grad():
        before = model(x).mean(0)
        method._renew(layer, method.layers[layer], torch.tensor([unit]))
        return float((model(x).mean(0) - before).abs().max()), method


BETWEEN = {
    "batch norm": [nn.ReLU(), nn.BatchNorm1d(16)],
    "pooled": [nn.Unflatten(1, (16, 1)), nn.ReLU(), nn.Flatten()],
    "none": [nn.Tanh()],
}


@pytest.mark.parametrize("name", BETWEEN)
def test_the_mean_output_does_not_move(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), *BETWEEN[name], nn.Linear(16, 4)).double()
    assert jump(model, torch.randn(64, 8, dtype=torch.float64))[0] < 1e-12


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)])
def test_pooling_passes_the_pooled_mean(pool):
    torch.manual_seed(0)
    size = 1 if isinstance(pool, nn.AdaptiveAvgPool2d) else 9
    model = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(5 * size, 3)).double()
    moved, method = jump(model, torch.randn(9, 2, 6, 6, dtype=torch.float64))
    assert moved < 1e-12
    assert method.layers[0].moves() is None


def test_running_statistics_are_what_the_reader_sees_in_evaluation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 4)).double()
    x = torch.randn(64, 8, dtype=torch.float64)
    with torch.no_grad():
        model[2].bias += 0.7
    jumped, method = jump(model, x)
    assert jumped < 1e-12
    before = model.eval()(x).mean(0)
    with torch.no_grad():
        for _ in range(400):
            model.train()(x)
        assert float((model.eval()(x).mean(0) - before).abs().max()) < 1e-12  # the new unit is not read yet
    assert float(method.layers[0].outgoing[0].weight[:, 1].detach().abs().max()) == 0


def test_where_the_function_cannot_stay_it_is_said():
    torch.manual_seed(0)
    coupled = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 4)).double()
    moved, method = jump(coupled, torch.randn(64, 8, dtype=torch.float64))
    assert moved > 1e-3
    assert "2:layer_norm mixes the units" in method.describe()
    padded = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).double()
    method = ContinualBackprop(still(padded), padded, example_input=torch.randn(2, 2, 8, 8, dtype=torch.float64))
    assert "border" in method.describe()
    silent = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    method = ContinualBackprop(still(silent), silent, example_input=torch.randn(2, 8, dtype=torch.float64))
    assert "no bias" in method.describe()


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.policy, self.value = nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x):
        h = torch.tanh(self.trunk(x))
        return torch.cat([self.policy(h), self.value(h)], 1)


def test_several_readers_take_over_the_mean_and_lose_their_columns():
    torch.manual_seed(0)
    model = Actor().double()
    moved, _ = jump(model, torch.randn(32, 8, dtype=torch.float64))
    assert moved < 1e-12
    assert all(float(reader.weight[:, 1].detach().abs().max()) == 0 for reader in (model.policy, model.value))


def test_all_layers_are_scored_before_any_is_changed():
    """A unit of the second layer is judged by the incoming weights that it was trained with."""
    one, other = network(), network()
    both, later = (cbp(m, rate=0.0, maturity=0) for m in (one, other))
    for model, method in ((one, both), (other, later)):
        for _ in range(3):
            model(ROWS)
            method.step()
    both.accumulated = [3.0, 1.0]
    later.accumulated = [0.0, 1.0]
    for model, method in ((one, both), (other, later)):
        model(ROWS)
        method.step()
    assert len(both.replaced[0]) == 3
    assert both.replaced[1] == later.replaced[1]
