"""What PyTorch's functions do to units: which are elementwise, which move dimensions, which are weighted sums."""

from collections.abc import Mapping
from math import prod
from typing import Any

from torch import Tensor

ACTIVATIONS = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish softplus hardtanh hardswish hardsigmoid hardshrink softshrink "
    "sigmoid logsigmoid log_sigmoid tanh threshold prelu rrelu softsign tanhshrink erf".split()
)
NONLINEAR = frozenset(
    "pow square sqrt rsqrt exp exp2 expm1 log log1p log2 reciprocal abs sign sin cos tan atan sinh cosh asinh erfc "
    "sinc clamp clamp_min clamp_max clip maximum minimum fmax fmin where addcmul addcdiv lerp floor ceil round frac "
    "eq ne lt le gt ge logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or and or nan_to_num "
    "heaviside hypot logaddexp atan2 softclip".split()
)
LINEAR = frozenset("add sub rsub mul div neg masked_fill positive".split())
CARRIED = frozenset(
    "view reshape view_as reshape_as flatten unflatten transpose swapaxes swapdims t permute movedim moveaxis squeeze "
    "unsqueeze expand expand_as contiguous clone to float double half bfloat16 type type_as detach alias getitem "
    "__get__ chunk split unbind narrow select slice roll flip unsafe_chunk unsafe_split split_with_sizes "
    "tensor_split".split()
)
REDUCED = frozenset("mean sum var std norm amax amin max min prod logsumexp any all argmax argmin".split())
PLAIN = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d".split()
)
SLICED = frozenset("chunk split unbind narrow select slice getitem".split())
RECURRENT = frozenset("lstm gru rnn_tanh rnn_relu".split())
SYNONYMS = {
    "multiply": "mul", "rmul": "mul", "imul": "mul", "divide": "div", "true_divide": "div", "truediv": "div",
    "rtruediv": "div", "rdiv": "div", "itruediv": "div", "radd": "add", "iadd": "add", "isub": "sub", "rpow": "pow",
    "ipow": "pow", "subtract": "sub", "negative": "neg", "rmatmul": "matmul",
}  # fmt: skip


def name_of(func: Any) -> str:
    """The operator's plain name: ``relu_`` is ``relu``, ``__rsub__`` is ``rsub``."""
    name = str(getattr(func, "__name__", func)).partition(".")[0]  # an ATen overload is called add.Tensor
    if name == "__get__":
        return name
    name = name.strip("_")
    return SYNONYMS.get(name, name)


def tensors_of(items: Any) -> list[Tensor]:
    """Tensors among arguments and inside lists of them."""
    found: list[Tensor] = []
    for item in items:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            found += tensors_of(item)
    return found


def carried_dim(name: str, before: Tensor, after: Tensor, dim: int | None) -> int | None:
    """Where the units of ``before`` are in a view, slice, permutation or copy of it; ``None`` if they were cut up.

    A view keeps the stride of the units' dimension, whatever the call was.
    """
    if dim is None:
        return None
    if before.shape == after.shape and before.stride() == after.stride():
        return dim
    size, stride = before.shape[dim], before.stride(dim)
    if after.untyped_storage().data_ptr() == before.untyped_storage().data_ptr():
        shapes = zip(after.shape, after.stride(), strict=True)
        found = [
            d for d, (n, s) in enumerate(shapes) if s == stride and (n == size or (name in SLICED and 1 < n < size))
        ]
        return found[0] if len(found) == 1 else None
    if before.shape == after.shape:
        return dim
    before_units = prod(before.shape[:dim])
    found = [d for d in range(after.dim()) if after.shape[d] == size and prod(after.shape[:d]) == before_units]
    return found[0] if found else None


def reduced_dims(tensor: Tensor, args: Any, kwargs: Mapping[str, Any]) -> set[int]:
    """Dimensions that a reduction sums over; empty for all of them."""
    dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    dims = [dim] if isinstance(dim, int) else list(dim) if isinstance(dim, (list, tuple)) else []
    return {d % tensor.dim() for d in dims if isinstance(d, int) and tensor.dim()}


def summed(
    name: str, args: Any, kwargs: Mapping[str, Any], out: Tensor, learned: Mapping[Any, str]
) -> tuple[int, tuple[str, int] | None] | None:
    """For a weighted sum: the output's dimension of units, and the parameter and its dimension that they come from."""
    last = out.dim() - 1
    if name in RECURRENT or name == "bilinear":
        return last, None
    if name in ("linear", "embedding", "embedding_bag") or name.startswith("conv"):
        weight = kwargs.get("weight", next((a for a in args[:2] if isinstance(a, Tensor) and a in learned), None))
        pixels = int(name[-2]) if name.startswith("conv") and name.endswith("d") else 0
        transposed = name.startswith("conv_transpose")
        groups = kwargs.get("groups", args[6] if transposed and len(args) > 6 else 1) if transposed else 1
        side = 1 if name.startswith("emb") or transposed else 0
        return last - pixels, _named(weight, learned, side) if groups == 1 else None
    if name == "addmm" and len(args) > 2 and args[2] in learned:
        return last, _named(args[2], learned, 1)
    if name in ("matmul", "mm", "bmm", "mv") and len(args) > 1:
        left, right = args[0] in learned, args[1] in learned
        if left != right:
            matrix = args[0] if left else args[1]
            return last - left, _named(matrix, learned, matrix.dim() - 2 if left else matrix.dim() - 1)
    return _einsum(args, learned) if name == "einsum" else None


def _named(weight: Any, learned: Mapping[Any, str], dim: int) -> tuple[str, int] | None:
    name = learned.get(weight, "") if isinstance(weight, Tensor) else ""
    return (name, dim) if name else None


def _einsum(args: Any, learned: Mapping[Any, str]) -> tuple[int, tuple[str, int] | None] | None:
    """The one letter of the output that only a learned operand has."""
    operands = tensors_of(args[1:])
    if not args or not isinstance(args[0], str) or "." in args[0] or "->" not in args[0]:
        return None
    terms, output = args[0].replace(" ", "").split("->")
    pairs = list(zip(terms.split(","), operands, strict=False))
    free = {c for term, t in pairs if t in learned for c in term} - {
        c for term, t in pairs if t not in learned for c in term
    }
    kept = [c for c in output if c in free]
    if len(kept) != 1:
        return None
    term, weight = next((term, t) for term, t in pairs if t in learned and kept[0] in term)
    return output.index(kept[0]), _named(weight, learned, term.index(kept[0]))
