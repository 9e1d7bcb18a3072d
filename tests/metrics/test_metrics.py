"""Metrics of activations against straightforward NumPy oracles."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import example, given  # noqa: E402
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


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((3, 5, 4, 4), 1), ((2, 3, 70, 90), 1), ((7, 5, 300), 1), ((3000, 40), -1), ((5000, 3), -1), ((6, 50, 30), -1)],
)
def test_moments_of_every_layout(shape, dim):
    h = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    flat = h.movedim(dim, -1).reshape(-1, h.shape[dim]).double()
    m = M.moments(h, dim)
    torch.testing.assert_close(m.gram, flat.T @ flat, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(m.mean, flat.mean(0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(m.mean_abs, flat.abs().mean(0))
    lengths = [piece.shape[1] for piece in M.pieces(h, dim)]
    assert sum(lengths) == m.samples == len(flat)
    assert m.chain == len(lengths) + max(lengths)  # as many sums are added one after the other: the last piece is short


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

    for blocks in ([0, 0, 1, 1, 1], [0, 1, 2, 3, 4]):
        with pytest.raises(InvalidInput, match="one size"):
            M.cloning_r2_as_coded(torch.zeros(3, 5), blocks)


@example([1.0, 2.0, 4.0], 0.0)
@example([1.0, 2.0, 4.0], 0.1)
@example([1.0, 2.0, 4.0], 1e3)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), st.sampled_from([0.0, 1e-16, 1e-10, 1e-4, 1.0, 1e9]))
def test_the_error_bound_of_the_effective_rank_is_that_of_fannes_and_audenaert(values, error):
    """T = Σ min(√error, error/σ)/Σσ; T log n + H₂(T) of the entropy; n where T ≥ 1/2."""
    sigma, n = np.array(values), len(values)
    p = sigma / sigma.sum()
    variation = sum(min(math.sqrt(error), error / s) for s in values) / sigma.sum()
    rank, bound = M.effective_rank(torch.tensor(sigma), error)
    assert rank == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    if variation in (0, 1) or variation >= 0.5:
        assert bound == (0 if variation == 0 else n)
    else:
        two = -variation * math.log(variation) - (1 - variation) * math.log(1 - variation)
        assert bound == pytest.approx(min(n, rank * (math.exp(variation * math.log(n) + two) - 1)), rel=1e-6)


def test_ranks_of_no_values_and_of_zeros_are_zero():
    for values in (torch.zeros(0), torch.zeros(3)):
        assert M.effective_rank(values, 1.0) == (0.0, 0.0)
        assert M.stable_rank(values) == 0
    assert M.stable_rank(torch.tensor([0.5, 0.25])) == 1.25
    assert M.effective_rank(torch.tensor([2.0, 2.0, 0.0]))[0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("shape", "dim", "pieces"),
    [
        ((70_000, 3), 1, [70_000]),
        ((5, 3, 7, 7), 1, [245]),
        ((5, 3, 7), -1, [15]),
    ],
)
def test_on_an_accelerator_a_layer_is_one_piece(shape, dim, pieces):
    """On the meta device, which has shapes alone."""
    found = list(M.pieces(torch.empty(shape, device="meta"), dim))
    assert [piece.shape[1] for piece in found] == pieces


@pytest.mark.parametrize(
    ("shape", "dim", "longest"),
    [((9000, 3), 1, 4096), ((9000, 100), 1, 2**17 // 100), ((3000, 500), 1, 1024), ((40, 3, 32, 32), 1, 4096)],
)
def test_pieces_fit_the_cache_and_are_in_order(shape, dim, longest):
    h = torch.arange(float(np.prod(shape))).view(shape)
    found = list(M.pieces(h, dim))
    assert max(piece.shape[1] for piece in found) == longest
    assert torch.equal(torch.cat(found, 1), h.movedim(dim, 0).reshape(shape[dim], -1))


def test_units_are_the_last_dimension_unless_it_is_said():
    h, g = (torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (0, 1))
    flat, gradient = h.reshape(15, 4), g.reshape(15, 4)
    assert torch.equal(M.units.flatten_units(h), flat)
    assert torch.equal(torch.cat(list(M.pieces(h)), 1), flat.T)
    for a, b in zip(M.moments(h), M.moments(flat), strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b))
    for a, b in zip(M.units.column_sums(h), M.units.column_sums(flat), strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b))
    small = g * torch.tensor([1.0, 1e-6, 1e-6, 1.0])
    assert M.saturated(h, small).tolist() == [False, True, True, False]
    assert M.units.small_gradients(small, torch.ones(4)).tolist()[1:3] == [15, 15]
    assert M.layer_metrics(h, g) == M.layer_metrics(flat, gradient)
    assert M.layer_metrics(h).dormant == 0 == int(M.dormant(M.moments(h)).sum())  # by the threshold 0


@pytest.mark.parametrize(("diagonal", "chain"), [([1.0, 2.0, 3.0], 5), ([4.0], 1), ([2.0, 0.0, 1.0], 100), ([0.0], 3)])
def test_the_bound_of_a_spectrum_is_that_of_its_docstring(diagonal, chain):
    """2u(k tr G + n ‖G‖), u = 2⁻⁵³, over the units that are not zero; of none it is 0."""
    found = M.units.spectrum_of(torch.diag(torch.tensor(diagonal, dtype=torch.float64)), chain)
    alive = [d for d in diagonal if d > 0]
    assert found.values.square().tolist() == pytest.approx(sorted(alive))
    assert found.error == pytest.approx(2 * 2.0**-53 * (chain * sum(alive) + len(alive) * max(alive, default=0)))


def test_a_spectrum_is_taken_from_the_smaller_side():
    """Of 3 samples of 40 units, 3 singular values, with chains as long as a row."""
    h = torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = M.units.spectrum(h)
    assert found.values.tolist() == pytest.approx(sorted(oracle_singular(h.numpy())))
    squares = found.values.square()
    assert found.error == pytest.approx(2 * 2.0**-53 * (40 * float(squares.sum()) + 3 * float(squares.max())))
    assert M.units.singular_values(h.T).tolist() == pytest.approx(found.values.tolist())
    m = M.moments(h.T)
    assert M.units.spectrum(h.T, m).error == pytest.approx(
        2 * 2.0**-53 * (m.chain * float(squares.sum()) + 3 * float(squares.max()))
    )
