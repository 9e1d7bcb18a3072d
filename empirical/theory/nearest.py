"""Distance to the nearest cloning manifold, for any architecture, and what holds on it  [clone-gradient].

``lop_theory.graph.nearest.nearest_pair`` on modules: two units of one width class (an axis that could be widened, as
``expand`` finds them) are copies if every parameter has equal slices for both; the squared distance of that is
½ Σ ‖slice_i − slice_j‖². Copies of more units, or of several pairs, lie inside: the nearest pair is nearest of all
manifolds of copies. On it the two units have equal activations and adjoints, so every gradient has equal slices.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from empirical.theory.check import Check, judged
from lop_theory.modules import UnsupportedOperation
from lop_theory.modules.plan import Widths, widths

CLOSE = 1e-6  # relative distance of parameters within which the theorem is applied
EQUAL = 1e-4  # relative difference of gradients that counts as none


class Slot(NamedTuple):
    """Where a width class lies in a state tensor: ``order`` lists the coordinates of ``dim`` unit by unit."""

    name: str
    dim: int
    order: tuple[int, ...]


class WidthClass(NamedTuple):
    """Units that are widened together; ``label`` is the parameter in which they first occur."""

    label: str
    units: int
    slots: tuple[Slot, ...]


class Pair(NamedTuple):
    """The two units nearest to being copies: Euclidean distance to the manifold, and relative to both units' norm."""

    units: tuple[int, int]
    distance: float
    relative: float


_KNOWN: dict[str, tuple[WidthClass, ...]] = {}


def check_nearest(model: nn.Module, inputs: Tensor, gradients: Mapping[str, Tensor]) -> list[Check]:
    """One check a width class: within ``CLOSE`` of a manifold of copies the gradients of both units must be equal."""
    try:
        classes = width_classes(model, inputs)
    except UnsupportedOperation as error:
        return [Check("clone-distance", "", "out of hypothesis", float("nan"), CLOSE, str(error))]
    dropped = dropout_reason(model)
    return [_check(model, found, gradients, dropped) for found in classes]


def dropout_reason(model: nn.Module) -> str:
    """Why clones need not be treated alike in the present mode, or nothing."""
    on = (m.training and (getattr(m, "p", 0.0) or getattr(m, "dropout", 0.0)) > 0 for m in model.modules() if _drops(m))
    return "dropout is on and treats clones differently" if any(on) else ""


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd | nn.MultiheadAttention)


def _check(model: nn.Module, found: WidthClass, gradients: Mapping[str, Tensor], dropped: str) -> Check:
    pair = nearest_pair(_slices(_state(model), found))
    i, j = pair.units
    where = f"units {i} and {j} of {found.units} are {pair.distance:.2e} from being copies"
    if pair.relative > CLOSE or dropped:
        reason = f"{where}; {dropped}" if dropped else where
        return Check("clone-distance", found.label, "out of hypothesis", pair.relative, CLOSE, reason)
    both = _slices(gradients, found)[[i, j]]
    apart, size = float((both[0] - both[1]).norm()), float(both.norm())
    verdict = judged(hypothesis="", holds=apart <= EQUAL * size)
    return Check("clone-distance", found.label, verdict, pair.relative, CLOSE, f"{where}; gradients {apart:.1e} apart")


def nearest_pair(slices: Tensor) -> Pair:
    """Of units × parameters (float64). The closest pair by the Gram matrix, its distance without cancellation."""
    gram = slices @ slices.T
    square = gram.diagonal()[:, None] + gram.diagonal()[None, :] - 2 * gram
    square.fill_diagonal_(torch.inf)
    i, j = divmod(int(square.argmin()), len(square))
    apart = float((slices[i] - slices[j]).norm())
    size = float(gram[i, i] + gram[j, j]) ** 0.5
    return Pair((min(i, j), max(i, j)), apart / 2**0.5, apart / size if size else 0.0)


def width_classes(model: nn.Module, inputs: Tensor) -> tuple[WidthClass, ...]:
    """The model's width classes of at least two units; found once for all models that are built alike."""
    shapes = {name: tuple(t.shape) for name, t in _state(model).items()}
    key = f"{model} {model.training} {inputs.shape[1:]} {shapes}"
    if key not in _KNOWN:
        _KNOWN[key] = _classes(widths(model, inputs[:2], both_modes=False))
    return _KNOWN[key]


def _classes(found: Widths) -> tuple[WidthClass, ...]:
    plan, slots, sizes = found.plan, dict[int, list[Slot]](), dict[int, int]()
    for name, axes in found.state.items():
        for dim, axis in enumerate(axes):
            for leaf in dict.fromkeys(plan.leaves(axis)):
                if plan.cloned(leaf) and plan.size(leaf) > 1:
                    sizes[leaf] = plan.size(leaf)
                    marked = plan.origin(axis, {leaf: tuple(range(2, sizes[leaf] + 2))})
                    slots.setdefault(leaf, []).append(Slot(name, dim, _order(np.bincount(marked) - 2)))
    return tuple(WidthClass(of[0].name, sizes[leaf], tuple(of)) for leaf, of in slots.items())


def _order(unit: np.ndarray) -> tuple[int, ...]:
    """Coordinates by unit; −1 belongs to none."""
    order = np.argsort(unit, kind="stable")
    return tuple(order[unit[order] >= 0].tolist())


def _state(model: nn.Module) -> dict[str, Tensor]:
    """What both units must share: parameters, and in evaluation running statistics."""
    buffers = {} if model.training else dict(model.named_buffers())
    return {name: t for name, t in {**dict(model.named_parameters()), **buffers}.items() if t.is_floating_point()}


def _slices(tensors: Mapping[str, Tensor], found: WidthClass) -> Tensor:
    """Units × all that belongs to a unit."""
    rows = [
        tensors[slot.name].detach().movedim(slot.dim, 0)[_index(slot.order)].reshape(found.units, -1)
        for slot in found.slots
        if slot.name in tensors
    ]
    return torch.cat(rows, 1).double() if rows else torch.zeros(found.units, 1, dtype=torch.float64)


@lru_cache(maxsize=1024)
def _index(order: tuple[int, ...]) -> Tensor:
    return torch.tensor(order)
