"""Take out what detection found to be superfluous: the result is a smaller model of the user's own class.
[base-network: Remark A.2]

``compress`` keeps the outputs: clones are replaced by one of them whose readers' weights are the sums over the block,
constants by what they add to the biases behind them. ``merge`` does the same to twins and near-clones, with a bound of
what it changes. Only widths that nothing but standard layers reads are narrowed; every step is tried on the model's own
forward pass, and taken back, with the reason, if its outputs are others.
"""

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.metrics.passes import floating, undisturbed
from lop_theory.modules.axes import Axis
from lop_theory.modules.detection import Detection, Layer
from lop_theory.modules.equitable import Structure, structure
from lop_theory.modules.interface import Correction, Partition
from lop_theory.modules.redistribute import block_sums
from lop_theory.modules.verdicts import Block
from lop_theory.trace import random_state

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}
SIZES = {
    "in_features": 1, "out_features": 0, "in_channels": 1, "out_channels": 0, "num_features": 0, "embedding_dim": 1,
    "num_channels": 0,
}  # fmt: skip


class Smaller(NamedTuple):
    """``removed`` units by layer, ``kept`` layers with the reason why nothing was removed there.

    ``difference``: largest change of an output on the detection's example over the largest output (tested, not proved).
    ``bounds`` (merge): by layer, a bound of the root mean square change of what each reader computes, on the
    detection's data: Σ_j ‖w_j‖ · rms(h_j − f_j h_i).
    """

    model: nn.Module
    removed: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, str]
    difference: float
    bounds: Mapping[str, float] = MappingProxyType({})


class _Step(NamedTuple):
    """Units of one width class that go: ``target[u]`` takes the place of u, ``gain[u]`` is u as a multiple of it.
    ``shift``: what the gone units add to their readers' biases, by unit."""

    layer: str
    leaf: Axis
    target: Partition
    gain: np.ndarray
    shift: np.ndarray
    bound: float


def compress(model: nn.Module, detection: Detection) -> Smaller:
    """``model`` without clones (units equal on all data) and without units constant on the detection's data: equal
    outputs there, to rounding; where only clones are removed, on all data.

    Raises ``InvalidInput`` if the model cannot be traced.
    """
    known = detection.structure or structure(model, detection.example)
    steps = [s for x in detection.layers for s in _clone_steps(x, known)]
    steps += [s for x in detection.layers for s in _constant_steps(x, detection, known, model)]
    return _shrunk(model, detection, known, steps, exact=True)


def merge(model: nn.Module, detection: Detection) -> Smaller:
    """``model`` with every block of twins and near-clones replaced by its first unit: readers' weights become w_i + Σ_j
    f_j w_j with the least squares factors f_j of the data. Gated pairs (diverging opposite outgoing weights) stay.

    Raises ``InvalidInput`` if the model cannot be traced.
    """
    known = detection.structure or structure(model, detection.example)
    steps = [s for x in detection.layers for s in _merge_steps(x, detection, known, model)]
    return _shrunk(model, detection, known, steps, exact=False)


# --- what may go ------------------------------------------------------------------------------------------------------


def _leaf(layer: Layer, known: Structure) -> Axis | None:
    """The width class of a layer's units, if it is no compound of several."""
    if layer.weight is None or layer.weight[0] not in known.axes:
        return None
    root = known.plan.find(known.axes[layer.weight[0]][layer.weight[1]])
    return root if known.plan._kind[root] == "leaf" and known.plan.size(root) == layer.units else None


def _clone_steps(layer: Layer, known: Structure) -> list[_Step]:
    leaf = _leaf(layer, known)
    if leaf is None or layer.weight is None or layer.kind != "sum":
        return []
    blocks = known.forward[layer.weight[0]][layer.weight[1]]
    first = np.unique(blocks, return_index=True)[1][blocks]
    if len(set(first.tolist())) == len(first):
        return []
    return [_Step(layer.module, leaf, first, np.ones(len(first)), np.zeros(len(first)), 0.0)]


def _alone(layer: Layer, detection: Detection, known: Structure) -> str:
    """Why units of a layer cannot be replaced by multiples: readers must be linear layers that read just this value."""
    leaf = _leaf(layer, known)
    if leaf is None:
        return "its units are a compound of several widths"
    readers = [s for s in detection.seen if s.kind == "sum" and s.reads == layer.module]
    owners = {s.weight[0] for s in readers if s.weight is not None and s.operator == "linear" and s.plainly}
    summing = {name for name, roots in known.summed.items() if leaf in roots}
    if not summing or summing != owners:
        return "something else than linear layers reads it, or other values share its width"
    return ""


def _constant_steps(layer: Layer, detection: Detection, known: Structure, model: nn.Module) -> list[_Step]:
    """Constants, and units that are exactly 0 on all data, go into the first unit that moves, with gain 0."""
    values = {u: v for b in layer.verdicts if b.kind == "constant" for u, v in zip(b.units, b.values, strict=True)}
    values |= dict.fromkeys({*layer.dead} & {*layer.frozen} if layer.operator == "relu" else (), 0.0)
    moving = [u for u in range(layer.units) if u not in values and u not in layer.dead]
    if not values or not moving or _alone(layer, detection, known):
        return []
    target, gain, shift = np.arange(layer.units), np.ones(layer.units), np.zeros(layer.units)
    for unit, value in values.items():
        target[unit], gain[unit], shift[unit] = moving[0], 0.0, value
    leaf = _leaf(layer, known)
    assert leaf is not None
    biased = all(_bias(model, name) is not None for name, roots in known.summed.items() if leaf in roots)
    if any(values.values()) and not biased:
        return []
    return [_Step(layer.module, leaf, target, gain, shift, 0.0)]


def _bias(model: nn.Module, weight: str) -> Tensor | None:
    return getattr(model.get_submodule(weight.rpartition(".")[0]), "bias", None)


def _merge_steps(layer: Layer, detection: Detection, known: Structure, model: nn.Module) -> list[_Step]:
    blocks = [b for b in layer.verdicts if b.kind in ("near", "twin") and "gated" not in b.reason]
    if not blocks or _alone(layer, detection, known):
        return []
    leaf = _leaf(layer, known)
    assert leaf is not None
    target, gain = np.arange(layer.units), np.ones(layer.units)
    for block in blocks:
        for unit, factor in zip(block.units[1:], block.factors[1:], strict=True):
            target[unit], gain[unit] = block.units[0], factor
    parameters = dict(model.named_parameters(remove_duplicate=False))
    readers = [parameters[name].detach().double() for name, roots in known.summed.items() if leaf in roots]
    bound = max(sum(_moved(weight, block) for block in blocks) for weight in readers)
    return [_Step(layer.module, leaf, target, gain, np.zeros(layer.units), bound)]


def _moved(weight: Tensor, block: Block) -> float:
    """Σ_j ‖w_j‖ rms(h_j − f_j h_i) over a block, for one linear reader."""
    return sum(float(weight[:, u].norm()) * r for u, r in zip(block.units[1:], block.residuals[1:], strict=True))


# --- taking it out ----------------------------------------------------------------------------------------------------


def _shrunk(model: nn.Module, detection: Detection, known: Structure, steps: list[_Step], *, exact: bool) -> Smaller:
    """Apply the steps one by one; each stays if the model still runs and, of exact ones, computes the same."""
    before = _outputs(model, detection.example)
    taken: dict[Axis, _Step] = {}
    kept: dict[str, str] = {}
    current, gap = copy.deepcopy(model), 0.0
    for step in steps:
        if step.leaf in taken:
            continue  # another layer of the same width has gone through it
        reason = _forbidden(known, step)
        attempt = None if reason else _built(model, known, {**taken, step.leaf: step})
        after = None if attempt is None else _outputs(attempt, detection.example)
        change = float("inf") if after is None or before is None else _change(before, after)
        if attempt is not None and change <= (_close(model) if exact else float("inf")) and after is not None:
            taken[step.leaf], current, gap = step, attempt, change
        else:
            kept[step.layer] = reason or _why_kept(after, change)
    removed = {s.layer: tuple(np.flatnonzero(s.target != np.arange(len(s.target))).tolist()) for s in taken.values()}
    return Smaller(current, removed, kept, gap, {s.layer: s.bound for s in taken.values() if not exact})


def _why_kept(after: Any, change: float) -> str:
    return "its code has the width as a number" if after is None else f"the outputs would change by {change:.1e}"


def _close(model: nn.Module) -> float:
    return max((CLOSE.get(p.dtype, 5e-2) for p in model.parameters()), default=1e-10)


def _forbidden(known: Structure, step: _Step) -> str:
    """Operators that see how many units there are, and parameters that enter twice."""
    plan = known.plan
    for effects in plan.effects.values():
        for effect in effects:
            if isinstance(effect, Correction) and step.leaf in plan.leaves(effect.axis):
                return "an operator sums over these units without weights"
    counts = np.bincount(step.target)
    sizes = set(counts[counts > 0].tolist())
    if len(sizes) > 1 and any(step.leaf in plan.leaves(axis) for axis in plan.averaged):
        return "a normalisation averages over these units, and its blocks differ in size"
    for name, roots in known.summed.items():
        if step.leaf in roots & known.entering.get(name, frozenset()):
            return f"{name} is tied: it is read as a table and as weights"
    return ""


def _built(model: nn.Module, known: Structure, taken: Mapping[Axis, _Step]) -> nn.Module:
    """A copy with narrow parameters and buffers, and the sizes that standard layers remember."""
    result = copy.deepcopy(model)
    for step in taken.values():
        _absorb(result, known, step)
    made: dict[int, Any] = {}
    for path, module in result.named_modules():
        for table in (module._parameters, module._buffers):
            for key, tensor in list(table.items()):
                name = f"{path}.{key}" if path else key
                if tensor is not None and name in known.axes:
                    if id(tensor) not in made:
                        made[id(tensor)] = tensor, _narrow(tensor, known, name, taken)
                    table[key] = made[id(tensor)][1]
        _resize(module)
    return result


@torch.no_grad()
def _absorb(model: nn.Module, known: Structure, step: _Step) -> None:
    """What constant units add to their readers goes into the biases."""
    if not step.shift.any():
        return
    for name, roots in known.summed.items():
        bias = _bias(model, name) if step.leaf in roots else None
        if bias is not None:
            weight = model.get_parameter(name)
            bias += (weight.double() @ torch.as_tensor(step.shift, device=weight.device)).to(bias)


def _narrow(tensor: Tensor, known: Structure, name: str, taken: Mapping[Axis, _Step]) -> Any:
    """Along every dimension: the rows that stay, or sums over those that they stand for."""
    value: Any = tensor.detach()
    value = value.double().cpu().numpy() if tensor.is_floating_point() else value.cpu().numpy()
    before = value.shape
    for dim, axis in enumerate(known.axes[name]):
        if not any(leaf in taken for leaf in known.plan.leaves(axis)):
            continue
        reduced = _reduced(known, axis, taken)
        if known.plan.find(axis) in known.summed.get(name, frozenset()):
            shape = [1] * value.ndim
            shape[dim] = -1
            value = block_sums(value * reduced.gain.reshape(shape), reduced.place, dim)
        else:
            value = np.take(value, np.flatnonzero(reduced.stays), axis=dim)
    if value.shape == before:
        return tensor
    narrow = torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
    return nn.Parameter(narrow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else narrow


class _Reduced(NamedTuple):
    """Of every coordinate of an axis: the position of what stands for it, its multiple of that, whether it stays."""

    place: Partition
    gain: np.ndarray
    stays: np.ndarray


def _reduced(known: Structure, axis: Axis, taken: Mapping[Axis, _Step]) -> _Reduced:
    plan = known.plan
    root = plan.find(axis)
    if plan._kind[root] == "leaf":
        every = np.arange(plan.size(root))
        if root not in taken:
            return _Reduced(every, np.ones(len(every)), np.ones(len(every), dtype=bool))
        step = taken[root]
        return _Reduced(np.unique(step.target, return_inverse=True)[1], step.gain, step.target == every)
    parts = [_reduced(known, part, taken) for part in plan._parts[root]]
    return _product(parts) if plan._kind[root] == "product" else _sum(parts)


def _product(parts: list[_Reduced]) -> _Reduced:
    index, gain, stays = np.zeros(1, dtype=np.int64), np.ones(1), np.ones(1, dtype=bool)
    for part in parts:
        size = int(part.place.max(initial=-1)) + 1
        index = (index[:, None] * size + part.place[None, :]).ravel()
        gain = (gain[:, None] * part.gain[None, :]).ravel()
        stays = (stays[:, None] & part.stays[None, :]).ravel()
    return _Reduced(index, gain, stays)


def _sum(parts: list[_Reduced]) -> _Reduced:
    offset, indices = 0, list[Partition]()
    for part in parts:
        indices.append(part.place + offset)
        offset += int(part.place.max(initial=-1)) + 1
    return _Reduced(np.concatenate(indices), *(np.concatenate([p[k] for p in parts]) for k in (1, 2)))


def _resize(module: nn.Module) -> None:
    """The sizes that torch's own layers remember of their weights."""
    weight = module._parameters.get("weight")
    reference = weight if weight is not None else module._buffers.get("running_mean")
    if reference is None:
        return
    swapped = isinstance(module, nn.modules.conv._ConvTransposeNd)
    for name, dim in SIZES.items():
        if isinstance(vars(module).get(name), int) and reference.dim() > dim:
            setattr(module, name, reference.shape[1 - dim if swapped else dim] * _groups(module, name))
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        module.normalized_shape = tuple(reference.shape)


def _groups(module: nn.Module, name: str) -> int:
    return int(getattr(module, "groups", 1)) if name == "in_channels" else 1


# --- what it computes -------------------------------------------------------------------------------------------------


def _outputs(model: nn.Module, inputs: Any) -> list[Tensor] | None:
    """Floating outputs, or ``None`` if it does not run."""
    try:
        with undisturbed(model) as run, torch.no_grad(), random_state(0):
            return floating(run(inputs))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        return None


def _change(before: list[Tensor], after: list[Tensor]) -> float:
    """max|difference| over max|output|; infinite for other shapes."""
    if [t.shape for t in before] != [t.shape for t in after]:
        return float("inf")
    pairs = [(a.double(), b.double()) for a, b in zip(before, after, strict=True) if a.numel()]
    largest = max((float(a.abs().max()) for a, _ in pairs), default=0.0)
    gap = max((float((a - b).abs().max()) for a, b in pairs), default=0.0)
    return gap / largest if largest else gap
