"""Units that are frozen for ever: interval certificates through the layers of any model.  [frozen-unit: Theorem 2.1.1]

As :func:`lop_theory.graph.certificate.frozen_units` proves exactly for small networks: a unit whose pre-activation
stays strictly inside a flat region of its activation *whatever the parameters of the other units are* gets no gradient
on its incoming weights and bias, so no gradient method without state or decay ever moves it. Its inputs are bounded by
the range of the activation that it reads (by one point if that unit is certified itself), or by ``input_range``. Bounds
are computed in float64 and widened by the rounding of the model's own sum, γ_n = (n + 2)u/(1 − (n + 2)u), with u of the
weights (nothing is certified where the call casts them, as autocast does) and the loss of TF32 or bfloat16 products.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.metrics.screening import reduced
from lop_theory.metrics.watch import INPUT, Layer

FLAT = {
    "relu": "ReluBackward0", "relu6": "HardtanhBackward0", "hardsigmoid": "HardsigmoidBackward0",
    "hardswish": "HardswishBackward0",
}  # fmt: skip
"""Activations with flat regions that have no parameter of their own, and what autograd calls them."""
BOUNDED = (*FLAT, "sigmoid", "tanh", "softplus", "silu", "mish")
WIDER = 1 + 1e-5


class Range(NamedTuple):
    """Bounds of every unit, float64."""

    low: Tensor
    high: Tensor


class Interval(NamedTuple):
    """Why a unit is frozen: its pre-activation lies in [low, high], inside the flat region."""

    low: float
    high: float
    flat_region: tuple[float, float]


def frozen_for_ever(
    model: nn.Module,
    layers: list[Layer],
    widths: Mapping[str, int],
    input_range: tuple[float, float] | None,
    readers: Mapping[str, str],
) -> dict[str, dict[int, Interval]]:
    """By activation layer: its certified units. ``layers`` in order of computation, ``widths`` their units, ``readers``
    what alone reads a parameter.

    Certified are named activations right behind a linear layer or an ungrouped convolution, each run once, whose
    weight and bias reach the outputs through that activation alone, in calls of this kind and mode.
    """
    sums = {layer.source: layer for layer in layers if layer.kind == "sum"}
    uses = [layer.weight[0] for layer in layers if layer.kind == "sum" and layer.weight is not None]
    ranges: dict[str, Range] = {}
    found: dict[str, dict[int, Interval]] = {}
    for layer in layers:
        if layer.kind != "activation" or layer.operator not in BOUNDED or not widths[layer.name]:
            continue
        behind = sums.get(layer.source) if layer.plainly else None
        alone = behind is not None and behind.weight is not None and uses.count(behind.weight[0]) == 1
        z = _pre_activation(model, behind, ranges, input_range) if behind is not None and alone else None
        z = z or _unknown(widths[layer.name])
        certified = _inside(layer.operator, z) if behind is not None and _read_by(layer, behind, model, readers) else {}
        ranges[layer.name] = _after(layer.operator, z, certified)
        found[layer.name] = certified
    return {name: certified for name, certified in found.items() if certified}


def _read_by(activation: Layer, behind: Layer, model: nn.Module, readers: Mapping[str, str]) -> bool:
    """Whether no gradient reaches the sum's weight and bias but through the activation."""
    weight = "" if behind.weight is None else behind.weight[0]
    own = {weight, f"{weight.rpartition('.')[0]}.bias".lstrip(".")} & {name for name, _ in model.named_parameters()}
    return bool(own) and {readers.get(name) for name in own} == {FLAT.get(activation.operator)}


def _unknown(units: int) -> Range:
    infinite = torch.full((units,), torch.inf, dtype=torch.float64)
    return Range(-infinite, infinite)


def _pre_activation(
    model: nn.Module, layer: Layer, ranges: Mapping[str, Range], input_range: tuple[float, float] | None
) -> Range | None:
    """Of a weighted sum, rounding included."""
    if layer.weight is None or layer.weight[1] != 0 or not (layer.operator == "linear" or layer.operator[:4] == "conv"):
        return None
    owner, _, attribute = layer.weight[0].rpartition(".")
    module = model.get_submodule(owner)
    if attribute != "weight" or getattr(module, "groups", 1) != 1 or not isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        return None
    weight = module.weight.detach().double().flatten(2) if module.weight.dim() > 2 else module.weight.detach().double()
    inputs = _inputs(layer, ranges, input_range, weight.shape[1])
    bias = torch.zeros(len(weight)).to(weight) if module.bias is None else module.bias.detach().double()
    lost = reduced(weight.device) if module.weight.dtype == torch.float32 else 0.0
    return None if inputs is None else _interval(weight, bias, inputs, torch.finfo(module.weight.dtype).eps / 2, lost)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _inputs(
    layer: Layer, ranges: Mapping[str, Range], input_range: tuple[float, float] | None, columns: int
) -> Range | None:
    """Bounds of every input of the sum, zero among them (padding adds zeros to the data of a convolution and to the
    means of a pooling); of all units together where a flatten has lost which is which."""
    if not layer.plainly:
        return None
    if layer.reads in ranges:
        known = ranges[layer.reads]
    elif layer.reads == INPUT and input_range is not None:
        ends = (torch.full((1,), float(end), dtype=torch.float64) for end in input_range)
        known = Range(*ends)
    else:
        return None
    if len(known.low) != columns:
        known = Range(known.low.min().expand(columns), known.high.max().expand(columns))
    return Range(known.low.clamp_max(0.0), known.high.clamp_min(0.0))


def _interval(weight: Tensor, bias: Tensor, inputs: Range, roundoff: float, lost: float) -> Range:
    """b + Σ w·[low, high] with 0·∞ = 0, widened by twice γ_n times the terms of the extreme sums: without end where
    there are so many terms for so few bits that γ_n bounds nothing (253 and more in bfloat16). ``lost``: what a
    product loses besides."""
    shape = (1, -1) + (1,) * (weight.dim() - 2)
    low, high = inputs.low.view(shape), inputs.high.view(shape)
    over = torch.where(weight == 0, 0.0, weight * torch.where(weight > 0, high, low)).flatten(1)
    under = torch.where(weight == 0, 0.0, weight * torch.where(weight > 0, low, high)).flatten(1)
    n = (over.shape[1] + 2) * roundoff + lost
    gamma = 2 * n / (1 - n) if n < 1 else math.inf
    least = bias + under.sum(1) - gamma * (under.abs().sum(1) + bias.abs())
    most = bias + over.sum(1) + gamma * (over.abs().sum(1) + bias.abs())
    nothing = torch.isnan(least) | torch.isnan(most)
    return Range(torch.where(nothing, -torch.inf, least), torch.where(nothing, torch.inf, most))


def _inside(operator: str, z: Range) -> dict[int, Interval]:
    """Units whose interval lies strictly inside a flat region."""
    from lop_theory.activations.catalogue import activation
    from lop_theory.graph.scalars import to_float

    found: dict[int, Interval] = {}
    for region in activation(operator).flat_regions() if operator in FLAT else ():
        left, right = (to_float(end) for end in region)
        above = (
            z.low > math.nextafter(left, math.inf) if math.isfinite(left) else torch.ones_like(z.low, dtype=torch.bool)
        )
        inside = above & (z.high < math.nextafter(right, -math.inf)) if math.isfinite(right) else above
        for unit in torch.nonzero(inside & (z.low > -math.inf) | inside & (z.high < math.inf)).flatten().tolist():
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
