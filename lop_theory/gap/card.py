"""The activation card: all that a person choosing an activation wants on one page, each number an enclosure."""

from typing import NamedTuple

from lop_theory.activations.expression import Expr
from lop_theory.balls import arb, fmpq
from lop_theory.errors import InvalidInput
from lop_theory.gap.analysis import Analysis
from lop_theory.gap.kernel import FixedPoint, derivative_at_one, fixed_points
from lop_theory.gap.propagation import Propagation, propagate
from lop_theory.hermite.expansion import is_linear
from lop_theory.tension.course import Direction, Segment, constant_in_scale, rises_and_falls
from lop_theory.tension.frozen import standardised_probability

EPSILON = fmpq(1, 100)
SCALES = fmpq(1, 4), fmpq(4)
BIASES = fmpq(-3), fmpq(3)


class Course(NamedTuple):
    """What λ does on the interval: ``segments`` from left to right, or the reason why it is constant or not known."""

    interval: tuple[fmpq, fmpq]
    segments: tuple[Segment, ...]
    reason: str | None = None


class Card(NamedTuple):
    """The analysis, K′(1) = E φ̄′², the fixed points of ρ ↦ K(ρ) with K′ there, how signals pass, P(|φ̄′| < ε), and
    what λ does under scale (at bias 0) and bias (at scale 1).
    """

    analysis: Analysis
    slope_at_one: arb
    fixed: tuple[tuple[FixedPoint, arb], ...]
    signal: Propagation
    frozen: arb
    scale: Course
    bias: Course


def card_of(analysis: Analysis) -> Card:
    """The card of an analysed activation. Raises ``InvalidInput`` as ``hermite.expand`` does."""
    kern = analysis.kern
    expr, slope_at_one = kern.expansion.expr, derivative_at_one(kern)
    rates = {0: kern.c, 1: slope_at_one, -1: slope_at_one}
    points = () if kern.expansion.linear else tuple((point, rates[point[0]]) for point in fixed_points(kern))
    return Card(
        analysis,
        slope_at_one,
        points,
        propagate(kern),
        standardised_probability(expr, EPSILON),
        _course(expr, "scale"),
        _course(expr, "bias"),
    )


def _course(expr: Expr, direction: Direction) -> Course:
    interval, fixed = (SCALES, fmpq(0)) if direction == "scale" else (BIASES, fmpq(1))
    if is_linear(expr):
        return Course(interval, (), "constant: phi is linear")
    if direction == "scale" and constant_in_scale(expr):
        return Course(interval, (), "constant: phi is even or homogeneous")
    try:
        return Course(interval, tuple(rises_and_falls(expr, direction, interval, fixed=fixed)))
    except InvalidInput as error:
        return Course(interval, (), f"not known: {error.requirement}")
