"""The frozen probability: what lies beyond the reach, and masses that are known."""

import pytest

from lop_theory.activations.catalogue import from_formula
from lop_theory.activations.piecewise import Piece
from lop_theory.balls import arb, fmpq, parse_fmpq, precision
from lop_theory.tension.frozen import _rays, below


@pytest.mark.parametrize(
    ("lo", "hi", "value", "level", "sure", "unsure"),
    [
        (None, None, 0, 1, 2, 0),
        (None, 0, 0, 1, 1, 0),
        (0, None, 0, 1, 1, 0),
        (-1, 1, 0, 1, 0, 0),
        (None, None, "1/2", "1/4", 0, 2),
        (None, 0, "-1/2", "1/4", 0, 1),
        (0, None, "-1/2", "1/2", 0, 1),
        (0, None, "1/2", "1/2", 0, 1),
        (None, None, "-1/2", "3/4", 2, 0),
    ],
)
def test_rays_count_where_the_whole_range_is_below(lo, hi, value, level, sure, unsure):
    """In units of P(Z > 1): a constant below the level is sure, another stays open, a piece without rays has none."""
    ends = [None if x is None else fmpq(x) for x in (lo, hi)]
    with precision(64):
        found = _rays(Piece(*ends, from_formula(str(value)).expr), arb(parse_fmpq(str(level))), fmpq(1))
    ray = 0.15865525393145705
    assert [float(mass) for mass in found] == pytest.approx([sure * ray, unsure * ray], abs=1e-15)


def test_rays_are_of_their_own_side():
    """exp(x) is below 1 on (−∞, −1), not on (1, ∞)."""
    with precision(64):
        for formula in ("exp(x)", "exp(-x)"):
            found = _rays(Piece(None, None, from_formula(formula).expr), arb(1), fmpq(1))
            assert [float(mass) for mass in found] == pytest.approx([0.15865525393145705] * 2)


@pytest.mark.parametrize(("formula", "level", "right"), [("x", "1", 0.6826894921370859), ("exp(x)", "1", 0.5)])
def test_a_mass_is_enclosed(formula, level, right):
    with precision(64):
        found = below(from_formula(formula).expr, arb(level))
    assert float(found.lower()) <= right <= float(found.upper())
    assert float(found.rad()) < 1e-3
