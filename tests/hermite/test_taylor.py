"""The checker's route: Taylor expansion on cells against the library's routes, and its honest refusals."""

import pytest

from lop_theory.activations.catalogue import CATALOGUE, activation, from_formula
from lop_theory.balls import precision
from lop_theory.hermite import taylor
from lop_theory.hermite.expansion import expand, raw_moments


@pytest.mark.claim("mehler")
@pytest.mark.parametrize("name", CATALOGUE)
def test_agrees_with_the_library(name):
    expr = activation(name).expr
    coefficients, second = taylor.moments(expr, 12, 80)
    others, square, _ = raw_moments(expr, 12, 80)
    assert second.overlaps(square)
    assert all(a.overlaps(b) for a, b in zip(coefficients, others, strict=True))
    assert max(float(a.rad()) for a in coefficients) < 2.0**-76


@pytest.mark.parametrize("text", ["abs(1-cos(x))", "sign(sin(x))", "abs(x**3-3*x+2)", "min(x, x**3, sin(x))"])
def test_finds_kinks_itself(text):
    expr = from_formula(text).expr
    ours, theirs = taylor.standardised(expr, 8, 20), expand(expr, 8, 15).coefficients
    with precision(90):
        assert all(a.overlaps(b) for a, b in zip(ours, theirs, strict=True))
        assert all(a.rad() < 1e-20 for a in ours)


@pytest.mark.parametrize(
    ("text", "word"),
    [("1/x", "undefined"), ("log(abs(x))", "undefined"), ("exp(x**2)", "growth"), ("sin(x)*0 + 3", "constant")],
)
def test_what_cannot_be_enclosed_is_unsettled(monkeypatch, text, word):
    monkeypatch.setattr(taylor, "_EXTRA_BITS", taylor._EXTRA_BITS[:4])  # the same end, a hundred times sooner
    with pytest.raises(taylor.Unsettled, match=word):
        taylor.standardised(from_formula(text).expr, 3, 4)


def test_a_line_is_a_line_however_flat():
    zero, one, two = taylor.standardised(from_formula("3 + x*1e-60").expr, 3, 4)
    assert (zero.contains(0), one.contains(1), two.contains(0)) == (True, True, True)
    assert one.rad() < 1e-10
