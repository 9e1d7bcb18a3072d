"""Units that are frozen for ever: interval certificates through the layers of any model.  [frozen-unit: Theorem 2.1.1]

As :func:`lop_theory.graph.certificate.frozen_units` proves exactly for small networks: a unit whose pre-activation
stays strictly inside a flat region of its activation *whatever the parameters of the other units are* gets no gradient
on its incoming weights and bias, so no gradient method without state or decay ever moves it. Its inputs are bounded by
the range of the activation that it reads (by one point if that unit is certified itself), or by ``input_range``. Bounds
are computed in float64 and widened by the rounding of the model's own sum, γ_n = (n + 2)u/(1 − (n + 2)u), with u of the
weights (nothing is certified where the call casts them, as autocast does) and the loss of TF32 or bfloat16 products.

What reads what is read off the graph that autograd made of the call (:mod:`~lop_theory.modules.backward_graph`): the
certificate is of calls that compute the same graph, and of what the outputs and the loss read.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from lop_theory.metrics.rounding import error_of_sums
from lop_theory.modules.backward_graph import (
    HULLS,
    VIEWS,
    Readers,
    Sum,
    behind,
    in_order,
    read_through,
    saved,
    weighted_sum,
)

BOUNDED = {
    "ReluBackward0": "relu", "HardtanhBackward0": "relu6", "HardsigmoidBackward0": "hardsigmoid",
    "HardswishBackward0": "hardswish", "SigmoidBackward0": "sigmoid", "TanhBackward0": "tanh",
    "SoftplusBackward0": "softplus", "SiluBackward0": "silu", "MishBackward0": "mish",
}  # fmt: skip
"""What autograd calls the activations whose range is known."""
WIDER = 1 + 1e-5


class Range(NamedTuple):
    """Bounds of every unit, float64; of one for all together where it is not known which is which."""

    low: Tensor
    high: Tensor


class Interval(NamedTuple):
    """Why a unit is frozen: its pre-activation lies in [low, high], inside the flat region."""

    low: float
    high: float
    flat_region: tuple[float, float]


class Frozen(NamedTuple):
    """Rows of a weight that are certified; ``axis``: that of the units in the activation, ``None`` if their order was
    changed before it."""

    weight: Tensor
    axis: int | None
    units: dict[int, Interval]


class Known(NamedTuple):
    """Range of a value whose units are along ``axis``."""

    range: Range
    axis: int | None


UNKNOWN = Range(*torch.tensor([[-math.inf], [math.inf]], dtype=torch.float64))


def frozen_units(
    model: nn.Module, readers: Readers, inputs: Iterable[Node | None], input_range: tuple[float, float] | None
) -> dict[Node, Frozen]:
    """By node of an activation: its certified units. ``readers``: those of one call's outputs and loss; ``inputs``: the
    nodes of what it was called with.

    Certified are units of named activations right behind a linear layer or an ungrouped convolution, whose weight and
    bias are parameters that reach them through that activation alone.
    """
    owned = _owned(model)
    known, found = dict[Node | None, Known](), dict[Node, Frozen]()
    if input_range is not None:
        ends = Range(*torch.tensor(input_range, dtype=torch.float64)[:, None])
        known.update((node, Known(ends, None)) for node in inputs)
    for node in sorted((n for n in readers if _operator(n)), key=lambda n: n._sequence_nr()):
        operator, path = _operator(node), behind(node.next_functions[0][0], VIEWS)
        total = weighted_sum(path[-1])
        if total is None:
            known[node] = Known(_after(operator, UNKNOWN, {}), None)
            continue
        z = _pre_activation(total, known)
        alone = all(_alone(leaf, node, readers, owned) for leaf in total.leaves)
        units = _inside(operator, z) if alone else {}
        axis = total.axis if in_order(path, total.axis) else None
        found[node] = Frozen(total.weight, axis, units)
        known[node] = Known(_after(operator, z, units), axis)
    return {node: frozen for node, frozen in found.items() if frozen.units}


def _operator(node: Node) -> str:
    operator = BOUNDED.get(node.name(), "")
    if operator == "relu6":
        return operator if (saved(node, "min_val"), saved(node, "max_val")) == (0, 6) else ""
    if operator == "softplus":
        return operator if saved(node, "beta") > 0 and saved(node, "threshold") >= 0 else ""
    return operator


def _owned(model: nn.Module) -> frozenset[int]:
    """Parameters that share their numbers with no other, and whose gradients nothing changes."""
    parameters = list(model.parameters())
    shared = Counter(p.untyped_storage().data_ptr() for p in parameters)
    return frozenset(
        id(p)
        for p in parameters
        if shared[p.untyped_storage().data_ptr()] == 1 and not p._backward_hooks and not p._post_accumulate_grad_hooks
    )


def _alone(leaf: Node, activation: Node, readers: Readers, owned: frozenset[int]) -> bool:
    return id(leaf.variable) in owned and read_through(leaf, activation, readers)  # pyright: ignore[reportAttributeAccessIssue]


def _pre_activation(total: Sum, known: Mapping[Node | None, Known]) -> Range:
    """Of a weighted sum, rounding included."""
    inputs = _inputs(total, known)
    if inputs is None:
        return UNKNOWN
    return _interval(total.weight.detach().double(), total.bias.detach().double(), inputs, error_of_sums(total.weight))


def _inputs(total: Sum, known: Mapping[Node | None, Known]) -> Range | None:
    """Bounds of every input of the sum, zero among them (padding adds zeros to the data of a convolution and to the
    means of a pooling); of all units together where something has lost which is which."""
    path = behind(total.reads, HULLS, known)
    if not path or path[-1] not in known:
        return None
    (low, high), axis = known[path[-1]]
    if axis != total.axis or not in_order(path, total.axis):
        low, high = low.amin(), high.amax()
    return Range(low.clamp_max(0.0).to(total.weight.device), high.clamp_min(0.0).to(total.weight.device))


def _interval(weight: Tensor, bias: Tensor, inputs: Range, error: float) -> Range:
    """b + Σ w·[low, high] with 0·∞ = 0, widened by ``error`` times the terms of the extreme sums."""
    shape = (1, -1) + (1,) * (weight.dim() - 2)
    low, high = inputs.low.view(shape), inputs.high.view(shape)
    over = torch.where(weight == 0, 0.0, torch.maximum(weight * low, weight * high)).flatten(1)
    under = torch.where(weight == 0, 0.0, torch.minimum(weight * low, weight * high)).flatten(1)
    least = bias + under.sum(1) - error * (under.abs().sum(1) + bias.abs())
    most = bias + over.sum(1) + error * (over.abs().sum(1) + bias.abs())
    nothing = torch.isnan(least) | torch.isnan(most)
    return Range(torch.where(nothing, -torch.inf, least), torch.where(nothing, torch.inf, most))


def _inside(operator: str, z: Range) -> dict[int, Interval]:
    """Units whose interval lies strictly inside a flat region."""
    from lop_theory.activations.catalogue import activation
    from lop_theory.graph.scalars import to_float

    found: dict[int, Interval] = {}
    for region in activation(operator).flat_regions():
        left, right = (to_float(end) for end in region)
        above = (
            z.low > math.nextafter(left, math.inf) if math.isfinite(left) else torch.ones_like(z.low, dtype=torch.bool)
        )
        inside = above & (z.high < math.nextafter(right, -math.inf)) if math.isfinite(right) else above
        for unit in torch.nonzero(inside).flatten().tolist():
            found[unit] = Interval(float(z.low[unit]), float(z.high[unit]), (left, right))
    return found


def _after(operator: str, z: Range, certified: Mapping[int, Interval]) -> Range:
    """Values whatever upstream parameters are: the activation's whole range, or the one value of a certified unit."""
    from lop_theory.activations.catalogue import activation
    from lop_theory.graph.scalars import rational

    phi = activation(operator)
    low, high = phi.range_on(-math.inf, math.inf)
    lows, highs = torch.full_like(z.low, low), torch.full_like(z.high, high)
    for unit, interval in certified.items():
        ends = (rational(end) if math.isfinite(end) else end for end in (interval.low, interval.high))
        lows[unit], highs[unit] = phi.range_on(*ends)
    return Range(torch.minimum(lows, lows * WIDER), torch.maximum(highs, highs * WIDER))
