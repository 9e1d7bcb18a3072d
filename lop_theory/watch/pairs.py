"""How far a layer is from its nearest clone manifold, and whether two units drift together.  [clone-trajectory]
[persistence]

v_i: all parameters of unit i (incoming weights, bias, normalisation, outgoing weights). The weights on which units i
and j are clones, v_i = v_j, are a manifold that gradient descent does not leave (Theorem A.1), at Euclidean distance
‖v_i − v_j‖/√2. Reported is the smallest over all pairs, relative to √(mean ‖v‖²):

    clone distance = min_{i<j} ‖v_i − v_j‖ / √(2 mean_k ‖v_k‖²),

about 1 for independent units. Within the reach of the linear theory a step changes the distance of a pair by at most
the factor of :func:`lop_theory.stability.growth_factor`; a distance that shrinks without reaching 0 is passing.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lop_theory.optim.layer import Layer

CANDIDATES = 16
EQUAL = 1e-6
"""A pair nearer than this is equal to rounding, which then decides its rate."""


class Pair(NamedTuple):
    """The nearest two units and their relative distance."""

    i: int
    j: int
    distance: float


def parameters_of_units(layer: Layer) -> Tensor:
    """Units × parameters: v of every unit, in the model's precision."""
    parts = []
    for weights in layer.incoming:
        rows = weights.of(layer.every)
        parts.append(weights.weight.detach().movedim(weights.dim, 0)[rows].reshape(layer.size, -1))
        if weights.bias is not None:
            parts.append(weights.bias.detach()[rows].reshape(layer.size, -1))
    for reader in layer.outgoing:
        parts.append(_by_owner(reader.weight.detach().movedim(reader.dim, 0), reader.owners, layer.size))
    for scaling in layer.scaling:
        learned = [t.detach() for t in scaling.state.values() if isinstance(t, torch.nn.Parameter)]
        parts += [_by_owner(t[:, None], scaling.owners, layer.size) for t in learned]
    return torch.cat([p.to(parts[0]) for p in parts], 1)


def _by_owner(slices: Tensor, owners: Tensor, units: int) -> Tensor:
    """Rows that a unit owns, one after the other; every unit owns as many."""
    order = owners.argsort(stable=True)
    return slices[order[int((owners < 0).sum()) :]].reshape(units, -1)


def nearest(v: Tensor) -> Pair | None:
    """The nearest pair of rows; ``None`` for a single unit or weights that are not finite.

    Candidates come from the Gram matrix in the given precision, whose rounding hides distances below √ε‖v‖; the
    nearest of them is found by subtraction in float64.
    """
    if len(v) < 2 or not bool(torch.isfinite(v).all()):
        return None
    squares = v.square().sum(1)
    between = (squares[:, None] + squares[None, :]).addmm_(v, v.T, alpha=-2)
    between = between.masked_fill_(torch.ones_like(between, dtype=torch.bool).tril_(), torch.inf)
    best = between.flatten().topk(min(CANDIDATES, len(v) * (len(v) - 1) // 2), largest=False).indices.tolist()
    pairs = [divmod(index, len(v)) for index in best]
    i, j = min(pairs, key=lambda p: float((v[p[0]].double() - v[p[1]].double()).norm()))
    return Pair(i, j, distance(v, i, j))


def distance(v: Tensor, i: int, j: int) -> float:
    """‖v_i − v_j‖ / √(2 mean ‖v‖²); NaN for weights that are zero or not finite."""
    scale = math.sqrt(2 * float(v.double().square().sum()) / len(v))
    return float((v[i].double() - v[j].double()).norm()) / scale if scale > 0 else math.nan


def rate(before: float, now: float, steps: int) -> float:
    """log(now/before)/steps; NaN where it is not defined or both are rounding (below :data:`EQUAL`)."""
    if not (before > EQUAL and now > 0 and steps > 0):
        return math.nan
    return math.log(now / before) / steps
