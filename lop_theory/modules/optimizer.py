"""An optimizer's state on clones: moments that differ, or other step sizes, part them.  [clone-trajectory]

A step that is equivariant under permutations within blocks keeps clones together if their state is alike: momentum,
Adam's moments, everything that has a parameter's shape. All clones of one parameter are in one group by construction;
parameters whose units are tied (the weight and the bias of one layer) may have different step sizes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lop_theory.modules.conditions import Offence, clone_pair
from lop_theory.modules.interface import Profile
from lop_theory.modules.redistribute import block_means
from lop_theory.modules.terms import COARSEST, TOLERANCE

UNKNOWN = "whether clones are alike in it is not known"


def optimizer_offences(model: nn.Module, optimizer: torch.optim.Optimizer, profile: Profile) -> list[Offence]:
    """Tensors of the state that differ between clones, are NaN or infinite, or whose layout is not the parameter's (of
    those it is not known), by parameter and name; parameters in no group."""
    names = {id(p): name for name, p in model.named_parameters()}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found: list[Offence] = []
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        if name is not None:
            found += _untied(name, parameter, state, profile)
    strangers = [name for i, name in names.items() if i not in held]
    foreign = held - names.keys()
    if foreign and strangers:
        found.append(_offence(strangers[0], "is in no group, and the optimizer holds parameters of another model"))
    return found


def _untied(name: str, parameter: Tensor, state: Mapping[str, object], profile: Profile) -> list[Offence]:
    """State of the parameter's shape, or of one entry a row or a column (factored moments)."""
    found: list[Offence] = []
    for key, value in state.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        array = value.detach().double().cpu().numpy()
        if not np.isfinite(array).all():
            found.append(_offence(name, f"{key} is NaN or infinite"))
        elif value.numel() > 1 and not _laid_out_alike(value, parameter):
            if any(_grew(other, profile) for other in profile.state):
                found.append(_offence(name, f"{key} has a layout of its own: {UNKNOWN}"))
        else:
            found += _apart(name, key, (array, TOLERANCE.get(value.dtype, COARSEST)), profile)
    return found


def _laid_out_alike(value: Tensor, parameter: Tensor) -> bool:
    return value.dim() == parameter.dim() and all(
        n in (m, 1) for n, m in zip(value.shape, parameter.shape, strict=True)
    )


def _grew(name: str, profile: Profile) -> bool:
    return any(len(index) > index.max(initial=-1) + 1 for index in profile.state[name])


def _apart(name: str, key: str, of: tuple[np.ndarray, float], profile: Profile) -> list[Offence]:
    """Clones may be apart by 100 × the tolerance of a weight of that precision: moments forget slowly."""
    (array, tolerance), found = of, list[Offence]()
    for dim, index in enumerate(profile.state[name]) if array.ndim else ():
        if len(index) <= index.max(initial=-1) + 1 or array.shape[dim] != len(index):
            continue
        apart = np.abs(array - block_means(array, index, dim))
        worst, scale = np.moveaxis(apart, dim, 0), np.moveaxis(np.abs(array), dim, 0)
        line = worst.reshape(len(index), -1).max(1, initial=0.0)
        if bool((line > 100 * tolerance * scale.reshape(len(index), -1).max(1, initial=0.0)).any()):
            units = clone_pair(index, differing=line)
            found.append(_offence(name, f"{key} differs between clones by up to {line.max():.2e}", units))
    return found


def _offence(name: str, reason: str, units: tuple[int, ...] = ()) -> Offence:
    return Offence(name.rpartition(".")[0], name, "optimizer", reason, units)
