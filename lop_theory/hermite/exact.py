"""Closed forms of λ through SymPy, where they exist (``--exact``).

Two classes: piecewise polynomial·exponential activations, by the same integration by parts as ``recursion`` but in
exact arithmetic; and a short table for sin, cos, gaussian, erf and gelu, whose Gaussian integrals are classical. Each
closed form is compared with the balls by a test.
"""

from typing import Any

from lop_theory.activations.catalogue import Activation
from lop_theory.activations.expression import Expr, is_constant, mul
from lop_theory.activations.piecewise import pieces
from lop_theory.activations.symbolic import affine, polynomial
from lop_theory.activations.symbols import sympy_expression
from lop_theory.balls import fmpq
from lop_theory.errors import InvalidInput

Terms = dict[fmpq, list[Any]]


def strength(act: Activation) -> Any:
    """λ = 1 − a_1² as a SymPy expression. Raises ``InvalidInput`` if no closed form is known."""
    import sympy as sp

    moments = _table(act) or _piecewise(act.expr)
    if moments is None:
        raise InvalidInput(
            "exact",
            act.label,
            "has no known closed form",
            "leave --exact out; the enclosures are rigorous at any --digits",
        )
    mean, second, first = moments
    return sp.simplify(1 - first**2 / (second - mean**2))


def _table(act: Activation) -> tuple[Any, Any, Any] | None:
    """(Eφ, Eφ², E Zφ) for activations outside the piecewise class; unmodulated ones only.

    erf: E erf(αZ)² = (2/π)asin(2α²/(1 + 2α²)) and E Z erf(αZ) = 2α/√(π(1 + 2α²)) (Williams 1997); gelu = Z·Φ(Z) by
    Stein's identity.
    """
    import sympy as sp

    from lop_theory.activations.catalogue import activation

    parameters = dict(act.parameters)
    if (
        activation(act.name, **parameters).expr != act.expr
        if act.name in ("sin", "cos", "gaussian", "erf", "gelu")
        else True
    ):
        return None
    omega = parameters.get("omega", fmpq(1))
    w = sp.Rational(int(omega.p), int(omega.q))
    half = sp.Rational(1, 2)
    zero = sp.Integer(0)
    damped, doubled = sp.exp(-(w**2) / 2), sp.exp(-2 * w**2)
    return {
        "sin": (zero, half * (1 - doubled), w * damped),
        "cos": (damped, half * (1 + doubled), zero),
        "gaussian": (1 / sp.sqrt(2), 1 / sp.sqrt(3), zero),
        "erf": (zero, 2 / sp.pi * sp.asin(sp.Rational(2, 3)), 2 / sp.sqrt(3 * sp.pi)),
        "gelu": (1 / (2 * sp.sqrt(sp.pi)), sp.Rational(1, 3) + 1 / (2 * sp.pi * sp.sqrt(3)), half),
    }[act.name]


def _piecewise(expr: Expr) -> tuple[Any, Any, Any] | None:
    parts = [(part.lo, part.hi, _terms(part.expr), _terms(mul(part.expr, part.expr))) for part in pieces(expr)]
    if any(first is None or second is None for _, _, first, second in parts):
        return None
    mean = sum(_integral(first, lo, hi, 0) for lo, hi, first, _ in parts if first is not None)
    second = sum(_integral(square, lo, hi, 0) for lo, hi, _, square in parts if square is not None)
    linear = sum(_integral(first, lo, hi, 1) for lo, hi, first, _ in parts if first is not None)
    return mean, second, linear


def _rational(value: fmpq) -> Any:
    import sympy as sp

    return sp.Rational(int(value.p), int(value.q))


def _terms(expr: Expr) -> Terms | None:
    """β ↦ coefficients of p for Σ p(x)exp(βx), exact."""
    import sympy as sp

    poly = polynomial(expr)
    if poly is not None:
        return {fmpq(0): [_rational(poly[j]) for j in range(poly.degree() + 1)]}
    if is_constant(expr):
        return {fmpq(0): [sympy_expression(expr)]}
    if expr.op == "exp":
        line = affine(expr.args[0])
        return None if line is None else {line[0]: [sp.exp(_rational(line[1]))]}
    if expr.op in ("add", "mul"):
        a, b = map(_terms, expr.args)
        return None if a is None or b is None else _add(a, b) if expr.op == "add" else _multiply(a, b)
    return None


def _add(a: Terms, b: Terms) -> Terms:
    total = {beta: list(p) for beta, p in a.items()}
    for beta, q in b.items():
        p = total.setdefault(beta, [])
        p += [0] * (len(q) - len(p))
        for j, value in enumerate(q):
            p[j] += value
    return total


def _multiply(a: Terms, b: Terms) -> Terms:
    total: Terms = {}
    for alpha, p in a.items():
        for beta, q in b.items():
            product = [0] * max(len(p) + len(q) - 1, 0)
            for i, x in enumerate(p):
                for j, y in enumerate(q):
                    product[i + j] += x * y
            total = _add(total, {alpha + beta: product})
    return total


def _integral(terms: Terms, lo: fmpq | None, hi: fmpq | None, shift: int) -> Any:
    """∫ x^shift Σ p(x)e^{βx} w(x) dx over (lo, hi)."""
    total = 0
    for beta, poly in terms.items():
        moments = _moments(_rational(beta), len(poly) + shift, lo, hi)
        total += sum(value * moments[j + shift] for j, value in enumerate(poly))
    return total


def _moments(beta: Any, count: int, lo: fmpq | None, hi: fmpq | None) -> list[Any]:
    """∫ x^j e^{βx} w over (lo, hi): I_j = βI_{j−1} + (j−1)I_{j−2} − [x^{j−1}e^{βx}w]."""
    import sympy as sp

    ends = [(sign, _rational(end)) for sign, end in ((1, hi), (-1, lo)) if end is not None]

    def cdf(end: fmpq | None, at_infinity: int) -> Any:
        return at_infinity if end is None else (1 + sp.erf((_rational(end) - beta) / sp.sqrt(2))) / 2

    values = [sp.exp(beta**2 / 2) * (cdf(hi, 1) - cdf(lo, 0))]
    for j in range(1, count + 1):
        edge = sum(s * x ** (j - 1) * sp.exp(beta * x - x**2 / 2) / sp.sqrt(2 * sp.pi) for s, x in ends)
        values.append(beta * values[j - 1] + ((j - 1) * values[j - 2] if j > 1 else 0) - edge)
    return values
