"""Groups of equal signatures: planted collisions of the hash are seen, and every kind of difference counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.graph import signatures
from lop_theory.graph.signatures import Entries, _agree, group_equal

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=3, unique_by=lambda r: r[0])


def entries_of(signature):
    """Entries of nodes 0, 1, … with these rows (key, sum)."""
    lengths = np.array([len(own) for own in signature])
    flat = np.array([row for own in signature for row in own])
    start = np.cumsum(lengths) - lengths
    return Entries(np.arange(len(signature)), start, lengths, flat[:, 0], flat[:, 1:])


@given(st.lists(rows.map(sorted), min_size=1, max_size=8), st.lists(st.integers(0, 1), min_size=8, max_size=8))
def test_groups_are_the_classes_of_block_and_rows(signature, blocks):
    entries, block_of = entries_of(signature), np.array(blocks)
    node, begin = group_equal(entries, block_of)
    groups = [part.tolist() for part in np.split(node, begin[1:])]
    keys = [{(blocks[v], tuple(signature[v])) for v in part} for part in groups]
    assert sorted(v for part in groups for v in part) == list(range(len(signature)))
    assert all(len(own) == 1 for own in keys)
    assert len(set.union(*keys)) == len(groups)


@pytest.mark.parametrize(
    "other",
    [[(0, 1), (2, 1)], [(0, 1), (1, 2)], [(0, 2), (1, 1)], [(0, 1)], [(0, 1), (1, 1), (2, 1)], [(3, 1), (1, 1)]],
    ids=["last key", "last sum", "first sum", "fewer rows", "more rows", "first key"],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_difference_is_seen(other, late):
    same = [(0, 1), (1, 1)]
    signature = [same, same, other] if late else [same, other]
    order = np.arange(len(signature))
    assert _agree(entries_of([same, same, same]), np.array([2, 0, 1]), np.array([0]))
    assert not _agree(entries_of(signature), order, np.array([0]))
    assert not _agree(entries_of(signature), order[::-1], np.array([0]))
    assert _agree(entries_of(signature), order, np.array([0, len(order) - 1]))


def test_a_collision_of_the_hash_takes_the_next_salt(monkeypatch):
    salts, right = [], signatures._hash

    def colliding(entries, salt):
        salts.append(salt)
        return np.zeros(len(entries.node), dtype=np.uint64) if salt < 3 else right(entries, salt)

    monkeypatch.setattr(signatures, "_hash", colliding)
    node, begin = group_equal(entries_of([[(0, 1)], [(0, 2)], [(0, 1)]]), np.zeros(3, dtype=np.int64))
    assert salts == [1, 2, 3]
    assert sorted(map(sorted, (part.tolist() for part in np.split(node, begin[1:])))) == [[0, 2], [1]]
    monkeypatch.setattr(signatures, "_hash", lambda entries, _: np.zeros(len(entries.node), dtype=np.uint64))
    with pytest.raises(AssertionError, match="seven"):
        group_equal(entries_of([[(0, 1)], [(0, 2)]]), np.zeros(2, dtype=np.int64))
