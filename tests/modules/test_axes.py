"""Width classes against a brute-force oracle: which coordinates may be duplicated without breaking a reshape."""

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.modules.axes import Axes, product_map, sum_map
from lop_theory.modules.conditions import canonical
from lop_theory.modules.redistribute import adjacent, block_means, block_sums, zero_sum_noise

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


def test_noise_needs_inputs_and_outputs():
    kept, summed = ("kept", np.array([0, 0, 1])), ("summed", np.array([0, 1, 1]))
    noise = zero_sum_noise([kept, summed], 0)
    assert bool((noise[:2, 1:] != 0).all())
    assert noise[2, 0] == 0.0  # alone on both sides
    assert not np.array_equal(noise, zero_sum_noise([kept, summed], 1))
    for roles in ([kept], [summed], [("shared", np.arange(2)), summed]):
        assert zero_sum_noise(roles, 0).tolist() == np.zeros([len(index) for _, index in roles]).tolist()


# --- case by case -----------------------------------------------------------------------------------------------------


def grown(axes, axis, *leaves):
    """The surjection with the given leaves doubled."""
    return axes.origin(axis, dict.fromkeys((axes.find(leaf) for leaf in leaves), 2)).tolist()


def test_what_may_be_cloned():
    axes = Axes()
    fixed, free, same = axes.new(3), axes.free(3), axes.constant(3)
    assert [axes.cloned(a) for a in (fixed, free, same)] == [False, True, True]
    assert [axes.size(a) for a in (fixed, free, same)] == [3, 3, 3]
    assert axes.marks(same) == {"constant"}
    assert axes.marks(free) == set()
    axes.rigid(free)
    assert not axes.cloned(free)
    axes.average(same)
    assert axes.averaged == [same]


def test_marks_stay_with_the_leaves():
    axes = Axes()
    whole = axes.free(6)
    axes.mark(whole, "heads")
    first, second = axes.split(whole, [2, 3])
    assert axes.marks(first) == axes.marks(second) == {"heads"}
    axes.mark(whole, "width")
    assert axes.marks(first) == {"heads", "width"}
    left, right = axes.parts(second, [1, 2])
    assert axes.marks(left) == axes.marks(right) == {"heads", "width"}
    other = axes.free(2)
    axes.mark(other, "avoid")
    assert axes.marks(axes.tie(first, other)) == {"heads", "width", "avoid"}
    assert axes.marks(other) == axes.marks(first)


def test_a_constant_that_meets_what_varies_is_none():
    axes = Axes()
    a, b, varying = axes.constant(3), axes.constant(3), axes.free(3)
    assert "constant" in axes.marks(axes.tie(a, b))
    assert "constant" not in axes.marks(axes.tie(a, varying))
    assert "constant" not in axes.marks(b)
    axes = Axes()
    varying, same = axes.free(3), axes.constant(3)
    assert "constant" not in axes.marks(axes.tie(varying, same))
    assert axes.tie(varying, same) == axes.find(same)


def test_constants_in_a_row_are_cloned_alone_or_not_at_all():
    axes = Axes()
    same, more, varying = axes.constant(2), axes.constant(3), axes.free(4)
    assert axes.cloned(axes.concat([same, more]))
    assert axes.cloned(same)
    row = axes.concat([same, varying])
    assert not axes.cloned(same)
    assert axes.cloned(row)
    assert axes.concat([varying]) == varying
    assert axes.size(row) == 6
    assert grown(axes, row, varying) == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    axes = Axes()
    shared, within = axes.constant(2), axes.free(3)
    grid = axes.join([shared, within])
    assert not axes.cloned(shared)  # coordinates that are repeated: heads that share keys
    assert axes.cloned(within)
    assert grown(axes, grid, within) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert not axes.cloned(axes.concat([axes.new(2), axes.new(3)]))
    assert not axes.cloned(axes.join([axes.new(2), axes.new(3)]))


def test_axes_of_one_are_no_part_of_a_grid():
    axes = Axes()
    one, wide = axes.free(1), axes.free(4)
    assert axes.join([one, wide]) == wide
    assert not axes.cloned(one)
    assert axes.cloned(wide)
    empty = axes.join([axes.free(1), axes.free(1)])
    assert (axes.size(empty), axes.cloned(empty)) == (1, False)
    first, second, third = axes.split(wide, [1, 4, 1])
    assert second == wide
    assert axes.size(first) == axes.size(third) == 1
    pair = axes.free(2)
    assert axes.split(pair, [1, 2])[1] == axes.split(pair, [2, 1])[0] == pair
    assert not axes.cloned(first)
    assert not axes.cloned(third)
    a, one, b = axes.split(wide, [2, 1, 2])
    assert [axes.size(x) for x in (a, one, b)] == [2, 1, 2]
    assert [axes.cloned(x) for x in (a, one, b)] == [True, False, True]
    assert grown(axes, wide, a) == [0, 1, 0, 1, 2, 3, 2, 3]
    assert grown(axes, wide, b) == [0, 0, 1, 1, 2, 2, 3, 3]
    alone = axes.free(1)
    assert [axes.size(x) for x in axes.split(alone, [1, 1])] == [1, 1]
    assert not axes.cloned(alone)


def test_a_fixed_axis_has_fixed_pieces():
    axes = Axes()
    fixed = axes.new(6)
    for pieces in (axes.split(fixed, [2, 3]), axes.parts(fixed, [2, 4])):
        assert not any(axes.cloned(piece) for piece in pieces)
    assert [axes.size(piece) for piece in axes.split(fixed, [2, 3])] == [2, 3]
    assert [axes.size(piece) for piece in axes.parts(fixed, [2, 4])] == [2, 4]
    free = axes.free(6)
    pieces = axes.split(free, [2, 3])
    axes.rigid(free)
    assert not any(axes.cloned(piece) for piece in pieces)
    assert axes.parts(free, [6]) == [free]
    assert axes.split(free, [6]) == [free]


def test_a_grid_that_meets_a_row_is_fixed_across_the_rows():
    """Six units as two times three, and as three and three; or as two and four, which no line of the grid is."""
    for sizes, cloned in (([3, 3], True), ([2, 4], False)):
        for first in (True, False):
            axes = Axes()
            grid, row = axes.free(6), axes.free(6)
            outer, inner = axes.split(grid, [2, 3])
            pieces = axes.parts(row, sizes)
            one = axes.tie(grid, row) if first else axes.tie(row, grid)
            assert axes.find(grid) == axes.find(row) == one
            assert not axes.cloned(outer)
            assert axes.cloned(inner) == axes.cloned(row) == axes.cloned(pieces[0]) == cloned
            if cloned:
                assert axes.find(pieces[0]) == axes.find(pieces[1]) == axes.find(inner)
                doubled = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
                assert grown(axes, row, inner) == grown(axes, grid, inner) == doubled


def test_a_leaf_takes_the_parts_of_what_it_is_tied_to():
    for first in (True, False):
        axes = Axes()
        leaf, whole = axes.free(6), axes.free(6)
        axes.mark(leaf, "heads")
        axes.mark(whole, "width")
        a, b = axes.split(whole, [2, 3])
        axes.tie(leaf, whole) if first else axes.tie(whole, leaf)
        assert axes.leaves(leaf) == axes.leaves(whole)
        assert len(axes.leaves(leaf)) == 2
        assert axes.marks(a) == axes.marks(b) == {"heads", "width"}
        assert grown(axes, leaf, b) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert grown(axes, leaf, a) == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]


def test_rows_of_unequal_parts_are_no_grid_and_all_equal_ones_are_tied():
    axes = Axes()
    row = axes.concat([axes.free(2), axes.free(4)])
    assert [axes.size(piece) for piece in axes.split(row, [2, 3])] == [2, 3]
    assert not axes.cloned(row)
    parts = [axes.free(2) for _ in range(3)]
    outer, inner = axes.split(axes.concat(parts), [3, 2])
    assert len({axes.find(part) for part in (*parts, inner)}) == 1
    assert not axes.cloned(outer)
    assert axes.tie(inner, inner) == axes.find(inner)
    assert axes.cloned(inner)


def test_equal_parts_in_a_row_are_a_grid_of_tied_ones():
    axes = Axes()
    first, second = axes.free(3), axes.free(3)
    row = axes.concat([first, second])
    outer, inner = axes.split(row, [2, 3])
    assert axes.find(first) == axes.find(second) == axes.find(inner)
    assert axes.size(outer) == 2
    assert not axes.cloned(outer)
    assert grown(axes, row, inner) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    outer, a, b = axes.split(axes.concat([axes.free(4), axes.free(4)]), [2, 2, 2])
    assert [axes.cloned(x) for x in (outer, a, b)] == [False, True, True]
    for sizes in ([3, 3], [2, 4]):
        row = axes.concat([axes.free(n) for n in sizes])
        pieces = axes.split(row, [3, 2])  # parts of other sizes or another number share no grid
        assert not axes.cloned(row)
        assert not any(axes.cloned(piece) for piece in pieces)


GRIDS = [[2, 2, 3, 2], [3, 2, 2, 2], [4, 6], [6, 4], [4, 3, 2], [2, 12], [24]]


@given(st.sampled_from(GRIDS), st.sampled_from([*GRIDS, [2, 2, 6], [12, 2], [3, 8]]), st.data())
def test_a_grid_is_regrouped_where_its_lines_allow_it(shape, sizes, data):
    """Coordinates of the regrouped axes are those of the grid, or nothing may be cloned."""
    axes = Axes()
    whole = axes.free(24)
    parts = axes.split(whole, shape)
    groups = axes.split(whole, sizes)
    assert [axes.size(group) for group in groups] == sizes
    cuts = sorted({prod(grid[:k]) for grid in (shape, sizes) for k in range(1, len(grid) + 1)})
    assert axes.cloned(whole) == all(b % a == 0 for a, b in pairwise(cuts))  # every line ends where one of both does
    if not axes.cloned(whole):
        assert not any(axes.cloned(part) for part in (*parts, *groups))
        return
    leaves = axes.leaves(whole)
    chosen = {leaf: data.draw(factors) for leaf in leaves}
    assert axes.origin(whole, chosen).tolist() == product_map([axes.origin(g, chosen) for g in groups], sizes).tolist()
    assert axes.origin(whole, chosen).tolist() == product_map([axes.origin(p, chosen) for p in parts], shape).tolist()


def test_a_row_is_cut_anew_through_its_parts():
    axes = Axes()
    first, second = axes.free(3), axes.free(4)
    row = axes.concat([first, second])
    left, middle, right = axes.parts(row, [2, 3, 2])
    assert [axes.size(x) for x in (left, middle, right)] == [2, 3, 2]
    assert len(axes.leaves(row)) == 4
    assert grown(axes, row, left) == [0, 0, 1, 1, 2, 3, 4, 5, 6]
    assert grown(axes, middle, *axes.leaves(middle)[:1]) == [0, 0, 1, 2]
    assert [axes.size(x) for x in axes.parts(row, [0, 7])] == [0, 7]


def test_a_grid_is_cut_between_its_lines():
    axes = Axes()
    outer, inner = axes.free(4), axes.free(3)
    grid = axes.join([outer, inner])
    first, second = axes.parts(grid, [3, 9])
    assert (axes.size(first), axes.size(second)) == (3, 9)
    assert not axes.cloned(outer)
    assert axes.cloned(inner)
    assert grown(axes, second, inner) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
    assert grown(axes, first, inner) == [0, 0, 1, 1, 2, 2]
    grid = axes.join([axes.free(4), axes.free(3)])
    pieces = axes.parts(grid, [4, 8])
    assert not axes.cloned(grid)
    assert not any(axes.cloned(piece) for piece in pieces)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.data())
def test_tied_axes_are_one(pairs, data):
    axes = Axes()
    made = [axes.free(4) for _ in range(6)]
    parent = list(range(6))

    def root(k):
        return k if parent[k] == k else root(parent[k])

    for k in pairs:
        other = data.draw(st.integers(0, 5))
        axes.tie(made[k], made[other])
        parent[root(k)] = root(other)
    for i in range(6):
        for j in range(6):
            assert (axes.find(made[i]) == axes.find(made[j])) == (root(i) == root(j))
    axes.rigid(made[pairs[0]])
    assert [axes.cloned(a) for a in made] == [root(k) != root(pairs[0]) for k in range(6)]


@pytest.mark.parametrize(
    ("index", "clones"),
    [
        ([0, 0, 1, 1, 2, 2], 2), ([0, 0, 0, 0], 4), ([0, 1, 2], 1), ([0], 1), ([], 0),
        ([0, 1, 0, 1], 0), ([0, 0, 1], 0), ([1, 1, 0, 0], 0), ([0, 1, 1, 2], 0),
    ],
)  # fmt: skip
def test_equal_blocks_side_by_side_have_so_many_clones(index, clones):
    assert adjacent(np.array(index, dtype=np.int64)) == clones
