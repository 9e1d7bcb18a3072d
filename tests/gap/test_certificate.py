"""Certificates of the gap bound and their verdicts."""

from fractions import Fraction

import pytest

from lop_theory.activations.catalogue import activation, from_formula
from lop_theory.balls import fmpq
from lop_theory.gap.analysis import analyse
from lop_theory.gap.certificate import certify, squares, tails_low, verdict
from lop_theory.gap.kernel import (
    correlation_kernel,
)
from lop_theory.verdict import Fails, Holds, Undecided
from tests.gap.kernels import NONLINEAR


@pytest.mark.claim("gap")
@pytest.mark.parametrize("name", NONLINEAR)
def test_every_nonlinear_activation_is_certified(name):
    found = analyse(activation(name))
    assert found.verdict == Holds("certified by balls")
    assert found.certificate.strength[0] > 0
    assert Fraction(found.certificate.kappa_floor, 10**18) <= Fraction(
        str(found.kappa.value.upper().str(25, radius=False))
    )


def test_verdicts_other_than_holds():
    kern = correlation_kernel(activation("tanh").expr)
    good = certify(kern)
    assert verdict(good._replace(square_sum_low=3 * 10**18 // 2)) == Fails({"sum of squares exceeds 1": 1.5})
    assert isinstance(verdict(good._replace(square_sum_low=10**18 + 1)), Fails)
    assert verdict(good._replace(square_sum_low=10**18))
    for cell in (0, 3, 31):
        slack = (*good.slack[:cell], -1, *good.slack[cell + 1 :])
        assert verdict(good._replace(slack=slack)) == Fails({"cell": f"[{cell}/32, {cell + 1}/32]"})
    assert verdict(good._replace(slack=(0,) * 32))
    nearly_linear = correlation_kernel(from_formula("x + sin(x)/100000000000").expr)
    assert isinstance(verdict(certify(nearly_linear)), Undecided)
    assert verdict(certify(correlation_kernel(from_formula("x + sin(x)/100000000000").expr, 20, 40)))
    assert verdict(certify(correlation_kernel(activation("identity").expr)))


def test_certificate_bounds_do_not_depend_on_ball_luck():
    """The stored decimals alone fix every derived number."""
    kern = correlation_kernel(activation("silu").expr)
    assert certify(kern) == certify(kern)
    assert fmpq(certify(kern).strength[0], 10**18) <= fmpq(certify(kern).strength[1], 10**18)


@pytest.mark.claim("gap-certificate")
def test_squares_of_boxes_are_rounded_outwards():
    """In tenths: a box that holds 0 has a square of at least 0."""
    boxes = ((-7, 3), (-3, 7), (4, 9), (-9, -4), (0, 0), (0, 5), (-5, 0))
    assert squares(boxes, 10) == ([0, 0, 1, 1, 0, 0, 0], [5, 5, 9, 9, 0, 3, 3])


@pytest.mark.claim("gap-certificate")
def test_tails_are_what_the_squares_leave():
    assert tails_low([0, 3, 5, 1, 4], 10) == [10, 10, 7, 2, 1, 0]


def test_the_time_of_an_analysis_is_that_between_its_ends(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("lop_theory.gap.analysis.time.perf_counter", lambda: next(clock))
    assert analyse("tanh").seconds == 2.5


def test_the_stages_of_an_analysis_know_more_and_more():
    known = []
    found = analyse("relu", digits=9, coefficients=7, progress=known.append)
    assert [(k.minus_one is None, bool(k.verdict)) for k in known] == [(True, False), (True, True), (False, True)]
    assert all(k.kern == found.kern for k in known)
    assert (found.kern.order, found.kern.expansion.digits) == (7, 9)
    assert known[-1].minus_one is found.minus_one
    assert len(analyse("tanh").kern.squares) == 20
    assert analyse("tanh").kern.expansion.digits == 15
