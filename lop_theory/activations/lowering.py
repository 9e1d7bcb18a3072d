"""Lowering an expression to functions: real balls, complex balls, exact rationals, NumPy, PyTorch, SymPy.

One walk over the nodes serves every target; a target is a table from operation to function and a constant maker.
Conventions at a kink: step(0) = 1, sign(0) = 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lop_theory.activations.formula import Expr, is_constant
from lop_theory.balls import acb, arb, arb_poly, fmpq, ipow
from lop_theory.errors import InvalidInput

Function = Callable[[Any], Any]


class Backend(NamedTuple):
    """``table`` maps an operation to a function of its arguments, ``constant`` embeds a rational, ``power`` raises to
    one.
    """

    table: Mapping[str, Callable[..., Any]]
    constant: Callable[[fmpq], Any]
    pi: Callable[[], Any]
    power: Callable[[Any, fmpq], Any]


def lower(expr: Expr, backend: Backend) -> Function:
    """The function x ↦ expr(x) over the backend's numbers. Constants are embedded once, at the precision in force."""
    if expr.op == "x":
        return lambda x: x
    if is_constant(expr):
        constant = _constant(expr, backend)
        return lambda _x: constant
    if expr.op == "pow":
        base, exponent, raise_to = lower(expr.args[0], backend), expr.number, backend.power
        return lambda x: raise_to(base(x), exponent)
    return _apply(backend.table[expr.op], expr.args, backend)


def _constant(expr: Expr, backend: Backend) -> Any:
    """The value of an expression without x; a complex one is the real one, so that a constant never meets a cut."""
    if backend is COMPLEX:
        return acb(_constant(expr, REAL))
    if expr.op == "num":
        return backend.constant(expr.number)
    if expr.op == "pi":
        return backend.pi()
    values = [_constant(arg, backend) for arg in expr.args]
    return backend.power(values[0], expr.number) if expr.op == "pow" else backend.table[expr.op](*values)


def _apply(function: Callable[..., Any], args: tuple[Expr, ...], backend: Backend) -> Function:
    if len(args) == 1:
        (inner,) = args
        if inner.op == "x":
            return function
        argument = lower(inner, backend)
        return lambda x: function(argument(x))
    if is_constant(args[0]):
        constant, argument = _constant(args[0], backend), lower(args[1], backend)
        return lambda x: function(constant, argument(x))
    if is_constant(args[1]):
        argument, constant = lower(args[0], backend), _constant(args[1], backend)
        return lambda x: function(argument(x), constant)
    first, second = (lower(arg, backend) for arg in args)
    return lambda x: function(first(x), second(x))


def _integer_power(base: Any, exponent: fmpq) -> Any:
    return base ** int(exponent.p)


# ---- arithmetic shared by every target that overloads the operators ----
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}

# ---- real balls ----
_NAN = arb.nan()


def _arb_sign(u: arb) -> arb:
    return u.sgn()


def _arb_step(u: arb) -> arb:
    return arb(1) if u >= 0 else arb(0) if u < 0 else arb(0.5, 0.5)


def _arb_sigmoid(u: arb) -> arb:
    return 1 / (1 + (-u).exp())


def _arb_softplus(u: arb) -> arb:
    return u + (-u).exp().log1p() if u > 0 else u.exp().log1p()


def _arb_power(base: arb, exponent: fmpq) -> arb:
    root = _arb_root(base, int(exponent.q))
    p = int(exponent.p)
    return ipow(root, p) if p > 0 else 1 / ipow(root, -p)


def _arb_root(base: arb, q: int) -> arb:
    if q == 1:
        return base
    if q == 2:
        return base.sqrt()
    return base.root(q) if base > 0 else arb(0) if base.is_zero() else _NAN


REAL = Backend(
    _ARITHMETIC
    | {
        "exp": arb.exp,
        "log": arb.log,
        "sqrt": arb.sqrt,
        "sin": arb.sin,
        "cos": arb.cos,
        "tan": arb.tan,
        "sinh": arb.sinh,
        "cosh": arb.cosh,
        "tanh": arb.tanh,
        "atan": arb.atan,
        "erf": arb.erf,
        "abs": abs,
        "max": lambda a, b: a.max(b),
        "min": lambda a, b: a.min(b),
        "sign": _arb_sign,
        "step": _arb_step,
        "sigmoid": _arb_sigmoid,
        "softplus": _arb_softplus,
        "relu": lambda u: u.max(arb(0)),
    },
    arb,
    arb.pi,
    _arb_power,
)


def ball_polynomial(expr: Expr) -> arb_poly | None:
    """The polynomial that the expression spells out, with balls for coefficients such as √2; ``None`` for anything
    else.
    """
    if is_constant(expr):
        return arb_poly([real_function(expr)(arb(0))])
    if expr.op == "x":
        return arb_poly([0, 1])
    if expr.op == "pow":
        base = ball_polynomial(expr.args[0])
        whole = expr.number.q == 1 and expr.number > 0
        return base ** int(expr.number.p) if base is not None and whole else None
    if expr.op not in _ARITHMETIC:
        return None
    a, b = map(ball_polynomial, expr.args)
    if a is None or b is None or (expr.op == "div" and b.length() != 1):
        return None
    return a * arb_poly([1 / b[0]]) if expr.op == "div" else _ARITHMETIC[expr.op](a, b)


# ---- complex balls: finite only where the function is analytic on the whole box ----
_ACB_NAN = acb(_NAN, _NAN)


def _pick(switch: acb, positive: Any, negative: Any) -> acb:
    """The branch that the sign of Re(switch) selects; not finite if the box meets the switching line."""
    return acb(positive) if switch.real > 0 else acb(negative) if switch.real < 0 else _ACB_NAN


def _off_cut(u: acb) -> bool:
    return bool(u.real > 0) or bool(u.imag > 0) or bool(u.imag < 0)


def _acb_log(u: acb) -> acb:
    return u.log() if _off_cut(u) else _ACB_NAN


def _acb_atan(u: acb) -> acb:
    return u.atan() if abs(u.imag) < 1 or bool(u.real > 0) or bool(u.real < 0) else _ACB_NAN


def _acb_power(base: acb, exponent: fmpq) -> acb:
    if exponent.q == 1:
        return base ** int(exponent.p)
    return (base.log() * exponent).exp() if _off_cut(base) else _ACB_NAN


COMPLEX = Backend(
    _ARITHMETIC
    | {
        "exp": acb.exp,
        "log": _acb_log,
        "sqrt": lambda u: u.sqrt() if _off_cut(u) else _ACB_NAN,
        "sin": acb.sin,
        "cos": acb.cos,
        "tan": acb.tan,
        "sinh": acb.sinh,
        "cosh": acb.cosh,
        "tanh": acb.tanh,
        "atan": _acb_atan,
        "erf": acb.erf,
        "abs": lambda u: _pick(u, u, -u),
        "max": lambda a, b: _pick(a - b, a, b),
        "min": lambda a, b: _pick(a - b, b, a),
        "sign": lambda u: _pick(u, 1, -1),
        "step": lambda u: _pick(u, 1, 0),
        "sigmoid": lambda u: 1 / (1 + (-u).exp()),
        "softplus": lambda u: u + _acb_log(1 + (-u).exp()) if u.real > 0 else _acb_log(1 + u.exp()),
        "relu": lambda u: _pick(u, u, 0),
    },
    acb,
    acb.pi,
    _acb_power,
)


# ---- exact rationals: the piecewise rational operations only ----
def _exact_power(base: fmpq, exponent: fmpq) -> fmpq:
    if exponent.q != 1:
        raise _not_exact(f"**({exponent})")
    return _integer_power(base, exponent)


def _not_exact(op: str) -> InvalidInput:
    return InvalidInput(
        "operation", op, "is not exact on rationals", "use a piecewise polynomial activation such as relu"
    )


def _refuse_pi() -> fmpq:
    raise _not_exact("pi")


EXACT = Backend(
    _ARITHMETIC
    | {
        "abs": abs,
        "max": max,
        "min": min,
        "sign": lambda u: fmpq((u > 0) - (u < 0)),
        "step": lambda u: fmpq(int(u >= 0)),
        "relu": lambda u: max(u, fmpq(0)),
    },
    fmpq,
    _refuse_pi,
    _exact_power,
)


def exact_function(expr: Expr) -> Callable[[fmpq], fmpq]:
    """φ on exact rationals. Raises ``InvalidInput`` if an operation leaves the rationals."""
    _require_exact(expr)
    return lower(expr, EXACT)


def _require_exact(expr: Expr) -> None:
    if expr.op not in EXACT.table and expr.op not in ("x", "num") and not (expr.op == "pow" and expr.number.q == 1):
        raise _not_exact(expr.op)
    for arg in expr.args:
        _require_exact(arg)


def real_function(expr: Expr) -> Callable[[arb], arb]:
    """φ on real balls, at the precision in force now."""
    return lower(expr, REAL)


def complex_function(expr: Expr) -> Callable[[acb], acb]:
    """φ on complex boxes; a finite value means that φ is analytic on the box."""
    return lower(expr, COMPLEX)


def numpy_function(expr: Expr) -> Callable[[Any], Any]:
    """φ on float64 arrays, vectorised."""
    import numpy as np
    from scipy import special

    table = _ARITHMETIC | {
        **{op: getattr(np, op) for op in "exp log sqrt sin cos tan sinh cosh tanh sign".split()},
        "atan": np.arctan,
        "abs": np.abs,
        "max": np.maximum,
        "min": np.minimum,
        "erf": special.erf,
        "step": lambda u: np.heaviside(u, 1.0),
        "sigmoid": special.expit,
        "softplus": lambda u: np.logaddexp(0.0, u),
        "relu": lambda u: np.maximum(u, 0.0),
    }
    function = lower(expr, Backend(table, _to_float, lambda: np.pi, lambda b, e: np.power(b, _to_power(e))))
    return lambda x: np.broadcast_to(function(np.asarray(x, dtype=np.float64)), np.shape(x)).copy()


def torch_function(expr: Expr) -> Callable[[Any], Any]:
    """φ on torch tensors of any floating type, differentiable by autograd."""
    import torch
    from torch.nn.functional import softplus

    table = _ARITHMETIC | {
        **{
            op: getattr(torch, op)
            for op in "exp log sqrt sin cos tan sinh cosh tanh sign atan erf abs sigmoid relu".split()
        },
        "max": torch.maximum,
        "min": torch.minimum,
        "step": lambda u: (u >= 0).to(u.dtype),
        "softplus": lambda u: softplus(u, threshold=1e9),
    }

    def scalar(value: float) -> Any:
        # A 0-dimensional float64 tensor promotes to the dtype of the tensor it meets.
        return torch.tensor(value, dtype=torch.float64)

    backend = Backend(table, lambda q: scalar(_to_float(q)), lambda: scalar(torch.pi), lambda b, e: b ** _to_power(e))
    function = lower(expr, backend)
    return lambda x: function(x).to(x).expand_as(x)


def sympy_expression(expr: Expr, symbol: Any = None) -> Any:
    """φ as a SymPy expression in ``symbol`` (a real symbol x by default)."""
    import sympy as sp

    x = sp.Symbol("x", real=True) if symbol is None else symbol
    table = _ARITHMETIC | {
        **{op: getattr(sp, op) for op in "exp log sqrt sin cos tan sinh cosh tanh sign atan erf".split()},
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


def _to_float(value: fmpq) -> float:
    return int(value.p) / int(value.q)


def _to_power(exponent: fmpq) -> float | int:
    return int(exponent.p) if exponent.q == 1 else _to_float(exponent)
