"""How mean, variance and correlation pass a layer: the gain, order or chaos, the correlation to which inputs tend.

    χ = E φ′(Z)²/E φ(Z)²,    C(ρ) = E φ(X)φ(Y)/E φ(Z)² = (m² + V·K(ρ))/(m² + V),    C(1) = 1,  C′(1) = χ

With weights of variance gain²/fan-in, gain = 1/√(E φ²), and no bias, pre-activations keep their variance and C maps the
correlation of two inputs from layer to layer (Poole et al. 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv
1611.01232). C is convex on [0, 1] with C(0) = m²/(m² + V) ≥ 0. So for χ ≤ 1 correlations tend to 1 (order), for χ > 1
to the one other fixed point ρ* ∈ [0, 1) (chaos).
"""

from typing import Literal, NamedTuple

from lop_theory.activations.expression import Expr
from lop_theory.activations.piecewise import pieces
from lop_theory.activations.symbolic import polynomial
from lop_theory.balls import arb, hull, precision
from lop_theory.gap.kernel import Kernel, correlation_kernel, derivative_at_one, slope, value

Phase = Literal["order", "edge", "chaos", "undecided"]

_ORDERS = (80, 320)
_HALVINGS = 60
_SHARP = 1e-12


class Propagation(NamedTuple):
    """E φ, E φ², gain, χ and the phase; in ``tends_to`` the correlation to which two inputs tend, if that is decided,
    and in ``rate`` C′ there."""

    mean: arb
    second: arb
    gain: arb
    chi: arb
    phase: Phase
    tends_to: arb | None
    rate: arb | None


def propagate(kern: Kernel) -> Propagation:
    """How φ passes mean, variance and correlation on. Raises as ``hermite.expand`` does."""
    expansion = kern.expansion
    with precision(expansion.bits + 16):
        second = expansion.variance + expansion.mean * expansion.mean
        chi = derivative_at_one(kern) * expansion.variance / second
        phase = _phase(expansion.expr, chi)
        if phase == "chaos":
            tends_to, rate = _meeting(kern)
        else:
            tends_to, rate = (None, None) if phase == "undecided" or expansion.linear else (arb(1), chi)
        return Propagation(expansion.mean, second, 1 / second.sqrt(), chi, phase, tends_to, rate)


def _phase(expr: Expr, chi: arb) -> Phase:
    if _is_homogeneous(expr):
        return "edge"
    return "order" if chi < 1 else "chaos" if chi > 1 else "undecided"


def _is_homogeneous(expr: Expr) -> bool:
    """Whether φ is spelled out as α₋x for x < 0 and α₊x for x > 0: then E φ′² = (α₋² + α₊²)/2 = E φ² and χ = 1
    exactly."""
    parts = pieces(expr)
    polys = [polynomial(part.expr) for part in parts]
    linear = all(poly is not None and poly.degree() <= 1 and poly[0] == 0 for poly in polys)
    return linear and all(part.hi in (None, 0) for part in parts)


def _meeting(kern: Kernel) -> tuple[arb, arb]:
    """ρ* and C′(ρ*) when χ > 1: C(ρ) − ρ is positive before ρ* and negative between ρ* and 1."""
    wider, found = kern, _bisected(kern)
    for n in _ORDERS:
        if found.rad() < _SHARP:
            break
        wider = correlation_kernel(kern.expansion.expr, n, kern.expansion.digits)
        found = _bisected(wider)
    expansion = wider.expansion
    second = expansion.variance + expansion.mean * expansion.mean
    return found, slope(wider, found) * expansion.variance / second


def _bisected(kern: Kernel) -> arb:
    """An enclosure of ρ*."""
    below = next((1 - arb(0.5) ** k for k in range(1, 30) if _excess(kern, 1 - arb(0.5) ** k) < 0), None)
    lo, hi = arb(0), arb(1) if below is None else below
    for _ in range(_HALVINGS):
        middle = ((lo + hi) / 2).mid()
        excess = _excess(kern, middle)
        if not (excess > 0 or excess < 0):
            return _tightened(kern, lo, middle, hi)
        lo, hi = (middle, hi) if excess > 0 else (lo, middle)
    return hull(lo, hi)


def _tightened(kern: Kernel, lo: arb, middle: arb, hi: arb) -> arb:
    """[lo, hi] cut from both ends towards an undecided point."""
    left, right = middle, middle
    for _ in range(_HALVINGS):
        a, b = ((lo + left) / 2).mid(), ((right + hi) / 2).mid()
        lo, left = (a, left) if _excess(kern, a) > 0 else (lo, a)
        right, hi = (right, b) if _excess(kern, b) < 0 else (b, hi)
    return hull(lo, hi)


def _excess(kern: Kernel, rho: arb) -> arb:
    """C(ρ) − ρ, times E φ²."""
    square, variance = kern.expansion.mean * kern.expansion.mean, kern.expansion.variance
    return square + variance * value(kern, rho) - rho * (square + variance)
