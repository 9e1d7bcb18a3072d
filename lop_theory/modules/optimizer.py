"""An optimizer's state on clones: moments that differ, or other step sizes, part them.  [clone-trajectory]

A step that is equivariant under permutations within blocks keeps clones together if their state is alike: momentum,
Adam's moments, everything that has a parameter's shape. All clones of one parameter are in one group by construction;
parameters whose units are tied (the weight and the bias of one layer) may have different step sizes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lop_theory.modules.axes import is_cloned
from lop_theory.modules.conditions import Offence, pair_of
from lop_theory.modules.equitable import block_constant
from lop_theory.modules.interface import Partition, Profile
from lop_theory.modules.redistribute import block_means, block_sums
from lop_theory.modules.steps import Step, step_of
from lop_theory.modules.terms import COARSEST, TOLERANCE, tolerance_of

NOT_KNOWN = "is not known"
UNKNOWN = f"whether clones are alike in it {NOT_KNOWN}"
LINEAR = (torch.optim.SGD, torch.optim.ASGD)
DIVIDED = {
    "exp_avg": (("exp_avg_sq", 0.5), ("exp_inf", 1)),
    "grad_avg": (("square_avg", 0.5),),
    "prev": (),
}
"""Signed state whose entries a step divides by the size of the same entry, and that size's power; of Rprop's, the sign
counts. Numbers that are never negative are such sizes themselves."""
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
            blocks = profile.state.get(name, [np.arange(n) for n in parameter.shape])
            linear = isinstance(optimizer, LINEAR) and not block_constant(parameter, blocks, tolerance_of(parameter))
            step = step_of(model, name, optimizer)
            found += _untied(name, parameter, state, _Clones(profile, blocks, step, sums=linear))
        elif not isinstance(parameter, Tensor) and any(t.numel() > 1 for t in _tensors(state)):
            found.append(parted("", f"{parameter} is state of no parameter: {UNKNOWN}"))
    strangers = [name for i, name in names.items() if i not in held]
    foreign = held - names.keys()
    if foreign and strangers:
        found.append(parted(strangers[0], "is in no group, and the optimizer holds parameters of another model"))
    return found


def undecided(offence: Offence) -> bool:
    """Whether it says that something is not known, not that something is wrong."""
    return offence.reason.endswith(NOT_KNOWN)


class _Clones(NamedTuple):
    """A parameter's blocks and steps. ``sums``: its clones are not equal and its steps are sums of gradients and
    weights, so that its state need not be equal either, only in RE∩CE as the weight is."""

    profile: Profile
    blocks: Sequence[Partition]
    step: Step
    sums: bool

    def compared(self, array: Any, dim: int) -> Any:
        """What must be equal on clones along ``dim``."""
        for other, index in enumerate(self.blocks) if self.sums else ():
            array = block_sums(array, index, other) if other != dim else array
        return array


def _untied(name: str, parameter: Tensor, state: Mapping[str, object], clones: _Clones) -> list[Offence]:
    """State of the parameter's shape, or of one entry a row or a column (factored moments), in lists or not."""
    found: list[Offence] = []
    for key, value in ((key, leaf) for key, held in state.items() for leaf in _tensors(held)):
        array = _array(value)
        if not np.isfinite(array).all():
            found.append(parted(name, f"{key} is NaN or infinite"))
        elif _laid_out_alike(value, parameter):
            reason, units = _apart(key, array, _tolerance(value.dtype), clones)
            reason = reason or _entries_apart(key, array, _divisor(key, state), clones)
            found += [parted(name, reason, units)] if reason else []
        elif value.numel() > 1 and any(_grew(other, clones.profile) for other in clones.profile.state):
            found.append(parted(name, f"{key} has a layout of its own: {UNKNOWN}"))
    return found


def _array(value: Tensor) -> Any:
    return value.detach().to(torch.complex128 if value.is_complex() else torch.float64).cpu().numpy()


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
    return any(is_cloned(index) for index in profile.state[name])


def _along_clones(array: Any, clones: _Clones) -> Iterator[tuple[int, Partition]]:
    for dim, index in enumerate(clones.blocks if array.size else ()):
        if array.shape[dim] == len(index):
            yield dim, index


def _apart(key: str, array: Any, tolerance: float | None, clones: _Clones) -> tuple[str, tuple[int, ...]]:
    """Clones further apart than ``tolerance`` × the largest number that a unit holds, and than steps make nothing of:
    what is said of them, and two."""
    least = 0.0 if tolerance is None else clones.step.apart(key)
    for dim, index in _along_clones(array, clones):
        compared = clones.compared(array, dim)
        apart = np.abs(compared - block_means(compared, index, dim))
        worst, scale = (
            np.moveaxis(x, dim, 0).reshape(len(index), -1).max(1, initial=0.0)
            for x in (apart, clones.compared(np.abs(array), dim))
        )
        if bool((worst > (tolerance or 0.0) * scale + least).any()):
            differs = f"{key} differs between clones by up to {worst.max():.2e}"
            unknown = "" if tolerance is not None else f", in whole numbers: {UNKNOWN}"
            return differs + unknown, _farthest(index, np.moveaxis(compared, dim, 0), np.moveaxis(apart, dim, 0))
    return "", ()


def _farthest(index: Partition, array: Any, apart: Any) -> tuple[int, ...]:
    """The unit that is farthest from the mean of its block, and the clone that is farthest from it there."""
    lines = apart.reshape(len(index), -1)
    unit, place = np.unravel_index(int(lines.argmax()), lines.shape)
    line = array.reshape(lines.shape)[:, place]
    return pair_of(np.flatnonzero(index == index[unit]), np.abs(line - line[unit]))


def _entries_apart(key: str, array: Any, divisor: Any, clones: _Clones) -> str:
    """The same of single entries, where a step divides by a size of the same entry, small ones as large ones."""
    for dim, index in _along_clones(array, clones) if divisor is not None else ():
        means = block_means(array, index, dim)
        limit = WIDEST * (np.abs(means) + divisor) + clones.step.apart(key)
        if bool((np.abs(array - means) > limit).any()):
            return f"single entries of {key} differ between clones, or are rounding: {UNKNOWN}"
    return ""


def _divisor(key: str, state: Mapping[str, object]) -> Any:
    """What an entry is divided by beside itself; ``None`` where steps are sums of entries."""
    value = state[key]
    if not isinstance(value, Tensor) or value.is_complex():
        return None
    if key in DIVIDED:
        found = [_array(size) ** power for name, power in DIVIDED[key] if isinstance(size := state.get(name), Tensor)]
        return found[0] if found else 0.0
    return 0.0 if bool((value >= 0).all()) else None


def parted(name: str, reason: str, units: tuple[int, ...] = ()) -> Offence:
    """Why a step may part the clones of a parameter."""
    return Offence(name.rpartition(".")[0], name, "optimizer", reason, units)
