"""An optimizer's state on clones: moments that differ, or other step sizes, part them.  [clone-trajectory]

A step that is equivariant under permutations within blocks keeps clones together if their state is alike: momentum,
Adam's moments, everything that has a parameter's shape. All clones of one parameter are in one group by construction;
parameters whose units are tied (the weight and the bias of one layer) may have different step sizes.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.modules.conditions import Offence, clone_pair
from lop_theory.modules.interface import Partition, Profile
from lop_theory.modules.redistribute import block_means
from lop_theory.modules.terms import COARSEST, TOLERANCE

NOT_KNOWN = "is not known"
UNKNOWN = f"whether clones are alike in it {NOT_KNOWN}"
WIDEST = 0.1  # the largest tolerance: moments of opposite signs are never alike, however coarse their numbers


def optimizer_offences(model: nn.Module, optimizer: torch.optim.Optimizer, profile: Profile) -> list[Offence]:
    """Tensors of the state that differ between clones, are NaN or infinite, or whose layout is not the parameter's (of
    those it is not known), by parameter and name; parameters in no group."""
    names = {id(p): name for name, p in model.named_parameters()}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found, states = list[Offence](), cast("Mapping[Any, Any]", optimizer.state)
    for parameter, state in states.items():
        name = names.get(id(parameter))
        if name is not None:
            found += _untied(name, parameter, state, profile)
        elif not isinstance(parameter, Tensor) and any(t.numel() > 1 for t in _tensors(state)):
            found.append(_offence("", f"{parameter} is state of no parameter: {UNKNOWN}"))
    strangers = [name for i, name in names.items() if i not in held]
    foreign = held - names.keys()
    if foreign and strangers:
        found.append(_offence(strangers[0], "is in no group, and the optimizer holds parameters of another model"))
    return found


def undecided(offence: Offence) -> bool:
    """Whether it says that something is not known, not that something is wrong."""
    return offence.reason.endswith(NOT_KNOWN)


def _untied(name: str, parameter: Tensor, state: Mapping[str, object], profile: Profile) -> list[Offence]:
    """State of the parameter's shape, or of one entry a row or a column (factored moments), in lists or not."""
    found: list[Offence] = []
    for key, value in ((key, leaf) for key, held in state.items() for leaf in _tensors(held)):
        array = value.detach().to(torch.complex128 if value.is_complex() else torch.float64).cpu().numpy()
        if not np.isfinite(array).all():
            found.append(_offence(name, f"{key} is NaN or infinite"))
        elif _laid_out_alike(value, parameter):
            found += _apart(name, key, (array, _tolerance(value.dtype)), profile)
        elif value.numel() > 1 and any(_grew(other, profile) for other in profile.state):
            found.append(_offence(name, f"{key} has a layout of its own: {UNKNOWN}"))
    return found


def _tensors(state: object) -> list[Tensor]:
    found = (torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in pytree.tree_leaves(state))
    return [x for x in found if isinstance(x, Tensor)]


def _tolerance(dtype: torch.dtype) -> float | None:
    """100 × that of a weight of this precision (moments forget slowly); None: whole numbers, which may be codes."""
    if dtype.is_complex:
        return _tolerance(dtype.to_real())
    return min(100 * TOLERANCE.get(dtype, COARSEST), WIDEST) if dtype.is_floating_point else None


def _laid_out_alike(value: Tensor, parameter: Tensor) -> bool:
    return value.dim() == parameter.dim() and all(
        n in (m, 1) for n, m in zip(value.shape, parameter.shape, strict=True)
    )


def _grew(name: str, profile: Profile) -> bool:
    return any(len(index) > index.max(initial=-1) + 1 for index in profile.state[name])


def _apart(name: str, key: str, of: tuple[Any, float | None], profile: Profile) -> list[Offence]:
    """Clones further apart than ``tolerance`` × the largest number that a unit holds."""
    (array, tolerance), found = of, list[Offence]()
    for dim, index in enumerate(profile.state[name]):
        if len(index) <= index.max(initial=-1) + 1 or array.shape[dim] != len(index):
            continue
        means = block_means(array, index, dim)
        apart, among = np.abs(array - means), f"{key} differs between clones by up to"
        worst, scale = (np.moveaxis(x, dim, 0).reshape(len(index), -1) for x in (apart, np.abs(array)))
        line = worst.max(1, initial=0.0)
        if bool((line > (tolerance or 0.0) * scale.max(1, initial=0.0)).any()):
            reason = f"{among} {line.max():.2e}" + ("" if tolerance is not None else f", in whole numbers: {UNKNOWN}")
            found.append(_offence(name, reason, _farthest(index, np.moveaxis(array, dim, 0), worst)))
        elif bool((apart > WIDEST * means.real).any()) and _squares(array):
            found.append(_offence(name, f"single entries of {key} differ between clones, or are rounding: {UNKNOWN}"))
    return found


def _farthest(index: Partition, array: Any, apart: Any) -> tuple[int, ...]:
    """The unit that is farthest from the mean of its block, and the clone that is farthest from it there."""
    unit, place = np.unravel_index(int(apart.argmax()), apart.shape)
    line = array.reshape(apart.shape)[:, place]
    one_block = np.where(index == index[unit], 0, np.arange(1, len(index) + 1))
    return clone_pair(one_block, differing=np.abs(line - line[unit]))


def _squares(array: Any) -> bool:
    """Numbers by whose root a step is divided entry by entry, small ones as large ones."""
    return not np.iscomplexobj(array) and bool((array >= 0).all())


def _offence(name: str, reason: str, units: tuple[int, ...] = ()) -> Offence:
    return Offence(name.rpartition(".")[0], name, "optimizer", reason, units)
