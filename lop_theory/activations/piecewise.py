"""Pieces: where a formula switches branch, and what it is between two switches.

``pieces(φ)`` splits the line at every kink or jump whose place is rational and replaces abs, max, min, sign, step and
relu by the branch taken there. A switch whose argument changes sign at an irrational place stays in the expression;
``isolated_pieces`` encloses that place in a tiny interval on a bounded part of the line.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from lop_theory.activations.expression import ONE, ZERO, Expr, neg, num, rebuild, sub
from lop_theory.activations.polynomial_range import has_no_real_root
from lop_theory.activations.real_balls import real_function
from lop_theory.activations.symbolic import KINKED, Parity, derivative, parity, polynomial
from lop_theory.activations.zeros import SIGN_BITS, sign_changes
from lop_theory.balls import arb, fmpq, fmpq_poly, precision


class Piece(NamedTuple):
    """``expr`` on the open interval (lo, hi); ``None`` is the infinite end on that side."""

    lo: fmpq | None
    hi: fmpq | None
    expr: Expr


@lru_cache(maxsize=512)
def pieces(expr: Expr) -> tuple[Piece, ...]:
    """The formula as resolved pieces from left to right."""
    return _merge(_split(expr))


def _split(expr: Expr) -> tuple[Piece, ...]:
    if not expr.args:
        return (Piece(None, None, expr),)
    whole: list[Piece] = []
    for lo, hi, args in _refine([_split(arg) for arg in expr.args]):
        node = rebuild(expr, args)
        whole += _resolve(lo, hi, node) if node.op in KINKED else [Piece(lo, hi, node)]
    return tuple(whole)


def _refine(columns: list[tuple[Piece, ...]]) -> list[tuple[fmpq | None, fmpq | None, tuple[Expr, ...]]]:
    """The common refinement of several splittings."""
    cuts = sorted({piece.hi for column in columns for piece in column if piece.hi is not None})
    ends: list[fmpq | None] = [None, *cuts, None]
    rows = list(pairwise(ends))
    return [(lo, hi, tuple(_at(column, interior(lo, hi)) for column in columns)) for lo, hi in rows]


def _at(column: tuple[Piece, ...], point: fmpq) -> Expr:
    return next(piece.expr for piece in column if piece.hi is None or point < piece.hi)


def interior(lo: fmpq | None, hi: fmpq | None) -> fmpq:
    """A rational inside (lo, hi)."""
    if lo is None:
        return fmpq(0) if hi is None else hi - 1
    return lo + 1 if hi is None else (lo + hi) / 2


def _resolve(lo: fmpq | None, hi: fmpq | None, node: Expr) -> list[Piece]:
    """Split (lo, hi) at the rational sign changes of the switch and take the branch on each part."""
    poly = polynomial(_switch(node))
    if poly is None:
        return [Piece(lo, hi, node)]
    roots, complete = rational_roots(poly)
    inside = [r for r in roots if (lo is None or lo < r) and (hi is None or r < hi)]
    ends = [lo, *inside, hi]
    if not complete:
        return [Piece(a, b, node) for a, b in pairwise(ends)]
    return [Piece(a, b, _branch(node, poly(interior(a, b)))) for a, b in pairwise(ends)]


def _switch(node: Expr) -> Expr:
    """The expression whose sign selects the branch."""
    return sub(*node.args) if len(node.args) == 2 else node.args[0]


def rational_roots(poly: fmpq_poly) -> tuple[list[fmpq], bool]:
    """The rational roots in order, and whether they are all the real roots."""
    if poly.degree() <= 0:
        return [], True
    _, factors = poly.numer().factor()
    roots = sorted(fmpq(-f[0], f[1]) for f, _ in factors if f.degree() == 1)
    return roots, all(f.degree() == 1 or has_no_real_root(fmpq_poly(f)) for f, _ in factors)


def _branch(node: Expr, sign: fmpq) -> Expr:
    first = node.args[0]
    match node.op:
        case "abs":
            return first if sign >= 0 else neg(first)
        case "relu":
            return first if sign >= 0 else ZERO
        case "sign":
            return num((sign > 0) - (sign < 0))
        case "step":
            return ONE if sign >= 0 else ZERO
        case _:
            return node.args[0 if (sign >= 0) == (node.op == "max") else 1]


def _merge(parts: tuple[Piece, ...]) -> tuple[Piece, ...]:
    merged = [parts[0]]
    for part in parts[1:]:
        if part.expr == merged[-1].expr:
            merged[-1] = Piece(merged[-1].lo, part.hi, part.expr)
        else:
            merged.append(part)
    return tuple(merged)


@lru_cache(maxsize=64)
def isolated_pieces(expr: Expr, reach: fmpq, bits: int) -> tuple[Piece, ...]:
    """φ on [−reach, reach] as pieces without switches, but for intervals of width 2^−bits around irrational kinks and
    for parts where a sign could not be settled: there the switches stay."""
    inside: list[Piece] = []
    for part in pieces(expr):
        lo = -reach if part.lo is None else max(part.lo, -reach)
        hi = reach if part.hi is None else min(part.hi, reach)
        if lo < hi:
            inside += _isolated(Piece(lo, hi, part.expr), bits)
    return tuple(inside)


def _isolated(part: Piece, bits: int) -> list[Piece]:
    node = _innermost_switch(part.expr)
    if node is None or part.lo is None or part.hi is None or part.hi - part.lo <= fmpq(1, 2**bits):
        return [part]
    switch = _switch(node)
    around, complete = sign_changes(switch, part.lo, part.hi, bits)
    if not complete:
        return [part]
    ends = [part.lo, *(end for pair in around for end in pair), part.hi]
    done: list[Piece] = []
    for index, (lo, hi) in enumerate(pairwise(ends)):
        if lo < hi:
            sign = None if index % 2 else _sign_at(switch, (lo + hi) / 2, bits)
            inner = part.expr if sign is None else _replaced(part.expr, node, _branch(node, fmpq(sign)))
            found = Piece(lo, hi, inner)
            done += [found] if sign is None else _isolated(found, bits)
    return done


def _sign_at(switch: Expr, x: fmpq, bits: int) -> int | None:
    with precision(SIGN_BITS * bits + 64):
        value = real_function(switch)(arb(x))
    return 1 if value > 0 else -1 if value < 0 else None


def _innermost_switch(expr: Expr) -> Expr | None:
    """A switch whose arguments hold no further one."""
    for arg in expr.args:
        found = _innermost_switch(arg)
        if found is not None:
            return found
    return expr if expr.op in KINKED else None


def _replaced(expr: Expr, old: Expr, new: Expr) -> Expr:
    if expr == old:
        return new
    return rebuild(expr, tuple(_replaced(arg, old, new) for arg in expr.args)) if expr.args else expr


def breakpoints(expr: Expr) -> tuple[fmpq, ...]:
    """Rational places where the formula switches branch (kinks and jumps)."""
    return tuple(piece.hi for piece in pieces(expr) if piece.hi is not None)


def jumps_between(left: Piece, right: Piece) -> bool | None:
    """Whether the value jumps where ``left`` meets ``right``: exact on rational polynomials, else by balls (``None``:
    undecided).
    """
    assert left.hi is not None
    p, q = polynomial(left.expr), polynomial(right.expr)
    if p is not None and q is not None:
        return p(left.hi) != q(left.hi)
    at = arb(left.hi)
    gap = real_function(left.expr)(at) - real_function(right.expr)(at)
    return True if gap != 0 else False if gap.is_zero() else None


def flat_pieces(expr: Expr) -> tuple[Piece, ...]:
    """The pieces on which φ′ = 0 identically, decided on polynomial pieces."""
    return tuple(p for p in pieces(expr) if (d := polynomial(derivative(p.expr))) is not None and d.degree() < 0)


@lru_cache(maxsize=512)
def exact_parity(expr: Expr) -> Parity:
    """Parity up to a constant: by structure, or piece by piece if every piece is a polynomial."""
    structural = parity(expr)
    if structural != "mixed":
        return structural
    parts = [(p.lo, p.hi, polynomial(p.expr)) for p in pieces(expr)]
    return "odd" if _mirrors(parts, -1) else "even" if _mirrors(parts, 1) else "mixed"


def _mirrors(parts: list[tuple[fmpq | None, fmpq | None, fmpq_poly | None]], sign: int) -> bool:
    """Whether φ(−x) = sign·φ(x) + const, comparing each piece with its mirror image."""
    constants: set[fmpq] = set()
    flip = fmpq_poly([0, -1])
    for (lo, hi, p), (low, high, q) in zip(parts, reversed(parts), strict=True):
        if p is None or q is None or _negated(lo) != high or _negated(hi) != low:
            return False
        difference = p(flip) - sign * q
        if difference.degree() > 0:
            return False
        constants.add(difference[0])
    return len(constants) == 1


def _negated(end: fmpq | None) -> fmpq | None:
    return None if end is None else -end
