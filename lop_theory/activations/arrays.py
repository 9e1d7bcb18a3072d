"""A formula on float arrays: NumPy and PyTorch, vectorised."""

from collections.abc import Callable, Sequence
from typing import Any

from lop_theory.activations.expression import Expr
from lop_theory.activations.lowering import ARITHMETIC, Backend, lower
from lop_theory.activations.singularities import limit, removable
from lop_theory.balls import as_float, fmpq


def numpy_function(expr: Expr) -> Callable[[Any], Any]:
    """φ on float64 arrays, vectorised."""
    import numpy as np
    from scipy import special

    table = ARITHMETIC | {
        **{op: getattr(np, op) for op in "exp log sqrt sin cos tan sinh cosh tanh sign".split()},
        "atan": np.arctan,
        "asinh": np.arcsinh,
        "abs": np.abs,
        "max": np.maximum,
        "min": np.minimum,
        "erf": special.erf,
        "step": lambda u: np.heaviside(u, 1.0),
        "sigmoid": special.expit,
        "softplus": lambda u: np.logaddexp(0.0, u),
        "relu": lambda u: np.maximum(u, 0.0),
    }
    backend = Backend(table, as_float, lambda: np.pi, lambda b, e: np.power(b, _to_power(e)), None, _numpy_quotient)
    function = lower(expr, backend)
    return lambda x: np.broadcast_to(function(np.asarray(x, dtype=np.float64)), np.shape(x)).copy()


def torch_function(expr: Expr) -> Callable[[Any], Any]:
    """φ on torch tensors of any floating type, differentiable by autograd."""
    import torch
    from torch.nn.functional import softplus

    table = ARITHMETIC | {
        **{
            op: getattr(torch, op)
            for op in "exp log sqrt sin cos tan sinh cosh tanh sign atan asinh erf abs sigmoid relu".split()
        },
        "max": torch.maximum,
        "min": torch.minimum,
        "step": lambda u: (u >= 0).to(u.dtype),
        "softplus": lambda u: softplus(u, threshold=1e9),
    }

    def scalar(value: float) -> Any:
        # A 0-dimensional float64 tensor promotes to the dtype of the tensor it meets.
        return torch.tensor(value, dtype=torch.float64)

    power = lambda b, e: b ** _to_power(e)  # noqa: E731 - a field of the backend
    backend = Backend(table, lambda q: scalar(as_float(q)), lambda: scalar(torch.pi), power, None, _torch_quotient)
    function = lower(expr, backend)
    return lambda x: function(x).to(x).expand_as(x)


def _limits(expr: Expr) -> list[tuple[float, float]]:
    """(place, value) of the removable singularities of a division."""
    return [(as_float(spot.place), float(limit(expr, spot))) for spot in removable(expr)]


def _numpy_quotient(expr: Expr, plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import numpy as np

    limits = _limits(expr)

    def whole(x: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = plain(x)
        for place, value in limits:
            found = np.where(x == place, value, found)
        return found

    return whole if limits else plain


def _torch_quotient(expr: Expr, plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Beside the place the quotient, at the place its limit, with gradient 0 there."""
    import torch

    limits = _limits(expr)

    def whole(x: Any) -> Any:
        gaps = [(x == place, value) for place, value in limits]
        for gap, _ in gaps:
            x = torch.where(gap, torch.full_like(x, 0.7310585786), x)
        found = plain(x)
        for gap, value in gaps:
            found = torch.where(gap, torch.full_like(found, value), found)
        return found

    return whole if limits else plain


def with_values(function: Callable[[Any], Any], values: Sequence[tuple[float, float]]) -> Callable[[Any], Any]:
    """The NumPy function with the given values at the given points."""

    def whole(x: Any) -> Any:
        found = function(x)
        for point, value in values:
            found[x == point] = value
        return found

    return whole if values else function


def with_slopes(function: Callable[[Any], Any], slopes: Sequence[tuple[float, float]]) -> Callable[[Any], Any]:
    """The torch function with the given gradients at the given points."""
    import torch

    def whole(x: Any) -> Any:
        found = function(x)
        for point, slope in slopes:
            at = x == torch.tensor(point, dtype=torch.float64).to(x)
            found = torch.where(at, found.detach() + slope * (x - x.detach()), found)
        return found

    return whole if slopes else function


def _to_power(exponent: fmpq) -> float | int:
    return int(exponent.p) if exponent.q == 1 else as_float(exponent)
