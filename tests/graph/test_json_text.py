"""JSON read piece by piece is JSON read at once, wherever the pieces end."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lop_theory.errors import InvalidInput
from lop_theory.graph import json_text
from lop_theory.graph.dag import EdgeColumns
from lop_theory.graph.io import network_from_json, network_to_json
from lop_theory.strategies import networks

NAMES = st.sampled_from(["a", "], [", '"],', "\\", "]]", "ü", 1, "1", "}"])
WEIGHTS = st.integers(-3, 3) | st.sampled_from([0.5, -2.5e-3, "1/4"])


def rows(columns):
    names, source, target, weight = columns
    return [[names[u], names[v], w] for u, v, w in zip(source, target, weight, strict=True)]


STYLES = [{}, {"indent": 1}, {"separators": (",", ":")}]


@given(st.lists(st.tuples(NAMES, NAMES, WEIGHTS)), st.integers(1, 60), st.booleans(), st.sampled_from(STYLES))
def test_edges_are_the_same_in_every_cut(edges, piece, last, style):
    data = {"inputs": ["x"], "outputs": ["],"]}
    data = {**data, "edges": edges} if last else {"edges": edges, **data}
    before, json_text.PIECE = json_text.PIECE, piece
    try:
        found = json_text.decode(json.dumps(data, **style))
    finally:
        json_text.PIECE = before
    assert isinstance(found["edges"], EdgeColumns)
    assert [[u, v, Fraction(str(w))] for u, v, w in rows(found.pop("edges"))] == [
        [u, v, Fraction(str(w))] for u, v, w in edges
    ]
    assert found == {key: value for key, value in data.items() if key != "edges"}


@given(networks(), st.integers(1, 200))
def test_networks_are_read_back(network, piece):
    from lop_theory.activations import CATALOGUE

    if any(a.name not in CATALOGUE for a in network.dag.activations):
        return
    text = json.dumps(network_to_json(network))
    before, json_text.PIECE = json_text.PIECE, piece
    try:
        again = network_from_json(json_text.decode(text))
    finally:
        json_text.PIECE = before
    assert again.dag.ids == network.dag.ids
    assert list(again.weight) == list(network.weight)


@pytest.mark.parametrize(
    "text",
    [
        '{"edges": [[',
        '{"edges": [["a","b",1]}',
        '{"edges": []',
        '{"edges": []} 1',
        '{"a" 1}',
        '{"a": 1,}',
        "{1: 2}",
        "",
        "{",
    ],
)
def test_broken_text_is_an_error_as_for_the_standard_library(text):
    for read in (json.loads, json_text.decode):
        with pytest.raises(json.JSONDecodeError):
            read(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"edges": [["a", "b"]]}', "source, target, weight"),
        ('{"edges": [1]}', "source, target, weight"),
        ('{"edges": [[true, "b", 1]]}', "node id"),
        ('{"edges": [[["a"], "b", 1]]}', "node id"),
        ('{"edges": [["a", "b", null]]}', "a -> b"),
        ('{"edges": [], "edges": []}', "twice"),
    ],
)
def test_bad_edges_are_named(text, word):
    with pytest.raises(InvalidInput, match=word):
        json_text.decode(text)
