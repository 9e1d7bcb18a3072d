"""Gauss–Legendre quadrature on panels with a rigorous error bound: the general route for formulas.

On a panel [c − r, c + r] where φ is analytic on the Bernstein ellipse E_ρ, m-point Gauss–Legendre errs by at most
r·(64/15)·M·ρ^{−2(m−1)}/(1 − ρ^{−2}) with M = sup_{E_ρ}|f|  (Trefethen, Approximation Theory and Approximation
Practice, Thm 19.3). M is bounded by one complex-ball evaluation of φ over the rectangle around the ellipse; a panel
where that is not finite (a kink, a pole, a branch point nearby) is bisected, and a panel that has become tiny is
enclosed by its width times the range of φ. Beyond ±X the tail is bounded by the growth of φ (``tails.tail_bounds``).
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from lop_theory.activations.complex_boxes import complex_function
from lop_theory.activations.expression import Expr
from lop_theory.activations.gaussian import CRAMER, hermite_values, off_axis_factor, recursion_loss, weight
from lop_theory.activations.piecewise import isolated_pieces
from lop_theory.activations.ranges import extended_range
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.tails import TailBound, mass_outside, tail_bounds
from lop_theory.balls import acb, arb, arb_mat, as_float, fmpq, precision, within, working_bits
from lop_theory.errors import InvalidInput

_RHO = 4
_SEMI_MAJOR, _SEMI_MINOR = fmpq(_RHO**2 + 1, 2 * _RHO), fmpq(_RHO**2 - 1, 2 * _RHO)
_MAX_PANELS = 6000
_MAX_REACH = 200
_BOUND_BITS = 64
_HOPEFUL = fmpq(1, 2**12)
_PANEL_BITS = 48  # beyond the target: a panel of width 2^−bits keeps digits at |x| up to 200


class _Branch(NamedTuple):
    """A piece's expression, lowered once for all its panels."""

    expr: Expr
    on_boxes: Callable[[acb], acb]
    on_balls: Callable[[arb], arb]


class Panel(NamedTuple):
    """[lo, hi] with its branch-free expression; ``size`` bounds |φ| on the rectangle around the ellipse, ``None``
    marks a tiny panel that is enclosed by its range."""

    lo: fmpq
    hi: fmpq
    branch: _Branch
    size: arb | None


def moments(expr: Expr, n: int, bits: int) -> tuple[list[arb], arb]:
    """([E φ(Z)he_k(Z) for k < n], E φ(Z)²) with error about 2^−bits.

    Raises ``InvalidInput`` if φ is undefined or unbounded at some place, or is not shown to be square-integrable.
    """
    with precision(_BOUND_BITS):
        reach, tails = _reach(expr, bits)
    with precision(2 * bits + _PANEL_BITS):  # twice, to tell both sides of a double zero from it
        panels = _panels(expr, reach, bits)
    with precision(bits + _PANEL_BITS):
        totals, second = arb_mat(1, n), arb(0)
        for panel in panels:
            column, square = _tiny(panel, expr, n) if panel.size is None else _gauss(panel, n, bits)
            totals, second = totals + column, second + square
        linear, squared = within(mass_outside(tails, arb(reach), 1)), within(mass_outside(tails, arb(reach), 2))
        return [t + linear for t in totals.entries()], second + squared


# ---- the tails ----


def _reach(expr: Expr, bits: int) -> tuple[fmpq, list[TailBound]]:
    """X and the growth bounds such that what lies beyond ±X contributes less than 2^−bits."""
    target = arb(2) ** -(bits + 2)
    reach = nearest = fmpq(int(4 * (2.8 * bits) ** 0.5), 4)
    while reach <= _MAX_REACH:
        bounds = tail_bounds(expr, reach)
        if (
            bounds is not None
            and mass_outside(bounds, arb(reach), 1) < target
            and mass_outside(bounds, arb(reach), 2) < target
        ):
            return reach, bounds
        reach += fmpq(1, 4) if reach < nearest + 1 else 4
    for panel in _panels(expr, fmpq(8), 30):  # an undefined place explains more than a missing growth bound
        if panel.size is None:
            _tiny(panel, expr, 1)
    raise _not_integrable(expr, tail_bounds(expr, fmpq(_MAX_REACH)))


def _not_integrable(expr: Expr, bounds: list[TailBound] | None) -> InvalidInput:
    requirement = "is not shown to be square-integrable under N(0,1)"
    if bounds is not None and any(bound.quadratic >= 0.25 for bound in bounds):
        worst = max(float(bound.quadratic) for bound in bounds)
        requirement += f": it may grow like exp({worst:.3g}·x²) and the limit is exp(x²/4)"
    return InvalidInput("formula", str(expr), requirement, "use a function that grows more slowly")


# ---- the panels ----


def _panels(expr: Expr, reach: fmpq, bits: int) -> list[Panel]:
    stack = [
        (u, v, branch)
        for part in isolated_pieces(expr, reach, bits + 10)
        if part.lo is not None and part.hi is not None
        for branch in [_Branch(part.expr, complex_function(part.expr), real_function(part.expr))]
        for u, v in _unit_cells(part.lo, part.hi)
    ]
    done: list[Panel] = []
    narrowest = fmpq(1, 2 ** (bits + 8))
    while stack:
        lo, hi, branch = stack.pop()
        size = _size_near(branch.on_boxes, lo, hi) if hi - lo >= narrowest else None
        if size is not None or hi - lo < narrowest or _is_negligible(branch.expr, lo, hi, bits):
            done.append(Panel(lo, hi, branch, size))
            continue
        middle = (lo + hi) / 2
        _require_defined(expr, branch, middle)
        stack += [(lo, middle, branch), (middle, hi, branch)]
        if len(stack) + len(done) > _MAX_PANELS:
            raise InvalidInput(
                "formula", str(expr), f"needs more than {_MAX_PANELS} panels near x = {_show(middle)}",
                "use a smaller scale, fewer digits or a smoother function",
            )  # fmt: skip
    return done


def _is_negligible(branch: Expr, lo: fmpq, hi: fmpq, bits: int) -> bool:
    """Whether width times range is far below the target, so that a panel beside a kink need not be cut further."""
    if hi - lo > _HOPEFUL and abs(lo + hi) < 20:
        return False
    with precision(_BOUND_BITS):
        values = extended_range(branch, lo, hi)
        size = arb.pos_inf() if values is None else values.lo.abs_upper().max(values.hi.abs_upper())
        return size.is_finite() and all(part < arb(2) ** -(bits + 12) for part in _crude(lo, hi, size))


def _unit_cells(lo: fmpq, hi: fmpq) -> list[tuple[fmpq, fmpq]]:
    inner = range(int(lo.floor()) + 1, int(hi.ceil()))
    return list(pairwise([lo, *map(fmpq, inner), hi]))


def _size_near(on_boxes: Callable[[acb], acb], lo: fmpq, hi: fmpq) -> arb | None:
    """A bound of |φ| on the rectangle around the Bernstein ellipse of [lo, hi], or ``None`` where φ may not be
    analytic.
    """
    centre, radius = arb((lo + hi) / 2), (hi - lo) / 2
    box = acb(centre + within(arb(radius * _SEMI_MAJOR)), within(arb(radius * _SEMI_MINOR)))
    value = on_boxes(box)
    size = value.abs_upper() if value.is_finite() else None
    weight_up = (-(_nearest_to_zero((lo + hi) / 2, radius * _SEMI_MAJOR) ** 2) / 4).exp()
    return size if size is not None and size * weight_up < 2 ** (_BOUND_BITS * 4) else None


def _require_defined(expr: Expr, branch: _Branch, x: fmpq) -> None:
    if not branch.on_balls(arb(x)).is_finite() and extended_range(branch.expr, x, x) is None:
        raise InvalidInput(
            "formula", str(expr), f"is undefined or unbounded near x = {_show(x)}", "φ must be finite on the whole line"
        )


def _show(x: fmpq) -> str:
    return f"{as_float(x):.6g}"


def _tiny(panel: Panel, whole: Expr, n: int) -> tuple[arb_mat, arb]:
    """Width times range times what bounds he_k·w and w. The whole formula may know better than its branch that a root's
    argument is not negative."""
    values = extended_range(panel.branch.expr, panel.lo, panel.hi) or extended_range(whole, panel.lo, panel.hi)
    size = arb.pos_inf() if values is None else values.lo.abs_upper().max(values.hi.abs_upper())
    if not size.is_finite():
        raise InvalidInput(
            "formula", str(whole), f"is undefined or unbounded near x = {_show(panel.lo)}",
            "φ must be finite on the whole line",
        )  # fmt: skip
    linear, squared = _crude(panel.lo, panel.hi, size)
    return arb_mat([[within(linear)] * n]), within(squared)


def _crude(lo: fmpq, hi: fmpq, size: arb) -> tuple[arb, arb]:
    """Bounds of ∫|φ he_k|w (Cramér) and ∫φ²w over [lo, hi] where |φ| ≤ size."""
    nearest = _nearest_to_zero((lo + hi) / 2, (hi - lo) / 2)
    width = arb(hi - lo) / (2 * arb.pi()).sqrt()
    return width * size * CRAMER * (-(nearest**2) / 4).exp(), width * size * size * (-(nearest**2) / 2).exp()


# ---- Gauss–Legendre on one panel ----


def _gauss(panel: Panel, n: int, bits: int) -> tuple[arb_mat, arb]:
    assert panel.size is not None
    linear, squared, count = _panel_error(panel.lo, panel.hi, panel.size, n, bits)
    table = _panel_grid(panel.lo, panel.hi, count, n, working_bits())
    values = [panel.branch.on_balls(x) for x in table.nodes]
    row = arb_mat([values]) * table.hermite
    square = arb_mat([[v * v for v in values]]) * table.weights
    return row + arb_mat([[linear] * n]), square[0, 0] + squared


def _panel_error(lo: fmpq, hi: fmpq, size: arb, n: int, bits: int) -> tuple[arb, arb, int]:
    """(error ball for φ·he_k·w, the same for φ²·w, number of nodes)."""
    radius = (hi - lo) / 2
    with precision(_BOUND_BITS):
        height = arb(radius * _SEMI_MINOR)
        nearest = _nearest_to_zero((lo + hi) / 2, radius * _SEMI_MAJOR)
        weight_up = (height**2 / 2).exp() / (2 * arb.pi()).sqrt()
        linear = size * CRAMER * off_axis_factor(n - 1, height.upper()) * weight_up * (-(nearest**2) / 4).exp()
        squared = size**2 * weight_up * (-(nearest**2) / 2).exp()
        common = arb(radius) * 64 / 15 / (1 - arb(_RHO) ** -2)
        worst = (common * linear.max(squared)).upper()
        count = (
            2 if worst < arb(2) ** -(bits + 8) else 2 + int(float((worst.log() / arb(2).log()).upper()) + bits + 8) // 4
        )
        shrink = common * arb(_RHO) ** (-2 * (count - 1))
        return within(shrink * linear), within(shrink * squared), count


def _nearest_to_zero(centre: fmpq, half: fmpq) -> arb:
    gap = abs(centre) - half
    return arb(gap) if gap > 0 else arb(0)


class _PanelGrid(NamedTuple):
    nodes: tuple[arb, ...]
    weights: arb_mat
    hermite: arb_mat


@lru_cache(maxsize=512)
def _panel_grid(lo: fmpq, hi: fmpq, count: int, n: int, bits: int) -> _PanelGrid:
    centre, radius = (lo + hi) / 2, (hi - lo) / 2
    farthest = max(abs(as_float(lo)), abs(as_float(hi)))
    nodes: list[arb] = []
    weights: list[list[arb]] = []
    rows: list[list[arb]] = []
    with precision(bits + recursion_loss(farthest, n)):
        for t, gauss in _legendre(count, working_bits()):
            x = centre + radius * t
            mass = radius * gauss * weight(x)
            nodes.append(x)
            weights.append([mass])
            rows.append([mass * he for he in hermite_values(x, max(n, 2))[:n]])
    return _PanelGrid(tuple(nodes), arb_mat(weights), arb_mat(rows))


@lru_cache(maxsize=64)
def _legendre(count: int, bits: int) -> tuple[tuple[arb, arb], ...]:
    del bits  # part of the cache key
    return tuple(arb.legendre_p_root(count, i, weight=True) for i in range(count))
