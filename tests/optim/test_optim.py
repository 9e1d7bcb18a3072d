"""Optimisers: formulas step by step, and each trap of existing implementations."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop, L2Init, NoisySGD, ReDo, shrink_and_perturb, unit_layers  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402

torch.set_num_threads(1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def images(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(27, 2),
    ).double()


ROWS = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def step(model, optimiser, x, *callbacks):
    optimiser.zero_grad()
    (model(x) ** 2).mean().backward()
    optimiser.step()
    return [callback.step() for callback in callbacks]


# --- NoisySGD ---------------------------------------------------------------------------------------------------------


def test_without_noise_it_is_sgd():
    for momentum in (0.0, 0.9):
        a, b = network(), network()
        ours = NoisySGD(a.parameters(), 0.1, sigma=0.0, momentum=momentum)
        theirs = torch.optim.SGD(b.parameters(), 0.1, momentum=momentum)
        for _ in range(4):
            step(a, ours, ROWS)
            step(b, theirs, ROWS)
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("scaling", "ratio"), [("element", 0.05 * 10000**0.5), ("norm", 0.05)])
def test_noise_norm_relative_to_the_gradient(scaling, ratio):
    """Per element the noise is σ sqrt(n) times as long as the gradient: five times for 10,000 weights at σ = 0.05."""
    w = nn.Parameter(torch.zeros(100, 100, dtype=torch.float64))
    w.grad = torch.randn(100, 100, dtype=torch.float64)
    optimiser = NoisySGD([w], 1.0, sigma=0.05, scaling=scaling)
    optimiser.step()
    noise = -w.detach() - w.grad
    assert optimiser.noise_ratio == pytest.approx(ratio, rel=0.03)
    assert float(noise.norm() / w.grad.norm()) == pytest.approx(ratio, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=4 * float(noise.std()) / 100)


def test_noise_decays_and_zero_decay_is_a_single_noisy_step():
    w = nn.Parameter(torch.zeros(50, 50, dtype=torch.float64))
    w.grad = torch.ones_like(w)
    for decay, expected in ((0.5, [1.0, 0.5, 0.25]), (0.0, [1.0, 0.0, 0.0]), (1.0, [1.0, 1.0, 1.0])):
        optimiser = NoisySGD([w], 0.0, sigma=0.1, decay=decay)
        ratios = []
        for _ in range(3):
            optimiser.step()
            ratios.append(optimiser.noise_ratio / 5)
        assert ratios == pytest.approx(expected, rel=0.1, abs=1e-12)


def test_noise_leaves_the_global_random_stream_alone():
    w = nn.Parameter(torch.ones(3))
    w.grad = torch.ones(3)
    before = torch.get_rng_state()
    NoisySGD([w], 0.1, sigma=0.1).step()
    assert torch.equal(before, torch.get_rng_state())


def test_noisy_sgd_state_round_trip():
    a = network()
    optimiser = NoisySGD(a.parameters(), 0.1, sigma=0.1, decay=0.9, momentum=0.9)
    step(a, optimiser, ROWS)
    b = copy.deepcopy(a)
    restored = NoisySGD(b.parameters(), 0.1, sigma=0.1, decay=0.9, momentum=0.9, seed=99)
    restored.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for model, opt in ((a, optimiser), (b, restored)):
        step(model, opt, ROWS)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("bad", [{"lr": -1}, {"sigma": -1}, {"decay": 1.5}, {"scaling": "loud"}])
def test_noisy_sgd_refuses_bad_settings(bad):
    with pytest.raises(InvalidInput):
        NoisySGD(network().parameters(), **bad)


# --- continual backprop -----------------------------------------------------------------------------------------------


def cbp(model, optimiser=None, **settings):
    return ContinualBackprop(model, optimiser, Settings(**settings))


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
        torch.testing.assert_close(method.utility[0], u)
        torch.testing.assert_close(method.corrected(method.utility[0], 0), u / (1 - 0.99**age))


def test_at_age_zero_nothing_is_divided():
    method = cbp(network())
    assert torch.equal(method.corrected(method.mean[0], 0), torch.zeros(6, dtype=torch.float64))


def test_no_unit_is_eligible_before_maturity():
    model = network()
    method = cbp(model, rate=1.0, maturity=5)
    for age in range(1, 8):
        model(ROWS)
        replaced = method.step()
        assert bool(replaced[0]) == (age == 6)


def test_replacement_rate_accumulates_to_whole_units():
    """rate × 6 units × steps = 0.06 a step: one replacement in about 17 steps, not one a step (the max(1, int())
    trap)."""
    model = network()
    method = cbp(model, rate=0.01, maturity=0)
    counts = []
    for _ in range(100):
        model(ROWS)
        counts.append(len(method.step()[0]))
    assert max(counts) == 1
    assert 4 <= sum(counts) <= 6  # replaced units are young for a step, hence not exactly 6
    assert counts.index(1) == 16


def test_accumulation_of_one_or_more_replaces_at_least_one_unit():
    model = network()
    method = cbp(model, rate=0.0, maturity=0)
    method.accumulated[0] = 1.0
    model(ROWS)
    assert [len(units) for units in method.step()] == [1, 0]
    assert method.accumulated[0] == 0.0


def test_drawn_replacements_have_the_right_mean():
    model = network()
    method = cbp(model, rate=0.05, maturity=0, accumulate=False)
    count = 0
    for _ in range(600):
        model(ROWS)
        count += len(method.step()[0])
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
    return method, method.step()[0][0], before


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
    assert (float(method.age[0][3]), float(method.utility[0][3]), float(method.mean[0][3])) == (0, 0, 0)
    assert float(method.age[0][0]) == 4


def test_the_outgoing_bias_absorbs_the_corrected_mean():
    """The mean must be used before it is zeroed: with constant inputs the network's output does not change at all."""
    model = network()
    x = ROWS[:1].repeat(8, 1)
    output = model(x).detach()
    _, unit, before = replace_one(model, x)
    mean = model[:2](x).detach()  # the new unit's outgoing weights are zero, so only the bias speaks for the old one
    assert float(before["2.weight"][:, unit].abs().max()) > 0
    torch.testing.assert_close(model(x).detach(), output, rtol=0, atol=1e-12)
    assert mean.shape == (8, 6)


def test_optimiser_state_of_the_replaced_weights_is_reset():
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        step(model, optimiser, ROWS)
    with torch.no_grad():
        model[2].weight[:, 3] *= 1e-6
    _, unit, _ = replace_one(model, ROWS, optimiser)
    for name in ("exp_avg", "exp_avg_sq"):
        assert float(optimiser.state[model[0].weight][name][unit].abs().max()) == 0
        assert float(optimiser.state[model[0].bias][name][unit]) == 0
        assert float(optimiser.state[model[2].weight][name][:, unit].abs().max()) == 0
        assert float(optimiser.state[model[0].weight][name].abs().max()) > 0


def test_convolutions_and_the_boundary_to_a_linear_layer():
    model = images()
    first, second = unit_layers(model)
    assert (first.units, first.span, second.units, second.span) == (4, 1, 3, 9)
    method = cbp(model.train(), rate=0.0, maturity=0)
    with torch.no_grad():
        model[7].weight[:, 9:18] *= 1e-6  # channel 1 of the second convolution owns inputs 9 to 17
    for _ in range(3):
        model(IMAGES)
        method.step()
    method.accumulated[1] = 1.0
    bias, old = model[7].bias.detach().clone(), model[7].weight.detach().clone()
    mean = None
    model(IMAGES)
    mean = method.corrected(method.mean[1], 1)
    assert method.step()[1] == [1]
    assert torch.equal(model[7].weight[:, 9:18], torch.zeros(2, 9, dtype=torch.float64))
    assert torch.equal(model[7].weight[:, :9], old[:, :9])
    torch.testing.assert_close(model[7].bias, bias + old[:, 9:18].sum(1) * mean[1], rtol=1e-9, atol=1e-15)
    assert mean.shape == (3,)


def test_normalisation_of_a_replaced_channel_is_neutral_again():
    model = images().train()
    with torch.no_grad():
        model[1].weight.fill_(3.0)
    _, unit, _ = replace_one(model, IMAGES)
    assert float(model[1].weight[unit]) == 1
    assert float(model[1].running_var[unit]) == 1
    assert float(model[1].weight.detach().sum()) == 10


def test_evaluation_passes_are_not_observed():
    model = network().eval()
    method = cbp(model, rate=1.0, maturity=0)
    model(ROWS)
    assert method.step() == [[], []]


def test_cbp_state_round_trip_and_detach():
    a = network()
    opt_a = torch.optim.SGD(a.parameters(), 0.1)
    method = cbp(a, opt_a, rate=0.05, maturity=2, accumulate=False)
    for _ in range(10):
        step(a, opt_a, ROWS, method)
    b = network()
    b.load_state_dict(a.state_dict())
    opt_b = torch.optim.SGD(b.parameters(), 0.1)
    other = cbp(b, opt_b, rate=0.05, maturity=2, accumulate=False, seed=7)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for _ in range(20):
        assert step(a, opt_a, ROWS, method) == step(b, opt_b, ROWS, other)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    method.detach()
    assert not a[1]._forward_hooks


@pytest.mark.parametrize("bad", [{"utility": "beauty"}, {"rate": 2.0}, {"decay": 1.0}])
def test_cbp_refuses_bad_settings(bad):
    with pytest.raises(InvalidInput):
        cbp(network(), **bad)


def test_grouped_convolutions_are_refused():
    with pytest.raises(InvalidInput, match="grouped"):
        unit_layers(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, groups=2)))


# --- the others -------------------------------------------------------------------------------------------------------


def test_shrink_and_perturb():
    model, before, other = network(0), network(0), network(5)
    shrink_and_perturb(model, lambda: network(5), shrink=0.6, perturb=0.2)
    for p, old, new in zip(model.parameters(), before.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, 0.6 * old + 0.2 * new)
    with pytest.raises(InvalidInput):
        shrink_and_perturb(model, lambda: nn.Linear(2, 2).double())
    with pytest.raises(InvalidInput):
        shrink_and_perturb(model, network, shrink=1.5)


def test_redo_resets_dormant_units_on_schedule():
    model = network()
    with torch.no_grad():
        model[0].bias[2] = -100.0
    redo = ReDo(model, tau=0.0, period=3)
    history = []
    for _ in range(3):
        model(ROWS)
        history.append(redo.step())
    assert history[:2] == [[[], []], [[], []]]
    assert history[2] == [[2], []]
    assert float(model[0].bias[2].detach()) == 0
    assert float(model[2].weight[:, 2].detach().abs().max()) == 0
    model(ROWS)
    state = redo.state_dict()
    fresh = ReDo(network(), period=3)
    fresh.load_state_dict(state)
    assert fresh.steps == 3
    with pytest.raises(InvalidInput):
        ReDo(network(), period=0)


def test_l2_init_is_the_gradient_of_the_penalty():
    a, b = network(), network()
    start = [p.detach().clone() for p in b.parameters()]
    ours = L2Init(torch.optim.SGD(a.parameters(), 0.1), strength=0.3)
    theirs = torch.optim.SGD(b.parameters(), 0.1)
    for _ in range(4):
        step(a, ours, ROWS)
        theirs.zero_grad()
        penalty = sum(((p - s) ** 2).sum() for p, s in zip(b.parameters(), start, strict=True))
        ((b(ROWS) ** 2).mean() + 0.3 * penalty).backward()
        theirs.step()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-14)


def test_l2_init_state_round_trip_keeps_the_initial_values():
    model = network()
    ours = L2Init(torch.optim.Adam(model.parameters(), 0.1), strength=0.3)
    step(model, ours, ROWS)
    restored = L2Init(torch.optim.Adam(model.parameters(), 0.1), strength=0.3)
    restored.load_state_dict(ours.state_dict())
    assert all(torch.equal(p, q) for p, q in zip(restored.initial, ours.initial, strict=True))
    with pytest.raises(InvalidInput):
        L2Init(torch.optim.Adam(model.parameters()), strength=-1)
