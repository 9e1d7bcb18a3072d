"""A model's parameters without the units that others stand for.  [base-network: Remark A.2]

Rows of units that go are left out; where a weight sums over them, its entries go to what stands for them. A tied
parameter can only lose rows: what sums over it gets its input multiplied instead.
"""

import copy
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.modules.axes import Axis, block_count
from lop_theory.modules.equitable import Structure
from lop_theory.modules.interface import Partition
from lop_theory.modules.own_class import Scaled
from lop_theory.modules.redistribute import block_sums
from lop_theory.modules.resizing import resize


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


def fill(shell: nn.Module, model: nn.Module, known: Structure, taken: Taken) -> None:
    """The model's parameters and buffers, narrowed, in the shell; and the sizes that standard layers remember."""
    source = copy.deepcopy(model)
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
        resize(target, module)
    for path, gain in _gains(known, taken).items():
        _scale(shell.get_submodule(path), gain * gain_of(model.get_submodule(path)))


def _gains(known: Structure, taken: Taken) -> dict[str, float]:
    """Of modules that sum over a tied parameter: how many equal terms each term now stands for."""
    found: dict[str, float] = {}
    for leaf, step in taken.items():
        for name in known.roles.summed:
            for path in _readers(known, name, leaf) if is_tied(known, name, leaf) else ():
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
        bias = bias_of(model, name)
        if step.leaf in roots and bias is not None:
            weight = model.get_parameter(name)
            bias += (weight.double() @ torch.as_tensor(step.shift, device=weight.device)).to(bias)


def bias_of(model: nn.Module, weight: str) -> Tensor | None:
    return getattr(model.get_submodule(weight.rpartition(".")[0]), "bias", None)


def _narrow(tensor: Tensor, known: Structure, name: str, taken: Taken) -> Any:
    """Along every dimension: the rows that stay, or sums over those that they stand for."""
    axes = known.axes[name]
    if taken.keys().isdisjoint(leaf for axis in axes for leaf in known.plan.leaves(axis)):
        return tensor
    value: Any = tensor.detach().double().cpu().numpy()
    for dim, axis in enumerate(axes):
        line = reduced(known, axis, taken)
        if _only_summed(known, name, dim):
            shape = [1] * value.ndim
            shape[dim] = -1
            value = block_sums(value * line.gain.reshape(shape), line.place, dim)
        else:
            value = np.take(value, np.flatnonzero(line.stays), axis=dim)
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
        size = block_count(part.place)
        index = (index[:, None] * size + part.place[None, :]).ravel()
        gain = (gain[:, None] * part.gain[None, :]).ravel()
        stays = (stays[:, None] & part.stays[None, :]).ravel()
    return Reduced(index, gain, stays)


def _sum(parts: list[Reduced]) -> Reduced:
    offset, indices = 0, list[Partition]()
    for part in parts:
        indices.append(part.place + offset)
        offset += block_count(part.place)
    return Reduced(np.concatenate(indices), *(np.concatenate([p[k] for p in parts]) for k in (1, 2)))


def is_tied(known: Structure, name: str, leaf: Axis) -> bool:
    """Whether a parameter is summed over a width class along which it also enters as it is (an embedding's table that
    is the output's weight), or is told apart (an autoencoder's weight and its transpose)."""
    roles, plan = known.roles, known.plan
    both = roles.summed[name] & roles.entering.get(name, frozenset())
    twice = roles.along.get(name, frozenset()) & roles.kept.get(name, frozenset())
    return any(leaf in plan.leaves(axis) for axis in (*both, *(known.axes[name][dim] for dim in twice)))


def rescalable(model: nn.Module, known: Structure, name: str, leaf: Axis) -> bool:
    """Whether what sums over a tied parameter is a module of its own, whose input can be scaled."""
    tensor = dict(model.named_parameters(remove_duplicate=False)).get(name)
    modules = [model.get_submodule(path) for path in _readers(known, name, leaf)]
    return tensor is not None and all(m is not model and m._parameters.get("weight") is tensor for m in modules)


def _readers(known: Structure, name: str, leaf: Axis) -> set[str]:
    """Modules that sum over a parameter along a width class."""
    return {path for path, root in known.roles.readers[name] if leaf in known.plan.leaves(root)}
