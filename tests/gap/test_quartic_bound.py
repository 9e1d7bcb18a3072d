"""The quartic gap bound: on arbitrary kernels in exact rationals, on real activations by balls."""

import pytest
from hypothesis import given

from lop_theory.activations.catalogue import activation
from lop_theory.balls import arb
from lop_theory.gap.kernel import (
    correlation_kernel,
    standard_kernel,
)
from lop_theory.gap.quartic_bound import bound, gap
from tests.gap.kernels import NONLINEAR, correlations, kernels, series


@pytest.mark.claim("gap")
@given(kernels(), correlations)
def test_gap_bound_and_its_slack(squares, rho):
    c, strength, t = squares[0], 1 - squares[0], abs(rho)
    margin = rho**2 - series(squares, rho) ** 2 - strength * rho**2 * (1 - rho**2)
    assert margin >= c * strength * rho**2 * (1 - t) ** 2 >= 0


@pytest.mark.claim("gap-parity")
@given(kernels(), correlations)
def test_parity_identity(squares, s):
    even = series([0 if k % 2 else w for k, w in enumerate(squares, 1)], s)
    odd = series([w if k % 2 else 0 for k, w in enumerate(squares, 1)], s)
    gaps = [r * r - series(squares, r) ** 2 for r in (s, -s)]
    assert gaps[1] == gaps[0] + 4 * even * odd


@pytest.mark.claim("gap")
@pytest.mark.parametrize("name", NONLINEAR)
def test_gap_exceeds_bound_by_balls(name):
    kern = standard_kernel(activation(name).expr)
    for i in range(-20, 21):
        rho = arb(i) / 20
        margin = gap(kern, rho) - bound(kern, rho)
        assert margin.rad() < 0.05
        assert margin > -1e-12 or margin.contains(0)


@pytest.mark.claim("gap-parity")
def test_gap_at_minus_one_is_positive_for_relu():
    kern = correlation_kernel(activation("relu").expr)
    assert gap(kern, arb(-1)) > 0.78
    assert gap(correlation_kernel(activation("tanh").expr), arb(-1)) == 0
