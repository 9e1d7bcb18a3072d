"""UPGD, polar factors, penalties, projection, DASH, shrink and perturb, activations: formulas and published rules."""

import copy
import inspect

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import (  # noqa: E402
    UPGD,
    AdamGnT,
    CReLU,
    DeepFourier,
    NoisySGD,
    Project,
    SmoothLeakyReLU,
    dash,
    find_units,
    fire,
    parseval,
    shrink_and_perturb,
    spectral,
)
from lop_theory.optim.isometry import polar  # noqa: E402
from lop_theory.optim.spectrum import matrices  # noqa: E402


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_upgd(w, g, trace, t, beta, lr, decay, scope, protecting, published):  # noqa: PLR0913, PLR0917
    """The authors' formula without noise; one weight matrix."""
    trace = beta * trace + (1 - beta) * (-g * w)
    utility = trace / (1 - beta**t)
    if scope == "global":
        gate = torch.sigmoid(utility / (trace.max() if published else utility.max()))
    else:
        gate = torch.sigmoid(utility / utility.norm(dim=-1, keepdim=True))
    return (1 - lr * decay) * w - lr * g * ((1 - gate) if protecting else 1), trace


@pytest.mark.parametrize("kind", [UPGD, AdamGnT, NoisySGD])
def test_a_closure_is_called_with_gradients_and_its_loss_is_returned(kind):
    one, other = (nn.Parameter(normal(3, 4)) for _ in range(2))
    idle = nn.Parameter(torch.ones(2))  # has no gradient, and stays
    ours, theirs = kind([one, idle], 0.1), kind([other], 0.1)

    def closure():
        ours.zero_grad()
        loss = one.square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        other.grad = 2 * other.detach()
        expected = other.detach().square().sum()
        torch.testing.assert_close(ours.step(closure).detach(), expected, rtol=1e-12, atol=0)
        assert theirs.step() is None
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert torch.equal(idle, torch.ones(2))
    assert kind([idle], 0.1).step() is None


@pytest.mark.parametrize("published", [True, False])
def test_the_global_scale_of_upgd_is_the_largest_of_all_groups(published):
    """Two parameters, one of which began a step later: each with the decay and the mean of its own group."""
    a, b = nn.Parameter(normal(3, seed=1)), nn.Parameter(3 * normal(4, seed=2))
    groups = [{"params": [a], "beta_utility": 0.5}, {"params": [b], "beta_utility": 0.9, "lr": 0.2}]
    optimiser = UPGD(groups, 0.1, sigma=0.0, published=published)
    means, steps = {a: torch.zeros_like(a), b: torch.zeros_like(b)}, {a: 0, b: 0}
    for t in range(4):
        a.grad, b.grad = normal(3, seed=10 + t), None if t == 0 else normal(4, seed=20 + t)
        corrected, peaks, present = {}, [], [(p, beta) for p, beta in ((a, 0.5), (b, 0.9)) if p.grad is not None]
        for p, beta in present:
            steps[p] += 1
            means[p] = beta * means[p] + (1 - beta) * (-p.grad * p.detach())
            corrected[p] = means[p] / (1 - beta ** steps[p])
            peaks.append(float((means if published else corrected)[p].max()))
        expected = {
            p: p.detach() - (0.1 if p is a else 0.2) * p.grad * (1 - torch.sigmoid(u / max(peaks)))
            for p, u in corrected.items()
        }
        optimiser.step()
        for p, value in expected.items():
            torch.testing.assert_close(p.detach(), value, rtol=1e-12, atol=1e-14)
    with pytest.raises(InvalidInput, match="no state of UPGD"):
        optimiser.load_state_dict(torch.optim.SGD([a], 0.1).state_dict())


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("protecting", [True, False])
@pytest.mark.parametrize("published", [True, False])
def test_upgd_without_noise_is_the_formula(scope, protecting, published):
    w = nn.Parameter(normal(3, 5))
    optimiser = UPGD([w], 0.1, 0.01, 0.9, sigma=0.0, scope=scope, protecting=protecting, published=published)
    expected, trace = w.detach().clone(), torch.zeros(3, 5, dtype=torch.float64)
    for t in range(1, 6):
        w.grad = normal(3, 5, seed=t)
        how = (0.9, 0.1, 0.01, scope, protecting, published)
        expected, trace = plain_upgd(expected, w.grad, trace, t, *how)
        optimiser.step()
        torch.testing.assert_close(w.detach(), expected, rtol=1e-12, atol=1e-14)


def test_upgd_moves_weights_none_of_which_has_a_utility_yet():
    w = nn.Parameter(torch.zeros(3))
    optimiser = UPGD([w], 0.1, sigma=0.0)
    w.grad = torch.ones(3)
    optimiser.step()
    torch.testing.assert_close(w.detach(), torch.full((3,), -0.05))


def test_upgd_noise_moves_useless_weights_and_states_go_on():
    a = nn.Parameter(normal(200, 200))
    optimiser = UPGD([a], 0.1, sigma=1.0, seed=3)
    before = a.detach().clone()
    a.grad = -before.clone() * (torch.arange(200) < 100)  # the first columns are useful, the others are not
    optimiser.step()
    moved = (a.detach() - before).abs().mean(0)
    assert float(moved[100:].mean()) == pytest.approx(0.1 * 0.5 * (2 / torch.pi) ** 0.5, rel=0.05)
    b = nn.Parameter(a.detach().clone())
    other = UPGD([b], 0.1, sigma=1.0, seed=9)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for p, o in ((a, optimiser), (b, other)):
        p.grad = torch.ones_like(p)
        o.step()
    assert torch.equal(a, b)
    with pytest.raises(InvalidInput):
        UPGD([a], scope="everywhere")


def test_the_polar_factor_is_the_nearest_isometry():
    w = normal(4, 7)
    q = polar(w)
    torch.testing.assert_close(q @ q.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)
    for seed in range(20):  # any other isometry is farther away
        other = polar(q + 0.1 * normal(4, 7, seed=seed))
        assert float((w - q).norm()) <= float((w - other).norm())
    torch.testing.assert_close(polar(w, iterations=40), q, rtol=0, atol=1e-10)
    assert float((polar(w, iterations=10) - q).norm()) < 0.1


def test_fire_scales_linear_layers_and_convolutions_as_published():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(96, 5)).double()
    start = copy.deepcopy(model)
    assert fire(model, iterations=None) == ["0", "2"]
    torch.testing.assert_close(model[2].weight, (5 / 96) ** 0.5 * polar(start[2].weight), rtol=0, atol=1e-12)
    place = polar(start[0].weight[:, :, 1, 2]) * 2**0.5 / 9
    torch.testing.assert_close(model[0].weight[:, :, 1, 2], place, rtol=0, atol=1e-12)
    assert torch.equal(model[0].bias, start[0].bias)
    with pytest.raises(InvalidInput, match="only"):
        fire(model, only=["9"])


@pytest.mark.parametrize("iterations", [10, None])
def test_fire_leaves_a_weight_of_zeros(iterations):
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    fire(layer, iterations=iterations)
    assert torch.equal(layer.weight, torch.zeros(2, 3))


@pytest.mark.parametrize("iterations", [15, None])
def test_fire_leaves_no_clone_manifold(iterations):
    """Equal rows stay equal and equal columns stay equal: the polar factor is no escape."""
    w = normal(3, 4)
    clones = w.repeat_interleave(2, 0).repeat_interleave(3, 1)
    layer = nn.Linear(12, 6).double()
    with torch.no_grad():
        layer.weight.copy_(clones)
    fire(layer, iterations=iterations)
    new = layer.weight.detach()
    torch.testing.assert_close(new[0::2], new[1::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(new[:, 0::3], new[:, 2::3], rtol=0, atol=1e-12)


def test_penalties_are_zero_where_they_want_to_be_and_their_gradients_lead_there():
    w = nn.Parameter(polar(normal(3, 6)) * 2**0.5)
    assert float(parseval([w], scale=2.0).detach()) == pytest.approx(0, abs=1e-20)
    assert float(parseval([w]).detach()) == pytest.approx(3)
    assert float(spectral([w / 2**0.5]).detach()) == pytest.approx(0, abs=1e-20)
    assert float(spectral([w]).detach()) == pytest.approx(1)
    optimiser = torch.optim.SGD([w], 0.02)
    for _ in range(300):
        optimiser.zero_grad()
        parseval([w]).backward()
        optimiser.step()
    assert float(parseval([w]).detach()) < 1e-12
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 2))
    assert [tuple(m.shape) for m in matrices(model)] == [(3, 18), (2, 4)]
    with pytest.raises(InvalidInput):
        matrices(nn.ReLU())


def test_projection_keeps_norms_and_the_function_behind_normalisation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)).double()
    norms = [m.weight.norm().item() for m in (model[0], model[3])]
    optimiser = Project(torch.optim.SGD(model.parameters(), 0.5), model, period=2)
    x = normal(8, 4)
    for k in range(4):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
        now = [m.weight.norm().item() for m in (model[0], model[3])]
        assert (now == pytest.approx(norms, rel=1e-12)) == (k % 2 == 1)
    state = copy.deepcopy(optimiser.state_dict())
    optimiser.load_state_dict(state)
    with pytest.raises(InvalidInput):
        Project(torch.optim.SGD(model.parameters(), 0.5), model, period=0)


def test_dash_shrinks_against_the_gradient_and_disturbs_nothing_else():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)).double()
    start, x, y = copy.deepcopy(model), normal(5, 2, 6, 6), normal(5, 2, seed=1)
    dash(model, [(x, y), (x, y)], nn.functional.mse_loss, alpha=0.4, floor=0.2)
    slope = torch.autograd.grad(nn.functional.mse_loss(start(x), y), start[3].weight)[0]
    cosine = torch.cosine_similarity(start[3].weight, -slope, dim=1).clamp(0.2, 1)
    torch.testing.assert_close(model[3].weight, start[3].weight * cosine[:, None], rtol=1e-9, atol=1e-12)
    ratio = (model[0].weight / start[0].weight).detach()
    assert float((ratio - ratio[:, :, :1, :1]).abs().max()) < 1e-9  # a kernel shrinks as one
    assert 0.2 - 1e-9 <= float(ratio.min()) <= float(ratio.max()) <= 1 + 1e-9
    assert torch.equal(model[1].running_mean, torch.zeros(3, dtype=torch.float64))
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(InvalidInput, match="at least one"):
        dash(model, [], nn.functional.mse_loss)


def test_shrink_and_perturb_from_a_saved_state_or_with_noise_and_a_fresh_optimiser():
    model = nn.Linear(3, 2).double()
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    model(normal(4, 3)).sum().backward()
    optimiser.step()
    before = model.weight.detach().clone()
    shrink_and_perturb(model, saved, shrink=0.6, perturb=0.4, optimiser=optimiser)
    torch.testing.assert_close(model.weight.detach(), 0.6 * before + 0.4 * saved["weight"])
    assert not optimiser.state
    wide = nn.Linear(300, 300).double()
    with torch.no_grad():
        wide.weight.zero_()
    shrink_and_perturb(wide, perturb=0.1)
    assert float(wide.weight.detach().std()) == pytest.approx(0.1, rel=0.02)


def test_shrink_and_perturb_is_atomic():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double()
    before = copy.deepcopy(model)
    bad = {**dict(model.state_dict()), "1.bias": torch.zeros(7)}
    with pytest.raises(InvalidInput, match=r"1\.bias"):
        shrink_and_perturb(model, bad)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before.parameters(), strict=True))


def test_activations():
    x = normal(2, 3, 4)
    assert torch.equal(CReLU()(x), torch.cat([x.clamp_min(0), (-x).clamp_min(0)], 1))
    y = DeepFourier(dim=-1)(x)
    torch.testing.assert_close(y[..., :4] ** 2 + y[..., 4:] ** 2, torch.ones_like(x))
    smooth = SmoothLeakyReLU(alpha=0.2, beta=50.0)
    torch.testing.assert_close(smooth(x), nn.functional.leaky_relu(x, 0.2), atol=0.02, rtol=0)
    torch.testing.assert_close(SmoothLeakyReLU(alpha=0.0)(x), nn.functional.silu(x))
    with pytest.raises(InvalidInput):
        SmoothLeakyReLU(alpha=1.0)


def test_units_behind_concatenating_activations_own_both_features():
    for activation in (CReLU(), DeepFourier()):
        model = nn.Sequential(nn.Linear(4, 3), activation, nn.Linear(6, 2))
        (units,) = find_units(model, torch.randn(5, 4)).units
        assert units.readers[0].owners.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (dash, {"alpha": 0.3, "floor": 0.3}),  # arXiv 2410.23364, Appendix C, and the authors' code
        (AdamGnT, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),  # Adam's
        (NoisySGD, {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "decay": 1.0}),
        (CReLU, {"dim": 1}),
        (Project, {"period": 1}),
        (parseval, {"scale": 1.0}),
        (spectral, {"power": 2}),
        (fire, {"iterations": 10}),
    ],
)
def test_defaults_are_those_that_are_documented(function, defaults):
    found = {name: p.default for name, p in inspect.signature(function).parameters.items() if name in defaults}
    assert found == defaults


def test_projection_takes_trained_matrices_alone_and_refuses_other_states():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(2, 2)).double()
    model[2].requires_grad_(False)
    optimiser = Project(torch.optim.SGD(model.parameters(), 0.1), model, period=3)
    assert [w is m.weight for w, m in zip(optimiser.weights, model, strict=False)] == [True, True]
    assert optimiser.weights[-1] is model[1].weight
    for _ in range(2):
        optimiser.step()
    other = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(2, 2)).double()
    fresh = Project(torch.optim.SGD(other.parameters(), 0.1), other, period=3)
    with pytest.raises(InvalidInput, match="must be of 3 weights"):
        fresh.load_state_dict(optimiser.state_dict())
    other[2].requires_grad_(False)
    fresh = Project(torch.optim.SGD(other.parameters(), 0.1), other, period=3)
    fresh.load_state_dict(optimiser.state_dict())
    fresh.step()  # the third: the norms are those of the state
    assert [float(w.detach().norm()) for w in fresh.weights] == pytest.approx([float(n) for n in optimiser.norms])
    with pytest.raises(InvalidInput, match="two dimensions"):
        Project(torch.optim.SGD(model.parameters(), 0.1), nn.LayerNorm(3))
    with torch.no_grad():
        model[0].weight.zero_()
    for _ in range(4):
        optimiser.step()
    assert float(model[0].weight.detach().abs().max()) == 0  # no norm to divide by


@pytest.mark.parametrize("alpha", [0.0, 1.5, -0.1])
def test_dash_refuses_weights_of_no_mean(alpha):
    with pytest.raises(InvalidInput, match="alpha"):
        dash(nn.Linear(2, 2), [(torch.ones(1, 2), torch.ones(1, 2))], nn.functional.mse_loss, alpha=alpha)


def test_dash_means_over_batches_and_shrinks_biases_as_a_whole():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2)).double()
    model[3].requires_grad_(False)
    start, batches = copy.deepcopy(model), [(normal(6, 2, 5, seed=k), normal(6, 2, seed=9 + k)) for k in range(3)]
    dash(model, batches, nn.functional.mse_loss, alpha=0.25, floor=0.0)
    weights = [start[0].weight, start[0].bias, start[2].weight, start[2].bias]
    means = [torch.zeros_like(w) for w in weights]
    for x, y in batches:
        for mean, g in zip(means, torch.autograd.grad(nn.functional.mse_loss(start(x), y), weights), strict=True):
            mean.mul_(0.75).add_(0.25 * g)
    for new, old, mean in zip(
        (model[0].weight, model[0].bias, model[2].weight, model[2].bias), weights, means, strict=True
    ):
        units = 2 if old.ndim == 3 else old.ndim - 1
        one, other = old.detach().flatten(units), -mean.flatten(units)
        cosine = (one * other).sum(-1, keepdim=True) / (
            one.norm(dim=-1, keepdim=True) * other.norm(dim=-1, keepdim=True)
        )
        torch.testing.assert_close(new.detach().flatten(units), one * cosine.clamp(0, 1), rtol=1e-9, atol=1e-12)
    assert torch.equal(model[3].weight, start[3].weight)


def test_fire_takes_the_named_modules_and_whole_counts_of_iterations():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 5), nn.Conv1d(5, 2, 1)))
    before = copy.deepcopy(model)
    assert fire(model, only=["1.0"]) == ["1.0"]
    assert torch.equal(model[0].weight, before[0].weight)
    assert not torch.equal(model[1][0].weight, before[1][0].weight)
    assert fire(model, only=[]) == []
    assert fire(model, iterations=1) == ["0", "1.0"]
    with pytest.raises(InvalidInput, match="iterations"):
        fire(model, iterations=0)
    with pytest.raises(InvalidInput, match="only"):
        fire(model, only=["1.1"])  # a convolution in one dimension
    tall = normal(7, 4)
    torch.testing.assert_close(polar(tall, iterations=1), (w := tall / tall.norm()) * 1.5 - 0.5 * w @ w.T @ w)
    torch.testing.assert_close(polar(tall.T, iterations=3), polar(tall, iterations=3).T)
    broken = tall.clone()
    broken[:, 3] = broken[:, 0]  # of rank 3: the sum is over three singular values
    torch.testing.assert_close(polar(broken).square().sum(), torch.tensor(3.0, dtype=torch.float64))


def test_shrink_and_perturb_forgets_in_the_innermost_optimiser_and_draws_by_its_seed():
    a, b, c = (nn.Linear(3, 2).double() for _ in range(3))
    for model in (b, c):
        model.load_state_dict(a.state_dict())
    inner = torch.optim.Adam(a.parameters(), 0.1)
    outer = Project(Project(inner, a), a)
    a(normal(4, 3)).sum().backward()
    before = a.weight.detach().clone()
    outer.step()
    with torch.no_grad():
        a.weight.copy_(before)
    shrink_and_perturb(a, shrink=0.0, perturb=0.5, optimiser=outer, seed=4)
    assert not inner.state
    shrink_and_perturb(b, shrink=0.0, perturb=0.5, seed=4)
    shrink_and_perturb(c, shrink=0.0, perturb=0.5, seed=5)
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)
    shrink_and_perturb(b, shrink=1.0, perturb=0.0)
    assert torch.equal(a.weight, b.weight)
    for bad in ({"perturb": -0.1}, {"shrink": -0.1}):
        with pytest.raises(InvalidInput):
            shrink_and_perturb(b, **bad)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_spectral_penalty_is_the_sum_over_weights(power):
    weights = [normal(3, 4), 2 * normal(2, 2, seed=1)]
    expected = sum((float(torch.linalg.svdvals(w)[0]) ** power - 1) ** 2 for w in weights)
    assert float(spectral(weights, power=power)) == pytest.approx(expected)
    gram = sum(float((w @ w.T - 0.5 * torch.eye(len(w))).square().sum()) for w in weights)
    assert float(parseval(weights, scale=0.5)) == pytest.approx(gram)
