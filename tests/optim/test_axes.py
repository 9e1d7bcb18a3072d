"""Owners of places after slices, selections, new dimensions, concatenations and views, against the values themselves:
every place of a tensor holds its owner, the operator moves the values, and the axis must say what they are now."""

import numpy as np
import pytest

pytest.importorskip("torch")
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.optim.axis import OTHER, Axis, cut, joined, of_array, reshaped, with_new, without


@st.composite
def owned(draw, least=2):
    """Sizes of a value, and an axis of it along one or two dimensions, with places that are nobody's."""
    sizes = draw(st.lists(st.sampled_from([2, 3, 4]), min_size=least, max_size=4))
    count = draw(st.integers(1, 2))
    dims = tuple(sorted(draw(st.permutations(range(len(sizes))))[:count]))
    shape = [sizes[d] for d in dims]
    owners = draw(st.permutations(range(OTHER, int(np.prod(shape)) - 1)))
    return sizes, Axis(dims, np.array(owners).reshape(shape))


def written(axis, sizes):
    """The owner of every place."""
    return axis.over(sizes, range(len(sizes)))


def agrees(axis, values):
    return axis is not None and np.array_equal(written(axis, values.shape), values)


@given(owned(), st.data())
def test_a_slice_cuts_owners_as_it_cuts_values(case, data):
    sizes, axis = case
    dim = data.draw(st.integers(0, len(sizes) - 1))
    start, stop = sorted(data.draw(st.lists(st.integers(0, sizes[dim]), min_size=2, max_size=2, unique=True)))
    places = slice(start, stop, data.draw(st.sampled_from([1, 2])))
    values = written(axis, sizes)[(slice(None),) * dim + (places,)]
    found = cut(axis, dim, places)
    assert agrees(found, values) or (found is None and (values == OTHER).all())


@given(owned(), st.data())
def test_a_selection_takes_the_owners_of_one_place(case, data):
    sizes, axis = case
    dim = data.draw(st.integers(0, len(sizes) - 1))
    place = data.draw(st.integers(-sizes[dim], sizes[dim] - 1))
    values = written(axis, sizes).take(place, dim)
    found = cut(axis, dim, place)
    alone = axis.dims == (dim,)  # a single unit is left, along no dimension
    assert found is None if alone else agrees(found, values) or (found is None and (values == OTHER).all())


@given(owned(), st.integers(0, 2))
def test_a_new_dimension_moves_those_behind_it(case, dim):
    sizes, axis = case
    values = np.expand_dims(written(axis, sizes), dim)
    assert agrees(with_new(axis, dim), values)
    assert agrees(without(with_new(axis, dim), [dim]), written(axis, sizes))
    assert without(axis, axis.dims) is None


@given(owned(), st.data())
def test_a_concatenation_joins_the_owners_of_its_parts(case, data):
    sizes, axis = case
    dim = data.draw(st.integers(0, len(sizes) - 1))
    other = [2 if d == dim else size for d, size in enumerate(sizes)]
    whole = np.concatenate([np.full(other, OTHER), written(axis, sizes), written(axis, sizes)], dim)
    found = joined([2, axis, axis], dim, [other, sizes, sizes])
    if dim in axis.dims:
        assert agrees(found, whole)
        moved = Axis(axis.dims, np.where(axis.owners == OTHER, OTHER, axis.owners + 100))
        both = np.concatenate([written(axis, sizes), written(moved, sizes)], dim)
        assert agrees(joined([axis, moved], dim, [sizes, sizes]), both)
    else:
        assert found is None  # places of one unit would be another's, or nobody's, further along
        assert joined([axis, axis], dim, [sizes, sizes]) is axis
        assert joined([axis, Axis(axis.dims, axis.owners + 1)], dim, [sizes, sizes]) is None


@given(owned(least=1), st.data())
def test_a_view_keeps_owners_in_the_order_of_memory(case, data):
    sizes, axis = case
    total = int(np.prod(sizes))
    first = data.draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
    new = data.draw(st.sampled_from([[total], [first, total // first], [1, first, 1, total // first]]))
    assert agrees(reshaped(axis, sizes, new), written(axis, sizes).reshape(new))


@given(owned())
def test_dimensions_on_which_owners_do_not_depend_are_left_out(case):
    sizes, axis = case
    values = written(axis, sizes)
    found = of_array(values, range(len(sizes)))
    assert agrees(found, values)
    for place in range(len(found.dims)):
        assert (found.owners != found.owners.take([0], place)).any()
    assert found.same(Axis(found.dims, found.owners.copy()))
    assert not found.same(Axis(found.dims, found.owners + 1))
    assert not found.same(with_new(found, 0))
