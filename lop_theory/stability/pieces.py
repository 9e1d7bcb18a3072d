"""What forbids a second derivative: a kink at the point, or noise. Seen below autograd, operator by operator.

Every operator with kinks (ReLU, max pooling, |x|, comparisons, …) is smooth on pieces, and shows on which it is: the
sign of its input, the place of a maximum. θ lies on a kink if an arbitrarily small step changes a piece, here one of
1e-9 of the norm to either side along a random direction. A unit that is 0 whatever the weights are does not count.
"""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lop_theory.errors import InvalidInput

STEP = 1e-9
Piece = Callable[[Any, Any], Any]


def _sign(args: Any, _: Any) -> Tensor:
    return args[0].sign()


def _bounds(args: Any, _: Any) -> Tensor:
    low, high = (*args[1:3], None, None)[:2]
    return sum(((args[0] - end).sign() for end in (low, high) if end is not None), torch.zeros_like(args[0]))


def _between(low: float, high: float) -> Piece:
    return lambda args, _: (args[0] - low).sign() + (args[0] - high).sign()


def _difference(args: Any, _: Any) -> Tensor:
    return (args[0] - args[1]).sign()


def _places(args: Any, result: Any) -> Tensor:
    """Of the largest or smallest; of all numbers where the operator tells no place."""
    return result[1] if isinstance(result, tuple) else args[0] == result


def _whole(_: Any, result: Any) -> Tensor:
    return result


def _extreme(args: Any, result: Any) -> Tensor:
    dims, keep = (*args[1:], [], False)[:2]
    wide = result if keep or not dims else _unsqueezed(result, dims, args[0].dim())
    return args[0] == wide


def _unsqueezed(result: Tensor, dims: Any, total: int) -> Tensor:
    for dim in sorted(d % total for d in dims):
        result = result.unsqueeze(dim)
    return result


def _norm(args: Any, result: Any) -> Tensor:
    order = args[1] if len(args) > 1 else 2
    if math.isinf(order):
        return _extreme((args[0].abs(), *args[2:]), result)
    return (args[0] if order < 2 else result).sign()


def _huber(args: Any, _: Any) -> Tensor:
    (width,) = args[3:] or (1.0,)
    return ((args[0] - args[1]).abs() - width).sign()


_PIECES: dict[str, Piece] = {
    **dict.fromkeys(("relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "_prelu_kernel", "elu", "elu_", "celu",
                     "abs", "abs_", "rrelu_with_noise", "sgn", "sign", "heaviside"), _sign),
    **dict.fromkeys(("hardtanh", "hardtanh_", "clamp", "clamp_"), _bounds),
    **dict.fromkeys(("hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_"), _between(-3.0, 3.0)),
    **dict.fromkeys(("softshrink", "hardshrink"), lambda args, _: (args[0].abs() - (*args[1:], 0.5)[0]).sign()),
    **dict.fromkeys(("threshold", "threshold_"), _difference),
    "copysign": lambda args, _: args[0].sign() + 3 * torch.as_tensor(args[1]).sign(),
    "relu6": _between(0.0, 6.0),
    **dict.fromkeys(("clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "maximum", "minimum", "fmax", "fmin"),
                    _difference),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "max", "min", "sort",
                     "topk", "median", "nanmedian", "adaptive_max_pool3d", "cummax", "cummin", "kthvalue"), _places),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "floor", "ceil", "round", "trunc", "argmax", "argmin",
                     "argsort", "bucketize", "searchsorted", "floor_divide"), _whole),
    "frac": lambda args, _: args[0].floor(),
    **dict.fromkeys(("fmod", "remainder"), lambda args, _: (args[0] / args[1]).floor()),
    **dict.fromkeys(("amax", "amin"), _extreme),
    "linalg_vector_norm": _norm,
    **dict.fromkeys(("huber_loss", "smooth_l1_loss"), _huber),
}  # fmt: skip
"""Operator of ATen → what shows the piece, from arguments and result."""


class _Recorder(TorchDispatchMode):
    """The pieces on which a pass lies, in the order of its operators."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        piece = _PIECES.get(name) if _real(args) else None
        kept = args if piece is None or not name.endswith("_") else (args[0].clone(), *args[1:])
        result = func(*args, **(kwargs or {}))
        if piece is not None:
            self.seen.append((name, piece(kept, result)))
        return result


def _real(args: Any) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and args[0].is_floating_point()


def small_step(point: Tensor, seed: int = 0) -> Tensor:
    """A random vector of length ``STEP`` × the point's norm (or ``STEP``, at 0)."""
    draw = torch.randn(point.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(point)
    return STEP * (float(point.norm()) or 1.0) / float(draw.norm()) * draw


def kinked_operators(value: Callable[[Tensor], Any], point: Tensor, *, seed: int = 0) -> tuple[str, ...]:
    """Names of the operators that have a kink at ``point``; ``value`` carries out the forward pass there.

    A tested property: a kink that the random direction does not cross is missed.
    """
    step = small_step(point, seed)
    passes = [_pieces(value, point + shift) for shift in (-step, torch.zeros_like(step), step)]
    found = [
        name
        for (name, below), (_, here), (_, above) in zip(*passes, strict=True)
        if not (torch.equal(below, here) and torch.equal(here, above))
    ]
    return tuple(dict.fromkeys(found))


def _pieces(value: Callable[[Tensor], Any], point: Tensor) -> list[tuple[str, Tensor]]:
    with _Recorder() as recorder:
        value(point)
    return recorder.seen


class _Quiet(TorchDispatchMode):
    """Refuses operators that draw random numbers."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            name = func.overloadpacket.__name__.rstrip("_")
            raise InvalidInput(
                "model", name, "draws random numbers (dropout?): no loss to differentiate", "call model.eval() first"
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def refusing_noise() -> Generator[None]:
    """Within, an operator that draws random numbers raises ``InvalidInput``."""
    with _Quiet():
        yield
