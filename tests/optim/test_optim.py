"""Optimisers: formulas step by step, and each trap of existing implementations."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import L2Init, NoisySGD, shrink_and_perturb  # noqa: E402

torch.set_num_threads(1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()


ROWS = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def step(model, optimiser, x):
    optimiser.zero_grad()
    (model(x) ** 2).mean().backward()
    optimiser.step()


# --- NoisySGD ---------------------------------------------------------------------------------------------------------


SGD_OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1, "maximize": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"weight_decay": 0.1},
]


def apart(a, b):
    """The largest difference of two networks' parameters; NaN if one is."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return float(torch.stack([(p - q).detach().abs().max() for p, q in pairs]).max())


@pytest.mark.parametrize("options", SGD_OPTIONS)
def test_without_noise_it_is_sgd(options):
    a, b = network(), network()
    ours, theirs = NoisySGD(a.parameters(), 0.1, sigma=0.0, **options), torch.optim.SGD(b.parameters(), 0.1, **options)
    for _ in range(4):
        step(a, ours, ROWS)
        step(b, theirs, ROWS)
    assert apart(a, b) <= 1e-15


@pytest.mark.parametrize("options", SGD_OPTIONS)
def test_a_checkpoint_of_sgd_goes_on(options):
    b = network()
    theirs = torch.optim.SGD(b.parameters(), 0.1, **options)
    step(b, theirs, ROWS)
    a = copy.deepcopy(b)
    ours = NoisySGD(a.parameters(), 9.0, sigma=0.0, decay=0.5, scaling="norm")
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for _ in range(3):
        step(a, ours, ROWS)
        step(b, theirs, ROWS)
    assert apart(a, b) <= 1e-15
    assert [(g["sigma"], g["decay"], g["scaling"], g["lr"]) for g in ours.param_groups] == [(0.0, 0.5, "norm", 0.1)]
    assert ours.steps == 3


def test_decay_adds_nothing_to_the_noise():
    """The noise is as long as the gradient says, whatever the weights are."""
    w = nn.Parameter(torch.full((50, 50), 1e6, dtype=torch.float64))
    w.grad = torch.ones_like(w)
    optimiser = NoisySGD([w], 0.1, sigma=0.1, weight_decay=0.5, scaling="norm")
    optimiser.step()
    assert optimiser.noise_ratio == pytest.approx(0.1, rel=0.1)


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


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": -1},
        {"sigma": -1},
        {"decay": 1.5},
        {"scaling": "loud"},
        {"weight_decay": -1},
        {"momentum": 0.9, "dampening": 1.0},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.5},
    ],
)
def test_noisy_sgd_refuses_bad_settings(bad):
    with pytest.raises(InvalidInput):
        NoisySGD(network().parameters(), **bad)


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


def test_l2_init_refuses_the_state_of_other_shapes_and_changes_nothing():
    wide = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    other = L2Init(torch.optim.Adam(wide.parameters(), 0.1))
    step(wide, other, ROWS)
    ours = L2Init(torch.optim.Adam(network().parameters(), 0.1))
    before = [t.clone() for t in ours.initial]
    with pytest.raises(InvalidInput, match=r"initial.*shapes"):
        ours.load_state_dict(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.initial, before, strict=True))
    assert not ours.optimiser.state
    state = ours.state_dict()
    del state["companion"]["initial"]
    with pytest.raises(InvalidInput, match="initial"):
        ours.load_state_dict(state)


def test_l2_init_is_an_ordinary_optimiser():
    model = network()
    ours = L2Init(torch.optim.SGD(model.parameters(), 0.1), strength=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(ours, 1)
    step(model, ours, ROWS)
    scheduler.step()
    assert ours.optimiser.param_groups[0]["lr"] == pytest.approx(0.01)
    extra = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    ours.add_param_group({"params": [extra]})
    with torch.no_grad():
        extra += 1
    step(model, ours, ROWS)
    assert float(extra.detach()[0]) == pytest.approx(2 - 0.1 * 0.2)  # the inner optimiser's default rate


def test_l2_init_half_is_the_convention_of_weight_decay():
    w = torch.nn.Parameter(torch.ones(1))
    ours = L2Init(torch.optim.SGD([w], 1.0), strength=0.1, half=True)
    with torch.no_grad():
        w += 1
    w.grad = torch.zeros(1)
    ours.step()
    assert float(w.detach()) == pytest.approx(1.9)


def test_l2_init_with_a_closure_pulls_each_time_it_is_called():
    a, b = network(), network()
    ours, plain = (L2Init(torch.optim.SGD(m.parameters(), 0.1), strength=0.3) for m in (a, b))
    with torch.no_grad():
        for m in (a, b):
            m[0].weight += 1

    def closure():
        ours.zero_grad()
        loss = (a(ROWS) ** 2).mean()
        loss.backward()
        return loss

    assert float(ours.step(closure)) > 0
    step(b, plain, ROWS)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    with pytest.raises(InvalidInput, match="must be that of a L2Init"):
        ours.load_state_dict(ours.optimiser.state_dict())


def test_smooth_leaky_relu_has_the_defaults_and_limits_of_its_docstring():
    from lop_theory.optim import SmoothLeakyReLU

    x = torch.linspace(-4, 4, 9, dtype=torch.float64)
    assert torch.equal(SmoothLeakyReLU()(x), SmoothLeakyReLU(0.1, 1.0)(x))
    torch.testing.assert_close(SmoothLeakyReLU()(x), 0.1 * x + 0.9 * torch.nn.functional.silu(x))
    torch.testing.assert_close(SmoothLeakyReLU(0.0)(x), torch.nn.functional.silu(x))
    torch.testing.assert_close(SmoothLeakyReLU(0.2, 1e3)(x), torch.nn.functional.leaky_relu(x, 0.2))
    for alpha, beta in ((1.0, 1.0), (-0.1, 1.0), (0.1, 0.0)):
        with pytest.raises(InvalidInput, match=r"alpha|beta"):
            SmoothLeakyReLU(alpha, beta)
