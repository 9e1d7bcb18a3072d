"""κ from both sides by one tangent, in whole numbers."""

from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lop_theory.activations.catalogue import activation
from lop_theory.balls import arb, fmpq, precision
from lop_theory.gap.certificate import certify, derive
from lop_theory.gap.enclosure import Tangent, tangent
from lop_theory.gap.kappa import sharp_constant
from lop_theory.gap.kernel import standard_kernel
from tests.gap.kernels import kernels, series

UNIT = 10**18


def exact(squares: list[Fraction]) -> Tangent:
    """The enclosure for an activation with these a_k² exactly (k ≥ 1), their roots in boxes of one unit."""
    roots = [int(Fraction(w) * UNIT * UNIT) for w in squares]
    boxes = [(isqrt(r), isqrt(r) + 1) if r else (0, 0) for r in roots]
    return tangent(derive(18, linear=False, bounds=((0, 0), *boxes)))


@pytest.mark.claim("gap-kappa-branches")
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "silu", "erf", "elu", "abs", "sin", "hardswish"])
def test_the_enclosure_holds_kappa(name):
    """κ inside (relu), at 0 (tanh) and at 1 (gelu), against the branches of ``sharp_constant`` in balls."""
    kern = standard_kernel(activation(name).expr)
    found, sharp = tangent(certify(kern)), sharp_constant(kern).value
    with precision(256):
        assert not arb(fmpq(found.low, UNIT)) > sharp
        assert not arb(fmpq(found.high, UNIT)) < sharp
    assert 0 <= found.high - found.low < UNIT // 1000


@pytest.mark.claim("gap-kappa-branches")
@given(kernels(), st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50))
def test_no_ratio_lies_below_the_tangent(squares, rho):
    found = exact(squares)
    ratio = (rho**2 - series(squares, rho) ** 2) / (rho**2 * (1 - rho**2))
    assert Fraction(found.low, UNIT) <= ratio


@pytest.mark.claim("gap-kappa-branches")
@given(kernels())
def test_the_tangent_touches(squares):
    """Of finitely many terms the floor is the least ratio on a grid, to the grid's square."""
    found = exact(squares)
    assume(squares[0] < 1)
    grid = [Fraction(i, 400) for i in range(1, 400)]
    least = min((r**2 - series(squares, r) ** 2) / (r**2 * (1 - r**2)) for r in grid)
    assert Fraction(found.low, UNIT) <= least
    assert float(least) - found.low / UNIT < 0.02
    assert 0 <= found.high - found.low < UNIT // 10**7


def test_a_linear_activation_has_kappa_0():
    found = tangent(derive(18, linear=True, bounds=((0, 0), (UNIT, UNIT))))
    assert (found.low, found.high) == (0, 0)
