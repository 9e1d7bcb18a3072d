"""Width classes against a brute-force oracle: which coordinates may be duplicated without breaking a reshape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.modules.axes import Axes, product_map, sum_map
from lop_theory.modules.conditions import canonical
from lop_theory.modules.redistribute import block_means, block_sums, zero_sum_noise

sizes = st.integers(1, 4)
factors = st.integers(1, 3)


@given(st.lists(sizes, min_size=1, max_size=3), st.data())
def test_product_map_is_the_flattened_grid(shape, data):
    maps = [np.repeat(np.arange(n), data.draw(factors)) for n in shape]
    grid = np.arange(np.prod(shape)).reshape(shape)
    for dim, index in enumerate(maps):
        grid = np.take(grid, index, axis=dim)
    np.testing.assert_array_equal(product_map(maps, shape), grid.ravel())


@given(st.lists(sizes, min_size=1, max_size=4), st.data())
def test_sum_map_is_the_concatenation(shape, data):
    maps = [np.repeat(np.arange(n), data.draw(factors)) for n in shape]
    blocks = np.split(np.arange(sum(shape)), np.cumsum(shape)[:-1])
    expected = np.concatenate([block[index] for block, index in zip(blocks, maps, strict=True)])
    np.testing.assert_array_equal(sum_map(maps, shape), expected)


@given(st.permutations([2, 3, 4]), st.integers(0, 2), factors)
def test_splitting_after_tying_widens_the_same_coordinates(shape, chosen, factor):
    """Two tied axes, one split as a grid, the other in two steps: both see the same surjection."""
    axes = Axes()
    a, b = axes.free(24), axes.free(24)
    first = axes.split(a, shape)
    outer, inner = axes.split(b, [shape[0], shape[1] * shape[2]])
    second = [outer, *axes.split(inner, shape[1:])]
    axes.tie(a, b)
    multiplicities = {axes.find(first[chosen]): factor}
    np.testing.assert_array_equal(axes.origin(a, multiplicities), axes.origin(b, multiplicities))
    np.testing.assert_array_equal(
        axes.origin(second[chosen], multiplicities), axes.origin(first[chosen], multiplicities)
    )
    assert len(axes.origin(a, multiplicities)) == 24 * factor


@given(st.integers(1, 5), st.integers(1, 5), factors)
def test_slices_of_a_tied_axis_meet_in_the_common_refinement(left, right, factor):
    axes = Axes()
    n = left + right
    a, b = axes.free(n), axes.free(n)
    axes.parts(a, [left, right])
    other = axes.parts(b, [right, left])
    axes.tie(a, b)
    multiplicities = {leaf: factor for leaf in axes.leaves(other[0])}
    np.testing.assert_array_equal(axes.origin(a, multiplicities), axes.origin(b, multiplicities))
    assert len(axes.origin(a, multiplicities)) == n + right * (factor - 1)


def test_views_that_share_no_grid_cannot_be_cloned():
    axes = Axes()
    a = axes.free(6)
    axes.split(a, [2, 3])
    axes.split(a, [3, 2])
    assert not axes.cloned(a)


def test_rigid_axes_make_what_is_tied_to_them_rigid():
    axes = Axes()
    a, b, c = axes.free(6), axes.new(6), axes.free(6)
    axes.split(a, [2, 3])
    axes.tie(c, a)
    axes.tie(a, b)
    assert not axes.cloned(c)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_canonical_numbers_blocks_by_first_appearance(labels):
    index = canonical(np.array(labels))
    seen = list(dict.fromkeys(labels))
    assert index.tolist() == [seen.index(label) for label in labels]


@given(st.lists(st.integers(0, 2), min_size=2, max_size=6), st.integers(0, 10**6))
def test_block_sums_and_means_against_loops(labels, seed):
    index = canonical(np.array(labels))
    values = np.random.default_rng(seed).standard_normal((3, len(index), 2))
    sums = np.stack([values[:, index == k].sum(1) for k in range(index.max() + 1)], axis=1)
    np.testing.assert_allclose(block_sums(values, index, 1), sums, atol=1e-12)
    means = np.stack([values[:, index == k].mean(1) for k in index], axis=1)
    np.testing.assert_allclose(block_means(values, index, 1), means, atol=1e-12)


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=6), factors
)
def test_redistribution_vanishes_in_all_block_sums(rows, columns, groups):
    roles = [
        ("shared", np.zeros(groups, dtype=np.int64)),
        ("kept", canonical(np.array(rows))),
        ("summed", canonical(np.array(columns))),
    ]
    noise = zero_sum_noise(roles, 0)
    assert noise.shape == (groups, len(rows), len(columns))
    np.testing.assert_allclose(block_sums(noise, roles[1][1], 1), 0, atol=1e-12)
    np.testing.assert_allclose(block_sums(noise, roles[2][1], 2), 0, atol=1e-12)
    np.testing.assert_allclose(noise, noise[:1].repeat(groups, 0))
