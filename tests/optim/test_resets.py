"""CCBP, ReGraMa and SNR against their published rules, computed anew with NumPy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import CCBP, SNR, ReGraMa, find_units  # noqa: E402
from lop_theory.optim.partial_resets import Softness, share  # noqa: E402
from lop_theory.optim.snr import Silence, thresholds  # noqa: E402

X = torch.randn(32, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 2)).double()


UNITS = find_units(network(), X)


def step(model, optimiser, x=X):
    optimiser.zero_grad()
    model(x).square().mean().backward()
    optimiser.step()
    return optimiser.replaced


def still(model):
    return torch.optim.SGD(model.parameters(), lr=0.0)


def test_regrama_resets_units_without_gradient_whatever_they_give():
    """Unit 3 is alive and useless to the loss; unit 5 is dead: both have no gradient."""
    model = network()
    with torch.no_grad():
        model[2].weight[:, 3] = 0.0
        model[0].bias[5] = -100.0
    optimiser = ReGraMa(still(model), model, example_input=UNITS, tau=0.0, period=2)
    assert step(model, optimiser) == [[], []]
    first, second = step(model, optimiser)
    assert {3, 5} <= set(first)
    kept = [i for i in range(10) if i not in second]  # a new unit reads new ones by fresh weights
    assert float(model[2].weight[kept][:, [3, 5]].detach().abs().max()) == 0
    with pytest.raises(InvalidInput):
        ReGraMa(still(model), model, example_input=UNITS, period=0)


def test_regrama_scores_are_those_of_the_definition():
    model = network()
    optimiser = ReGraMa(still(model), model, example_input=UNITS, tau=0.8, period=1)
    before = [model[k].weight.detach().clone() for k in (0, 2)]
    twin = network()
    twin(X).square().mean().backward()
    sizes = [twin[k].weight.grad.abs().mean(1) for k in (0, 2)]
    expected = [torch.nonzero(s <= 0.8 * s.mean()).flatten().tolist() for s in sizes]
    assert step(model, optimiser) == expected
    assert expected[0]
    kept = [i for i in range(12) if i not in expected[0]]
    assert torch.equal(model[0].weight[kept], before[0][kept])


@pytest.mark.parametrize("transform", ["sigmoid", "exp", "softplus", "linear"])
def test_shares_of_ccbp_are_the_published_transforms(transform):
    u = torch.tensor([0.0, 0.9, 1.0, 1.1, 3.0], dtype=torch.float64)
    x = 16 * (u.numpy() - 1)
    published = {
        "exp": np.minimum(np.exp(-x), 1),
        "sigmoid": np.minimum(2 / (1 + np.exp(x)), 1),
        "softplus": np.minimum(np.log1p(np.exp(-x)) / np.log(2), 1),
        "linear": np.clip(1 - x, 0, 1),
    }
    np.testing.assert_allclose(
        share(u, Softness(transform=transform)).numpy(), 0.015 * published[transform], rtol=1e-12
    )


def test_ccbp_mixes_fresh_weights_in_and_shrinks_what_is_read():
    model = network()
    how = Softness(rate=0.5, decay=0.9)
    optimiser = CCBP(still(model), model, example_input=UNITS, softness=how, period=3)
    start = [p.detach().clone() for p in model.parameters()]
    utility, behind = np.ones(12), np.ones(10)
    for k in range(3):
        step(model, optimiser)
        g, slope = (model[i].weight.grad.abs().mean(1).numpy() for i in (0, 2))
        utility = 0.9 * utility + 0.1 * g / (g.mean() + 1e-8)
        behind = 0.9 * behind + 0.1 * slope / (slope.mean() + 1e-8)
        if k < 2:
            assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))
    p = share(torch.from_numpy(utility), how)
    assert 0 < float(p.min()) < float(p.max()) <= 0.5
    fresh = (model[0].weight.detach() - (1 - p)[:, None] * start[0]) / p[:, None]
    assert float(fresh.abs().max()) <= (6 / 8) ** 0.5 + 1e-9
    assert float(fresh.abs().max()) > 0.5 * (6 / 8) ** 0.5
    # the second layer's rows are mixed after its columns were shrunk
    assert torch.equal(model[0].bias, start[1])
    assert torch.equal(optimiser.utility[0], torch.ones(12, dtype=torch.float64))
    q = share(torch.from_numpy(behind), how)
    torch.testing.assert_close(model[4].weight.detach(), (1 - q) * start[4], rtol=1e-12, atol=0)
    fresh = (model[2].weight.detach() - (1 - q)[:, None] * (1 - p) * start[2]) / q[:, None]
    assert float(fresh.abs().max()) <= (6 / 12) ** 0.5 + 1e-9
    with pytest.raises(InvalidInput, match="transform"):
        CCBP(still(model), model, example_input=UNITS, softness=Softness(transform="odd"))


def plain_snr(alive, batch, how, steps):
    """The authors' loops over units, one by one."""
    size = alive.shape[1]
    age, threshold = np.zeros(size, int), np.full(size, how.threshold)
    histogram = np.zeros((size, how.longest + 1), int)
    resets = []
    for t in range(steps):
        for i in range(size):
            if alive[t, i]:
                histogram[i, age[i]] += 1
            age[i] = 0 if alive[t, i] else age[i] + batch
        due = [i for i in range(size) if age[i] >= threshold[i]]
        for i in due:
            histogram[i, age[i]] += 1
            age[i] = 0
        resets.append(due)
        if (t + 1) % how.update == 0:
            for i in range(size):
                cdf = np.cumsum(histogram[i, 1:])
                place = int(np.argmax(cdf / cdf[-1] >= how.percentile)) + 1 if cdf[-1] else 1
                new = place if place < threshold[i] else how.expansion * threshold[i]
                threshold[i] = int(max(batch, min(new, how.longest)))
            histogram[:] = 0
    return resets, threshold


def test_snr_is_the_published_rule():
    """Units that fire by chance, each at its own rate: the inputs decide, for the model is one gate a unit."""
    rng = np.random.default_rng(0)
    steps, size, batch = 120, 6, 4
    how = Silence(percentile=0.9, threshold=12, update=20, longest=60)
    alive = rng.random((steps, size)) < np.array([0.02, 0.1, 0.3, 0.6, 0.9, 1.0])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 2)).double()
    optimiser = SNR(still(model), model, example_input=torch.ones(2, size, dtype=torch.float64), silence=how)
    found = []
    for row in alive:
        with torch.no_grad():  # undo the fresh weights: the gates stay what they are
            model[0].weight.copy_(torch.eye(size))
            model[0].bias.zero_()
        x = torch.from_numpy(np.where(row, 1.0, -1.0)).expand(batch, size)
        found.append(step(model, optimiser, x)[0])
    expected, threshold = plain_snr(alive, batch, how, steps)
    assert found == expected
    assert sum(map(len, found)) > 10
    assert optimiser.threshold[0].tolist() == threshold.tolist()


def test_snr_thresholds_contract_expand_and_stay_within_bounds():
    how = Silence(percentile=0.5, threshold=10, longest=30)
    histogram = np.zeros((3, 31), np.int32)
    histogram[0, 4] = 3
    histogram[1, 25] = 3
    assert thresholds(histogram, np.array([10, 10, 20]), how, 2).tolist() == [4, 20, 2]  # the last fired always
    assert thresholds(histogram, np.array([10, 10, 20]), how._replace(grow=True), 2).tolist() == [4, 20, 30]
    histogram[0, 8] = 3  # a half at 4: the least age with at least that share
    assert thresholds(histogram, np.array([10, 10, 20]), how, 2)[0] == 4
    with pytest.raises(InvalidInput):
        SNR(still(network()), network(), example_input=UNITS, silence=Silence(percentile=1.5))


@pytest.mark.parametrize("kind", [ReGraMa, CCBP, SNR])
def test_checkpoints_go_on(kind):
    a, b = network(), network()
    options = {"example_input": UNITS}
    if kind is not SNR:
        options["period"] = 3
    one, other = (kind(torch.optim.Adam(m.parameters(), 0.01), m, **options) for m in (a, b))
    for _ in range(4):
        step(a, one)
    import copy

    b.load_state_dict(a.state_dict())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for _ in range(5):
        step(a, one)
        step(b, other)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
