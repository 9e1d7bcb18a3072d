"""Hermite coefficients by python-flint's ``acb.integral`` (adaptive, Johansson 2018): slow and independent.

It serves the tests and the benchmarks; the library computes with ``hermite.expand``, its checker with ``taylor``.
"""

from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.expression import Expr
from lop_theory.activations.piecewise import pieces
from lop_theory.activations.tails import mass_outside, tail_bounds
from lop_theory.balls import acb, arb, fmpq, ipow, precision, within
from lop_theory.errors import InvalidInput

_EVALUATIONS = 20_000


def coefficient(expr: Expr, k: int, bits: int) -> arb:
    """E φ(Z)he_k(Z) of the raw φ."""
    with precision(bits + 40):
        return _integral(expr, k, bits)


def _integral(expr: Expr, k: int, bits: int) -> arb:
    """∫ φ he_k w over [−X, X] piece by piece, plus a bound for the rest by the growth of φ."""
    reach, outside = _reach(expr, bits)
    total = arb(0)
    for part in pieces(expr):
        lo = -reach if part.lo is None else max(part.lo, -reach)
        hi = reach if part.hi is None else min(part.hi, reach)
        if lo < hi:
            total += _on_piece(part.expr, (lo, hi), k, bits)
    return total + within(outside)


def _on_piece(expr: Expr, ends: tuple[fmpq, fmpq], k: int, bits: int) -> arb:
    phi = complex_function(expr)
    roots = [arb(i).sqrt() for i in range(k + 2)]
    scale = 1 / (2 * arb.pi()).sqrt()

    def integrand(z: acb, _analytic: bool) -> acb:
        below, this = acb(0), acb(1)
        for i in range(k):
            below, this = this, (z * this - roots[i] * below) / roots[i + 1]
        return phi(z) * this * (-(z * z) / 2).exp() * scale

    tolerance = ipow(arb(0.5), bits)
    return acb.integral(
        integrand, acb(ends[0]), acb(ends[1]), rel_tol=tolerance, abs_tol=tolerance, eval_limit=_EVALUATIONS
    ).real


def _reach(expr: Expr, bits: int) -> tuple[fmpq, arb]:
    """X and a bound of the integral beyond ±X, below 2^−bits."""
    reach = fmpq(int((2.8 * bits) ** 0.5) + 2)
    while reach <= 400:
        bounds = tail_bounds(expr, reach)
        outside = arb.pos_inf() if bounds is None else mass_outside(bounds, arb(reach), 1)
        if outside < ipow(arb(0.5), bits):
            return reach, outside
        reach += 4
    raise InvalidInput(
        "formula", str(expr), "is not shown to be square-integrable under N(0,1)", "use a slower function"
    )
