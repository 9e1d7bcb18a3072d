"""The clone manifold of a model as it stands: from a trace, a detection or a profile, with the redistributions tested.
[flat-directions]
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from lop_theory.errors import InvalidInput
from lop_theory.modules.equitable import Structure, structure
from lop_theory.modules.interface import Profile
from lop_theory.stability.attention import math_attention
from lop_theory.stability.krylov import random_start
from lop_theory.stability.layout import Coordinates, coordinates
from lop_theory.stability.manifold import (
    Clones,
    clones_of_profile,
    clones_of_structure,
    redistributions,
    summed_dimensions,
)
from lop_theory.stability.objective import Objective, objective_of
from lop_theory.stability.pieces import refusing_noise
from lop_theory.trace import as_arguments

FLAT = 1e-3
"""A redistribution changes the outputs by less than this times what a shift of the same size without zero sums does."""


def clones_of(model: nn.Module, inputs: Any, given: Any = None) -> Clones:
    """The clones of any model: those of a ``Detection`` (:func:`lop_theory.modules.detect`), of a ``Profile`` or of
    ``Clones``; from ``None`` those that a trace finds. Tested: along the redistributions of a weight that are kept the
    outputs do not change.

    Raises ``InvalidInput`` if the model has no clones, draws random numbers, or cannot be traced.
    """
    if isinstance(given, Clones):
        return _some(given)
    known = getattr(given, "structure", None)
    found = known if isinstance(known, Structure) else structure(model, inputs)
    where = coordinates(model)
    clones = clones_of_profile(given, (), where) if isinstance(given, Profile) else clones_of_structure(found, where)
    return _some(clones._replace(summed=_tested(model, inputs, clones, found)))


def _some(clones: Clones) -> Clones:
    if all(label is None for labels in clones.labels.values() for label in labels):
        raise InvalidInput(
            "model",
            "0 clones",
            "has no units that compute the same",
            "widen it: expand(model, 2), --widen 2",
        )
    return clones


def _tested(model: nn.Module, inputs: Any, clones: Clones, found: Structure) -> dict[str, int]:
    """Per weight the dimension of its cloned sources, where moving weight from clone to clone changes no output."""
    at = objective_of(model, inputs, lambda output: output, dtype=torch.float64)
    before, kept = _outputs(at, at.start), dict[str, int]()
    for name in clones.labels:
        for dim in summed_dimensions(found, name):
            if clones.labels[name][dim] is not None:
                one = clones._replace(summed={name: dim})
                if _is_flat(at, before, one, at.coordinates):
                    kept[name] = dim
    return kept


def _is_flat(at: Objective, before: Tensor, clones: Clones, where: Coordinates) -> bool:
    (name,) = clones.summed
    only = where.flatten({n: torch.full(s, float(n == name)) for n, s in zip(where.names, where.shapes, strict=True)})
    draw = random_start(redistributions(clones, where), at.start) * only.to(at.start)
    moved = redistributions(clones, where).project(draw)
    size = float((at.start * only.to(at.start)).norm()) or 1.0
    changes = [float((_outputs(at, at.start + size * shift / shift.norm()) - before).norm()) for shift in (moved, draw)]
    return changes[0] <= FLAT * changes[1]


def _outputs(at: Objective, point: Tensor) -> Tensor:
    """All real outputs as one vector."""
    args, kwargs = as_arguments(at.inputs)
    state: Mapping[str, Tensor] = {**at.fixed, **at.coordinates.unflatten(point)}
    with torch.no_grad(), math_attention(), refusing_noise():
        found = functional_call(at.model, dict(state), args, kwargs)
    leaves = [t for t in pytree.tree_leaves(found) if isinstance(t, Tensor) and t.is_floating_point()]
    return torch.cat([t.detach().double().reshape(-1) for t in leaves])
