"""The rank–plasticity tension: decorrelation strength λ(a, b) of φ(ax + b) against frozen probability   [tension-*:
App. A.2].

**ReLU bias** [tension-relu-bias]: b ↦ λ(relu(x + b)) is strictly decreasing on R with limits 1 and 0. Proof. With Φ,
w at b, m = E relu(Z + b) = bΦ + w > 0, V = Var, c = Φ²/V: c′ > 0 ⟺ wV > mΦ(1 − Φ). With Mills' ratio R = (1 −
Φ(t))/w(t), t = −b, the difference of the two sides is w²·(t + w(1 − tR))·(R² + tR − 1); the first factor is E relu(Z
+ t) > 0, the second is Birnbaum's inequality R > 2/(t + √(t² + 4)).

**tanh gain** [tension-tanh-gain]: a ↦ λ(tanh(ax)) is strictly increasing on (0, ∞) from 0 to 1 − 2/π (the sign
function), *not* to 1. Proof for odd φ with f = z/φ increasing and g = zφ′/φ decreasing on z > 0: c′ < 0 ⟺
E[Z²φ′]E[φ²] < E[Zφ]E[Zφφ′] (arguments aZ), that is ∫fg dμ·∫1 dμ < ∫f dμ·∫g dμ with dμ = φ(aZ)²; this is Chebyshev's
association inequality. tanh, erf and sigmoid − ½ qualify.

**Freezing** [tension-freezing]: λ → 1 does not force freezing in general (|x|, he_2, he_3, sin 3x, silu(x − 1.9));
for monotone absolutely continuous φ it does: P(|φ̄′| < ε) ≥ 1 − √(1 − λ)/ε (``frozen.monotone_floor``).
"""

from typing import NamedTuple

from lop_theory.activations.catalogue import Activation, activation, rational
from lop_theory.balls import arb, fmpq, precision
from lop_theory.errors import InvalidInput
from lop_theory.hermite.expansion import expand
from lop_theory.tension.frozen import FrozenProbability, frozen_of, monotone_floor
from lop_theory.tension.monotone import Direction, turn
from lop_theory.verdict import Verdict

SCALES = [fmpq(2) ** k for k in range(-4, 5)]
_SATURATING = ("tanh", "erf", "hardtanh", "softsign", "sign")
BIASES = [fmpq(k, 2) for k in range(-16, 17)]


class Unit(NamedTuple):
    """λ and the frozen probabilities of one modulated unit φ(ax + b)."""

    activation: Activation
    strength: arb
    frozen: FrozenProbability
    floor: arb


def unit(
    name: str, *, scale: str | fmpq = "1", bias: str | fmpq = "0", epsilon: str | fmpq = "0.01", **parameters: object
) -> Unit:
    """λ(a, b), P(|φ′| < ε) in its three readings, and the floor that monotone φ obeys. Raises ``InvalidInput`` as
    ``activation`` does.
    """
    level = rational("epsilon", epsilon)
    if level <= 0:
        raise InvalidInput("epsilon", str(epsilon), "must be positive", "0.01 is the default")
    act = activation(name, scale=scale, bias=bias, **parameters)
    found = expand(act.expr, 2)
    with precision(found.bits):
        strength = 1 - found.coefficients[1] * found.coefficients[1]
        floor = monotone_floor(strength, arb(level))
    return Unit(act, strength, frozen_of(act, level, rational("scale", scale)), floor)


def relu_bias_strength(b: arb) -> arb:
    """λ(relu(x + b)) in closed form: 1 − Φ²/((b² + 1)Φ + bw − (bΦ + w)²)   [tension-relu-bias]."""
    cdf = (-b / arb(2).sqrt()).erfc() / 2
    density = (-(b * b) / 2).exp() / (2 * arb.pi()).sqrt()
    first = b * cdf + density
    variance = (b * b + 1) * cdf + b * density - first * first
    return 1 - cdf * cdf / variance


def tail_limit(rate: fmpq) -> arb:
    """lim λ(φ(x + b)) as b → −∞ for a tail φ ~ e^{rate·x}: 1 − rate²/(e^{rate²} − 1), not 1   [tension-monotone].

    Holds for softplus, sigmoid, elu (rate 1): there φ(x + b) is asymptotically a multiple of e^{rate·x}, up to a
    constant.
    """
    square = arb(rate) * arb(rate)
    return 1 - square / square.expm1()


def scale_limit(name: str) -> arb:
    """lim λ(φ(ax)) as a → ∞ for odd φ with limits ±1 at ±∞: that of sign, 1 − 2/π   [tension-tanh-gain]."""
    if name not in _SATURATING:
        raise InvalidInput("activation", name, "must be odd with limits ±1", f"one of: {' '.join(_SATURATING)}")
    return 1 - 2 / arb.pi()


def direction_verdict(name: str, direction: Direction) -> Verdict:
    """``Fails(Turn)`` if λ certainly turns on the standard grid, else ``Undecided``   [tension-monotone]."""
    return turn(name, direction, SCALES, fmpq(0)) if direction == "scale" else turn(name, direction, BIASES, fmpq(1))
