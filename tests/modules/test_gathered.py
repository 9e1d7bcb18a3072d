"""What is gathered of a layer, and which units it tells to be equal, twins or alike: against sums over the data."""

import math
from statistics import NormalDist

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules.gathered import Gathered, least_correlation, likeness  # noqa: E402
from lop_theory.modules.likeness import (  # noqa: E402
    alike_blocks,
    constant,
    equal_blocks,
    groups,
    leaders,
    led,
    one_nonzero_value,
    twin_blocks,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gathered(*batches, dim=1, alike=None):
    found = Gathered(alike)
    for batch in batches:
        found.add(batch, dim)
    return found


def every(values):
    return torch.ones(values.shape[1], dtype=torch.bool)


def flat(values, dim):
    return values.movedim(dim, -1).reshape(-1, values.shape[dim])


@pytest.mark.parametrize(
    ("shape", "dim"), [((30, 4), 1), ((30, 4), -1), ((5, 4, 3, 2), 1), ((5, 3, 4), -1), ((4, 9), 0)]
)
@pytest.mark.parametrize("alike", [None, 0.5])
def test_sums_extremes_and_products_are_those_of_all_samples(shape, dim, alike):
    values = drawn(*shape)
    found, rows = gathered(values, dim=dim, alike=alike), flat(values, dim)
    sums = found.summed()
    assert sums.samples == len(rows)
    torch.testing.assert_close(sums.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sums.mean_abs, rows.abs().mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sums.squares, rows.square().sum(0), rtol=1e-12, atol=1e-12)
    assert torch.equal(found.extremes.low, rows.amin(0))
    assert torch.equal(found.extremes.high, rows.amax(0))
    places, m = found.related()
    torch.testing.assert_close(m.gram, (rows.T @ rows)[places][:, places], rtol=1e-12, atol=1e-12)
    assert found.eps == torch.finfo(torch.float64).eps


def test_padding_is_left_out_and_an_empty_batch_is_none():
    values, keep = drawn(5, 3, 4), torch.tensor([True, False, True] * 5)
    found = Gathered()
    found.add(values, -1, keep)
    rows = flat(values, -1)[keep]
    assert found.summed().samples == 10
    assert torch.equal(found.extremes.high, rows.amax(0))
    found.add(values, -1, torch.zeros(15, dtype=torch.bool))
    assert found.summed().samples == 10
    empty = Gathered()
    empty.add(values[:0], -1)
    assert empty.columns is None


def test_batches_merge_into_one():
    values = drawn(40, 4)
    values[:, 3] = values[:, 3].clamp_min(0)
    whole, parts = gathered(values), gathered(values[:7], values[7:8], values[8:])
    for a, b in zip(whole.summed()[1:], parts.summed()[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert parts.summed().samples == 40
    assert torch.equal(whole.extremes.low, parts.extremes.low)
    assert torch.equal(whole.extremes.high, parts.extremes.high)
    torch.testing.assert_close(whole.sketch.units, parts.sketch.units, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(whole.sketch.ones, parts.sketch.ones, rtol=1e-10, atol=1e-10)


def test_three_batches_by_hand():
    """Two units; extremes, means and squares of six samples, slopes below 1/2."""
    found = Gathered()
    batches = [[[2.0, -1.0], [3.0, 4.0]], [[1.0, 0.0], [6.0, 2.0]], [[2.0, 2.0], [4.0, -5.0]]]
    for batch in batches:
        found.add(torch.tensor(batch, dtype=torch.float64), -1)
        found.add_slopes(torch.tensor(batch, dtype=torch.float64) / 4, -1, 0.5)
    assert found.extremes.low.tolist() == [1.0, -5.0]
    assert found.extremes.high.tolist() == [6.0, 4.0]
    assert found.slopes.largest.tolist() == [1.5, 1.25]
    assert found.slopes.small.tolist() == [1, 2]  # |s| < 1/2: of 2, 3, 1, 6, 2, 4 and −1, 4, 0, 2, 2, −5 quarters
    sums = found.summed()
    assert sums.samples == 6
    assert sums.mean.tolist() == pytest.approx([3.0, 1 / 3])
    assert found.related()[1].gram.tolist() == [[70.0, 6.0], [6.0, 50.0]]


def test_more_batches_than_were_promised_are_refused():
    with pytest.raises(InvalidInput, match="more batches"):
        gathered(drawn(8, 3), drawn(8, 3), alike=0.9)


def test_precision_is_that_of_the_coarsest_batch():
    assert gathered(drawn(8, 3), drawn(8, 3).float()).eps == torch.finfo(torch.float32).eps
    assert gathered(drawn(8, 3).float(), drawn(8, 3)).eps == torch.finfo(torch.float32).eps


def test_slopes_keep_the_largest_and_count_the_small():
    found = Gathered()
    slopes = torch.tensor([[0.0, 0.5], [-2.0, 1e-5], [0.05, 0.125]])
    found.add_slopes(slopes, 1, 0.125)  # below it, not at it
    assert found.slopes.largest.tolist() == [2.0, 0.5]
    assert found.slopes.small.tolist() == [2, 1]
    found.add_slopes(slopes + 3, 1, 0.1, torch.tensor([False, True, False]))
    assert found.slopes.largest.tolist() == [2.0, pytest.approx(3.00001)]
    assert found.slopes.small.tolist() == [2, 1]
    found.add_slopes(slopes, 1, 0.1, torch.zeros(3, dtype=torch.bool))
    assert found.slopes.small.tolist() == [2, 1]


@given(st.integers(2, 60), st.integers(0, 300), st.floats(0.0, 0.999))
def test_the_correlation_that_is_beyond_chance(units, samples, threshold):
    """atanh r ≥ atanh ρ + q/√(n − 3), q the quantile that .01 of all pairs of independent units exceed."""
    found = least_correlation(units, samples, threshold)
    if samples <= 3:
        assert found is None
        return
    q = NormalDist().inv_cdf(1 - min(0.5, 0.01 / (units * (units - 1) / 2)))
    expected = np.arctanh(threshold) + q / math.sqrt(samples - 3)
    assert found == pytest.approx(min(np.tanh(expected), 1 - 1e-12), rel=1e-9)


@pytest.mark.parametrize(("units", "rho"), [(2, 0.0), (2, 0.5), (12, 0.0)])
def test_one_time_in_a_hundred_chance_alone_goes_beyond_it(units, rho):
    """Counted: pairs of normal variables whose correlation is the threshold, fifty samples of each."""
    rng, times = np.random.default_rng(0), 20_000 if units == 2 else 4000
    common = rng.standard_normal((times, 1, 50))
    drawn = rho**0.5 * common + (1 - rho) ** 0.5 * rng.standard_normal((times, units, 50))
    drawn -= drawn.mean(2, keepdims=True)
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    above = np.triu(drawn @ drawn.transpose(0, 2, 1) > least_correlation(units, 50, rho), 1)
    assert 0.008 < above.sum() / times < 0.014


def test_one_unit_and_a_threshold_of_one():
    assert least_correlation(1, 100, 0.5) == pytest.approx(
        np.tanh(np.arctanh(0.5) + NormalDist().inv_cdf(0.99) / 97**0.5)
    )
    assert least_correlation(5, 100, 1.0) == 1 - 1e-12


def test_distances_from_the_sketch_are_about_those_of_the_data():
    """A chi-square variable with 16 degrees of freedom over 16: between .1 and 4 on every pair here."""
    values = drawn(500, 6) + torch.arange(6)
    like = likeness(gathered(values))
    for i in range(6):
        size = float(values[:, i].square().mean().sqrt())
        spread = float((values[:, i] - values[:, i].mean()).square().mean().sqrt())
        assert 0.3 < float(like.size[i]) / size < 2
        assert 0.3 < float(like.spread[i]) / spread < 2
        for j in range(6):
            apart = float((values[:, i] - values[:, j]).square().mean().sqrt())
            assert 0.3 * apart <= float(like.distance(i, torch.tensor([j]))) <= 2 * apart
    assert like.distance(2, torch.tensor([2, 3])).shape == (2,)
    mean = np.mean([float(likeness(gathered(drawn(200, 4, seed=s))).size.square().mean()) for s in range(40)])
    assert mean == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_equal_units_by_how_much_they_vary(scale):
    values = drawn(200, 6)
    values[:, 1] = values[:, 0] + 1e-7 * drawn(200, seed=1)
    values[:, 3] = values[:, 2] + 1e-4 * drawn(200, seed=2)
    values[:, 5] = values[:, 4]
    values = scale * values
    found = gathered(values)
    assert equal_blocks(found, 1e-6, every(values)) == (0, 0, 1, 2, 3, 3)
    assert equal_blocks(found, 1e-3, every(values)) == (0, 0, 1, 1, 2, 2)
    assert equal_blocks(found, 0.0, every(values)) == (0, 1, 2, 3, 4, 4)
    able = every(values)
    able[4] = False
    assert equal_blocks(found, 1e-3, able) == (0, 0, 1, 1, 2, 3)


def test_a_large_mean_hides_rounding_but_no_difference():
    values = drawn(200, 3)
    values[:, 1] = values[:, 0] + 1e-9
    values[:, 2] = values[:, 0] + 0.01
    found = gathered(values + 1e6)
    assert equal_blocks(found, 1e-6, every(values)) == (0, 0, 1)


def test_twins_are_signed_multiples():
    values = drawn(100, 6)
    values[:, 1], values[:, 3], values[:, 4] = 2.5 * values[:, 0], -0.1 * values[:, 0], values[:, 2] * 1.001 + 1e-3
    blocks, size = twin_blocks(gathered(values), 1e-6, every(values))
    assert blocks == (0, 0, 1, 0, 2, 3)
    assert float(size[1] / size[0]) == pytest.approx(2.5, rel=1e-9)
    assert float(size[3] / size[0]) == pytest.approx(-0.1, rel=1e-9)
    zero = torch.zeros(20, 2, dtype=torch.float64)
    _, size = twin_blocks(gathered(zero), 1e-6, every(zero))
    assert (size > 0).all()


def test_units_of_one_value():
    values = drawn(50, 5)
    values[:, 0], values[:, 1], values[:, 2] = 0.0, -3.0, 5.0
    values[7, 2] += 1e-7
    assert constant(gathered(values), 0.0).tolist() == [True, True, False, False, False]
    assert constant(gathered(values), 1e-6).tolist() == [True, True, True, False, False]
    wide = torch.tensor([[1.0, -1.0, 1.0], [1.8, -1.8, 2.1]], dtype=torch.float64)
    assert constant(gathered(wide), 0.5).tolist() == [True, True, False]
    for scale in (1e-9, 1e9):  # relative to the largest value
        assert constant(gathered(scale * values), 1e-6).tolist() == [True, True, True, False, False]
    values[:, 3] = torch.tensor([-1.0, 1.0]).repeat(25)
    assert not constant(gathered(values), 1e-6)[3]
    assert constant(gathered(values.float()), 0.0).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]  # 8 roundings of float32


def test_units_with_one_nonzero_value_by_cauchy():
    values = torch.zeros(40, 4, dtype=torch.float64)
    values[:3, 0], values[:, 1] = 2.0, 1.5
    values[:4, 2] = torch.tensor([1.0, 1.0, 1.0, 1.001])
    values[:2, 3] = torch.tensor([1.0, -1.0])
    assert one_nonzero_value(gathered(values).summed()).tolist() == [True, True, False, False]


@pytest.mark.parametrize("alike", [None, 0.9])
def test_alike_units_need_a_cosine_and_a_correlation_beyond_chance(alike):
    values = drawn(300, 8)
    values[:, 1] = values[:, 0] + 0.1 * values[:, 7]
    values[:, 3] = 3 * values[:, 2] + 0.2 * values[:, 7]
    values[:, 4:6] += 30  # cosines near 1, no correlation
    values[:, 6] = values[:, 1] + 0.01 * values[:, 2]
    found = gathered(values, alike=alike)
    assert alike_blocks(found, 0.9, every(values)) == (0, 0, 1, 1, 2, 3, 0, 4)
    able = every(values)
    able[0] = False
    assert alike_blocks(found, 0.9, able) == (0, 1, 2, 2, 3, 4, 1, 5)
    for n in (4, 5, 6, 9):  # few samples tell little of 28 pairs
        rows = values[:n].numpy()
        cosine = rows.T @ rows / np.outer(*2 * [np.linalg.norm(rows, axis=0)])
        beyond = np.corrcoef(rows.T) > least_correlation(8, n, 0.9)
        expected = led((cosine > 0.9) & beyond)
        assert alike_blocks(gathered(values[:n], alike=alike), 0.9, every(values)) == expected
    assert alike_blocks(gathered(values[:3], alike=alike), 0.9, every(values)) == tuple(range(8))
    opposite = torch.stack([values[:, 0], -values[:, 0]], 1)
    assert alike_blocks(gathered(opposite, alike=alike), 0.9, every(opposite)) == (0, 1)


def test_products_are_kept_of_what_may_be_alike_alone():
    values = drawn(400, 50)
    values[:, 31] = values[:, 30] + 0.05 * values[:, 0]
    found = gathered(values, alike=0.9)
    places, m = found.related()
    assert places.tolist() == [30, 31]
    assert m.gram.shape == (2, 2)
    expected = values[:, [31, 30]].T @ values[:, [31, 30]]
    torch.testing.assert_close(found.gram(torch.tensor([31, 30])), expected, rtol=1e-12, atol=1e-12)
    infinite = values.clone()
    infinite[0, 0] = float("inf")
    assert gathered(infinite, alike=0.9).related()[0].tolist() == []
    assert gathered(values[:3], alike=0.9).related()[0].tolist() == []


@settings(max_examples=50)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_every_unit_joins_the_first_leader_that_it_resembles(n, seed):
    similar = np.random.default_rng(seed).random((n, n)) < 0.4
    similar = similar | similar.T | np.eye(n, dtype=bool)
    chosen: list[int] = []
    expected = []
    for unit in range(n):
        first = next((k for k in chosen if similar[k, unit]), None)
        if first is None:
            chosen.append(unit)
        expected.append(unit if first is None else first)
    assert leaders(similar).tolist() == expected
    names = list(dict.fromkeys(expected))
    assert led(similar) == tuple(names.index(k) for k in expected)


def test_blocks_of_at_least_two():
    assert groups((0, 1, 0, 2, 1, 0)) == [(0, 2, 5), (1, 4)]
    assert groups((0, 1, 2)) == groups(()) == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_many_small_batches_are_not_lost_beside_a_large_one(sign):
    """Each square alone is below the rounding of the sum before it."""
    gathered = Gathered()
    gathered.add(torch.tensor([[1e8, 1e8]], dtype=torch.float64), 1)
    for _ in range(100):
        gathered.add(torch.tensor([[0.5, sign]], dtype=torch.float64), 1)
    assert gathered.related()[1].gram.tolist() == [[1e16 + 24, 1e16 + sign * 50], [1e16 + sign * 50, 1e16 + 100]]
