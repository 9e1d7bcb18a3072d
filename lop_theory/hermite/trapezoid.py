"""The trapezoid rule on the line for integrands analytic in a strip.

For f analytic in |Im z| ≤ d:  |h Σ_j f(jh) − ∫f| ≤ (∫|f(x + id)|dx + ∫|f(x − id)|dx)/(exp(2πd/h) − 1)
(Trefethen & Weideman 2014, Theorem 5.1). With f = φ·he_k·w, Cauchy–Schwarz and |w(x + iy)| = w(x)exp(y²/2) give

    ∫|f(x ± id)|dx ≤ exp(d²/2)·√(E|φ(Z ± id)|²·E|he_k(Z ± id)|²).

One node grid serves every k; even and odd parts of φ are summed apart over the positive nodes only.
"""

from functools import lru_cache
from typing import NamedTuple

from lop_theory.activations.expression import Expr
from lop_theory.activations.gaussian import CRAMER, hermite_values, recursion_loss, strip_second_moment, weight
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.strip import StripBound, strip_bound
from lop_theory.balls import arb, arb_mat, evaluate, precision, within, working_bits

_PLAN_BITS = 64
_MAX_NODES = 6000
_STEP_UNIT = 512
_LEAST_BITS = 24
_LEAST_STEP = 1e-6
_HALF_WIDTHS = tuple(arb(int(3 * 2**30 * 0.8**k)) / 2**30 for k in range(26))


class Plan(NamedTuple):
    """Nodes 0, h, …, last·h; ``error[k]`` bounds discretisation and truncation for he_k, ``square_error`` for φ²."""

    step: arb
    last: int
    error: tuple[arb, ...]
    square_error: arb


class Grid(NamedTuple):
    """Weighted Hermite values at the nodes: row j holds m_j·h·w(x_j)·he_k(x_j), m_0 = 1 and m_j = 2.

    ``needed_bits`` is the precision at which φ must be known at a node: the weight makes up for the rest.
    """

    nodes: tuple[arb, ...]
    mirrored: tuple[arb, ...]
    needed_bits: tuple[int, ...]
    weights: arb_mat
    even: arb_mat
    odd: arb_mat


def plan(expr: Expr, n: int, bits: int) -> Plan | None:
    """The coarsest grid found whose error is below 2^−bits for k < n, or ``None`` if no strip bound is known."""
    with precision(_PLAN_BITS):
        return _plan(expr, n, bits)


@lru_cache(maxsize=1024)
def _plan(expr: Expr, n: int, bits: int) -> Plan | None:
    best: tuple[float, arb, StripBound] | None = None
    for d in _HALF_WIDTHS:
        bound = strip_bound(expr, d)
        if bound is not None:
            step = float(2 * arb.pi() * d / _exponent(bound, d, n, bits).log1p())
            if step > 0 and (best is None or step > best[0]):
                best = (step, d, bound)
    if best is None:
        return None
    width, d, bound = best
    if width < _LEAST_STEP:
        return None
    step = _dyadic_below(width)
    count = _node_count(bound, step, bits)
    if count is None:
        return None
    return Plan(step, count, *_errors(bound, d, step, count, n))


def _exponent(bound: StripBound, d: arb, n: int, bits: int) -> arb:
    """X such that exp(2πd/h) ≥ 1 + X makes the discretisation error at most 2^−bits for every k < n and for φ²."""
    second = bound.second_moment(d)
    size = second.max((second * strip_second_moment(n - 1, d)).sqrt())
    return (2 * (d * d / 2).exp() * size * arb(2) ** (bits + 1)).upper()


def _dyadic_below(step: float) -> arb:
    """A step ≤ ``step`` from a sparse set of dyadics, so that different activations share grids."""
    unit = _STEP_UNIT
    while step * unit < 32:
        unit *= 2
    return arb(int(step * unit)) / unit


def _node_count(bound: StripBound, step: arb, bits: int) -> int | None:
    """N so large that the dropped nodes |j| > N contribute less than 2^−bits."""
    target = arb(2) ** -(bits + 1)
    reach = (4 * 0.7 * bits) ** 0.5
    while not _tail(bound, arb(reach), quarter=True) < target:
        reach += 0.5
        if reach > _MAX_NODES * float(step):
            return None
    count = int(reach / float(step)) + 1
    return count if count <= _MAX_NODES else None


def _tail(bound: StripBound, x: arb, *, quarter: bool) -> arb:
    """∫ over |t| ≥ x of the bound of φ·he_k·w (weight exp(−t²/4)) or of φ²·w (exp(−t²/2)); decreasing integrands.

    The logarithmic derivative of (1 + t)^p exp(−qt²) is at most −s = p/(1 + x) − 2qx there, so ∫ ≤ f(x)/s.
    """
    p, q = (bound.degree, arb(0.25)) if quarter else (2 * bound.degree, arb(0.5))
    slope = 2 * q * x - arb(p) / (1 + x)
    if not slope > 0:
        return arb.pos_inf()
    factor = CRAMER * bound.factor if quarter else bound.factor**2
    return 2 * factor * (1 + x) ** p * (-q * x * x).exp() / ((2 * arb.pi()).sqrt() * slope)


def _errors(bound: StripBound, d: arb, step: arb, count: int, n: int) -> tuple[tuple[arb, ...], arb]:
    reach = step * count
    second = bound.second_moment(d)
    common = 2 * (d * d / 2).exp() / ((2 * arb.pi() * d / step).exp() - 1)
    tail = _tail(bound, reach, quarter=True)
    per_k = tuple((common * (second * strip_second_moment(k, d)).sqrt() + tail).upper() for k in range(n))
    return per_k, (common * second + _tail(bound, reach, quarter=False)).upper()


@lru_cache(maxsize=32)
def grid(step: arb, count: int, n: int, bits: int) -> Grid:
    """The node grid; computed with enough extra bits that the Hermite recursion loses nothing, then rounded."""
    nodes = tuple(step * j for j in range(count + 1))
    with precision(bits + recursion_loss(float(nodes[-1]), n)):
        scale = [(step if j == 0 else 2 * step) * weight(x) for j, x in enumerate(nodes)]
        rows = [[m * he for he in hermite_values(x, n)] for m, x in zip(scale, nodes, strict=True)]
    with precision(bits):
        return Grid(
            nodes,
            tuple(-x for x in nodes),
            tuple(max(_LEAST_BITS, bits - int(0.36 * float(x) ** 2)) for x in nodes),
            arb_mat([[+m for m in scale]]),
            arb_mat([[+he for he in row[0::2]] for row in rows]),
            arb_mat([[+he for he in row[1::2]] for row in rows]) if n > 1 else arb_mat(count + 1, 0),
        )


def moments(expr: Expr, n: int, bits: int) -> tuple[list[arb], arb] | None:
    """([E φ(Z)he_k(Z) for k < n], E φ(Z)²) with error about 2^−bits, or ``None`` where no strip bound is known."""
    chosen = plan(expr, n, bits)
    if chosen is None:
        return None
    with precision(bits + 16):
        table = grid(chosen.step, chosen.last, n, working_bits())
        phi = real_function(expr)
        right = evaluate(phi, table.nodes, table.needed_bits)
        left = evaluate(phi, table.mirrored, table.needed_bits)
        even = arb_mat([[(r + s) / 2 for r, s in zip(right, left, strict=True)]])
        odd = arb_mat([[(r - s) / 2 for r, s in zip(right, left, strict=True)]])
        coefficients = [arb(0)] * n
        coefficients[0::2] = (even * table.even).entries()
        coefficients[1::2] = (odd * table.odd).entries()
        square = arb_mat([[(r * r + s * s) / 2] for r, s in zip(right, left, strict=True)])
        second = (table.weights * square)[0, 0] + within(chosen.square_error)
        return [c + within(e) for c, e in zip(coefficients, chosen.error, strict=True)], second
