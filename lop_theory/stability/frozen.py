"""Frozen units: a normal space without any curvature, and how far it is to life.  [frozen-unit: Theorem 2.1.1]

Where a ReLU unit is inactive on all data, the loss does not depend on its incoming parameters near by: gradient,
Hessian and all higher derivatives on its normal space vanish. No infinitesimal perturbation escapes, and no gradient
points out: clones are a saddle, frozen units a plateau.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lop_theory.errors import InvalidInput
from lop_theory.metrics.rounding import error_of_sums
from lop_theory.optim.stacks import unit_layers
from lop_theory.stability.layout import Coordinates
from lop_theory.stability.subspace import Subspace


def frozen_coordinates(model: nn.Sequential, units: Mapping[str, Sequence[int]], where: Coordinates) -> Subspace:
    """The normal space of the manifold on which the incoming parameters of ``units[layer]`` are what they are."""
    chosen = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in zip(where.names, where.shapes, strict=True)}
    names = {id(p): name for name, p in model.named_parameters()}
    for layer in unit_layers(model):
        for parameter in layer.incoming.parameters(recurse=False):
            chosen[names[id(parameter)]][list(units.get(layer.name, ()))] = True
    mask = where.flatten(chosen)
    return Subspace(lambda vector: vector * mask.to(vector), int(mask.sum()), where.dimension)


def revival_distance(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Per unit, the least ‖(Δw, Δb)‖ that brings a ReLU unit to its kink on some sample; 0 if it is active.

    min_i max(0, −z_i)/‖(x_i, 1)‖ for inputs (samples, sources), weight (units, sources), bias (units,).
    """
    z = inputs @ weight.T + bias
    lengths = (inputs.square().sum(1) + 1).sqrt()
    return ((-z).clamp_min(0) / lengths[:, None]).amin(0)


def certified_frozen(layers: Sequence[tuple[Tensor, Tensor]], low: float, high: float) -> list[Tensor]:
    """Masks of ReLU units that are frozen for ever in a stack of (weight, bias), inputs in [low, high].

    A unit is certified if sup z = b + Σ max(w·low, w·high) < 0; behind the first layer inputs lie in [0, ∞), those of
    certified units in {0}, whatever the upstream weights become. Sound in the weights' floating point, TF32 and
    bfloat16 products included: their error (:mod:`lop_theory.metrics.rounding`) times Σ|terms| is added. It holds
    under gradient methods without decay, once moments of the optimiser have died away; dropout (its factors are not
    negative) leaves it true. The exact rational form is :func:`lop_theory.graph.certificate.frozen_units`. Raises
    ``InvalidInput`` unless low ≤ high.
    """
    if not low <= high:
        raise InvalidInput("low", low, f"must be a number, at most high={high}")
    found: list[Tensor] = []
    for k, (weight, bias) in enumerate(layers):
        w, b = weight.detach().double(), bias.detach().double()
        if k == 0:
            terms = torch.maximum(w * low, w * high)
        else:
            terms = torch.where(w <= 0, 0.0, torch.inf)  # of NaN, too
            terms[:, found[-1]] = 0.0
        slack = error_of_sums(weight) * (terms.abs().sum(1) + b.abs())
        found.append(terms.sum(1) + b + slack < 0)
    return found
