"""The analytic escape from a clone manifold: the plane of a redistribution v and Hv.  [saddle: Definition A.2]

For v in R, on the manifold, vᵀHv = 0. In the orthonormal basis (v, Hv/‖Hv‖) the form is

    [ 0     ‖Hv‖ ]
    [ ‖Hv‖   q   ],   q = curvature along Hv,

with lowest eigenvalue q/2 − sqrt(q²/4 + ‖Hv‖²) < 0 unless Hv = 0: shift outgoing weight from clone to clone, and move
their incoming weights along the difference of their error signals (Fukumizu and Amari 2000; ``Stability.v:saddle``).
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.modules.detection import Detection
from lop_theory.stability.found import clones_of
from lop_theory.stability.krylov import lanczos, random_start
from lop_theory.stability.manifold import Clones, normal, redistributions
from lop_theory.stability.objective import Curvature, curvature


class Escape(NamedTuple):
    """Unit ``direction`` in N, pointing downhill, with ``curvature`` = dᵀHd; ``mixing`` = ‖P H v‖ for the unit
    ``redistribution`` v. Curvature and mixing are 0 where no error signal tells the clones apart."""

    direction: Tensor
    curvature: float
    mixing: float
    redistribution: Tensor


def escape_direction(at: Curvature, clones: Clones, *, seed: int = 0) -> Escape | None:
    """The escape direction for a random redistribution over all blocks at once; ``None`` if there are no clones.

    A random v separates all clones of all blocks together; the lowest eigenvector of H|_N would separate the one pair
    that gains most. Near the manifold instead of on it, vᵀHv is not exactly 0 and the plane's lowest curvature is
    reported as it is. The sign is that in which the loss falls; on the manifold both fall alike.
    """
    flat, space = redistributions(clones, at.coordinates), normal(clones, at.coordinates)
    if not flat.dimension:
        return None
    start = flat.project(random_start(flat, at.gradient, seed))
    start = start / start.norm()
    lowest = lanczos(at.product, space, start, steps=2).lowest
    downhill = -1.0 if float(lowest.vector @ at.gradient) > 0 else 1.0
    mixing = float(space.project(at.product(start)).norm())
    return Escape(downhill * lowest.vector, lowest.value, mixing, start)


class Escaped(NamedTuple):
    """A copy of the model, moved off its clone manifold, and the direction in which it was moved."""

    model: nn.Module
    escape: Escape


def escaped(
    model: nn.Module, detection: Detection, loss: Callable[[Any], Tensor], *, size: float = 1e-3, seed: int = 0
) -> Escaped:
    """Leave the manifold of the trapped units that :func:`lop_theory.modules.detect` found: a model of the same class
    whose trained parameters are moved by ``size`` × their norm along :func:`escape_direction`.

    ``loss(output)`` on the detection's example tells the clones apart; any model that can be traced is covered
    (residual blocks, attention). ``seed`` draws the redistribution. Raises ``InvalidInput`` without trapped units.
    """
    if detection.structure is None or not detection.verdicts("trapped"):
        raise InvalidInput(
            "detection", len(detection.layers), "has no trapped units", "there is nothing to escape from"
        )
    at = curvature(model, detection.example, loss)
    found = escape_direction(at, clones_of(model, detection.example, detection), seed=seed)
    if found is None:
        raise InvalidInput(
            "detection", len(detection.layers), "no weight reads the trapped units", "nothing can part them"
        )
    result = copy.deepcopy(model)
    moved = at.coordinates.unflatten(found.direction)
    with torch.no_grad():
        parameters = dict(result.named_parameters())
        norm = float(sum((parameters[name].double() ** 2).sum() for name in moved)) ** 0.5
        for name, direction in moved.items():
            parameters[name].add_(direction.to(parameters[name]), alpha=size * norm)
    return Escaped(result, found)
