"""Hermite coefficients of piecewise Σ polynomial·exponential functions by integration by parts, free of quadrature.

With he_k w = −(he_{k−1} w)′/√k, the integrals I_{j,k} = ∫_u^v x^j e^{βx} he_k(x) w(x) dx obey

    √k·I_{j,k} = −[x^j e^{βx} he_{k−1} w]_u^v + j·I_{j−1,k−1} + β·I_{j,k−1},

and I_{j,0} follows from (e^{βx} w)′ = (β − x)e^{βx} w and the error function.
"""

from functools import lru_cache

from lop_theory.activations.ball_table import ball_polynomial
from lop_theory.activations.expression import Expr, is_constant, mul
from lop_theory.activations.gaussian import CRAMER, hermite_values, normal_cdf, recursion_loss, weight
from lop_theory.activations.piecewise import Piece, pieces
from lop_theory.activations.symbolic import affine
from lop_theory.balls import arb, arb_poly, as_float, fmpq, ipow, precision, within, working_bits

Terms = dict[fmpq, arb_poly]
"""β ↦ p stands for Σ p(x)·exp(βx)."""

_MAX_TERMS = 64
_MAX_BITS = 20_000


@lru_cache(maxsize=512)
def applies(expr: Expr) -> bool:
    """Whether every piece of φ is a sum of polynomial·exponential terms."""
    return all(terms(part.expr) is not None for part in pieces(expr))


def moments(expr: Expr, n: int, bits: int) -> tuple[list[arb], arb]:
    """([E φ(Z)he_k(Z) for k < n], E φ(Z)²) with error below 2^−bits, for φ to which the recursion ``applies``."""
    parts = pieces(expr)
    squares = tuple(Piece(part.lo, part.hi, mul(part.expr, part.expr)) for part in parts)
    return _settled(parts, n, bits), _settled(squares, 1, bits)[0]


def _settled(parts: tuple[Piece, ...], n: int, bits: int) -> list[arb]:
    """Σ over pieces, at rising precision until every radius is below 2^−bits."""
    ends = [abs(as_float(end)) for part in parts for end in (part.lo, part.hi) if end is not None]
    extra = 32
    while True:
        near = [size for size in ends if not _is_far(size, bits + extra)]
        extra += recursion_loss(max(near, default=0.0), n)
        with precision(bits + extra):
            totals = [arb(0)] * n
            for part in parts:
                totals = [t + c for t, c in zip(totals, _piece(part, n), strict=True)]
            if all(t.rad() < arb(2) ** -bits for t in totals) or bits + extra > _MAX_BITS:
                return totals
        extra *= 2


def terms(expr: Expr) -> Terms | None:
    """The expression as Σ p(x)·exp(βx) with rational β, or ``None``."""
    poly = ball_polynomial(expr)
    if poly is not None:
        return {fmpq(0): poly}
    match expr.op:
        case "exp":
            line = affine(expr.args[0])
            return None if line is None else {line[0]: arb_poly([arb(line[1]).exp()])}
        case "add" | "mul":
            a, b = map(terms, expr.args)
            return None if a is None or b is None else (_sum if expr.op == "add" else _product)(a, b)
        case "div" if is_constant(expr.args[1]):
            a, b = terms(expr.args[0]), ball_polynomial(expr.args[1])
            return None if a is None or b is None else {beta: p * arb_poly([1 / b[0]]) for beta, p in a.items()}
        case "pow" if expr.number.q == 1 and 0 < expr.number <= 8:
            return _power(terms(expr.args[0]), int(expr.number.p))
        case _:
            return None


def _sum(a: Terms, b: Terms) -> Terms:
    return {beta: a.get(beta, arb_poly()) + b.get(beta, arb_poly()) for beta in a | b}


def _product(a: Terms, b: Terms) -> Terms | None:
    if len(a) * len(b) > _MAX_TERMS:
        return None
    total: Terms = {}
    for alpha, p in a.items():
        for beta, q in b.items():
            total[alpha + beta] = total.get(alpha + beta, arb_poly()) + p * q
    return total


def _power(base: Terms | None, exponent: int) -> Terms | None:
    result = base
    for _ in range(exponent - 1):
        result = None if result is None or base is None else _product(result, base)
    return result


def _piece(part: Piece, n: int) -> list[arb]:
    """[∫ over the piece of φ·he_k·w for k < n]."""
    ends = [(sign, _Boundary(arb(end), n)) for sign, end in ((1, part.hi), (-1, part.lo)) if end is not None]
    total = [arb(0)] * n
    for beta, poly in (terms(part.expr) or {}).items():
        for j, column in enumerate(_monomials(arb(beta), poly.degree(), ends, n, part)):
            coefficient = poly[j]
            total = [t + coefficient * c for t, c in zip(total, column, strict=True)]
    return total


def _is_far(size: float, bits: int) -> bool:
    """Whether w(x)he_k(x) is negligible at ``bits`` bits for every k: exp(−x²/4) < 2^−2·bits (Cramér)."""
    return 0.36 * size * size > 2 * bits


class _Boundary:
    """A finite end x of a piece, with w(x) and he_0(x) … he_{n−1}(x); far out, |he_k| ≤ CRAMER·exp(x²/4) is enough."""

    def __init__(self, x: arb, n: int) -> None:
        self.x = x
        self.weight = weight(x)
        if _is_far(float(abs(x)), working_bits()):
            self.hermite = [arb(1)] + [within(CRAMER * (x * x / 4).exp())] * (max(n, 2) - 1)
        else:
            self.hermite = hermite_values(x, max(n, 2))


def _monomials(beta: arb, degree: int, ends: list[tuple[int, _Boundary]], n: int, part: Piece) -> list[list[arb]]:
    """I_{j,k} for j ≤ degree and k < n."""
    edges = [(end, sign * (beta * end.x).exp() * end.weight) for sign, end in ends]
    start = _zeroth(beta, degree, edges, part)
    columns: list[list[arb]] = []
    roots = [arb(k).sqrt() for k in range(n)]
    for j in range(degree + 1):
        scaled = [(end.hermite, size * ipow(end.x, j)) for end, size in edges]
        column = [start[j]]
        for k in range(1, n):
            value = beta * column[k - 1] - sum((s * he[k - 1] for he, s in scaled), arb(0))
            if j:
                value += j * columns[j - 1][k - 1]
            column.append(value / roots[k])
        columns.append(column)
    return columns


def _zeroth(beta: arb, degree: int, edges: list[tuple[_Boundary, arb]], part: Piece) -> list[arb]:
    """I_{j,0} for j ≤ degree: I_{j} = β I_{j−1} + (j−1) I_{j−2} − [x^{j−1} e^{βx} w]."""
    upper = arb(1) if part.hi is None else normal_cdf(arb(part.hi) - beta)
    lower = arb(0) if part.lo is None else normal_cdf(arb(part.lo) - beta)
    values = [(beta * beta / 2).exp() * (upper - lower)]
    for j in range(1, degree + 1):
        boundary = sum((size * ipow(end.x, j - 1) for end, size in edges), arb(0))
        values.append(beta * values[j - 1] + ((j - 1) * values[j - 2] if j > 1 else 0) - boundary)
    return values
