"""Is λ(a, b) = λ(φ(ax + b)) monotone in the scale a or the bias b?   [tension-monotone]

``turn`` shows that it is not by three certified values; ``certify_monotone`` shows that it is on an interval, by the
sign of its derivative (``course``).
"""

from typing import Literal, NamedTuple

from lop_theory.activations.catalogue import activation
from lop_theory.activations.expression import Expr
from lop_theory.balls import arb, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import expand
from lop_theory.tension.course import Direction, modulated, rises_and_falls
from lop_theory.verdict import Fails, Holds, Undecided, Verdict

Sense = Literal["increasing", "decreasing"]


class Turn(NamedTuple):
    """Three places at which λ certainly goes up and down again (or down and up): it is not monotone."""

    places: tuple[fmpq, fmpq, fmpq]
    strengths: tuple[arb, arb, arb]


def _formula(function: str | Expr) -> Expr:
    return activation(function).expr if isinstance(function, str) else function


def strength_at(function: str | Expr, scale: fmpq, bias: fmpq) -> arb:
    """λ(φ(scale·x + bias)) to 15 digits, of a catalogue name or an expression."""
    found = expand(modulated(_formula(function), scale, bias), 2)
    with precision(found.bits):
        return 1 - found.coefficients[1] * found.coefficients[1]


def turn(function: str | Expr, direction: Direction, places: list[fmpq], fixed: fmpq) -> Verdict:
    """``Fails(Turn)`` if the certified values on ``places`` rise and fall; else ``Undecided`` (a grid proves no
    monotonicity).

    ``fixed`` is the bias while the scale varies, and the scale while the bias varies.
    """
    points = [(x, strength_at(function, *((x, fixed) if direction == "scale" else (fixed, x)))) for x in places]
    for sign in (1, -1):
        found = _rise_and_fall(points, sign)
        if found is not None:
            return Fails(found)
    return Undecided(f"λ is monotone on {len(places)} grid points; a grid is no proof")


def _rise_and_fall(points: list[tuple[fmpq, arb]], sign: int) -> Turn | None:
    """The turn of largest height among triples whose middle value certainly lies above (sign 1) or below (−1) the
    outer ones.
    """
    best: tuple[float, Turn] | None = None
    for j in range(1, len(points) - 1):
        middle = sign * points[j][1]
        left = min(points[:j], key=lambda p: float(sign * p[1]))
        right = min(points[j + 1 :], key=lambda p: float(sign * p[1]))
        if middle > sign * left[1] and middle > sign * right[1]:
            height = float(middle - (sign * left[1]).max(sign * right[1]))
            if best is None or height > best[0]:
                places = (left[0], points[j][0], right[0])
                best = (height, Turn(places, (left[1], points[j][1], right[1])))
    return best[1] if best else None


def certify_monotone(
    function: str | Expr,
    direction: Direction,
    interval: tuple[fmpq, fmpq],
    *,
    fixed: fmpq,
    sense: Sense,
    cells: int = 300,
) -> Verdict:
    """Whether λ is strictly monotone in the given sense for every parameter in the interval, certified by balls. Raises
    ``InvalidInput`` as ``rises_and_falls`` does.
    """
    if sense not in ("increasing", "decreasing"):
        raise InvalidInput("sense", sense, "must be 'increasing' or 'decreasing'", "name one of the two")
    wanted = 1 if sense == "increasing" else -1
    segments = rises_and_falls(_formula(function), direction, interval, fixed=fixed, cells=cells)
    wrong = next((s for s in segments if s.sign == -wanted), None)
    if wrong is not None:
        return Fails(f"λ moves the other way on [{wrong.lo}, {wrong.hi}]")
    still_open = next((s for s in segments if s.sign == 0), None)
    if still_open is not None:
        return Undecided(f"[{still_open.lo}, {still_open.hi}] is not decided")
    return Holds("certified by balls: the sign of the derivative is decided on cells that cover the interval")
