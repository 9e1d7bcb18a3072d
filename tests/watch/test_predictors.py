"""Predictors against oracles that share no code with them: loops, dense Jacobians and Hessians."""

import math
from itertools import combinations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.func import functional_call, hessian, jacrev  # noqa: E402

from lop_theory import watch  # noqa: E402
from lop_theory.optim import find_units  # noqa: E402
from lop_theory.optim.layer import Layer  # noqa: E402
from lop_theory.watch.gain import GROUPS, best_gain, curvature_at, draws  # noqa: E402
from lop_theory.watch.pairs import distance, nearest, parameters_of_units, rate  # noqa: E402
from lop_theory.watch.probe import Probe, as_probe, measuring, rows_of  # noqa: E402
from lop_theory.watch.tangents import scalars, tangents_of  # noqa: E402
from tests.watch.nets import X, clone, losses, mlp, train  # noqa: E402

WIDE = X.double()


def weights(model):
    return {name: p.detach() for name, p in model.named_parameters()}


# ---- nearest clone manifold ----


def test_the_nearest_pair_is_the_nearest_of_all_pairs():
    model = clone(mlp(dtype=torch.float64), 2, 7)
    with torch.no_grad():
        model[0].weight[7] += 1e-3
    (units, _) = (Layer(model, u) for u in find_units(model, WIDE).units)
    v = parameters_of_units(units)
    first, second = model[0], model[2]
    oracle = torch.cat([first.weight, first.bias[:, None], second.weight.T], 1)
    assert torch.equal(v.sort(1).values, oracle.sort(1).values)
    far = {p: float((oracle[p[0]] - oracle[p[1]]).detach().norm()) for p in combinations(range(12), 2)}
    best = min(far, key=far.get)
    found = nearest(v)
    assert (found.i, found.j) == best == (2, 7)
    scale = math.sqrt(2 * float((oracle**2).sum(1).mean().detach()))
    assert found.distance == pytest.approx(far[best] / scale, rel=1e-12)


def test_it_is_the_distance_to_the_manifold_of_the_pair():
    v = torch.randn(5, 9, dtype=torch.float64)
    i, j, far = nearest(v)
    moved = v.clone()
    moved[[i, j]] = (v[i] + v[j]) / 2  # the orthogonal projection onto v_i = v_j
    assert float((moved - v).norm()) == pytest.approx(far * math.sqrt(float(v.square().sum() / 5)), rel=1e-12)
    assert distance(moved, i, j) == 0


def test_convolutions_and_normalisations_have_all_their_weights():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 3)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.rand(4))
    (units,) = (Layer(model, u) for u in find_units(model, torch.randn(5, 2, 4, 4, dtype=torch.float64)).units)
    v = parameters_of_units(units)
    one = [model[0].weight[2], model[0].bias[2], model[4].weight[:, 8:12], model[1].weight[2], model[1].bias[2]]
    assert v.shape == (4, sum(t.numel() for t in one))
    assert sorted(v[2].tolist()) == sorted(x for t in one for x in t.detach().reshape(-1).tolist())


def test_no_pair_in_one_unit_or_in_nan():
    assert nearest(torch.ones(1, 3)) is None
    assert nearest(torch.tensor([[1.0], [math.nan], [2.0]])) is None


def test_the_rate_is_that_of_an_exponential_and_not_of_rounding():
    assert rate(0.5, 0.5 * math.exp(-3.0), 30) == pytest.approx(-0.1)
    assert all(math.isnan(rate(*given)) for given in ((1e-9, 1e-8, 5), (0.0, 0.1, 5), (0.1, 0.0, 5), (0.1, 0.2, 0)))


def test_a_pair_that_drifts_together_has_a_negative_rate():
    model = mlp(dtype=torch.float64)
    monitor = watch(model, WIDE, every=1, loss=losses, measures=("pairs",))
    monitor.step()
    i, j, _ = monitor.records[0].pairs["0"]
    with torch.no_grad():  # all weights of j halfway to those of i
        model[0].weight[j].lerp_(model[0].weight[i], 0.5)
        model[0].bias[j].lerp_(model[0].bias[i], 0.5)
        model[2].weight[:, j].lerp_(model[2].weight[:, i], 0.5)
    monitor.step()
    assert monitor.records[1].layers["1"].clone_rate == pytest.approx(math.log(0.5), abs=0.05)


# ---- tangent kernel ----


@pytest.mark.parametrize("count", [5, 16])
def test_the_kernel_is_that_of_the_dense_jacobian(count):
    model = mlp(activation=nn.Tanh, width=5, dtype=torch.float64)
    with measuring(model):
        found = tangents_of(model, as_probe(WIDE, losses), count)
    jacobian = jacrev(lambda w: scalars(rows_of(functional_call(model, w, (WIDE,))), count))(weights(model))
    flat = torch.cat([j.reshape(count, -1) for j in jacobian.values()], 1)
    assert torch.allclose(found.kernel, flat @ flat.T, rtol=1e-10)
    p = torch.linalg.eigvalsh(flat @ flat.T).clamp_min(0)
    p = p[p > 0] / p.sum()
    assert found.rank == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-9)
    assert (found.limit, found.rank <= count) == (count, True)


def test_a_layer_of_silent_units_lowers_the_rank():
    alive, dead = mlp(dtype=torch.float64), mlp(dtype=torch.float64)
    with torch.no_grad():
        dead[2].bias.fill_(-100.0)
    ranks = [tangents_of(m, as_probe(WIDE, losses)).rank for m in (alive, dead)]
    assert ranks[1] == pytest.approx(1.0)  # only the output's bias is left
    assert ranks[0] > 3


def test_tokens_are_predictions():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(7, 4), nn.Linear(4, 7)

        def forward(self, words):
            return {"logits": self.out(torch.tanh(self.table(words)))}

    found = tangents_of(Words(), as_probe(torch.arange(6).view(2, 3), None), 16)
    assert found.limit == 6


# ---- gain and curvature ----


def test_draws_and_gain_against_loops_and_the_dense_hessian():
    model = mlp(activation=nn.Tanh, width=3, dtype=torch.float64)
    probe = Probe(WIDE, losses)
    drawn = draws(model, probe)
    parts = losses(model(WIDE)).tensor_split(GROUPS)
    slopes = [torch.autograd.grad(p.mean(), list(model.parameters()), retain_graph=True) for p in parts]
    grads = [torch.cat([g.reshape(-1) for g in one]) for one in slopes]
    mean = torch.stack(grads).mean(0)
    assert drawn.square_of_mean == pytest.approx(float(mean @ mean))
    assert drawn.mean_of_square == pytest.approx(float(torch.stack(grads).square().sum(1).mean()))
    found = best_gain(curvature_at(model, probe), drawn)
    blocks = hessian(lambda w: losses(functional_call(model, w, (WIDE,))).mean())(weights(model))
    sizes = {name: p.numel() for name, p in weights(model).items()}
    dense = torch.cat([torch.cat([blocks[a][b].reshape(sizes[a], sizes[b]) for b in sizes], 1) for a in sizes])
    largest = float(torch.linalg.eigvalsh(dense).abs().max())
    assert 0.8 * largest < found.smoothness <= largest * (1 + 1e-9)
    assert found.bound == pytest.approx(drawn.square_of_mean**2 / (2 * found.smoothness * drawn.mean_of_square))


def test_a_quadratic_gains_exactly_what_is_said():
    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))

        def forward(self, x):
            return (x * self.w).square().sum(-1) / 2

    model, probe = Point(), Probe(torch.ones(1, 2, dtype=torch.float64), lambda f: f)
    found = best_gain(curvature_at(model, probe), draws(model, probe))
    assert (found.smoothness, found.step, found.bound) == pytest.approx((1.0, 1.0, 12.5))


def test_curvature_on_the_clones_normal_space_is_a_saddle():
    model = clone(mlp(activation=nn.Tanh, width=4, dtype=torch.float64))
    found = watch(model, WIDE, loss=losses, measures=("curvature",)).measure().whole
    blocks = hessian(lambda w: losses(functional_call(model, w, (WIDE,))).mean())(weights(model))
    w = weights(model)
    names = list(w)
    dense = torch.cat([torch.cat([blocks[a][b].reshape(w[a].numel(), w[b].numel()) for b in names], 1) for a in names])
    basis = []  # antisymmetric directions of the pair span the normal space
    for name, row in (("0.weight", True), ("0.bias", True), ("2.weight", False)):
        shape = w[name].shape
        for k in range(w[name][0].numel() if row else shape[0]):
            parts = {n: torch.zeros_like(t) for n, t in w.items()}
            one = parts[name] if row else parts[name].T
            one.view(len(one), -1)[0, k] = 0.5**0.5 if row else 0
            one.view(len(one), -1)[1, k] = -(0.5**0.5) if row else 0
            if not row:
                parts[name][k, 0], parts[name][k, 1] = 0.5**0.5, -(0.5**0.5)
            basis.append(torch.cat([parts[n].reshape(-1) for n in names]))
    b = torch.stack(basis, 1)
    values = torch.linalg.eigvalsh(b.T @ dense @ b)
    assert found.normal_lowest == pytest.approx(float(values[0]), abs=1e-8)
    assert found.normal_highest == pytest.approx(float(values[-1]), abs=1e-8)
    assert found.normal_lowest < 0 < found.normal_highest


# ---- what one step changes ----


def test_churn_and_update_norms_are_those_of_the_last_step():
    model = mlp(dtype=torch.float64)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    monitor = watch(model, WIDE, every=3, loss=losses, measures=("churn",))
    history = []

    def after():
        history.append(([p.detach().clone() for p in model.parameters()], model(WIDE).detach()))
        monitor.step()

    for _ in range(3):
        optimiser.zero_grad()
        losses(model(WIDE)).mean().backward()
        optimiser.step()
        after()
    (old, f), (new, g) = history[1:]
    whole, layers = monitor.records[0].whole, monitor.records[0].layers
    assert whole.churn == pytest.approx(float((g - f).norm() / f.norm()))
    assert whole.update_norm == pytest.approx(
        float(sum((a - b).square().sum() for a, b in zip(old, new, strict=True))) ** 0.5
    )
    assert layers["3"].update_norm == pytest.approx(float((new[2] - old[2]).norm()))
    assert layers["3"].weight_norm == pytest.approx(float(new[2].norm()))


def test_dormant_by_gradient_is_gramas():
    model = mlp(dtype=torch.float64)
    with torch.no_grad():
        model[2].weight[:, 5] *= 1e-4  # nothing reads unit 5: it is active, and almost without a gradient
    found = watch(model, WIDE, loss=losses, measures=()).measure().layers["1"]
    slopes = torch.autograd.grad(losses(model(WIDE)).mean(), model[0].weight)[0].abs().mean(1)
    assert found.dormant_gradient == pytest.approx(float((slopes <= 0.01 * slopes.mean()).double().mean()))
    assert found.dormant_gradient == pytest.approx(1 / 12)
    assert found.dormant == 0


def test_training_moves_the_numbers_that_it_should():
    model = mlp()
    with watch(model, X, every=20, loss=losses, slow=1) as monitor:
        train(model, torch.optim.Adam(model.parameters(), lr=0.01), 40)
    first, last = monitor.records
    assert last.whole.loss < first.whole.loss
    assert all(math.isfinite(value) for value in last.whole[:10])
