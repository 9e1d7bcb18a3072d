"""Narrow a copy of a model, width class by width class, and keep what computes the same.  [base-network: Remark A.2]

A step names the units of one width class that go. All steps are tried together, then one by one: the parameters are
narrowed, sizes that the code reads follow where they must (:mod:`lop_theory.modules.sizes`), and the smaller model must
give the outputs of the larger on the detection's example, and on other batch sizes and lengths where the model takes
them.
"""

import copy
from collections.abc import Mapping
from itertools import accumulate
from math import inf, prod
from operator import mul
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.metrics.passes import undisturbed
from lop_theory.modules.axes import Axis
from lop_theory.modules.equitable import Structure
from lop_theory.modules.growth import ATTRIBUTE
from lop_theory.modules.interface import Correction, Partition
from lop_theory.modules.own_class import Scaled, other_shapes
from lop_theory.modules.redistribute import block_sums
from lop_theory.modules.sizes import Growth, Size, Within, anywhere, choices, options_of, places_of, put, sizes_read
from lop_theory.trace import as_arguments, random_state

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}
SIZES = {
    "in_features": 1, "out_features": 0, "in_channels": 1, "out_channels": 0, "num_features": 0, "embedding_dim": 1,
    "num_channels": 0,
}  # fmt: skip


class Step(NamedTuple):
    """Units of the width class ``leaf`` that go: ``target[u]`` takes the place of u, ``gain[u]`` is u as a multiple of
    it. ``shift``: what the gone units add to their readers' biases, by unit. ``axis``: the units of ``layer``."""

    layer: str
    axis: Axis
    leaf: Axis
    target: Partition
    gain: np.ndarray
    shift: np.ndarray
    bound: float


Taken = Mapping[Axis, Step]


class Shrunk(NamedTuple):
    """``taken`` steps by width class, ``kept`` layers with the reason, the largest relative ``difference``."""

    model: nn.Module
    taken: Taken
    kept: Mapping[str, str]
    difference: float


class _Base(NamedTuple):
    """The model, what it answers to several inputs, how far a smaller one may be from that, and sizes that it reads."""

    model: nn.Module
    answers: list[tuple[Any, list[Any]]]
    limit: float
    read: set[tuple[type, str]]


def shrunk(model: nn.Module, example: Any, known: Structure, steps: list[Step], *, exact: bool) -> Shrunk:
    """Take the steps that leave the model running and, of ``exact`` ones, the outputs as they were."""
    base, kept, allowed = _base(model, example, exact=exact), dict[str, str](), dict[Axis, Step]()
    for step in steps:
        if reason := _forbidden(model, known, step) if base.answers else "the model does not run on the example":
            kept[step.layer] = reason
        else:
            allowed.setdefault(step.leaf, step)  # another layer of the same width goes with it
    whole, change = _fitted(base, model, known, {}, allowed) if exact and allowed else (None, inf)
    if whole is not None:
        return Shrunk(whole, allowed, kept, change)
    current, taken, difference = _copied(model), dict[Axis, Step](), 0.0
    for leaf, step in allowed.items():
        more = {**taken, leaf: step}
        attempt, change = _fitted(base, current, known, taken, more, _owners(known, leaf))
        if attempt is None:
            kept[step.layer] = _why(change)
        else:
            current, taken, difference = attempt, more, change
    return Shrunk(current, taken, kept, difference)


def _base(model: nn.Module, example: Any, *, exact: bool) -> _Base:
    calls = [example, *(kwargs or args for args, kwargs in other_shapes(*as_arguments(example)))]
    answers = [(given, _outputs(model, given)) for given in calls]
    known = [(given, outputs) for given, outputs in answers if outputs is not None]
    if answers[0][1] is None:
        return _Base(model, [], 0.0, set())
    return _Base(model, known, _close(known[0][1]) if exact else inf, sizes_read(model, example) if exact else set())


def _close(outputs: list[Any]) -> float:
    """A relative tolerance by the precision of the outputs."""
    dtypes = [t.dtype for t in outputs if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]
    return max((CLOSE.get(dtype.to_real(), 5e-2) for dtype in dtypes), default=0.0)


def _copied(model: nn.Module) -> nn.Module:
    try:
        result = copy.deepcopy(model)
    except Exception as error:
        raise InvalidInput("model", type(model).__name__, f"cannot be copied: {error}") from error
    vars(result).pop(ATTRIBUTE, None)  # no longer what was widened
    return result


def _fitted(
    base: _Base, shell: nn.Module, known: Structure, before: Taken, taken: Taken, within: Within = anywhere
) -> tuple[nn.Module | None, float]:
    """A copy of ``shell`` (in which the steps ``before`` are taken) with the steps ``taken``, and its difference; or
    ``None`` and the least difference of any choice of its sizes."""
    attempt = _copied(shell)
    options = options_of(attempt, base.read, _shrinking(known, before, taken), within)
    places, least = places_of(attempt, options, within), inf
    _fill(attempt, base.model, known, taken)
    for chosen in ({}, *choices(options)):
        put(places, chosen)
        change = _difference(base, attempt)
        if change <= base.limit and change < inf:
            return attempt, _only_what_must(base, attempt, places, chosen)
        least = min(least, change)
    return None, least


def _only_what_must(
    base: _Base, attempt: nn.Module, places: Mapping[Size, list[Any]], chosen: Mapping[Size, Any]
) -> float:
    """Put back every size without which the outputs stay right: a number that equals a width may mean another thing.
    The difference that is left."""
    before = {size: [getattr(thing, size.name) for thing in places[size]] for size in chosen}
    for size in chosen:
        for thing in places[size]:
            setattr(thing, size.name, type(getattr(thing, size.name))(size.value))
        if not _difference(base, attempt) <= base.limit:
            for thing, value in zip(places[size], before[size], strict=True):
                setattr(thing, size.name, value)
    return _difference(base, attempt)


def _why(change: float) -> str:
    return "its code has the width as a number" if change == inf else f"the outputs would change by {change:.1e}"


def _forbidden(model: nn.Module, known: Structure, step: Step) -> str:
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
    tied = [name for name in known.roles.summed if _is_tied(known, name, step.leaf)]
    if tied and (len(sizes) > 1 or not all(_rescalable(model, known, name, step.leaf) for name in tied)):
        return f"{tied[0]} is tied: it enters in two ways"
    return ""


def _is_tied(known: Structure, name: str, leaf: Axis) -> bool:
    """Whether a parameter is summed over a width class along which it also enters as it is (an embedding's table that
    is the output's weight), or is told apart (an autoencoder's weight and its transpose)."""
    roles, plan = known.roles, known.plan
    both = roles.summed[name] & roles.entering.get(name, frozenset())
    twice = roles.along.get(name, frozenset()) & roles.kept.get(name, frozenset())
    return any(leaf in plan.leaves(axis) for axis in (*both, *(known.axes[name][dim] for dim in twice)))


def _rescalable(model: nn.Module, known: Structure, name: str, leaf: Axis) -> bool:
    """Whether what sums over a tied parameter is a module of its own, whose input can be scaled."""
    tensor = dict(model.named_parameters(remove_duplicate=False)).get(name)
    modules = [model.get_submodule(path) for path in _readers(known, name, leaf)]
    return tensor is not None and all(m is not model and m._parameters.get("weight") is tensor for m in modules)


def _readers(known: Structure, name: str, leaf: Axis) -> set[str]:
    """Modules that sum over a parameter along a width class."""
    return {path for path, root in known.roles.readers[name] if leaf in known.plan.leaves(root)}


# --- sizes that follow ------------------------------------------------------------------------------------------------


def _owners(known: Structure, leaf: Axis) -> Within:
    """Modules with a parameter of this width class, and those that hold them: no object that all layers share."""
    paths = {name for name, axes in known.axes.items() if any(leaf in known.plan.leaves(axis) for axis in axes)}
    within = {""} | {".".join(parts[:k]) for name in paths for parts in [name.split(".")] for k in range(len(parts))}
    return lambda path, thing: isinstance(thing, nn.Module) and path in within


def _shrinking(known: Structure, before: Taken, taken: Taken) -> set[Growth]:
    """Sizes of every parameter's axes, and of what they are products of, before and after."""
    return {
        Growth(name.rpartition(".")[0], old, new)
        for name, axes in known.axes.items()
        for axis in axes
        for old, new in zip(_sizes(known, axis, before), _sizes(known, axis, taken), strict=True)
    }


def _sizes(known: Structure, axis: Axis, taken: Taken) -> list[int]:
    """Of an axis, of its parts, and of neighbouring parts of a product together (groups × heads)."""
    root = known.plan.find(axis)
    parts = [_sizes(known, part, taken) for part in known.plan._parts[root]]
    runs = [accumulate((part[0] for part in parts[k:]), mul) for k in range(len(parts))]
    together = [size for run in runs for size in run] if known.plan._kind[root] == "product" else []
    return [int(reduced(known, axis, taken).stays.sum()), *together, *(size for part in parts for size in part)]


# --- narrow parameters ------------------------------------------------------------------------------------------------


def _fill(shell: nn.Module, model: nn.Module, known: Structure, taken: Taken) -> None:
    """The model's parameters and buffers, narrowed, in the shell; and the sizes that standard layers remember."""
    source = _copied(model)
    for step in taken.values():
        _absorb(source, known, step)
    made: dict[int, Any] = {}
    for path, module in source.named_modules():
        target = shell.get_submodule(path)
        for table, filled in ((module._parameters, target._parameters), (module._buffers, target._buffers)):
            for key, tensor in table.items():
                name = f"{path}.{key}" if path else key
                if tensor is not None and name in known.axes:
                    if id(tensor) not in made:
                        made[id(tensor)] = _narrow(tensor, known, name, taken)
                    filled[key] = made[id(tensor)]
        _resize(target, module)
    for path, gain in _gains(known, taken).items():
        _scale(shell.get_submodule(path), gain * gain_of(model.get_submodule(path)))


def _gains(known: Structure, taken: Taken) -> dict[str, float]:
    """Of modules that sum over a tied parameter: how many equal terms each term now stands for."""
    found: dict[str, float] = {}
    for leaf, step in taken.items():
        for name in known.roles.summed:
            for path in _readers(known, name, leaf) if _is_tied(known, name, leaf) else ():
                found[path] = found.get(path, 1.0) * len(step.target) / len(set(step.target.tolist()))
    return found


def gain_of(module: nn.Module) -> float:
    return prod(hook.gain for hook in module._forward_pre_hooks.values() if isinstance(hook, Scaled))


def _scale(module: nn.Module, gain: float) -> None:
    """Multiply the module's input by ``gain``, and by nothing else of this kind."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, Scaled):
            del module._forward_pre_hooks[key]
    if gain != 1:
        module.register_forward_pre_hook(Scaled(gain))


@torch.no_grad()
def _absorb(model: nn.Module, known: Structure, step: Step) -> None:
    """What constant units add to their readers goes into the biases."""
    if not step.shift.any():
        return
    for name, roots in known.roles.summed.items():
        bias = bias_of(model, name) if step.leaf in roots else None
        if bias is not None:
            weight = model.get_parameter(name)
            bias += (weight.double() @ torch.as_tensor(step.shift, device=weight.device)).to(bias)


def bias_of(model: nn.Module, weight: str) -> Tensor | None:
    return getattr(model.get_submodule(weight.rpartition(".")[0]), "bias", None)


def _narrow(tensor: Tensor, known: Structure, name: str, taken: Taken) -> Any:
    """Along every dimension: the rows that stay, or sums over those that they stand for."""
    value: Any = tensor.detach()
    value = value.double().cpu().numpy() if tensor.is_floating_point() else value.cpu().numpy()
    before = value.shape
    for dim, axis in enumerate(known.axes[name]):
        if not any(leaf in taken for leaf in known.plan.leaves(axis)):
            continue
        line = reduced(known, axis, taken)
        if _only_summed(known, name, dim):
            shape = [1] * value.ndim
            shape[dim] = -1
            value = block_sums(value * line.gain.reshape(shape), line.place, dim)
        else:
            value = np.take(value, np.flatnonzero(line.stays), axis=dim)
    if value.shape == before:
        return tensor
    narrow = torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
    return nn.Parameter(narrow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else narrow


def _only_summed(known: Structure, name: str, dim: int) -> bool:
    """Whether a parameter's entries along a dimension are summed over, and nothing else."""
    roles, owner = known.roles, known.roles.owner[name]
    summed = dim in roles.along.get(owner, frozenset()) - roles.kept.get(owner, frozenset())
    return summed and known.plan.find(known.axes[name][dim]) not in roles.entering.get(owner, frozenset())


class Reduced(NamedTuple):
    """Of every coordinate of an axis: the position of what stands for it, its multiple of that, whether it stays."""

    place: Partition
    gain: np.ndarray
    stays: np.ndarray


def reduced(known: Structure, axis: Axis, taken: Taken) -> Reduced:
    plan = known.plan
    root = plan.find(axis)
    if plan._kind[root] == "leaf":
        every = np.arange(plan.size(root))
        if root not in taken:
            return Reduced(every, np.ones(len(every)), np.ones(len(every), dtype=bool))
        step = taken[root]
        return Reduced(np.unique(step.target, return_inverse=True)[1], step.gain, step.target == every)
    parts = [reduced(known, part, taken) for part in plan._parts[root]]
    return _product(parts) if plan._kind[root] == "product" else _sum(parts)


def _product(parts: list[Reduced]) -> Reduced:
    index, gain, stays = np.zeros(1, dtype=np.int64), np.ones(1), np.ones(1, dtype=bool)
    for part in parts:
        size = int(part.place.max(initial=-1)) + 1
        index = (index[:, None] * size + part.place[None, :]).ravel()
        gain = (gain[:, None] * part.gain[None, :]).ravel()
        stays = (stays[:, None] & part.stays[None, :]).ravel()
    return Reduced(index, gain, stays)


def _sum(parts: list[Reduced]) -> Reduced:
    offset, indices = 0, list[Partition]()
    for part in parts:
        indices.append(part.place + offset)
        offset += int(part.place.max(initial=-1)) + 1
    return Reduced(np.concatenate(indices), *(np.concatenate([p[k] for p in parts]) for k in (1, 2)))


def _resize(module: nn.Module, before: nn.Module) -> None:
    """The sizes that standard layers remember of their weights, where they were those of ``before``'s."""
    if isinstance(module, nn.RNNBase):
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    new, old = (m._parameters.get("weight", m._buffers.get("running_mean")) for m in (module, before))
    if new is None or old is None or new.shape == old.shape:
        return
    if getattr(module, "groups", 1) > 1 and 1 in old.shape[:2]:  # one channel a group
        wide = 1 - list(old.shape[:2]).index(1)
        cast(Any, module).groups = cast(Any, before).groups * new.shape[wide] // old.shape[wide]
    for name, dim in SIZES.items():
        if isinstance(vars(module).get(name), int) and new.dim() > dim:
            setattr(module, name, _resized(module, before, (name, dim), (new, old)))
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        module.normalized_shape = tuple(new.shape)


def _resized(module: nn.Module, before: nn.Module, place: tuple[str, int], weights: tuple[Tensor, Tensor]) -> int:
    """What a size becomes that is one side of the weight, or as many of them as there are groups."""
    (name, dim), (new, old) = place, weights
    size: int = getattr(before, name)
    for side in (dim, 1 - dim) if new.dim() > 1 else (dim,):
        groups = [int(getattr(m, "groups", 1)) for m in (module, before)]
        if size == old.shape[side]:
            return new.shape[side]
        if size == old.shape[side] * groups[1]:
            return new.shape[side] * groups[0]
    return size


# --- what it computes -------------------------------------------------------------------------------------------------


def _difference(base: _Base, attempt: nn.Module) -> float:
    """The largest relative change of an output; the first beyond the limit ends the comparison."""
    worst = 0.0
    for given, expected in base.answers:
        found = _outputs(attempt, given)
        worst = max(worst, inf if found is None else _change(expected, found))
        if worst > base.limit:
            break
    return worst


def _outputs(model: nn.Module, inputs: Any) -> list[Any] | None:
    """All outputs, or ``None`` if it does not run."""
    try:
        with undisturbed(model) as run, torch.no_grad(), random_state(0):
            return pytree.tree_leaves(run(inputs))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        return None


def _change(before: list[Any], after: list[Any]) -> float:
    """The largest of max|difference| over max|output|, output by output; infinite for other shapes, whole numbers that
    differ, and what is finite in one alone."""
    if len(before) != len(after):
        return inf
    return max((_apart(a, b) for a, b in zip(before, after, strict=True)), default=0.0)


def _apart(a: Any, b: Any) -> float:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        plain = isinstance(a, (int, float, str, type(None))) and type(a) is type(b)
        return 0.0 if not plain or a == b else inf
    if a.shape != b.shape or a.dtype != b.dtype:
        return inf
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    differ = (a != b) & ~(a.isnan() & b.isnan())
    if not bool(differ.any()):
        return 0.0
    if not a.is_floating_point() or not bool((a[differ].isfinite() & b[differ].isfinite()).all()):
        return inf
    gap = float((a[differ].double() - b[differ].double()).abs().max())
    return gap / max(float(a[a.isfinite()].double().abs().max()), 1e-300)
