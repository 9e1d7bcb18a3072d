"""Take out what detection found to be superfluous: the result is a smaller model of the user's own class.
[base-network: Remark A.2]

``compress`` keeps the outputs: clones are replaced by one of them whose readers' weights are the sums over the block,
constants by what they add to the biases behind them. ``merge`` does the same to twins and near-clones, with a bound of
what it changes. Heads go as units do. Every step is tried on the model's own forward pass
(:mod:`lop_theory.modules.shrinking`), and taken back, with the reason, if its outputs are others.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.axes import Axis
from lop_theory.modules.detection import Detection, Layer
from lop_theory.modules.equitable import Structure, structure
from lop_theory.modules.interface import Partition
from lop_theory.modules.narrowing import Step, bias_of, gain_of, reduced
from lop_theory.modules.shrinking import Shrunk, shrunk
from lop_theory.optim.ranges import require_kind
from lop_theory.trace import state_of


class Smaller(NamedTuple):
    """``removed`` units by layer, ``kept`` layers with the reason why nothing was removed there.

    ``difference``: largest change of an output over the largest output, on the detection's example and on other batch
    sizes and lengths (tested, not proved).
    ``bounds`` (merge): by layer, a bound of the root mean square change of what each reader computes, on the
    detection's data and in exact arithmetic: Σ_j ‖w_j‖ · rms(h_j − f_j h_i), for twins with the criterion of equality
    in place of the rms; where h_i goes into h_k itself, |f_j| · rms(h_i − f_i h_k) is added to the rms. It is of that
    layer's merge alone: what merges before it change comes on top. ``unread``: parameters that the detection's call
    does not use; calls that use them were not looked at. ``scaled``: modules whose input is multiplied by a constant (a
    forward pre-hook, which no ``state_dict`` holds): their weight is also a table, so that it cannot hold the sums.
    """

    model: nn.Module
    removed: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, str]
    difference: float
    bounds: Mapping[str, float] = MappingProxyType({})
    scaled: Mapping[str, float] = MappingProxyType({})
    unread: tuple[str, ...] = ()


def compress(model: nn.Module, detection: Detection) -> Smaller:
    """``model`` without clones (units equal on all data) and without units constant on the detection's data: equal
    outputs there, to rounding (10⁻¹⁰ in float64, 10⁻⁵ in float32, 5 % in half precision); where only clones are
    removed, on all data, to what the tolerance of equal weights (10⁻⁹, 2 · 10⁻⁵, four roundings) is to their readers.

    Raises ``InvalidInput`` if the model cannot be traced.
    """
    known = _known(model, detection)
    steps = _clone_steps(detection, known)
    steps += [s for x in detection.layers for s in _constant_steps(x, detection, known, model)]
    found = _smaller(shrunk(model, detection.example, known, steps, exact=True), known)
    return found._replace(kept={**_untried(detection, known, model, steps), **found.kept})


def merge(model: nn.Module, detection: Detection) -> Smaller:
    """``model`` with every block of twins and near-clones replaced by its first unit: readers' weights become w_i + Σ_j
    f_j w_j with the least squares factors f_j of the data. Gated pairs (diverging opposite outgoing weights) stay.

    Raises ``InvalidInput`` if the model cannot be traced.
    """
    known = _known(model, detection)
    steps = [s for x in detection.layers for s in _merge_steps(x, detection, known, model)]
    found = shrunk(model, detection.example, known, steps, exact=False)
    return _smaller(found, known)._replace(bounds={s.layer: s.bound for s in found.taken.values()})


def _known(model: nn.Module, detection: Detection) -> Structure:
    """The structure that was found, if it is this model's."""
    require_kind("model", model, nn.Module)
    require_kind("detection", detection, Detection)
    known = detection.structure or structure(model, detection.example)
    state = state_of(model)
    shapes = {name: tuple(map(known.plan.size, axes)) for name, axes in known.axes.items()}
    judged = [one.weight[0] for one in (*detection.layers, *detection.seen) if one.weight is not None]
    for name in dict.fromkeys((*shapes, *judged)):
        if name not in state or shapes.get(name) != tuple(state[name].shape):
            raise InvalidInput("detection", name, "is of another model", "call detect on this one")
    return known


def _smaller(found: Shrunk, known: Structure) -> Smaller:
    removed = {
        s.layer: tuple(np.flatnonzero(~reduced(known, s.axis, found.taken).stays).tolist())
        for s in found.taken.values()
    }
    gains = {path: gain_of(module) for path, module in found.model.named_modules()}
    scaled = {path: gain for path, gain in gains.items() if gain != 1}
    unread = tuple(name for name, _ in found.model.named_parameters() if known.roles.owner[name] in known.roles.unread)
    return Smaller(found.model, removed, found.kept, found.difference, scaled=scaled, unread=unread)


# --- what may go ------------------------------------------------------------------------------------------------------


def _leaf(layer: Layer, known: Structure) -> Axis | None:
    """The width class of a layer's units, if it is no compound of several."""
    if layer.weight is None:
        return None
    root = known.plan.find(known.axes[layer.weight[0]][layer.weight[1]])
    return root if known.plan._kind[root] == "leaf" and known.plan.size(root) == layer.units else None


def _clone_steps(detection: Detection, known: Structure) -> list[Step]:
    """One a width class (units, heads, groups, what is in them) that has equal members, named by the layer whose units
    they are, else by the module that holds a parameter of it."""
    layers = [(x.module, x.weight) for x in detection.layers if x.kind == "sum" and x.weight is not None]
    held = [(name.rpartition(".")[0], (name, dim)) for name, axes in known.axes.items() for dim in range(len(axes))]
    steps: dict[Axis, Step] = {}
    for layer, (name, dim) in (*layers, *held):
        axis = known.axes[name][dim]
        for leaf in known.plan.leaves(axis):
            first = _first(known.classes[leaf])
            if leaf not in steps and len(set(first.tolist())) < len(first):
                steps[leaf] = Step(layer, axis, leaf, first, np.ones(len(first)), np.zeros(len(first)), 0.0)
    return list(steps.values())


def _first(blocks: Partition) -> Partition:
    """The first member of every member's block."""
    return np.unique(blocks, return_index=True)[1][blocks]


def _alone(layer: Layer, detection: Detection, known: Structure) -> str:
    """Why units of a layer cannot be replaced by multiples: readers must be linear layers that read just this value."""
    leaf = _leaf(layer, known)
    if leaf is None:
        return "its units are a compound of several widths"
    readers = [s for s in detection.seen if s.kind == "sum" and s.reads == layer.module]
    owner = known.roles.owner
    owners = {owner[s.weight[0]] for s in readers if s.weight is not None and s.operator == "linear" and s.plainly}
    summing = {name for name, roots in known.roles.summed.items() if leaf in roots}
    used = any(known.roles.uses[name] > 1 for name in summing)
    averaged = any(leaf in known.plan.leaves(axis) for axis in known.plan.averaged)
    if not summing or summing != owners or used or averaged or not known.plan.cloned(leaf):
        return "something else than linear layers reads it, or other values share its width"
    return ""


def _constants(layer: Layer) -> dict[int, float]:
    """Units of one value on all data, and that value: constants, and units of a relu that are exactly 0."""
    values = {u: v for b in layer.verdicts if b.kind == "constant" for u, v in zip(b.units, b.values, strict=True)}
    return values | dict.fromkeys({*layer.dead} & {*layer.frozen} if layer.operator == "relu" else (), 0.0)


def _why_constants_stay(layer: Layer, detection: Detection, known: Structure, model: nn.Module) -> str:
    reason, values = _alone(layer, detection, known), _constants(layer)
    if reason or len({*layer.dead, *values}) == layer.units:
        return reason or "no unit of the layer moves"
    leaf = _leaf(layer, known)
    biased = all(bias_of(model, name) is not None for name, roots in known.roles.summed.items() if leaf in roots)
    return "" if biased or not any(values.values()) else "a layer that reads it has no bias"


def _constant_steps(layer: Layer, detection: Detection, known: Structure, model: nn.Module) -> list[Step]:
    """Constants, and units that are exactly 0 on all data, go into the first unit that moves, with gain 0."""
    values = _constants(layer)
    if not values or _why_constants_stay(layer, detection, known, model):
        return []
    leaf = _leaf(layer, known)
    assert leaf is not None
    first = next(u for u in range(layer.units) if u not in values and u not in layer.dead)
    target, gain, shift = np.arange(layer.units), np.ones(layer.units), np.zeros(layer.units)
    for unit, value in values.items():
        target[unit], gain[unit], shift[unit] = first, 0.0, value
    return [Step(layer.module, leaf, leaf, target, gain, shift, 0.0)]


def _untried(detection: Detection, known: Structure, model: nn.Module, steps: list[Step]) -> dict[str, str]:
    """Layers with equal or constant units for which there is no step, and why."""
    found: dict[str, str] = {}
    tried = {step.leaf for step in steps}
    for x in detection.layers:
        if _constants(x) and (reason := _why_constants_stay(x, detection, known, model)):
            found[x.module] = f"constant units: {reason}"
        if x.cloned and x.kind == "sum" and x.weight is not None:
            leaves = known.plan.leaves(known.axes[x.weight[0]][x.weight[1]])
            if not tried.intersection(leaves):
                found[x.module] = "units equal on this data, not by their weights"
    return found


def _merge_steps(layer: Layer, detection: Detection, known: Structure, model: nn.Module) -> list[Step]:
    blocks = [b for b in layer.verdicts if b.kind in ("near", "twin") and "gated" not in b.reason]
    if not blocks or _alone(layer, detection, known):
        return []
    leaf = _leaf(layer, known)
    assert leaf is not None
    target, gain, off = np.arange(layer.units), np.ones(layer.units), np.zeros(layer.units)
    for block in blocks:
        members = list(block.units[1:])
        target[members], gain[members], off[members] = block.units[0], block.factors[1:], block.residuals[1:]
    while (target[target] != target).any():  # the first of a block of twins may be near another unit
        target, gain, off = target[target], gain * gain[target], off + abs(gain) * off[target]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    readers = [parameters[name].detach().double() for name, roots in known.roles.summed.items() if leaf in roots]
    bound = max(float(np.linalg.norm(weight.cpu().numpy(), axis=0) @ off) for weight in readers)
    return [Step(layer.module, leaf, leaf, target, gain, np.zeros(layer.units), bound)]
