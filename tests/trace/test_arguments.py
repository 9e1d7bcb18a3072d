"""A call's tensors and values by name, whichever way it is spelt."""

import inspect

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.trace.arguments import as_arguments, defaults, leaves, positions, signature_of  # noqa: E402


def forward(x, pair=(1, 2), *rest, scale=2.0, **more):
    return x, pair, rest, scale, more


SIGNATURE = inspect.signature(forward)


def test_an_example_input_is_a_tensor_a_sequence_or_a_mapping():
    x = torch.ones(2)
    assert as_arguments(x) == ((x,), {})
    assert as_arguments([x, 1]) == as_arguments((x, 1)) == ((x, 1), {})
    assert as_arguments({"x": x}) == ((), {"x": x})
    with pytest.raises(InvalidInput, match="'str': must be a tensor, a tuple of inputs or a dict"):
        as_arguments("x")


def test_leaves_have_the_names_of_their_arguments():
    assert leaves(SIGNATURE, (3, [4, 5], 6), {"scale": 7, "image": {"a": 8}}) == {
        "x": 3, "pair[0]": 4, "pair[1]": 5, "rest[0]": 6, "scale": 7, "image['a']": 8,
    }  # fmt: skip
    assert leaves(SIGNATURE, (), {"pair": (4, 5), "x": 3}) == {"x": 3, "pair[0]": 4, "pair[1]": 5}
    with pytest.raises(InvalidInput, match=r"input=\['scale'\]: does not fit the model's forward: missing a required"):
        leaves(SIGNATURE, (), {"scale": 2})
    with pytest.raises(InvalidInput, match=r"input=3: does not fit .*too many"):
        leaves(inspect.signature(lambda x: x), (1, 2, 3), {})


def test_places_are_those_of_the_call_and_defaults_those_of_the_signature():
    assert positions(SIGNATURE, (30, [40, 50]), {"b": 60, "scale": 70}) == {
        "x": 0, "pair[0]": 1, "pair[1]": 2, "b": 3, "scale": 4,
    }  # fmt: skip
    assert defaults(SIGNATURE) == {"pair": (1, 2), "scale": 2.0}


def test_where_no_signature_can_be_read_places_are_names():
    model = nn.Identity()
    model.forward = min
    assert signature_of(model) is None
    assert signature_of(nn.Identity()) == inspect.signature(nn.Identity().forward)
    assert leaves(None, (3, [4]), {"c": 5}) == {"[0]": 3, "[1][0]": 4, "c": 5}
    assert defaults(None) == {}
