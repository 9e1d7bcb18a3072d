"""A formula as a SymPy expression."""

from typing import Any

from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import ARITHMETIC, Backend, lower


def sympy_expression(expr: Expr, symbol: Any = None) -> Any:
    """φ as a SymPy expression in ``symbol`` (a real symbol x by default)."""
    import sympy as sp

    x = sp.Symbol("x", real=True) if symbol is None else symbol
    table = ARITHMETIC | {
        **{op: getattr(sp, op) for op in "exp log sqrt sin cos tan sinh cosh tanh sign atan asinh erf".split()},
        "abs": sp.Abs,
        "max": sp.Max,
        "min": sp.Min,
        "step": lambda u: sp.Piecewise((1, u >= 0), (0, True)),
        "sigmoid": lambda u: 1 / (1 + sp.exp(-u)),
        "softplus": lambda u: sp.log(1 + sp.exp(u)),
        "relu": lambda u: sp.Max(u, 0),
    }
    rational = lambda q: sp.Rational(int(q.p), int(q.q))  # noqa: E731 - a table entry
    return lower(expr, Backend(table, rational, lambda: sp.pi, lambda b, e: b ** rational(e)))(x)
