"""P(|ψ(Z)| < ε) for ψ = a derivative of an activation, with rigorous bounds   [tension-freezing].

Three readings of "frozen" for the unit φ(ax + b): the raw derivative φ′(ax + b), the derivative a·φ′(ax + b) of the
modulated unit, and the derivative of the standardised unit, a·φ′(ax + b)/sd. Only the last does not change when φ is
multiplied by a constant.
"""

from typing import NamedTuple

from lop_theory.activations.catalogue import Activation, activation, rational
from lop_theory.activations.expression import Expr
from lop_theory.activations.gaussian import normal_cdf
from lop_theory.activations.piecewise import Piece, breakpoints, pieces
from lop_theory.activations.ranges import extended_range
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import derivative
from lop_theory.balls import arb, fmpq, hull, precision, within
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import expand

_BITS = 64
_BUDGET = 6000


class FrozenProbability(NamedTuple):
    """Balls that enclose P(|ψ(Z)| < ε) for the three readings of the derivative."""

    raw: arb
    modulated: arb
    standardised: arb


def frozen_probability(
    name: str, *, epsilon: str | fmpq = "0.01", scale: str | fmpq = "1", bias: str | fmpq = "0", **parameters: object
) -> FrozenProbability:
    """The three frozen probabilities of φ(scale·x + bias). Raises ``InvalidInput`` for ε ≤ 0 or a bad activation."""
    threshold = rational("epsilon", epsilon)
    if threshold <= 0:
        raise InvalidInput("epsilon", str(epsilon), "must be positive", "0.01 is the default")
    modulated = activation(name, scale=scale, bias=bias, **parameters)
    return frozen_of(modulated, threshold, rational("scale", scale))


def frozen_of(unit: Activation, threshold: fmpq, scale: fmpq) -> FrozenProbability:
    """The three readings for a unit whose formula already holds ``scale``."""
    slope = derivative(unit.expr)
    with precision(_BITS):
        level = arb(threshold)
        raw, modulated = below(slope, level * abs(arb(scale))), below(slope, level)
    return FrozenProbability(raw, modulated, standardised_probability(unit.expr, threshold))


def standardised_probability(expr: Expr, threshold: fmpq) -> arb:
    """P(|φ̄′(Z)| < ε) for φ = expr."""
    with precision(_BITS):
        return below(derivative(expr), arb(threshold) * expand(expr, 2).variance.sqrt())


def below(expr: Expr, level: arb) -> arb:
    """P(|expr(Z)| < level): cells of the line are counted where a ball decides, and bisected where it does not."""
    sure, open_mass = arb(0), arb(0)
    reach = max([fmpq(9), *(abs(x) + 1 for x in breakpoints(expr))])  # beyond it the first and the last piece are alone
    for part in pieces(expr):
        inside, unsure = _piece_mass(part, level, reach)
        sure, open_mass = sure + inside, open_mass + unsure
    # What stays undecided counts for half, with the other half as the radius.
    return hull(sure.lower(), (sure + open_mass).upper())


def _piece_mass(part: Piece, level: arb, reach: fmpq) -> tuple[arb, arb]:
    """(mass surely below the level, undecided mass) on one piece."""
    evaluate = real_function(part.expr)
    lo = -reach if part.lo is None else part.lo
    hi = reach if part.hi is None else part.hi
    sure, unsure = _rays(part, level, reach)
    stack, budget = ([(lo, hi)] if lo < hi else []), _BUDGET
    while stack:
        u, v = stack.pop()
        centre = (u + v) / 2
        size = abs(evaluate(arb(centre) + within(arb((v - u) / 2))))
        if size < level:
            sure += mass(u, v)
        elif not size >= level:
            mass_left = mass(u, v)
            if budget <= 0 or v - u < fmpq(1, 2**40):
                unsure += mass_left
            else:
                stack += [(u, centre), (centre, v)]
                budget -= 1
    return sure, unsure


def _rays(part: Piece, level: arb, reach: fmpq) -> tuple[arb, arb]:
    """The same beyond ±reach, where one range decides or the mass (below 1e-18) stays open."""
    sure, unsure = arb(0), arb(0)
    for infinite, ends in (
        (part.lo is None, (float("-inf"), -reach)),
        (part.hi is None, (reach, float("inf"))),
    ):
        if not infinite:
            continue
        values = extended_range(part.expr, *ends)
        weight = normal_cdf(-arb(reach))
        if values is not None and values.lo > -level and values.hi < level:
            sure += weight
        else:
            unsure += weight
    return sure, unsure


def mass(u: fmpq, v: fmpq) -> arb:
    """P(u < Z < v)."""
    return normal_cdf(arb(v)) - normal_cdf(arb(u))


def monotone_floor(strength: arb, epsilon: arb) -> arb:
    """For monotone φ: P(|φ̄′(Z)| < ε) ≥ 1 − √(1 − λ)/ε   [tension-freezing].

    Markov on |φ̄′| with E|φ̄′(Z)| = |a_1| (Stein; φ̄′ has one sign). It needs φ̄ absolutely continuous.
    """
    return 1 - (1 - strength).nonnegative_part().sqrt() / epsilon
