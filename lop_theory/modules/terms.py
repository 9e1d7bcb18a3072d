"""How large the terms of each sum are: an error in a weight counts relative to what it is added to.

A weight of block I may be off by τ times the larger of its own block's terms Σ_{i∈I}|w_i| and of the sum of all terms,
Σ_j |w_j| f_j / f_I but at most Σ_j |w_j|, where f is the largest magnitude of what each weight multiplies (inputs for
incoming sums, adjoints for outgoing ones). So one unit that is 300 times larger than its neighbours hides nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lop_theory.modules.axes import block_count, is_cloned
from lop_theory.modules.interface import Contraction, Operand
from lop_theory.modules.redistribute import block_means, block_sums
from lop_theory.trace import Program

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}
COARSEST = 0.25  # float8 and the like

Roles = list[tuple[str, Any]]


def tolerance_of(tensor: Tensor) -> float:
    """Of equal weights of this precision; whole numbers are exact."""
    return TOLERANCE.get(tensor.dtype, COARSEST) if tensor.is_floating_point() else 0.0


def limits(program: Program, state: Mapping[str, Tensor]) -> dict[str, float]:
    """Node name -> tolerance of what is computed from state alone: that of the coarsest tensor it comes from.

    A size of the data (a batch that a class token is repeated for, a length that positions are cut to) adds no error.
    """
    found: dict[str, float] = {}
    fed = set(program.user_inputs)
    for node in program.graph.nodes:
        sources = [n.name for n in node.all_input_nodes]
        if node.name in program.state:
            found[node.name] = tolerance_of(state[program.state[node.name]])
        elif fed.intersection(sources):
            if isinstance(node.meta.get("val"), Tensor):
                fed.add(node.name)
        elif any(name in found for name in sources):
            found[node.name] = max(found.get(name, 0.0) for name in sources)
    return found


def amplitude(tensor: Tensor | None, dim: int) -> Any:
    """max|value| of every coordinate along one dimension."""
    if tensor is None or not tensor.is_floating_point():
        return None
    magnitudes = tensor.detach().double().abs().nan_to_num(0.0, 0.0, 0.0).movedim(dim, 0)
    if not magnitudes.numel():
        return np.zeros(len(magnitudes))
    return magnitudes.reshape(len(magnitudes), -1).amax(1).cpu().numpy()


def inputs_of(effect: Contraction, data: Operand, value: Tensor | None, roles: Roles) -> Any:
    """Magnitudes of what the summed axes multiply, in the layout of ``roles``; None where they cannot be told."""
    kinds = [role for role, _ in roles]
    if kinds.count("summed") != 1 or value is None or not value.numel():
        return None
    found = amplitude(value, effect.data_dim)
    place, shape = kinds.index("summed"), [1] * len(roles)
    shape[place] = len(roles[place][1])
    if len(found) != shape[place] and kinds[0] == "shared":
        shape[0] = len(roles[0][1])
    return found.reshape(shape) if len(found) == np.prod(shape) and len(found) == data.shape[effect.data_dim] else None


def kept_dim(result: Any, roles: Roles) -> int | None:
    """The dimension of an operator's result that its weight's kept axis is; None where it cannot be told."""
    kept = [axis for role, axis in roles if role == "kept"]
    dims = (
        [d for d, axis in enumerate(result) if axis is kept[0]] if len(kept) == 1 and isinstance(result, tuple) else []
    )
    return dims[0] if len(dims) == 1 else None


def as_kept(magnitudes: Any, roles: Roles) -> Any:
    """Magnitudes of the adjoints at the kept axis, in the layout of ``roles``."""
    return None if magnitudes is None else magnitudes.reshape([-1 if role == "kept" else 1 for role, _ in roles])


def allowed(weight: Any, roles: Roles, summed: str, factor: Any) -> Any:
    """What block sums over the ``summed`` axes may differ by, over the tolerance (see above)."""
    own = np.abs(weight)
    summing = [d for d, (role, _) in enumerate(roles) if role == summed]
    everything = own.sum(axis=tuple(summing), keepdims=True)
    if factor is not None:
        weighted = (own * factor).sum(axis=tuple(summing), keepdims=True)
        share = _block_maxima(
            np.broadcast_to(factor, np.broadcast_shapes(factor.shape, (1,) * own.ndim)), roles, summing
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            everything = np.minimum(everything, np.nan_to_num(weighted / share, nan=np.inf))
    for d in summing:
        own = block_sums(own, roles[d][1], d)
    result = np.maximum(own, everything)
    for d, (role, axis) in enumerate(roles):
        if role != summed and is_cloned(axis) and result.shape[d] == len(axis):
            result = block_means(result, axis, d)
    return result


def _block_maxima(factor: Any, roles: Roles, summing: list[int]) -> Any:
    for d in summing:
        index = roles[d][1]
        if factor.shape[d] == len(index):
            blocks = np.unique(index, return_inverse=True)[1]
            best = np.zeros((*factor.shape[:d], block_count(blocks), *factor.shape[d + 1 :]))
            np.maximum.at(np.moveaxis(best, d, 0), blocks, np.moveaxis(factor, d, 0))
            factor = best
    return factor
