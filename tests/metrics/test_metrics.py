"""Metrics against straightforward NumPy oracles; a run with metrics is bit for bit the run without."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from lop_theory import metrics as M  # noqa: E402

torch.set_num_threads(1)


def activations(seed, samples, units):
    """Random, with dead, duplicate, proportional and opposite units planted."""
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((samples, units)) @ rng.standard_normal((units, units))
    if units >= 5:
        h[:, 1] = 0.0
        h[:, 2] = h[:, 0] * 2.0
        h[:, 3] = -h[:, 0]
        h[rng.random(samples) < 0.97, 4] = 0.0
    return h


cases = given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 9))


def oracle_singular(h):
    return np.linalg.svd(h, compute_uv=False)


@cases
def test_dead_and_dormant(seed, samples, units):
    h = activations(seed, samples, units)
    m = M.moments(torch.tensor(h))
    for j in range(units):
        assert bool(M.dead(m)[j]) == ((np.abs(h[:, j]) < 1e-7).mean() > 0.95)
    score = np.abs(h).mean(0) / np.abs(h).mean()
    assert M.dormant(m, 0.1).tolist() == (score <= 0.1).tolist()


def test_dead_uses_strictly_more_than_95_percent():
    h = torch.zeros(100, 2, dtype=torch.float64)
    h[:5, 0] = 1.0  # zero on exactly 95 %
    h[:4, 1] = 1.0
    assert M.dead(M.moments(h)).tolist() == [False, True]


@cases
def test_duplicates_as_paper_as_coded_and_clusters(seed, samples, units):
    h = activations(seed, samples, units)
    norms = np.linalg.norm(h, axis=0)
    similar = np.zeros((units, units), dtype=bool)
    for i in range(units):
        for j in range(units):
            if i != j and norms[i] > 0 and norms[j] > 0:
                similar[i, j] = h[:, i] @ h[:, j] / (norms[i] * norms[j]) > 0.95
    other, later, clusters = M.duplicates(M.moments(torch.tensor(h)))
    assert other.tolist() == similar.any(1).tolist()
    assert later.tolist() == [bool(similar[i, i + 1 :].any()) for i in range(units)]
    seen, count = set(), 0
    for i in range(units):
        if i not in seen and similar[i].any():
            count += 1
            stack = [i]
            while stack:
                k = stack.pop()
                if k not in seen:
                    seen.add(k)
                    stack += np.flatnonzero(similar[k]).tolist()
    assert clusters == count


def test_a_cluster_of_three_counts_three_in_the_paper_and_two_in_the_code():
    h = torch.randn(10, 1, dtype=torch.float64).repeat(1, 3)
    other, later, clusters = M.duplicates(M.moments(h))
    assert (int(other.sum()), int(later.sum()), clusters) == (3, 2, 1)


def test_a_cluster_is_a_chain_of_units_each_similar_to_the_next():
    """Steps of 15° (cosine 0.966), so that ends are not similar: chains of 6 and 3, and a unit alone."""
    h = torch.zeros(5, 10, dtype=torch.float64)
    for column, (plane, step) in enumerate([(0, 5), (1, 0), (0, 0), (0, 3), (1, 2), (0, 1), (1, 1), (0, 4), (0, 2)]):
        angle = math.radians(15 * step)
        h[2 * plane, column], h[2 * plane + 1, column] = math.cos(angle), math.sin(angle)
    h[4, 9] = 1
    assert M.duplicates(M.moments(h))[2] == 2


@cases
def test_ranks(seed, samples, units):
    h = activations(seed, samples, units)
    m = M.layer_metrics(torch.tensor(h))
    s = oracle_singular(h)
    p = s / s.sum()
    entropy_rank = math.exp(-sum(x * math.log(x) for x in p if x > 0))
    assert abs(m.effective_rank - entropy_rank) <= m.effective_rank_error + 1e-9
    assert m.effective_rank_error < 1e-2 * units
    assert m.stable_rank == pytest.approx((s**2).sum() / s[0] ** 2, rel=1e-9)
    centred = h - h.mean(0)
    gram = centred.T @ centred
    assert m.participation_ratio == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum(), rel=1e-6)
    varying = centred.std(0) > 1e-6
    c = np.corrcoef(h[:, varying].T) if varying.sum() > 1 else np.ones((1, 1))
    assert m.renyi2_rank == pytest.approx(len(c) ** 2 / (c**2).sum(), rel=1e-5)


def test_ranks_of_a_layer_of_zeros_and_of_constants_are_zero():
    zero = M.layer_metrics(torch.zeros(6, 3, dtype=torch.float64))
    assert (zero.effective_rank, zero.stable_rank, zero.participation_ratio, zero.renyi2_rank, zero.dead) == (
        0,
        0,
        0,
        0,
        1,
    )
    constant = M.layer_metrics(torch.full((6, 3), 2.0, dtype=torch.float64))
    assert constant.participation_ratio == 0
    assert constant.effective_rank == pytest.approx(1, abs=1e-6)


@cases
def test_saturated(seed, samples, units):
    h = activations(seed, samples, units)
    g = np.random.default_rng(seed + 1).standard_normal(h.shape) * 10.0 ** -np.arange(units)[None, :]
    ratio = np.abs(g) / np.maximum(np.abs(h).mean(0), 1e-12)
    assert M.saturated(torch.tensor(h), torch.tensor(g)).tolist() == ((ratio < 1e-4).mean(0) > 0.99).tolist()


@given(st.integers(0, 10**6), st.lists(st.integers(0, 2), min_size=2, max_size=6))
def test_cloning_r2(seed, labels):
    h = np.random.default_rng(seed).standard_normal((7, len(labels)))
    means = h.copy()
    for k in set(labels):
        members = [i for i, label in enumerate(labels) if label == k]
        means[:, members] = h[:, members].mean(1, keepdims=True)
    expected = 1 - ((h - means) ** 2).sum() / ((h - h.mean()) ** 2).sum()
    assert M.cloning_r2(torch.tensor(h), labels) == pytest.approx(expected, abs=1e-12)
    exact = torch.tensor(h)[:, [labels.index(label) for label in labels]]
    assert M.cloning_r2(exact, labels) == 1.0


@pytest.mark.parametrize("copies", [2, 3, 5, 6, 7])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1e-20])
def test_cloning_r2_of_a_constant_layer_of_clones_is_exactly_one(copies, value):
    h = torch.full((7, copies), value, dtype=torch.float64)
    assert M.cloning_r2(h, [0] * copies) == 1.0
    assert M.cloning_r2(torch.cat([h, h], 1), [0] * copies + [2] * copies) == 1.0


def test_cloning_r2_mean_reads_one_as_paper_and_a_half_as_coded():
    assert M.mean_cloning_r2([1.0, 1.0], [1.0, 1.0]) == {"as_paper": 1.0, "as_coded": 0.5}


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 1), min_size=2, max_size=5),
    st.lists(st.integers(0, 1), min_size=2, max_size=5),
)
def test_distance_to_equitable_against_least_squares(seed, rows, columns):
    rows, columns = ([sorted(set(x)).index(v) for v in x] for x in (rows, columns))
    w = np.random.default_rng(seed).standard_normal((len(rows), len(columns)))
    constraints = []
    for i in range(len(rows)):
        for k in range(len(rows)):
            if rows[i] == rows[k]:
                for block in set(columns):
                    line = np.zeros_like(w)
                    members = [j for j in range(len(columns)) if columns[j] == block]
                    line[i, members] += 1
                    line[k, members] -= 1
                    constraints.append(line.ravel())
    for i in range(len(columns)):
        for k in range(len(columns)):
            if columns[i] == columns[k]:
                for block in set(rows):
                    line = np.zeros_like(w)
                    members = [j for j in range(len(rows)) if rows[j] == block]
                    line[members, i] += 1
                    line[members, k] -= 1
                    constraints.append(line.ravel())
    a = np.array(constraints)
    residual = a @ w.ravel()
    expected = np.linalg.norm(np.linalg.lstsq(a, residual, rcond=None)[0]) if len(a) else 0.0
    assert M.distance_to_equitable(torch.tensor(w), rows, columns) == pytest.approx(expected, abs=1e-9)


def test_norms():
    model = nn.Linear(3, 2).double()
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    parameters = torch.cat([p.detach().ravel() for p in model.parameters()])
    assert M.weight_norm(model) == pytest.approx(float(parameters.norm()))
    assert M.gradient_norm(model) == pytest.approx(8**0.5)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def test_captured_activations_and_gradients_against_a_run_by_hand():
    model = network().double().eval()
    x, y = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    seen = M.capture(model, x, lambda out: nn.functional.cross_entropy(out, y))
    h = model[:7](x).detach().requires_grad_()
    nn.functional.cross_entropy(model[7](h), y).backward()
    torch.testing.assert_close(seen["6"].activations, h.detach())
    torch.testing.assert_close(seen["6"].gradient, h.grad)
    batch_normed = model[:2](x).detach()  # the relu behind it is in place and must not reach what was captured
    torch.testing.assert_close(seen["1"].activations, batch_normed.movedim(1, -1).reshape(-1, 4))
    assert set(seen) == {"0", "1", "2", "5", "6", "7"}


def test_channels_of_one_dimensional_convolutions_and_tokens():
    assert M.channel_dim(nn.Conv1d(1, 1, 1), torch.zeros(2, 3, 4)) == 1
    assert M.channel_dim(nn.Linear(1, 1), torch.zeros(2, 3, 4)) == -1
    assert M.channel_dim(nn.ReLU(), torch.zeros(2, 3, 4, 4)) == 1


def train(*, measured):
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(1)
    for _ in range(5):
        x, y = torch.randn(6, 1, 6, 6), torch.randint(0, 3, (6,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if measured:
            found = M.measure(model, x, lambda out, y=y: nn.functional.cross_entropy(out, y))
            assert found["2"].saturated == found["2"].saturated
        optimiser.step()
    return model, torch.get_rng_state()


def test_a_run_with_metrics_is_bit_for_bit_the_run_without():
    plain, random = train(measured=False)
    watched, random_watched = train(measured=True)
    assert torch.equal(random, random_watched)
    for (name, a), b in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert not watched[0]._forward_hooks


def test_without_a_loss_saturation_is_not_a_number():
    assert math.isnan(M.measure(network(), torch.randn(4, 1, 6, 6))["2"].saturated)


def test_saturation_is_one_where_the_head_is_zero():
    model = network()
    nn.init.zeros_(model[7].weight)
    found = M.measure(model, torch.randn(6, 1, 6, 6), lambda out: out.square().mean() + out.mean())
    assert found["6"].saturated == 1.0


class Twice(nn.Module):
    """One activation used twice, a branch without a way back to the inputs, and integer inputs."""

    def __init__(self, *, whole):
        super().__init__()
        self.embedding, self.first, self.act = nn.Embedding(5, 6), nn.Linear(6, 6), nn.Tanh()
        self.cut, self.late, self.whole = nn.ReLU(), nn.Sigmoid(), whole
        self.weight = nn.Parameter(torch.randn(6))

    def forward(self, x):
        h = self.embedding(x) if self.whole else x
        h = self.act(self.first(self.act(h) * 3))
        return self.late(h) + self.cut(self.weight * torch.ones(len(x), 6))


@pytest.mark.parametrize("inputs", [torch.arange(4) % 5, torch.randn(4, 6)])
def test_measuring_in_hooks_is_measuring_what_was_captured(inputs):
    torch.manual_seed(0)
    model = Twice(whole=not inputs.is_floating_point())
    names = ["act", "cut", "late"]
    seen = M.capture(model, inputs, lambda out: out.square().mean(), layers=names)
    expected = {k: M.layer_metrics(c.output, c.output_gradient, c.channel_dim) for k, c in seen.items()}
    assert M.measure(model, inputs, lambda out: out.square().mean(), layers=names) == expected
    found = M.measure(model, inputs, lambda out: out.square().mean())
    assert list(found) == ["act", "act#2", "late"]  # cut depends on no input
    assert (found["act#2"], found["late"]) == (expected["act"], expected["late"])
    assert all(x.saturated == x.saturated for x in found.values())


def test_layers_that_are_overwritten_in_place_are_measured_as_they_were():
    model, x = network(), torch.randn(6, 1, 6, 6)
    seen = M.capture(model, x, lambda out: out.square().mean(), layers=["1", "2"])
    found = M.measure(model, x, lambda out: out.square().mean(), layers=["1", "2"])
    assert found == {k: M.layer_metrics(c.output, c.output_gradient, c.channel_dim) for k, c in seen.items()}


@pytest.mark.parametrize(
    ("shape", "dim"), [((3, 5, 4, 4), 1), ((2, 3, 70, 90), 1), ((7, 5, 300), 1), ((3000, 40), -1), ((6, 50, 30), -1)]
)
def test_moments_of_every_layout(shape, dim):
    h = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    flat = h.movedim(dim, -1).reshape(-1, h.shape[dim]).double()
    m = M.moments(h, dim)
    torch.testing.assert_close(m.gram, flat.T @ flat, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(m.mean, flat.mean(0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(m.mean_abs, flat.abs().mean(0))
    assert sum(piece.shape[1] for piece in M.pieces(h, dim)) == m.samples == len(flat)
    assert m.chain >= 2


@cases
def test_the_error_bound_of_the_effective_rank_covers_float64_and_is_small(seed, samples, units):
    """Against mpmath's singular values of the same floats: also where the matrix has lost rank."""
    import mpmath

    h = activations(seed, min(samples, 8), min(units, 5))
    with mpmath.workdps(60):
        s = [x for x in mpmath.svd_r(mpmath.matrix(h.tolist()), compute_uv=False) if x > mpmath.mpf(10) ** -40]
        total = mpmath.fsum(s)
        exact = float(mpmath.exp(-mpmath.fsum(x / total * mpmath.log(x / total) for x in s)))
    m = M.layer_metrics(torch.tensor(h))
    assert abs(m.effective_rank - exact) <= m.effective_rank_error + 1e-12
    assert m.effective_rank_error < 1e-4


# --- units of any model -----------------------------------------------------------------------------------------------


class Swish(nn.Module):
    """An own activation class."""

    def forward(self, x):
        return x * torch.sigmoid(x)


class Free(nn.Module):
    """Functional relu, one shared module called twice, an own activation, a gate, keywords, Python numbers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 2)
        self.act, self.own = nn.ReLU(), Swish()

    def forward(self, x, *, scale=1.0):
        h = nn.functional.relu(self.a(x)) * scale
        h = self.act(self.c(self.act(self.b(h))))
        h = nn.functional.silu(self.b(h)) * self.c(h)
        h = 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.04 * h**3)))
        return self.out(self.own(self.b(h)))


def test_functional_shared_own_and_gated_activations_are_each_one_layer():
    torch.manual_seed(0)
    model, x = Free(), torch.randn(20, 4)
    with torch.no_grad():
        model.a.bias[:5] = -50.0
    found = M.measure(model, {"x": x, "scale": 2.0}, lambda out: out.square().sum())
    assert list(found) == ["relu", "act", "act#2", "silu", "mul", "mul#2", "own"]
    assert found["relu"].dead == 0.5
    h = torch.relu(model.a(x)) * 2
    first = model.act(model.b(h))
    second = model.act(model.c(first))
    gate = nn.functional.silu(model.b(second)) * model.c(second)
    for name, value in {"act": first, "act#2": second, "mul": gate}.items():
        assert found[name].effective_rank == pytest.approx(M.layer_metrics(value.detach()).effective_rank), name
    assert all(m.saturated == m.saturated for m in found.values())


def test_gradients_of_watched_layers_are_those_of_the_values():
    torch.manual_seed(0)
    model, x = Free().double(), torch.randn(20, 4, dtype=torch.float64)
    found = M.measure(model, x, lambda out: out.square().sum() * 1e-4)
    h = torch.relu(model.a(x))
    first = model.act(model.b(h)).detach().requires_grad_()
    second = model.act(model.c(first))
    gate = nn.functional.silu(model.b(second)) * model.c(second)
    bent = 0.5 * gate * (1 + torch.tanh(0.8 * (gate + 0.04 * gate**3)))
    (model.out(model.own(model.b(bent))).square().sum() * 1e-4).backward()
    assert found["act"] == M.layer_metrics(first.detach(), first.grad)


class Tokens(nn.Module):
    """Integer inputs, learned positions, multi-head attention, an encoder layer of torch's own."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(11, 8), nn.Embedding(7, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        return self.head(self.layer(self.words(ids) + self.positions(torch.arange(ids.shape[1])))[:, 0])


@pytest.mark.parametrize("frozen", [False, True])
def test_tokens_and_frozen_models_have_gradients(frozen):
    torch.manual_seed(0)
    model = Tokens().requires_grad_(not frozen)
    found = M.measure(model, {"ids": torch.randint(0, 11, (3, 7))}, lambda out: out.square().mean())
    assert {name: m.units for name, m in found.items()} == {"layer:relu": 12}
    assert found["layer:relu"].batch == 21
    assert found["layer:relu"].saturated == found["layer:relu"].saturated


def test_activations_of_hugging_face_models_are_seen():
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    bert = transformers.BertForSequenceClassification(transformers.BertConfig(**small, num_attention_heads=2))
    batch = {"input_ids": torch.randint(0, 50, (3, 7)), "labels": torch.tensor([0, 1, 0])}
    found = M.measure(bert.eval(), batch, lambda out: out.loss)
    assert [m.units for m in found.values()] == [24, 24, 16]
    assert next(iter(found)) == "bert.encoder.layer.0.intermediate.intermediate_act_fn"
    assert all(m.saturated == m.saturated for m in found.values())


def test_a_model_without_activations_is_measured_at_its_weighted_sums():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    assert list(M.measure(model, torch.randn(6, 4))) == ["0", "1"]


@pytest.mark.parametrize(
    ("wrong", "trouble"),
    [(math.nan, "6 of 48 activations are"), (math.inf, "6 of 48"), (1e200, "its squares over")],
)
def test_activations_that_are_not_finite_give_metrics_that_are_not_numbers_and_a_warning(wrong, trouble):
    model = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        model[0].bias[3] = wrong
    with pytest.warns(M.NonFiniteActivations, match=f"^layer 1: {trouble}") as caught:
        found = M.measure(model, torch.randn(6, 4).double(), lambda out: out.sum())
    assert (found["1"].units, found["1"].batch) == (8, 6)
    assert all(math.isnan(value) for name, value in found["1"]._asdict().items() if name not in ("units", "batch"))
    assert len(caught) == (1 if wrong > 1e100 else 2)


def test_a_gradient_does_not_make_numbers_of_what_has_none():
    h = torch.full((4, 3), math.nan)
    assert math.isnan(M.layer_metrics(h, torch.zeros(4, 3)).saturated)
    assert M.layer_metrics(torch.ones(4, 3), torch.zeros(4, 3)).saturated == 1


def test_the_thresholds_are_those_of_the_definitions():
    """Dead: |h| < 1e-7; saturated: |g| < 1e-4 mean|h| on more than 99 % of samples; duplicate: cosine > 0.95."""
    h = torch.tensor([[0.99e-7, 1.01e-7, 0.0]], dtype=torch.float64).repeat(100, 1)
    assert M.dead(M.moments(h)).tolist() == [True, False, True]
    g = torch.tensor([0.99e-4, 1.01e-4, 0.0, 0.0], dtype=torch.float64).repeat(100, 1)
    g[0, 2], g[:2, 3] = 1.0, 1.0  # small on exactly 99 %, and on 98 %
    assert M.saturated(torch.ones(100, 4, dtype=torch.float64), g).tolist() == [True, False, False, False]
    assert M.saturated(torch.zeros(100, 1), torch.full((100, 1), 0.9e-16)).tolist() == [True]  # the floor 1e-12
    assert M.saturated(torch.zeros(100, 1), torch.full((100, 1), 1.1e-16)).tolist() == [False]
    for cosine, similar in ((0.951, True), (0.949, False)):
        pair = torch.tensor([[1.0, cosine], [0.0, (1 - cosine**2) ** 0.5]], dtype=torch.float64)
        assert M.duplicates(M.moments(pair))[2] == int(similar)


def test_random_streams_of_python_and_numpy_come_back_and_companions_are_not_fed():
    import random

    from lop_theory.optim.units import find_units
    from lop_theory.optim.watch import Watch

    class Noisy(nn.Module):
        def forward(self, x):
            return x * (1 + random.random() + float(np.random.rand()) + torch.rand(1))

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Noisy(), nn.Linear(8, 2))
    watch = Watch(
        model[3], find_units(model[:2].append(model[3]), torch.randn(5, 4)).units[0].observed, torch.device("cpu")
    )
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    M.measure(model, torch.randn(5, 4), lambda out: out.sum())
    assert (random.random(), np.random.rand()) == expected
    assert watch.count == 0
    model(torch.randn(5, 4))
    assert watch.count == 5
    watch.detach()


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 5), st.floats(0.0, 2.0))
def test_cloning_r2_as_coded_is_the_authors_mean_of_ratios_of_standard_deviations(seed, copies, units, noise):
    """The published script compares the slices ``a[:, j::copies]`` of the wide layer."""
    rng = np.random.default_rng(seed)
    wide = np.repeat(rng.standard_normal((6, units)), copies, 1) + noise * rng.standard_normal((6, units * copies))
    slices = np.stack([wide[:, j::copies] for j in range(copies)])
    ratio = slices.std(0, ddof=1) / (wide.std(1, ddof=1, keepdims=True) + 1e-10)
    blocks = np.arange(units * copies) // copies
    assert M.cloning_r2_as_coded(torch.tensor(wide), blocks) == pytest.approx(1 - ratio.mean(), abs=1e-12)


def test_cloning_r2_as_coded_needs_blocks_of_one_size():
    from lop_theory.errors import InvalidInput

    with pytest.raises(InvalidInput, match="one size"):
        M.cloning_r2_as_coded(torch.zeros(3, 5), [0, 0, 1, 1, 1])
