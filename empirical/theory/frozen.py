"""Units that are certified frozen for ever must have no gradient  [frozen-unit: Theorem 2.1.1].

What is certified, as ``lop_theory.graph.certificate.frozen_units`` does exactly for small networks: the unit's
pre-activation stays strictly inside a flat region of its activation *for every value of the other parameters*, so that
no gradient method without state or decay ever moves its incoming weights or bias. The first layer's inputs are the
given finite set (or a box that contains all data); deeper, an upstream unit is bounded by the range of its activation,
or by one value range if it is certified itself. Bounds are computed in float64 and widened by γ_n = (n + 2)u/(1 − (n +
2)u) times Σ|w||x| + |b| with the model's own unit roundoff u: they hold for the model's computed pre-activations in any
order of summation.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from empirical.theory.check import Check, judged
from lop_theory.activations.catalogue import Activation
from lop_theory.errors import InvalidInput
from lop_theory.graph.convert import torch_activation
from lop_theory.graph.scalars import to_float
from lop_theory.metrics import hidden_layers

Box = tuple[float, float]
KEEP = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
WIDER = 1 + 1e-5  # φ and means of it are computed to a few roundings


class Range(NamedTuple):
    """Bounds of every unit (or channel) of a value, float64; ``inputs`` are the values themselves, if they are data."""

    low: Tensor
    high: Tensor
    inputs: Tensor | None = None


class Sum(NamedTuple):
    """The last weighted sum: its module's name and the bounds of its units."""

    name: str
    low: Tensor
    high: Tensor


def check_frozen(
    model: nn.Module, inputs: Tensor, gradients: Mapping[str, Tensor], *, box: Box | None = None
) -> list[Check]:
    """One check an activation: the certified units' incoming weights and biases have exactly zero gradient.

    Out of hypothesis where no unit is certified. ``box``: bounds of every coordinate of all data; by default the
    statement is about ``inputs`` as the whole data.
    """
    domain = "for the given inputs" if box is None else f"for inputs in [{box[0]:g}, {box[1]:g}]"
    if not isinstance(model, nn.Sequential):
        return [_nothing("", "the certificate covers plain stacks of layers only")]
    checks: list[Check] = []
    for name, (sums, certified) in certified_units(model, inputs, box).items():
        count = int(certified.sum())
        if not count:
            checks.append(_nothing(name, f"none of {len(certified)} units is certified {domain}"))
            continue
        rows = [gradients[key][certified] for key in (f"{sums}.weight", f"{sums}.bias") if key in gradients]
        largest = max((float(row.abs().max()) for row in rows), default=0.0)
        reason = f"{count} of {len(certified)} units are certified {domain}"
        checks.append(Check("frozen", name, judged(hypothesis="", holds=largest == 0.0), largest, 0.0, reason))
    return checks or [_nothing("", f"no layer can be certified among {hidden_layers(model)}")]


def _nothing(layer: str, reason: str) -> Check:
    return Check("frozen", layer, "out of hypothesis", float("nan"), 0.0, reason)


def certified_units(model: nn.Sequential, inputs: Tensor, box: Box | None = None) -> dict[str, tuple[str, Tensor]]:
    """By activation that follows a Linear: that module's name, and which of its units are frozen for ever (mask)."""
    found: dict[str, tuple[str, Tensor]] = {}
    value: Range | None = _data(inputs, box)
    total: Sum | None = None
    for name, module in model.named_children():
        phi = _activation(module)
        if phi is not None:
            value = _after(phi, total)
            if total is not None:
                found[name] = total.name, _flat(phi, total)[0]
            total = None
        elif isinstance(module, nn.Linear):
            total, value = Sum(name, *_bounds(module, value)), None
        elif not isinstance(module, nn.Identity):
            value, total = _passed(module, value), None
    return found


def _data(inputs: Tensor, box: Box | None) -> Range:
    wide = inputs.detach().double()
    if box is None:
        return Range(wide.amin(0), wide.amax(0), wide)
    return Range(torch.full_like(wide[0], box[0]), torch.full_like(wide[0], box[1]))


def _activation(module: nn.Module) -> Activation | None:
    if isinstance(module, nn.Identity):
        return None
    try:
        return torch_activation(module)
    except InvalidInput:
        return None


def _passed(module: nn.Module, value: Range | None) -> Range | None:
    """Through modules that move values, average them or take maxima, and dropout; nothing is known after others."""
    if value is None:
        return None
    if isinstance(module, nn.Flatten) and module.start_dim == 1:
        data = None if value.inputs is None else value.inputs.flatten(1)
        return Range(value.low.flatten(), value.high.flatten(), data)
    if isinstance(module, nn.Dropout | nn.Dropout2d):
        gain = 1 / (1 - module.p) if module.training else 1.0
        return value if gain == 1.0 else _with_zero(value, gain)
    return _with_zero(value, 1.0) if isinstance(module, KEEP) and value.inputs is None else None


def _with_zero(value: Range, gain: float) -> Range:
    return Range((gain * value.low).clamp_max(0) * WIDER, (gain * value.high).clamp_min(0) * WIDER)


def _bounds(module: nn.Linear, value: Range | None) -> tuple[Tensor, Tensor]:
    """Of every pre-activation, rounding included."""
    weight = module.weight.detach().double()
    bias = torch.zeros(len(weight)).to(weight) if module.bias is None else module.bias.detach().double()
    if value is None or module.in_features % value.low.numel():
        unknown = torch.full_like(bias, torch.inf)
        return -unknown, unknown
    low, high = (end.repeat_interleave(module.in_features // end.numel()) for end in (value.low, value.high))
    over, under = _products(weight, high, low), _products(weight, low, high)
    rounding = 2 * _rounding(module)  # once for the model's sum, at most once more for ours
    if value.inputs is not None:
        z = value.inputs @ weight.T + bias
        margin = rounding * (torch.maximum(over.abs(), under.abs()).sum(1) + bias.abs())
        return z.amin(0) - margin, z.amax(0) + margin
    least, most = bias + under.sum(1), bias + over.sum(1)
    return least - rounding * (under.abs().sum(1) + bias.abs()), most + rounding * (over.abs().sum(1) + bias.abs())


def _products(weight: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """w_vu·end_u with one end for positive and one for negative weights, and 0·∞ = 0.

    Rounded sums are monotone in every term, so the rounding that matters is that of the sum of these extreme terms.
    """
    return torch.where(weight == 0, 0.0, weight * torch.where(weight > 0, positive, negative))


def _rounding(module: nn.Linear) -> float:
    """γ_n: relative rounding of a sum of n products and a bias, in any order."""
    n = (module.in_features + 2) * torch.finfo(module.weight.dtype).eps / 2
    return n / (1 - n)


def _flat(phi: Activation, total: Sum) -> tuple[Tensor, Range]:
    """Units that stay strictly inside a flat region of φ, and the values that φ then has (else anything)."""
    low, high = (torch.full_like(total.low, end) for end in phi.range_on(-math.inf, math.inf))
    certified = torch.zeros_like(total.low, dtype=torch.bool)
    for region in phi.flat_regions():
        left, right = (to_float(end) for end in region)
        inside = total.low > math.nextafter(left, math.inf) if math.isfinite(left) else torch.ones_like(certified)
        if math.isfinite(right):
            inside = inside & (total.high < math.nextafter(right, -math.inf))
        least, most = phi.range_on(*region)
        low, high = torch.where(inside, least, low), torch.where(inside, most, high)
        certified |= inside
    return certified, Range(low, high)


def _after(phi: Activation, total: Sum | None) -> Range:
    """Range of the units after φ whatever upstream parameters do; one entry stands for all where nothing is known."""
    unknown = torch.full((1,), torch.inf, dtype=torch.float64)
    value = _flat(phi, total or Sum("", -unknown, unknown))[1]
    return Range(torch.minimum(value.low, value.low * WIDER), torch.maximum(value.high, value.high * WIDER))
